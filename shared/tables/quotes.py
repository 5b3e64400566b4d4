"""Find quoted cells of a CSV, and unclosed quotation marks that include other rows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import BadInput

NUMBER = re.compile(r"[-+]?[\d.]+")
LINE_END = re.compile(r"\r\n?|\n")


@dataclass(frozen=True)
class QuotedCell:
    """A quoted cell: its index in the row, and the lines of the file on which it opens and closes.

    `is_closed` is False if the file ends inside the cell; `is_clean` is True if a delimiter or a line end follows the
    closing quotation mark.
    """

    cell: int
    opens: int
    closes: int
    is_closed: bool
    is_clean: bool


def find_quoted_cells(raw: Sequence[str], line: int, delimiter: str) -> Iterator[QuotedCell]:
    """Yield the quoted cells of a row, as the csv module parses them.

    Args:
        raw: the lines of the file that make up the row.
        line: the number of the first of these lines.
        delimiter: the separator of cells.
    """
    text = "".join(raw)
    mark = re.escape(delimiter)
    quoted_part = r'"(?P<inside>[^"]*+(?:""[^"]*+)*+)(?P<close>"?)'
    cell = re.compile(rf" *+(?:{quoted_part})?(?P<rest>[^{mark}\r\n]*+)({mark}|\r\n?|\n|$)")
    start = number = 0
    while start < len(text) and (found := cell.match(text, start)):
        opens = line
        if found["inside"] is not None:
            line += sum(1 for _ in LINE_END.finditer(found["inside"]))
            yield QuotedCell(number, opens, line, bool(found["close"]), not found["rest"].strip())
        if found.end() == start:
            return
        start, number = found.end(), number + 1


def check_closed(raw: Sequence[str], line: int, delimiter: str) -> None:
    """Raise BadInput if the last row ends inside a quoted cell; the arguments are those of find_quoted_cells."""
    if not any('"' in part for part in raw):
        return
    for cell in find_quoted_cells(raw, line, delimiter):
        if not cell.is_closed:
            raise BadInput(
                f"The quotation mark on line {cell.opens} of the CSV is never closed, so the rows after it "
                "cannot be told apart; close it, or delete it."
            )


def find_swallowed_rows(raw: Sequence[str], line: int, values: Sequence[str], delimiter: str, columns: int) -> str:
    """Return an error message if an unclosed quotation mark seems to have merged several rows into one; else "".

    Quoted cells may have several lines. Two signs show that a cell is not meant to: it is closed by a quotation mark in
    the middle of a later line, or all its other lines have as many cells as the row, with numbers in the same places.
    A row with far more cells than the header has `columns` is none of these.
    """
    if len(raw) < 2 or len(values) > 2 * columns:
        return ""
    numbers = [index for index, value in enumerate(values) if NUMBER.fullmatch(value.strip())]
    for cell in find_quoted_cells(raw, line, delimiter):
        if cell.opens == cell.closes:
            continue
        is_last = cell.cell == len(values) - 1  # then the quotation mark may be meant to protect delimiters
        whole = raw[cell.opens - line + is_last : cell.closes - line + 1]
        others = (part.strip().split(delimiter) for part in whole)
        looks_like_rows = any(index != cell.cell for index in numbers[:2]) and all(
            len(other) == len(values)
            and all(NUMBER.fullmatch(other[index].strip()) for index in numbers if index != cell.cell)
            for other in others
        )
        if looks_like_rows or not cell.is_clean:
            return (
                f"Lines {cell.opens} to {cell.closes} are one cell, since the quotation mark on line {cell.opens} is "
                f"not closed before line {cell.closes}; close it on its own line, or delete it."
            )
    return ""
