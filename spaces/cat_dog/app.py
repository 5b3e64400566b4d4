"""Image classification: drop a picture in, see the answer and where in the picture the evidence is.

Run it: python spaces/cat_dog/app.py, or with hot reload: gradio spaces/cat_dog/app.py
"""

from shared.ui import (
    Page,
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
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from gradio.media import get_image
from PIL import Image

from shared.markdown import as_markdown
from shared.space import load_space_model
from shared.ui.batch import answer_files
from shared.ui.explanations import evidence_over

HERE = Path(__file__).parent
model = load_space_model(HERE / "model")
labels = model.config.labels
CHOICE = ", ".join(f"a {label}" for label in labels[:-1]) + f" or a {labels[-1]}"
NO_ANSWER, NO_MAP = "<h2>Choose a picture</h2>", "The map appears here."


@show_errors
def predict(image: str) -> tuple[dict[str, Any], str, dict[str, float]]:
    """Say what a picture shows: one of the labels, or null if it does not look like any of them.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    answer = model.predict(require_image(image))
    if answer.in_distribution:
        headline = f"<h2>It is a {escape(answer.label)}.</h2>"
    else:
        headline = (
            f"<h2>Neither: this does not look like {escape(CHOICE)}.</h2><p>Below: what it would be if it were.</p>"
        )
    return answer.as_dict(), headline, answer.probabilities


@show_errors
def explain(image: str) -> tuple[dict[str, Any], Image.Image, str]:
    """Show where in a picture the evidence for the likeliest label is: a class activation map.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    why = model.explain(require_image(image))
    rows, columns = why.evidence.shape
    words = f"Orange speaks for {as_markdown(why.label)}, blue against it. The map has {rows} by {columns} places."
    if not why.in_distribution:
        words = f"The picture was rejected as neither; the map shows the evidence for {as_markdown(why.label)}. {words}"
    return why.as_dict(), evidence_over(image, why.evidence), words


@show_errors
def batch(files: list[str], progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Answer up to 200 pictures, of 300 megapixels in all; a JPEG counts an eighth unless it is progressive.

    Args:
        files: pictures, or zips of pictures. One that cannot be answered gets a sentence in the column "error".
    """
    return answer_files(files, model, progress)


def examples() -> list[tuple[str, str]]:
    """Return pictures to try and what to call them: those published with the model, or a cat; and two of neither."""
    published = [(path.stem.replace("-", ", "), str(path)) for path in sorted((HERE / "model/examples").glob("*"))]
    ours = [("a cat", str(HERE / "examples/chelsea.png"))] * ("cat" in labels)
    return [*(published or ours), ("a lion", get_image("lion.jpg")), ("a tower", get_image("tower.jpg"))]


with Page(model, title=f"Is it {CHOICE}?") as demo:
    gr.Markdown(
        f"# Is it {as_markdown(CHOICE)}?\nTake a photo or drop one in. A small neural network answers, says how "
        "certain it is, and shows where the evidence is. A picture unlike those it was trained on is rejected as "
        "neither. Pictures are deleted after about an hour."
    )
    with gr.Row():
        with gr.Column():
            image = picture_input(examples())
        with gr.Column():
            headline = gr.HTML(NO_ANSWER, label="The answer in words")
            answer = gr.Label(label=f"If it is {CHOICE}", show_heading=False)
    with gr.Tabs():
        with gr.Tab("Where?"):
            words = gr.Markdown(NO_MAP, label="What the colours mean")
            overlay = gr.Image(label="Evidence", interactive=False, buttons=["download", "fullscreen"], height=360)
        many = batch_tab(
            "Many pictures", "Up to 200 pictures, or zip files of them.",
            file_count="multiple", file_types=["image", ".zip"],
        )  # fmt: skip
        answer_json, why_json = json_tab("predict", "explain")
    about(model)

    shown, why = [answer_json, headline, answer], [why_json, overlay, words]
    live = {"trigger_mode": "always_last", "show_progress": "hidden"}
    # "change" comes once for an upload, a webcam's photo, a paste, an example, and for clearing all of them. While one
    # answer is on its way, the next has the cores.
    predicted = image.change(predict, image, shown, api_name="predict", concurrency_limit=4, **live)
    clear(predicted.success, why, [None, None, NO_MAP])
    predicted.success(explain, image, why, api_name="explain", **live)
    for event in (image.clear, predicted.failure):
        clear_after_error(event, [*shown, *why], [None, NO_ANSWER, None, None, None, NO_MAP])
    many.answer_with(batch)

if __name__ == "__main__":
    demo.launch()
