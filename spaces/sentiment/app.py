"""Text classification: write or paste a text, see its label and the words that it comes from.

Run it: python spaces/sentiment/app.py, or with hot reload: gradio spaces/sentiment/app.py
"""

from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from shared.space import load_space_model
from shared.ui import Page, add_batch_tab, add_end, add_json, clear, clear_after_error, introduce, show_errors
from shared.ui.batch import answer_rows
from shared.ui.feedback import add_feedback
from shared.ui.first_answer import show_first_answer
from shared.ui.headline import add_headline
from shared.ui.newest import ask, explain_newest
from shared.ui.quality import add_quality_tab
from shared.ui.share import add_link
from shared.ui.texts import add_parts, colour_parts, describe_parts, find_tapped, read_texts, require_text

model = load_space_model(Path(__file__).parent / "model")
config = model.config
first = next(iter(config.examples), "")
ASK = "Which words decided it?"
NO_PARTS = f"Press “{ASK}” to see them in colour."
Parts = list[tuple[str, float | None]]


@show_errors
def predict(text: str) -> tuple[dict[str, Any], str, dict[str, float] | None]:
    """Classify a text.

    "is_clear" is false if no label is probable enough, or if "in_distribution" is false: then the text is unlike the
    training texts.

    Args:
        text: the text, up to 100,000 characters. Of a long text, only the beginning and the end are read.
    """
    answer = model.predict(require_text(text))
    headline = config.get_label_name(answer.label) if answer.is_clear else "Not sure: no answer is likely enough."
    if not answer.in_distribution:
        headline = "This is unlike the texts the model was trained on."
    cut = f"<p>The model read {answer.words_read:,} of {answer.words:,} words: the beginning and the end.</p>"
    note = cut if answer.words_read < answer.words else ""
    shown = {config.get_label_name(label): p for label, p in answer.probabilities.items()}
    return answer.as_dict(), f"<h2>{escape(headline)}</h2>{note}", shown


@show_errors
def explain(text: str, part: int | None = None) -> tuple[dict[str, Any], Parts, str]:
    """Explain how much each part of a text changed the prediction: Shapley values of its words or clauses.

    The Shapley values add up: base + the sum of contributions = probability of "label", which is the second of two
    labels, or the most probable of more.

    Args:
        text: the text.
        part: the index of a part, from 0, whose words are explained instead; the rest of the text does not change.
    """
    why = model.explain(require_text(text, is_asked_for=True), part=part)
    return why.as_dict(), colour_parts(why), describe_parts(why, config, part)


@show_errors
def explain_part(text: str, tap: gr.SelectData) -> tuple[dict[str, Any], Parts, str]:
    """Explain the words of the tapped part; for a single word, explain the whole text again."""
    return explain(text, find_tapped(model.explain(require_text(text)), tap))


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Classify up to 5,000 texts.

    Args:
        file: a CSV with a column "text" (other columns are kept), or a text file with one text per line.
    """
    return answer_rows(read_texts(file), model, progress, chunk=64)


with Page(model, title=config.about.title) as demo:
    introduce(model)
    with gr.Row():
        with gr.Column():
            text = gr.Textbox(first, label="Your text", lines=5, max_lines=16)
            part = gr.Number(visible=False, precision=0, label="Part to explain, from 0")  # for API users; visitors tap
            button = gr.Button(ASK, variant="primary")
            with gr.Column(visible=bool(config.examples), elem_classes="chips"):
                examples = gr.Examples(list(config.examples) or [""], text, label="Or try", cache_examples=False)
        with gr.Column():
            headline = add_headline("Write a text")
            answer = gr.Label(label="How sure it is", show_heading=False)
            add_feedback(config, answer, {"text": text}, headline)
            add_link({"text": text}, answer, headline)
    with gr.Tabs():
        with gr.Tab("Why?"):
            words = gr.Markdown(NO_PARTS, label="What the colours mean")
            parts = add_parts(config)
        add_quality_tab(model)
        hint = "A CSV with a column `text`, or a text file with one text per line; up to 5,000 texts."
        many = add_batch_tab("Many texts", hint, file_types=[".csv", ".tsv", ".txt"])
        answer_json, why_json = add_json("predict", "explain")
    add_end(model)

    shown, why = [answer_json, headline, answer], [why_json, parts, words]
    clear(text.change, why)  # explanations of another text
    ask([text.change], predict, text, shown, why, api_name="predict", show_progress="hidden")
    explain_text = partial(explain_newest, outputs=why, about=text, show_progress="minimal")
    asked = explain_text(button.click, explain, [text, part], api_name="explain")
    # On a phone, the words are below the visible area. (scroll_to_output= would scroll to the JSON in a hidden tab.)
    scroll = "() => document.querySelector('.parts').scrollIntoView({ block: 'nearest' })"
    asked.success(None, js=scroll, api_visibility="private")
    clear_after_error(asked.failure, why)
    explain_text(examples.load_input_event.then, explain, text, api_visibility="private")
    explain_text(parts.select, explain_part, text, api_visibility="private")
    many.answer_with(batch)
    if first:
        show_first_answer([*shown, *why], lambda: [*predict(first), *explain(first)])

if __name__ == "__main__":
    demo.launch()
