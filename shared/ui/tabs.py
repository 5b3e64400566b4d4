"""Parts that all pages have: introduction, tabs for many inputs and for JSON, model card, and clearing."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..config import CARD
from ..limits import LIMITS
from ..markdown import escape_markdown
from ..predictor import Predictor
from .components import Upload, complete_page
from .downloads import add_download
from .retention import SWEEP_SECONDS
from .snippets import add_snippets

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # the YAML header of a card, for the Hub
CODE = re.compile(r"(^(`{3,}).*?^\2|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
FOLDER_LINK = re.compile(r"!?\[([^\]\n]{0,500})\]\((?!https?:|mailto:)[^)\n]*\)")  # a link to a file next to the card
LONGEST_CARD = 200_000  # characters
PRIVACY = (
    "What you send is used only for your answer: it is not logged or passed on. We delete your files within "
    f"{(LIMITS.kept_seconds + SWEEP_SECONDS) / 60:.0f} minutes."
)


def introduce(model: Predictor[Any, Any, Any], more: str = "") -> None:
    """Add the heading and introduction: the model's title and summary, and another paragraph as Markdown."""
    about = model.config.about
    gr.Markdown(f"# {escape_markdown(about.title)}\n{escape_markdown(about.summary)}\n\n{more}".rstrip())
    complete_page()


@dataclass(frozen=True)
class BatchTab:
    """A tab for uploading files, and the components for the results."""

    upload: gr.File
    outputs: list[gr.components.Component]

    def answer_with(self, function: Callable[..., Any]) -> None:
        """Call a function for each upload, at the endpoint "batch".

        The function returns a summary, a table, a CSV, and any other files of the tab.
        """
        for event in (self.upload.upload, self.upload.clear):
            clear(event, self.outputs)  # results of an earlier file
        self.upload.upload(function, self.upload, self.outputs, api_name="batch", show_progress_on=self.upload)


def add_batch_tab(title: str, hint: str, more: Sequence[str] = (), template: str = "", **file: Any) -> BatchTab:
    """Add a tab for uploading many inputs.

    Args:
        title: title of the tab.
        hint: one or two sentences about the accepted files.
        more: labels of files for download besides the CSV.
        template: a CSV to download and fill in.
        file: options of the upload component, such as file_types and file_count.
    """
    with gr.Tab(title):
        gr.Markdown(hint)
        if template:
            add_download("Download a CSV to fill in", "template.csv", template)
        upload = Upload(label="Upload", **file)
        with gr.Column(elem_classes="results"):  # hidden until there is a file
            summary = gr.JSON(label="Summary")
            table = gr.Dataframe(label="The first answers", interactive=False)
            files = [gr.File(label=label) for label in ("The same as CSV", *more)]
    return BatchTab(upload, [summary, table, *files])


def add_json(*names: str) -> list[gr.JSON]:
    """Add a tab that shows the JSON of each named endpoint; return its components."""
    with gr.Tab("As JSON"):
        return [gr.JSON(label=name, open=not index) for index, name in enumerate(names)]


def add_card(model: Predictor[Any, Any, Any]) -> None:
    """Add the model card, README.md in the model's folder, to fold out."""
    with gr.Accordion("Model card: all figures, data and licence", open=False):
        gr.Markdown(read_card(model.folder), elem_classes="figures")


def add_end(model: Predictor[Any, Any, Any]) -> None:
    """Add the end of a page: code that asks the model, where it comes from, and the note on privacy."""
    add_snippets(model)
    if model.origin:
        gr.Markdown(model.origin, elem_classes="origin")
    gr.Markdown(PRIVACY, elem_classes="origin")


def read_card(folder: Path) -> str:
    """Return the model card of a checkpoint folder as Markdown for a page.

    The YAML header is removed. Links to other files in the folder become plain text, because a page does not serve
    these files.
    """
    path = folder / CARD
    if not path.is_file():
        return f"This model has no card: {CARD} is missing in its folder."
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
    """Reset components to their initial values, so that no old result is shown next to a new one.

    This happens in the browser, before the same event sends a request to the server.

    Args:
        event: an event, such as text.change.
        outputs: two or more components.
    """
    begin = json.dumps([each.value for each in outputs])
    event(None, None, list(outputs), js=f"() => {begin}", api_visibility="private", show_progress="hidden")


def clear_after_error(event: Callable[..., Any], outputs: Sequence[gr.components.Component]) -> Any:
    """Reset components like `clear`, but on the server, which also removes Gradio's error marks; return the event.

    Args:
        event: an event, such as predicted.failure.
        outputs: two or more components.
    """
    begin = tuple(each.value if isinstance(each.value, str) else None for each in outputs)
    return event(lambda: begin, None, list(outputs), api_visibility="private", show_progress="hidden")
