"""Check the texts of a page, and show the parts of an explanation in colours and in words."""

import gradio as gr

from ..errors import BadInput
from ..limits import LIMITS
from ..markdown import escape_markdown
from ..tables import Table, read_csv, read_lines
from ..text import strip_invisible
from ..text_classifier import TextClassifierConfig, TextClassifierExplanation
from .explanations import format_percent

STRONGEST = 0.55  # opacity of a colour behind a text


def require_text(text: str | None, is_asked_for: bool = False) -> str:
    """Return the text.

    Args:
        text: the content of the text box.
        is_asked_for: True to show the error of an empty box; False while a visitor types.

    Raises:
        gr.Error: the text is empty.
        BadInput: the text is too long.
    """
    if text is None or (isinstance(text, str) and not strip_invisible(text).strip()):
        raise gr.Error("Write something first.", visible=is_asked_for, print_exception=False)
    if isinstance(text, str) and len(text) > LIMITS.page_characters:
        raise BadInput(f"The text has {len(text):,} characters; at most {LIMITS.page_characters:,} are read here.")
    return text


def read_texts(file: str) -> Table:
    """Read an uploaded file: a CSV with the column "text", or a text file (.txt) with one text per line."""
    if isinstance(file, str) and file.lower().endswith(".txt"):
        return read_lines(file, "text", LIMITS.texts)
    return read_csv(file, ["text"], LIMITS.texts)


def colour_parts(why: TextClassifierExplanation) -> list[tuple[str, float | None]]:
    """Return the parts with values scaled so that the largest has the strongest colour on which text is legible.

    Gradio shows negative values in purple and positive ones in red, so the signs are reversed.
    """
    largest = max((abs(value) for _, value in why.parts if value is not None), default=0) or 1
    return [(piece, None if value is None else -STRONGEST * value / largest) for piece, value in why.parts]


def add_parts(config: TextClassifierConfig) -> gr.HighlightedText:
    """Add the component for coloured parts; the second of two labels has the colour of positive values."""
    meaning = "Purple points to the answer, red against it"
    if len(config.labels) == 2:
        against, towards = map(config.get_label_name, config.labels)
        meaning = f"Purple points to {towards}, red to {against}"
    return gr.HighlightedText(label=meaning, combine_adjacent=False, elem_classes="parts")


def describe_parts(why: TextClassifierExplanation, config: TextClassifierConfig, part: int | None) -> str:
    """Return a sentence about the effect of the coloured parts, and a hint if a part has several words."""
    label, before, after = why.label, why.base, why.probability
    if len(config.labels) == 2 and after < 0.5:  # the other label is the answer
        label, before, after = next(each for each in config.labels if each != label), 1 - before, 1 - after
    these = "The coloured words" if part is None else "These words"
    named = f"“{escape_markdown(config.get_label_name(label))}”"
    ends = format_percent(before), format_percent(after)
    words = (
        f"{these} changed {named} by less than a point."
        if ends[0] == ends[1]
        else f"{these} moved {named} from {ends[0]} to {ends[1]}."
    )
    has_clauses = any(" " in piece.strip() for piece, _ in why.parts)
    return words + " Tap a part to see its words." * (part is None and has_clauses)


def find_tapped(why: TextClassifierExplanation, tap: gr.SelectData) -> int | None:
    """Return the index of the tapped part if it has several words and was read; else None."""
    index = tap.index
    chosen = tap.value[0] if isinstance(tap.value, list) and tap.value else None
    if not isinstance(index, int) or not 0 <= index < len(why.parts) or why.parts[index][0] != chosen:
        return None
    piece, value = why.parts[index]
    return index if value is not None and " " in piece.strip() else None
