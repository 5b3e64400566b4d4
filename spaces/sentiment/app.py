"""Review sentiment: write or paste a review, see the answer and which words it comes from.

Run it: python spaces/sentiment/app.py, or with hot reload: gradio spaces/sentiment/app.py
"""

import gc
from html import escape
from pathlib import Path
from typing import Any

gc.set_threshold(50_000)  # what is imported now stays, so it need not be searched for garbage

import gradio as gr
import pandas as pd

from shared import BadInput
from shared.config import as_markdown
from shared.space import load_space_model
from shared.tables import read_csv, read_lines
from shared.text import visible
from shared.text_classifier import TextClassifierExplanation, TextClassifierPrediction, cleaned
from shared.ui.page import Page, Upload, about_model, answer_rows, answer_uploads, clear_at_once, percent, show_errors

model = load_space_model(Path(__file__).parent / "model")
SAYS = {"neg": "Against it", "pos": "For it"}  # other labels speak for themselves
IS_OF_FILMS = set(model.config.labels) == set(SAYS)
QUESTION, THING = ("Does this review like the film?", "review")
if not IS_OF_FILMS:
    QUESTION, THING = model.config.about.summary, "text"
MOST = 5000  # texts at once: bounds the work of one request
LONGEST = 100_000  # characters of a text on the page, which is answered as it is typed

INTRODUCTION = f"""# {as_markdown(QUESTION)}
Write one or paste one in. A small network answers as you type, says how sure it is, shows which words
moved it, and says so when it is not sure. Files you upload are deleted after about an hour."""

WAITING, NO_PARTS = f"<h2>Waiting for a {THING}</h2>", "Which words say so appears here."
EXAMPLES = (
    "I had been warned about this one, and the first half hour is slow. But then it takes off, the two leads are "
    "wonderful together, and by the end I was laughing and crying at once. See it!",
    "Beautiful pictures, a famous cast, a lot of money. And not one scene that I believed, not one line that I "
    "remember: dull, empty, a waste of two hours.",
    "Not bad at all for a sequel, though the book is better.",
    "Der Film hat mich von der ersten Minute an gefesselt.",
)
EXAMPLE_LABELS = ("a fan", "a critic", "in two minds", "in German")


def named(label: str) -> str:
    """A label as the page says it."""
    return SAYS.get(label, label)


def verdict(answer: TextClassifierPrediction) -> str:
    """The headline of an answer."""
    if not answer.in_distribution:
        return f"This does not read like an English {THING}."
    return f"{named(answer.label)}." if answer.is_clear else "Not sure: no label is likely enough."


@show_errors
def predict(text: str) -> tuple[dict[str, Any], str, dict[str, float] | None]:
    """Say which label a text has: whether a film review is for the film or against it.

    "is_clear" is false where no label is likely enough, or where the text does not read like English prose.

    Args:
        text: the text, up to 100,000 characters. Of a long one the beginning and the end are read.
    """
    answer = model.predict(written(text))
    note = ""
    if answer.words_read < answer.words:
        note = f"<p>Of {answer.words:,} words it read {answer.words_read:,}: the beginning and the end.</p>"
    shown = {named(label): p for label, p in answer.probabilities.items()}
    return answer.as_dict(), f"<h2>{escape(verdict(answer))}</h2>{note}", shown


@show_errors
def explain(text: str, part: int | None = None) -> tuple[dict[str, Any], list[tuple[str, float | None]], str]:
    """Say how much each part of a text moved the answer: Shapley values of its words, or of its clauses.

    They add up: base + the sum of contributions = probability, that of "label": the second of two, as pos is,
    or the likeliest of more.

    Args:
        text: the text.
        part: look into one of the parts, counted from 0, instead: its words, all else as it is.
    """
    why = model.explain(written(text, is_asked_for=True), part=part)
    found = {
        "label": why.label,
        "probability": why.probability,
        "base": why.base,
        "parts": [{"text": piece, "contribution": value} for piece, value in why.parts],
    }
    return found, coloured(why), in_words(why, part)


def written(text: str | None, is_asked_for: bool = False) -> str:
    """The text; without one an error, which a page shows only if somebody has asked for more than an empty box."""
    if text is None or (isinstance(text, str) and not visible(text).strip()):
        raise gr.Error(f"Write a {THING} first.", visible=is_asked_for, print_exception=False)
    if isinstance(text, str) and len(text) > LONGEST:
        raise BadInput(f"The {THING} has {len(text):,} characters; at most {LONGEST:,} are read here.")
    return text


def coloured(why: TextClassifierExplanation) -> list[tuple[str, float | None]]:
    """The parts with values from -1 to 1: the one that counts most has the full colour.

    Gradio shows what is below 0 in purple and what is above in red, so what speaks against the label is above.
    """
    largest = max((abs(value) for _, value in why.parts if value is not None), default=0) or 1
    return [(piece, None if value is None else -value / largest) for piece, value in why.parts]


