"""Image segmentation: upload a picture, see the class of every pixel and the model's uncertainty.

Run it: python spaces/segmentation/app.py, or with hot reload: gradio spaces/segmentation/app.py
"""

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from shared.markdown import escape_markdown
from shared.space import find_examples, load_space_model
from shared.ui import Page, add_batch_tab, add_end, add_json, clear, clear_after_error, introduce, show_errors
from shared.ui.components import add_picture_input, add_picture_output, require_image
from shared.ui.explanations import draw_evidence, draw_share_bars, format_percent
from shared.ui.first_answer import show_first_answer
from shared.ui.headline import ANNOUNCED
from shared.ui.newest import ask, explain_newest
from shared.ui.quality import add_quality_tab
from shared.ui.regions import Regions, answer_with_masks, draw_picture, draw_regions, keep_mask

HERE = Path(__file__).parent
model = load_space_model(HERE / "model")
config = model.config
names = [config.get_label_name(label) for label in config.labels]
css_colours = {name: f"#{bytes(colour).hex()}" for name, colour in zip(names, config.colours, strict=True)}


@show_errors
def predict(image: str) -> tuple[dict[str, Any], str, tuple[str, list[tuple[str, str]]], str]:
    """Segment a picture: return the share of each class, and a mask of the picture's size.

    The mask is a palette PNG of class indices, in the order of the shares. Its size is "width" and "height", which is
    "scale" times the picture's size; "scale" is 1 unless the picture has more than 24 megapixels (with more
    than 11 classes, fewer).

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    picture = draw_picture(require_image(image))  # before a large prediction takes memory
    answer = model.predict(image)
    shares = {config.get_label_name(label): answer.share[label] for label in answer.present}
    bars = draw_share_bars("What fills the picture:", shares, css_colours)
    return answer.as_dict(), keep_mask(model, answer), (picture, draw_regions(model, answer)), bars


@show_errors
def explain(image: str) -> tuple[dict[str, Any], Image.Image, str]:
    """Explain a segmentation: show where the model is uncertain, and its certainty for each class.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    why = model.explain(require_image(image), longest=640)
    # Full orange if the predicted class is no more probable than all others together.
    doubt = draw_evidence(image, np.clip(2 - 2 * why.confidence, 0, 1), largest=1)
    least = sorted(why.by_class, key=lambda label: why.by_class[label])[:3]
    named = ", ".join(f"{config.get_label_name(label)} ({format_percent(why.by_class[label])})" for label in least)
    words = (
        f"It expects {format_percent(why.mean)} of the picture to be named right. The more orange, the less sure it "
        f"is; full orange ({format_percent(why.unsure)} of the picture) is little better than a guess. It is least "
        f"sure about: {escape_markdown(named)}."
    )
    return why.as_dict(), doubt, words


@show_errors
def batch(
    files: list[str], progress: gr.Progress = gr.Progress()  # noqa: B008
) -> tuple[dict[str, int], pd.DataFrame, str, str | None]:  # fmt: skip
    """Segment up to 20 small pictures, or 6 of 12 megapixels: return a table of shares, a CSV and a zip of masks.

    "mask scale" is the "scale" of predict.

    Args:
        files: pictures, or zips of pictures. A picture that cannot be read gets a message in the column "error".
    """
    return answer_with_masks(files, model, progress)


drawing = [("a drawn street", str(HERE / "examples/street.jpg"))]

examples = find_examples(HERE, model, drawing)

with Page(model, title=config.about.title) as demo:
    few = f"{escape_markdown(names[0])} and {escape_markdown(names[1])}"
    introduce(model, f"It knows only {len(names)} classes, such as {few}: anything else is called one of them.")
    with gr.Row():
        with gr.Column():
            image = add_picture_input(examples)
        with gr.Column():
            seen = Regions(label="Classes", show_label=False, color_map=css_colours, elem_classes="regions")
            hint = "Tap a name to see it alone."
            cover = gr.Slider(0, 100, 90, step=5, label="Strength of the colours", info=hint, buttons=[])
    with gr.Tabs():
        with gr.Tab("How much of each"):
            bars = gr.HTML("<p>Choose a picture first.</p>", label="How much of each", elem_classes=ANNOUNCED)
        add_quality_tab(model)
        with gr.Tab("Where it is unsure"):
            words = gr.Markdown("Choose a picture first.", label="How sure it is")
            doubt = add_picture_output("Where it is unsure")
        many = add_batch_tab(
            "Many pictures", "Up to 20 small pictures, or 6 of 12 megapixels, or zip files of pictures.",
            ["The masks, as PNG in a zip"], file_count="multiple", file_types=["image", ".zip"],
        )  # fmt: skip
        answer_json, why_json = add_json("predict", "explain")
        with gr.Tab("Downloads"):
            mask = gr.File(label="The class of every pixel (PNG)")
    add_end(model)

    shown, why = [answer_json, mask, seen, bars], [why_json, doubt, words]
    # "change" fires once for an upload, a webcam photo, a paste, an example, and when the picture is cleared.
    waiting = {"show_progress": "minimal", "show_progress_on": seen}  # elsewhere, the seconds would be announced
    predicted = ask([image.change], predict, image, shown, why, api_name="predict", **waiting)
    clear(predicted.success, why)
    explain_newest(predicted.success, explain, image, why, api_name="explain", show_progress="hidden")
    clear_after_error(image.clear, [*shown, *why])
    # Only in the browser; see .regions in shared/ui/style.css.
    set_cover = "value => { document.documentElement.style.setProperty('--cover', value / 100) }"
    cover.input(None, cover, js=set_cover, api_visibility="private")
    many.answer_with(batch)
    if examples:
        show_first_answer([*shown, *why], lambda: [*predict(examples[0][1]), *explain(examples[0][1])])

if __name__ == "__main__":
    demo.launch()
