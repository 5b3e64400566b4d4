"""Cat or dog, or neither: drop a photo in, see the answer and where in the photo it comes from.

Run it: python spaces/cat_dog/app.py, or with hot reload: gradio spaces/cat_dog/app.py
"""

import gc
from html import escape
from pathlib import Path
from typing import Any

gc.set_threshold(50_000)  # what is imported now stays, so it need not be searched for garbage

import gradio as gr
import pandas as pd
from gradio.media import get_image
from PIL import Image

from shared.config import as_markdown
from shared.images import MAX_REQUEST_COST, decoding_cost
from shared.space import load_space_model
from shared.ui.page import (
    Page,
    Upload,
    about_model,
    answer_files,
    answer_uploads,
    clear_at_once,
    evidence_over,
    photo_input,
    require_image,
    show_errors,
)

HERE = Path(__file__).parent
model = load_space_model(HERE / "model")
LABELS = model.config.labels
EITHER = ", ".join(f"a {label}" for label in LABELS[:-1]) + f" or a {LABELS[-1]}"

INTRODUCTION = f"""# Is it {as_markdown(EITHER)}?
Take a photo or drop one in. A small network answers, says how sure it is, shows where the evidence
is, and may say that it is neither. Your picture is deleted after about an hour."""

WAITING, NO_MAP = "<h2>Waiting for a photo</h2>", "The map appears here."


@show_errors
def predict(image: str) -> tuple[dict[str, Any], str, dict[str, float]]:
    """Say what a picture shows: one of the labels, or null if it does not look like any of them.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    answer = model.predict(require_image(image))
    words = f"It is a {answer.label}." if answer.label else f"Neither: this does not look like {EITHER}."
    rest = "" if answer.label else f"The numbers would hold if it were {EITHER} after all."
    return answer.as_dict(), f"<h2>{escape(words)}</h2><p>{escape(rest)}</p>", answer.probabilities


@show_errors
def explain(image: str) -> tuple[dict[str, Any], Image.Image, str]:
    """Show where in a picture the evidence for the likeliest label is: a class activation map.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    why = model.explain(require_image(image))
    rows, columns = why.evidence.shape
    label = as_markdown(why.label)
    words = f"Orange speaks for {label}, blue against it. The map is coarse: {rows} by {columns} places."
    if not why.in_distribution:
        words = f"It was refused as neither; the map shows what there is of {label}. {words}"
    return {"label": why.label, "evidence": why.evidence.tolist()}, evidence_over(image, why.evidence), words


@show_errors
def batch(files: list[str], progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Answer up to 200 pictures, of 300 megapixels in all; a JPEG counts an eighth unless it is progressive.

    Args:
        files: pictures, or zips of pictures. One that cannot be answered gets a sentence in the column "error".
    """
    return answer_files(
        files,
        model.predict_each,
        lambda answer: answer.as_row(),
        progress,
        cost=lambda picture: decoding_cost(picture, model.config.size),
        most=MAX_REQUEST_COST,
    )


def examples() -> list[tuple[str, str]]:
    """Pictures to try and what to call them: those published with the model, else a cat; and two of something else."""
    published = [(path.stem.replace("-", ", "), str(path)) for path in sorted((HERE / "model/examples").glob("*"))]
    ours = [("a cat", str(HERE / "examples/chelsea.png"))] * ("cat" in LABELS)
    return [*(published or ours), ("a lion", get_image("lion.jpg")), ("a tower", get_image("tower.jpg"))]


with Page(model, title=f"Is it {EITHER}?") as demo:
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        with gr.Column():
            image = photo_input(examples())
        with gr.Column():
            headline = gr.HTML(WAITING, label="The answer in words")
            answer = gr.Label(label=f"If it is {EITHER}", show_heading=False)
    with gr.Tabs():
        with gr.Tab("Where?"):
            words = gr.Markdown(NO_MAP, label="What the colours mean")
            overlay = gr.Image(label="Evidence", interactive=False, buttons=["download", "fullscreen"], height=360)
        with gr.Tab("Many pictures"):
            gr.Markdown("Up to 200 pictures, or zip files of them.")
            files = Upload(label="Pictures or zips", file_count="multiple", file_types=["image", ".zip"])
            summary = gr.JSON(label="Pictures answered")
            table = gr.Dataframe(label="Predictions", interactive=False)
            result = gr.File(label="The same as CSV")
        with gr.Tab("As JSON"):
            answer_json = gr.JSON(label="predict", open=True)
            why_json = gr.JSON(label="explain", open=False)
    about_model(model)

    # "change" comes once for an upload, a webcam's photo, a paste, an example, and for clearing all of them.
    predicted = image.change(
        predict,
        image,
        [answer_json, headline, answer],
        api_name="predict",
        trigger_mode="always_last",
        show_progress="hidden",
        concurrency_limit=4,  # while one answer is on its way, the next has the cores
    )
    why = [why_json, overlay, words]
    clear_at_once(predicted.success, why, [None, None, NO_MAP])
    predicted.success(explain, image, why, api_name="explain", trigger_mode="always_last", show_progress="hidden")
    for gone in (image.clear, predicted.failure):
        gone(
            lambda: (None, WAITING, None, None, None, NO_MAP),
            None,
            [answer_json, headline, answer, *why],
            api_visibility="private",
            show_progress="hidden",
        )
    answer_uploads(files, batch, [summary, table, result])

if __name__ == "__main__":
    demo.launch()
