"""Street scenes: drop a photo in, see what every pixel of it is and where the model is unsure.

Run it: python spaces/segmentation/app.py, or with hot reload: gradio spaces/segmentation/app.py
"""

import gc
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

gc.set_threshold(50_000)  # what is imported now stays, so it need not be searched for garbage

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from shared.archives import write_zip
from shared.config import as_markdown
from shared.image_segmenter import MAX_REQUEST_PIXELS, ImageSegmenterPrediction
from shared.images import Source, load_image
from shared.space import load_space_model
from shared.ui.page import (
    Page,
    Regions,
    Upload,
    about_model,
    answer_files,
    answer_uploads,
    clear_at_once,
    evidence_over,
    keep_file,
    keep_picture,
    keep_region,
    percent,
    photo_input,
    require_image,
    share_bars,
    show_errors,
    upload_folder,
)

HERE = Path(__file__).parent
model = load_space_model(HERE / "model")
COLOURS = dict(zip(model.classes, model.config.colours, strict=True))
CODES = {label: "#{:02x}{:02x}{:02x}".format(*colour) for label, colour in COLOURS.items()}
DRAWN = 1280  # pixels on the long side of what the page draws; each class costs a picture of that size

INTRODUCTION = f"""# What is in this street?
Take a photo of a street or drop one in. A small network says for every pixel which of {len(model.classes)} things it
belongs to, and how sure it is. Your picture is deleted after about an hour."""

NO_SHARES, NO_MAP = "<p>The share of each class appears here.</p>", "The map of what is unsure appears here."


@show_errors
def predict(image: str) -> tuple[dict[str, Any], str, tuple[str, list[tuple[str, str]]], str]:
    """Say what every pixel of a street scene is: the share of each class, and a mask of the picture's own size.

    The mask is a PNG with a palette: its pixels are class indices, in the order of the shares. It has "width" and
    "height", and "scale" times the picture's own size: 1 unless the picture has more than 24 megapixels.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    # Drawn first, so that the memory it takes is free again when the answer to a large photo takes its own.
    picture = keep_picture(load_image(require_image(image), DRAWN).thumbnail(DRAWN), "picture.jpg", quality=88)
    answer = model.predict(image)
    height, width = answer.mask.shape
    found = {
        "shares": answer.share,
        "width": width,
        "height": height,
        "scale": answer.scale,
        "mean_confidence": answer.mean_confidence,
    }
    mask = keep_picture(model.coloured(answer.mask), "mask.png", compress_level=3)
    small = answer.reduced(DRAWN).mask
    masks = [(keep_region(small == model.classes.index(label), COLOURS[label]), label) for label in answer.present]
    shares = {label: answer.share[label] for label in answer.present}
    bars = share_bars("How much of the picture is what, rounded:", shares, CODES)
    return found, mask, (picture, masks), bars


@show_errors
def explain(image: str) -> tuple[dict[str, Any], Image.Image, str]:
    """Show where in a picture the model is unsure, and say how sure it is of each class.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    why = model.explain(require_image(image), longest=640)
    found = {"mean_confidence": why.mean, "unsure": why.unsure, "confidence_by_class": why.by_class}
    # Full orange where the class chosen is no likelier than all others together.
    doubt = evidence_over(image, np.clip(2 - 2 * why.confidence, 0, 1), largest=1)
    least = sorted(why.by_class, key=lambda label: why.by_class[label])[:3]
    named = ", ".join(f"{as_markdown(label)} ({percent(why.by_class[label])})" for label in least)
    words = (
        f"The model expects {percent(why.mean)} of the pixels to be right. Orange: where it is unsure; full orange, "
        f"on {percent(why.unsure)} of the picture: less than half sure. Least sure of: {named}."
    )
    return found, doubt, words


