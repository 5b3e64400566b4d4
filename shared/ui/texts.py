"""Texts on a page: what a visitor wrote, and the parts of an explanation in colours and in words."""

import gradio as gr

from ..errors import BadInput
from ..markdown import escape_markdown
from ..tables import Table, read_csv, read_lines
from ..text import strip_invisible
from ..text_classifier import TextClassifierExplanation
from ..tokens import clean_text
from .explanations import format_percent

LONGEST = 100_000  # characters of a text on a page, which is answered as it is typed
MOST_TEXTS = 5000  # in a file: bounds the work of one request


def require_text(text: str | None, is_asked_for: bool = False) -> str:
    """Return the text.

    Args:
        text: what is in the box.
        is_asked_for: whether a page should show the error of an empty box; it does not while somebody types.

    Raises:
        gr.Error: there is no text.
        BadInput: there is too much.
    """
    if text is None or (isinstance(text, str) and not strip_invisible(text).strip()):
        raise gr.Error("Write a text first.", visible=is_asked_for, print_exception=False)
    if isinstance(text, str) and len(text) > LONGEST:
        raise BadInput(f"The text has {len(text):,} characters; at most {LONGEST:,} are read here.")
    return text


def read_texts(file: str) -> Table:
    """Read an uploaded file of texts: a CSV with the column "text", or a text file (.txt) with a text on each line."""
    if isinstance(file, str) and file.lower().endswith(".txt"):
        return read_lines(file, "text", MOST_TEXTS)
    return read_csv(file, ["text"], MOST_TEXTS)


def colour_parts(why: TextClassifierExplanation) -> list[tuple[str, float | None]]:
    """Return the parts with values from -1 to 1: the one that counts most has the full colour.

    Gradio shows what is below 0 in purple and what is above in red, so what speaks against the label is above.
    """
    largest = max((abs(value) for _, value in why.parts if value is not None), default=0) or 1
    return [(piece, None if value is None else -value / largest) for piece, value in why.parts]


def describe_parts(why: TextClassifierExplanation, label: str, part: int | None) -> str:
    """Say what the coloured parts add, and that a part of several words can be explained, too."""
    without, those = ("the coloured words", "them") if part is None else ("this part", "it")
    named = escape_markdown(label.lower())
    before, after = format_percent(why.base), format_percent(why.probability)
    words = f"Without {without} it would be {before} {named}; with {those}, {after}."
    has_clauses = any(" " in piece.strip() for piece, _ in why.parts)
    return words + " Tap a part to explain its words." * (part is None and has_clauses)


def find_tapped_part(why: TextClassifierExplanation, tap: gr.SelectData) -> int | None:
    """Return the number of the part that was tapped, if it has several words that were read; else None."""
    index = tap.index
    if not isinstance(index, int) or index >= len(why.parts) or why.parts[index][0] != tap.value[0]:
        return None
    piece, value = why.parts[index]
    return index if value is not None and " " in piece.strip() else None


def is_about(found: dict[str, list[dict[str, str]]] | None, text: str) -> bool:
    """Return True if an explanation, as JSON has it, is of this text, or if there is none."""
    try:
        return found is None or "".join(piece["text"] for piece in found["parts"]) == clean_text(text)
    except BadInput:
        return False
