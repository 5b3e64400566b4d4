"""What every page has in the same shape: a tab for many inputs, one for JSON, the model's card, and clearing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..config import CARD
from ..predictor import Predictor
from .components import Upload

EMPTY: dict[type[gr.components.Component], dict[str, Any]] = {  # as Gradio begins with them; others begin with None
    gr.Dataframe: {"headers": ["1", "2", "3"], "data": [], "metadata": None},
    gr.Label: {},
}


@dataclass(frozen=True)
class BatchTab:
    """A tab in which files are uploaded, and what shows their answers."""

    upload: gr.File
    outputs: list[gr.components.Component]

    def answer_with(self, function: Callable[..., Any]) -> None:
        """Have a function answer what is uploaded, at the endpoint "batch".

        It returns a summary, a table, a CSV, and whatever other files the tab has.
        """
        for event in (self.upload.upload, self.upload.clear):
            clear(event, self.outputs)  # what was shown is of an earlier file
        self.upload.upload(function, self.upload, self.outputs, api_name="batch", show_progress_on=self.outputs[0])


def batch_tab(title: str, hint: str, more: Sequence[str] = (), **file: Any) -> BatchTab:
    """Add a tab in which a visitor uploads files that are answered together.

    Args:
        title: of the tab.
        hint: what may be uploaded, in one or two sentences.
        more: labels of files that are offered beside the CSV.
        file: options of the component for the upload, such as file_types and file_count.
    """
    with gr.Tab(title):
        gr.Markdown(hint)
        upload = Upload(label="Upload", **file)
        summary = gr.JSON(label="Summary")
        table = gr.Dataframe(label="The first answers", interactive=False, wrap=True)
        files = [gr.File(label=label) for label in ("The same as CSV", *more)]
    return BatchTab(upload, [summary, table, *files])


def json_tab(*names: str) -> list[gr.JSON]:
    """Add a tab with the JSON that each of some endpoints gave; return its components."""
    with gr.Tab("As JSON"):
        return [gr.JSON(label=name, open=not index) for index, name in enumerate(names)]


def about(model: Predictor[Any, Any, Any]) -> None:
    """Add the fold-out that every page ends with: the model's card, README.md in its folder."""
    if model.origin:
        gr.Markdown(model.origin, elem_classes="origin")
    path = model.folder / CARD
    card = path.read_text(encoding="utf-8").split("---\n", 2)[-1] if path.is_file() else "It came without a card."
    with gr.Accordion("About this model: figures, limits, licence", open=False):
        gr.Markdown(card, elem_classes="figures")


def clear(
    event: Callable[..., Any], outputs: Sequence[gr.components.Component], values: Sequence[Any] | None = None
) -> None:
    """Empty components, so that nothing old stands beside a new answer.

    The browser does it, without asking the server, before anything that the same event asks the server for.

    Args:
        event: such as text.change.
        outputs: two or more components.
        values: what each is set to, as JSON has it; by default None, which empties it.
    """
    pairs = zip(outputs, values or [None] * len(outputs), strict=True)
    empty = [EMPTY.get(type(each)) if value is None else value for each, value in pairs]
    event(None, None, list(outputs), js=f"() => {json.dumps(empty)}", api_visibility="private", show_progress="hidden")


def clear_after_error(
    event: Callable[..., Any], outputs: Sequence[gr.components.Component], values: Sequence[Any] | None = None
) -> None:
    """Empty components by way of the server, so that Gradio takes its mark of an error off them, too.

    Args:
        event: such as predicted.failure.
        outputs: two or more components.
        values: what each is set to; by default None, which empties it.
    """
    empty = tuple(values or [None] * len(outputs))
    event(lambda: empty, None, list(outputs), api_visibility="private", show_progress="hidden")
