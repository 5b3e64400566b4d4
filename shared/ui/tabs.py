"""What every page has in the same shape: a tab for many inputs, one for JSON, the model's card, and clearing."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ..predictor import Predictor
from .components import Upload

NO_ROWS: dict[str, Any] = {"headers": ["1", "2", "3"], "data": [], "metadata": None}  # a table as Gradio begins with it


def batch_tab(title: str, hint: str, function: Callable[..., Any], more: Sequence[str] = (), **file: Any) -> None:
    """Add a tab in which a visitor uploads files that are answered together, at the endpoint "batch".

    Args:
        title: of the tab.
        hint: what may be uploaded, in one or two sentences.
        function: answers the upload; returns a summary, a table, a CSV, and a file for each of `more`.
        more: labels of more files.
        file: of the component for the upload, such as file_types and file_count.
    """
    with gr.Tab(title):
        gr.Markdown(hint)
        upload = Upload(label="Upload", **file)
        summary = gr.JSON(label="Summary")
        table = gr.Dataframe(label="The first answers", interactive=False, wrap=True)
        files = [gr.File(label=label) for label in ("All answers, as CSV", *more)]
    outputs = [summary, table, *files]
    for event in (upload.upload, upload.clear):
        clear(event, outputs)  # what was shown is of an earlier file
    upload.upload(function, upload, outputs, api_name="batch", show_progress_on=summary)


def json_tab(*names: str) -> list[gr.JSON]:
    """Add a tab with the JSON that each of some endpoints gave; return its components."""
    with gr.Tab("As JSON"):
        return [gr.JSON(label=name, open=not index) for index, name in enumerate(names)]


def about(model: Predictor[Any, Any, Any]) -> None:
    """Add the fold-out that every page ends with: the model's card, README.md in its folder."""
    if model.origin:
        gr.Markdown(model.origin, elem_classes="origin")
    card = (model.folder / "README.md").read_text(encoding="utf-8")
    with gr.Accordion("About this model: figures, limits, licence", open=False):
        gr.Markdown(card.split("---\n", 2)[-1], elem_classes="figures")


def clear(
    event: Callable[..., Any], outputs: Sequence[gr.components.Component], values: Sequence[Any] | None = None
) -> None:
    """Empty components, so that nothing old stands beside a new answer.

    The browser does it, without asking the server, before anything that the same event asks the server for.

    Args:
        event: such as text.change.
        outputs: two or more components.
        values: what each is set to, as JSON has it; by default empty.
    """
    empty = [NO_ROWS if isinstance(each, gr.Dataframe) else None for each in outputs] if values is None else values
    event(None, None, list(outputs), js=f"() => {json.dumps(empty)}", api_visibility="private", show_progress="hidden")
