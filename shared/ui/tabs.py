"""What every page has in the same shape: introduction, tabs for many inputs and JSON, the model's card, clearing."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..config import CARD
from ..markdown import escape_markdown
from ..predictor import Predictor
from .components import Upload

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # of a card: what the Hub reads
CODE = re.compile(r"(^(`{3,}).*?^\2|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
FOLDER_LINK = re.compile(r"!?\[([^\]\n]*)\]\((?!https?:|mailto:)[^)\n]*\)")  # leads to a file beside the card
LONGEST_CARD = 200_000  # characters


def introduce(model: Predictor[Any, Any, Any], more: str) -> None:
    """Add the heading and the introduction: the model's title and summary, and more sentences, as Markdown."""
    about = model.config.about
    gr.Markdown(f"# {escape_markdown(about.title)}\n{escape_markdown(about.summary)} {more}")


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


def add_batch_tab(title: str, hint: str, more: Sequence[str] = (), **file: Any) -> BatchTab:
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
        table = gr.Dataframe(label="The first answers", interactive=False)
        files = [gr.File(label=label) for label in ("The same as CSV", *more)]
    return BatchTab(upload, [summary, table, *files])


def add_json_tab(*names: str) -> list[gr.JSON]:
    """Add a tab with the JSON that each of some endpoints gave; return its components."""
    with gr.Tab("As JSON"):
        return [gr.JSON(label=name, open=not index) for index, name in enumerate(names)]


def add_card(model: Predictor[Any, Any, Any]) -> None:
    """Add the fold-out that every page ends with: the model's card, README.md in its folder."""
    if model.origin:
        gr.Markdown(model.origin, elem_classes="origin")
    with gr.Accordion("About this model: figures, limits, licence", open=False):
        gr.Markdown(read_card(model.folder), elem_classes="figures")


def read_card(folder: Path) -> str:
    """Return the card in a checkpoint folder as a page shows it.

    Its front matter is left out. Links to other files of the folder, which a page does not serve, become plain text.
    """
    path = folder / CARD
    if not path.is_file():
        return f"This model came without a card: its folder has no {CARD}."
    card = FRONT_MATTER.sub("", path.read_text(encoding="utf-8", errors="replace"))
    if len(card) > LONGEST_CARD:
        card = card[:LONGEST_CARD].rpartition("\n")[0] + f"\n\nThe rest is in {CARD}."
    parts = CODE.split(card)  # text, code, its fence, text, ...
    return "".join(
        FOLDER_LINK.sub(r"\1", part) if index % 3 == 0 else part
        for index, part in enumerate(parts)
        if index % 3 != 2 and part
    )


def clear(event: Callable[..., Any], outputs: Sequence[gr.components.Component]) -> None:
    """Set components to what they showed when the page began, so that nothing old stands beside a new answer.

    The browser does it, without asking the server, before anything that the same event asks the server for.

    Args:
        event: such as text.change.
        outputs: two or more components.
    """
    begin = json.dumps([each.value for each in outputs])
    event(None, None, list(outputs), js=f"() => {begin}", api_visibility="private", show_progress="hidden")


def clear_after_error(event: Callable[..., Any], outputs: Sequence[gr.components.Component]) -> None:
    """Do as `clear` by way of the server, for only so does Gradio take its mark of an error off the components.

    Args:
        event: such as predicted.failure.
        outputs: two or more components.
    """
    begin = tuple(each.value if isinstance(each.value, str) else None for each in outputs)
    event(lambda: begin, None, list(outputs), api_visibility="private", show_progress="hidden")