@show_errors
def batch(
    files: list[str],
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> tuple[dict[str, int], pd.DataFrame, str, str | None]:
    """Answer up to 24 small pictures, or 6 of 12 megapixels: a table of shares, the same as CSV, and a zip of masks.

    "mask scale" is 1 unless a picture has more than 24.

    Args:
        files: pictures, or zips of pictures. One that cannot be answered gets a sentence in the column "error".
    """
    masks: list[Path] = []

    def one_by_one(pictures: Sequence[Source]) -> Iterator[Any]:  # holds one answer in memory at a time
        return (model.predict_each([picture])[0] for picture in pictures)

    with tempfile.TemporaryDirectory(dir=upload_folder()) as folder:

        def cells(answer: ImageSegmenterPrediction) -> dict[str, float]:
            masks.append(Path(folder) / f"{len(masks)}.png")
            model.coloured(answer.mask).save(masks[-1], compress_level=3)
            shares = {f"share {label}": round(share, 4) for label, share in answer.share.items()}
            return {
                **shares,
                "mean_confidence": round(answer.mean_confidence, 4),
                "mask scale": round(answer.scale, 4),
            }

        summary, table, csv = answer_files(files, one_by_one, cells, progress, cost=model.cost, most=MAX_REQUEST_PIXELS)
        names = table.loc[table["error"] == "", "file"]
        packed = write_zip(Path(folder) / "masks.zip", zip(names, masks, strict=True))
        return summary, table, csv, keep_file(packed) if masks else None


def examples() -> list[tuple[str, str]]:
    """Pictures to try and what to call them: those published with the model, else a drawing."""
    published = [(path.stem, str(path)) for path in sorted((HERE / "model/examples").glob("*"))]
    return published or [("a drawing of a street; it was trained on photos", str(HERE / "examples/street.jpg"))]


with Page(model, title="Street scenes") as demo:
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        with gr.Column():
            image = photo_input(examples())
        with gr.Column():
            seen = Regions(label="What is where", show_label=False, color_map=CODES, elem_classes="regions")
            cover = gr.Slider(0, 100, 60, step=5, label="Colours, %", info="Tap a name to see it alone.", buttons=[])
    with gr.Tabs():
        with gr.Tab("Shares"):
            bars = gr.HTML(NO_SHARES, label="Share of each class")
        with gr.Tab("Doubts"):
            words = gr.Markdown(NO_MAP, label="How sure it is")
            doubt = gr.Image(label="Unsure", interactive=False, buttons=["download", "fullscreen"], height=360)
        with gr.Tab("Many pictures"):
            gr.Markdown("Up to 24 small pictures, or 6 of 12 megapixels, or zip files of them.")
            files = Upload(label="Pictures or zips", file_count="multiple", file_types=["image", ".zip"])
            summary = gr.JSON(label="Pictures answered")
            table = gr.Dataframe(label="Shares", interactive=False)
            result = gr.File(label="The same as CSV")
            masks = gr.File(label="The masks, as PNG in a zip")
        with gr.Tab("As files"):
            mask = gr.File(label="Mask, PNG")
            answer_json = gr.JSON(label="predict", open=True)
            why_json = gr.JSON(label="explain", open=False)
    about_model(model)

    drawn, why = [answer_json, mask, seen, bars], [why_json, doubt, words]
    # "change" comes once for an upload, a webcam's photo, a paste, an example, and for clearing all of them.
    predicted = image.change(
        predict, image, drawn, api_name="predict", trigger_mode="always_last", show_progress="minimal"
    )
    clear_at_once(predicted.success, why, [None, None, NO_MAP])
    predicted.success(explain, image, why, api_name="explain", trigger_mode="always_last", show_progress="hidden")
    for gone in (image.clear, predicted.failure):
        gone(
            lambda: (None, None, None, NO_SHARES, None, None, NO_MAP),
            None,
            [*drawn, *why],
            api_visibility="private",
            show_progress="hidden",
        )
    # In the browser alone: see .regions in shared/ui/page.py.
    cover.input(
        None,
        cover,
        js="value => { document.documentElement.style.setProperty('--cover', value / 100) }",
        api_visibility="private",
    )
    answer_uploads(files, batch, [summary, table, result, masks])

if __name__ == "__main__":
    demo.launch()
