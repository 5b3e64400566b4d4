"""Image segmentation: drop a picture in, see the class of every pixel, and where that is uncertain.

Run it: python spaces/segmentation/app.py, or with hot reload: gradio spaces/segmentation/app.py
"""

from shared.ui import (
    Page,
    Regions,
    about,
    batch_tab,
    clear,
    clear_after_error,
    json_tab,
    picture_input,
    require_image,
    show_errors,
)

# isort: split
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from shared.archives import write_zip
from shared.images import load_image
from shared.markdown import as_markdown
from shared.space import load_space_model
from shared.ui.batch import answer_files
from shared.ui.explanations import evidence_over, percent, share_bars
from shared.ui.files import keep_file, keep_picture, keep_region, upload_folder

HERE = Path(__file__).parent
model = load_space_model(HERE / "model")
colours = dict(zip(model.classes, model.config.colours, strict=True))
css_colours = {label: "#{:02x}{:02x}{:02x}".format(*colour) for label, colour in colours.items()}
LONGEST = 1280  # pixels on the long side of what the page draws; each class costs a picture of that size
NO_SHARES, NO_MAP = "<p>The share of each class appears here.</p>", "The map of what is uncertain appears here."


@show_errors
def predict(image: str) -> tuple[dict[str, Any], str, tuple[str, list[tuple[str, str]]], str]:
    """Say what every pixel is: the share of each class, and a mask of the picture's own size.

    The mask is a PNG with a palette: its pixels are class indices, in the order of the shares. It has "width" and
    "height", and "scale" times the picture's own size: 1 unless the picture has more than 24 megapixels.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    # Drawn first, so that the memory it takes is free again when the answer to a large photo takes its own.
    picture = keep_picture(load_image(require_image(image), LONGEST).thumbnail(LONGEST), "picture.jpg", quality=88)
    answer = model.predict(image)
    mask = keep_picture(model.coloured(answer.mask), "mask.png", compress_level=3)
    small = answer.reduced(LONGEST).mask
    masks = [(keep_region(small == model.classes.index(label), colours[label]), label) for label in answer.present]
    shares = {label: answer.share[label] for label in answer.present}
    bars = share_bars("How much of the picture each class has, rounded:", shares, css_colours)
    return answer.as_dict(), mask, (picture, masks), bars


@show_errors
def explain(image: str) -> tuple[dict[str, Any], Image.Image, str]:
    """Show where in a picture the model is uncertain, and say how certain it is of each class.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    why = model.explain(require_image(image), longest=640)
    # Full orange where the class chosen is no likelier than all others together.
    doubt = evidence_over(image, np.clip(2 - 2 * why.confidence, 0, 1), largest=1)
    least = sorted(why.by_class, key=lambda label: why.by_class[label])[:3]
    named = ", ".join(f"{as_markdown(label)} ({percent(why.by_class[label])})" for label in least)
    words = (
        f"The model expects {percent(why.mean)} of the pixels to be right. Orange: uncertain; full orange, on "
        f"{percent(why.unsure)} of the picture: less than 50% certain. Least certain classes: {named}."
    )
    return why.as_dict(), doubt, words


@show_errors
def batch(
    files: list[str], progress: gr.Progress = gr.Progress()  # noqa: B008
) -> tuple[dict[str, int], pd.DataFrame, str, str | None]:  # fmt: skip
    """Answer up to 24 small pictures, or 6 of 12 megapixels: a table of shares, the same as CSV, and a zip of masks.

    "mask scale" is 1 unless a picture has more than 24 megapixels.

    Args:
        files: pictures, or zips of pictures. One that cannot be answered gets a sentence in the column "error".
    """
    masks: list[Path] = []
    with tempfile.TemporaryDirectory(dir=upload_folder()) as folder:

        def keep_mask(answer: Any) -> None:
            masks.append(Path(folder) / f"{len(masks)}.png")
            model.coloured(answer.mask).save(masks[-1], compress_level=3)

        summary, table, csv = answer_files(files, model, progress, keep_mask, at_once=1)
        names = table.loc[table["error"] == "", "file"]
        packed = write_zip(Path(folder) / "masks.zip", zip(names, masks, strict=True))
        return summary, table, csv, keep_file(packed) if masks else None


def examples() -> list[tuple[str, str]]:
    """Return pictures to try and what to call them: those published with the model, or a drawing."""
    published = [(path.stem, str(path)) for path in sorted((HERE / "model/examples").glob("*"))]
    return published or [("a drawing of a street; it was trained on photos", str(HERE / "examples/street.jpg"))]


with Page(model, title=model.config.about.title) as demo:
    gr.Markdown(
        f"# {as_markdown(model.config.about.title)}\nTake a photo or drop one in. A small neural network gives every "
        f"pixel one of {len(model.classes)} classes, and says how certain it is. "
        "Pictures are deleted after about an hour."
    )
    with gr.Row():
        with gr.Column():
            image = picture_input(examples())
        with gr.Column():
            seen = Regions(label="Classes", show_label=False, color_map=css_colours, elem_classes="regions")
            cover = gr.Slider(0, 100, 60, step=5, label="Colours, %", info="Tap a name to see it alone.", buttons=[])
    with gr.Tabs():
        with gr.Tab("Shares"):
            bars = gr.HTML(NO_SHARES, label="Share of each class")
        with gr.Tab("Uncertainty"):
            words = gr.Markdown(NO_MAP, label="How certain it is")
            doubt = gr.Image(label="Uncertain", interactive=False, buttons=["download", "fullscreen"], height=360)
        many = batch_tab(
            "Many pictures", "Up to 24 small pictures, or 6 of 12 megapixels, or zip files of them.",
            ["The masks, as PNG in a zip"], file_count="multiple", file_types=["image", ".zip"],
        )  # fmt: skip
        answer_json, why_json = json_tab("predict", "explain")
        with gr.Tab("Mask"):
            mask = gr.File(label="Mask, PNG")
    about(model)

    shown, why = [answer_json, mask, seen, bars], [why_json, doubt, words]
    # "change" comes once for an upload, a webcam's photo, a paste, an example, and for clearing all of them.
    live = {"trigger_mode": "always_last"}
    predicted = image.change(predict, image, shown, api_name="predict", show_progress="minimal", **live)
    clear(predicted.success, why, [None, None, NO_MAP])
    predicted.success(explain, image, why, api_name="explain", show_progress="hidden", **live)
    for event in (image.clear, predicted.failure):
        clear_after_error(event, [*shown, *why], [None, None, None, NO_SHARES, None, None, NO_MAP])
    # In the browser alone: see .regions in shared/ui/style.css.
    set_cover = "value => { document.documentElement.style.setProperty('--cover', value / 100) }"
    cover.input(None, cover, js=set_cover, api_visibility="private")
    many.answer_with(batch)

if __name__ == "__main__":
    demo.launch()