def in_words(why: TextClassifierExplanation, part: int | None) -> str:
    """What the colours mean."""
    label = as_markdown(named(why.label).lower())
    without, those = ("the coloured words", "them") if part is None else ("this part", "it")
    said = f"Without {without} it would be {percent(why.base)} {label}; with {those}, {percent(why.probability)}."
    has_clauses = any(" " in piece.strip() for piece, _ in why.parts)
    return said + " Tap a part to look into it." * (part is None and has_clauses)


@show_errors
def look_into(text: str, chosen: gr.SelectData) -> tuple[dict[str, Any], list[tuple[str, float | None]], str]:
    """Explain the part that was tapped; a single word, or what was not read, leads back to the whole."""
    parts, index = model.explain(written(text)).parts, chosen.index
    is_shown = isinstance(index, int) and index < len(parts) and parts[index][0] == chosen.value[0]
    if is_shown and parts[index][1] is not None and " " in parts[index][0].strip():
        return explain(text, index)
    return explain(text)


def keep_if_current(text: str, found: dict[str, Any] | None) -> tuple[Any, ...]:
    """Drop an explanation that came when the text had changed."""
    try:
        is_current = found is None or "".join(piece["text"] for piece in found["parts"]) == cleaned(text)
    except BadInput:
        is_current = False
    return (gr.skip(),) * 3 if is_current else (None, None, NO_PARTS)


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Answer up to 5,000 texts.

    Args:
        file: a CSV with a column "text", of which other columns are kept; or a text file with a text on each line.
    """
    is_text = isinstance(file, str) and file.lower().endswith(".txt")
    table = read_lines(file, "text", MOST) if is_text else read_csv(file, ["text"], MOST)
    return answer_rows(
        table,
        lambda rows: model.predict_each([row["text"] for row in rows]),
        lambda answer: {
            "prediction": answer.label,
            "clear": "yes" if answer.is_clear else "no",
            **{f"probability {label}": round(p, 4) for label, p in answer.probabilities.items()},
        },
        progress,
        chunk=64,
    )


with Page(model, title=model.config.about.title) as demo:
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        with gr.Column():
            text = gr.Textbox(
                label=f"The {THING}", lines=8, max_lines=16, placeholder="I loved …" if IS_OF_FILMS else ""
            )
            part = gr.Number(
                visible=False, precision=0, label="Part to look into, counted from 0"
            )  # for API users; a visitor taps
            why_button = gr.Button("Which words say so?", variant="primary")
            with gr.Column(visible=IS_OF_FILMS):
                examples = gr.Examples(
                    [[example] for example in EXAMPLES], text, label="Or try", cache_examples=False,
                    example_labels=list(EXAMPLE_LABELS),
                )  # fmt: skip
        with gr.Column():
            headline = gr.HTML(WAITING, label="The answer in words")
            answer = gr.Label(label=f"If it is a {THING}", show_heading=False)
    with gr.Tabs():
        with gr.Tab("Which words?"):
            words = gr.Markdown(NO_PARTS, label="What the colours mean")
            parts = gr.HighlightedText(
                label="Purple speaks for it, red against it", combine_adjacent=False, elem_classes="parts"
            )
        with gr.Tab(f"Many {THING}s"):
            gr.Markdown(f"A CSV with a column `text`, or a text file with a {THING} on each line; {MOST:,} at most.")
            file = Upload(label="CSV or text", file_types=[".csv", ".tsv", ".txt"])
            summary = gr.JSON(label=f"{THING.capitalize()}s answered")
            first_rows = gr.Dataframe(label="The first 20", interactive=False)
            result = gr.File(label="All predictions, as CSV")
        with gr.Tab("As JSON"):
            answer_json = gr.JSON(label="predict", open=True)
            why_json = gr.JSON(label="explain", open=False)
    about_model(model)

    shown, why = [answer_json, headline, answer], [why_json, parts, words]
    predicted = text.change(
        predict, text, shown, api_name="predict", trigger_mode="always_last", show_progress="hidden"
    )
    no_explanation = {"fn": lambda: (None, None, NO_PARTS), "outputs": why, "api_visibility": "private"}
    clear_at_once(text.change, why, [None, None, NO_PARTS])  # what was shown is of another text
    cleared = {"fn": lambda: (None, WAITING, None, None, None, NO_PARTS), "outputs": [*shown, *why]}
    predicted.failure(**cleared, api_visibility="private", show_progress="hidden")
    asked = why_button.click(explain, [text, part], why, api_name="explain", show_progress="minimal")
    # On a phone the words are below the fold. (scroll_to_output= would scroll to the JSON, in a tab that is hidden.)
    scroll = "() => document.querySelector('.parts').scrollIntoView({ behavior: 'smooth', block: 'nearest' })"
    asked.success(None, js=scroll, api_visibility="private")
    asked.failure(**no_explanation, show_progress="hidden")
    private = {"api_visibility": "private", "show_progress": "minimal", "trigger_mode": "always_last"}
    of_example = examples.load_input_event.then(explain, text, why, **private)
    closer = parts.select(look_into, text, why, **private)
    for explained in (asked, of_example, closer):
        explained.success(keep_if_current, [text, why_json], why, **{**private, "show_progress": "hidden"})
    answer_uploads(file, batch, [summary, first_rows, result])

if __name__ == "__main__":
    demo.launch()
