"""Image classification: upload a picture, see its label and the evidence in the picture.

Run it: python spaces/cat_dog/app.py, or with hot reload: gradio spaces/cat_dog/app.py
"""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from gradio.media import get_image
from PIL import Image

from shared.markdown import escape_markdown
from shared.space import find_examples, load_space_model
from shared.ui import Page, add_batch_tab, add_end, add_json, clear, clear_after_error, introduce, show_errors
from shared.ui.answer_card import add_card
from shared.ui.batch import answer_files
from shared.ui.components import add_picture_input, add_picture_output, require_image
from shared.ui.explanations import draw_evidence
from shared.ui.first_answer import show_first_answer
from shared.ui.headline import add_headline
from shared.ui.newest import ask, explain_newest
from shared.ui.quality import add_quality_tab

HERE = Path(__file__).parent
SURE = 0.9  # below this probability, the page says "probably"
model = load_space_model(HERE / "model")
config = model.config
names = [config.get_label_name(label) for label in config.labels]
few = f"neither {' nor '.join(names)}" if len(names) == 2 else f"none of {', '.join(names[:-1])} and {names[-1]}"
none = few if len(names) <= 5 else f"none of the {len(names)} labels"


@show_errors
def predict(image: str) -> tuple[dict[str, Any], str, dict[str, float] | None]:
    """Classify a picture: return one of the labels, or null if the picture is out of distribution.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    answer = model.predict(require_image(image))
    likeliest = escape(config.get_label_name(answer.likeliest))
    if not answer.in_distribution:
        unlike = "The picture is unlike those it learned from."
        return answer.as_dict(), f"<h2>It is {escape(none)}.</h2><p>{unlike}</p>", None
    shown = {config.get_label_name(label): p for label, p in answer.probabilities.items()}
    is_sure = answer.probabilities[answer.likeliest] >= SURE
    sentence = f"It is {likeliest}." if is_sure else f"It is probably {likeliest}."
    return answer.as_dict(), f"<h2>{sentence}</h2>", shown


@show_errors
def explain(image: str) -> tuple[dict[str, Any], Image.Image, str]:
    """Explain a prediction: show the evidence for the most probable label as a class activation map.

    Args:
        image: the picture, as JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    """
    why = model.explain(require_image(image))
    label, (rows, columns) = escape_markdown(config.get_label_name(why.label)), why.evidence.shape
    words = f"Orange areas point to {label}, blue areas against it. The map is rough ({rows} × {columns} squares)."
    if not why.in_distribution:
        words = f"It is {escape_markdown(none)}, but this is what looks most like {label}. {words}"
    return why.as_dict(), draw_evidence(image, why.evidence, region=why.region), words


@show_errors
def batch(files: list[str], progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Classify up to 200 pictures with 300 megapixels in total; a JPEG counts an eighth unless progressive.

    Args:
        files: pictures, or zips of pictures. A picture that cannot be read gets a message in the column "error".
    """
    return answer_files(files, model, progress)


a_cat = [("a cat", str(HERE / "examples/cat.png"))]
unlike = [("a lion", get_image("lion.jpg")), ("a tower", get_image("tower.jpg"))]

examples = [*find_examples(HERE, model, a_cat), *unlike]

with Page(model, title=config.about.title) as demo:
    introduce(model)
    with gr.Row():
        with gr.Column():
            image = add_picture_input(examples)
        with gr.Column():
            headline = add_headline("Choose a picture")
            answer = gr.Label(label="How sure it is", show_heading=False, elem_classes="sure")
            add_card(answer, headline, image)
    with gr.Tabs():
        with gr.Tab("Why?"):
            words = gr.Markdown("The map appears here.", label="What the colours mean")
            overlay = add_picture_output("What it looked at")
        add_quality_tab(model)
        hint = "Up to 200 pictures, or zip files of pictures."
        many = add_batch_tab("Many pictures", hint, file_count="multiple", file_types=["image", ".zip"])
        answer_json, why_json = add_json("predict", "explain")
    add_end(model)

    shown, why = [answer_json, headline, answer], [why_json, overlay, words]
    # "change" fires once for an upload, a webcam photo, a paste, an example, and when the picture is cleared. Several
    # requests may run, because one does not use all cores all the time.
    live = {"concurrency_limit": 4, "show_progress": "hidden"}
    predicted = ask([image.change], predict, image, shown, why, api_name="predict", **live)
    clear(predicted.success, why)
    explain_newest(predicted.success, explain, image, why, api_name="explain", show_progress="hidden")
    clear_after_error(image.clear, [*shown, *why])
    many.answer_with(batch)
    show_first_answer([*shown, *why], lambda: [*predict(examples[0][1]), *explain(examples[0][1])])

if __name__ == "__main__":
    demo.launch()
