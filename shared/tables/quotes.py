"""Quoted cells of a CSV: where they open and close, and whether one of them has swallowed other rows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import BadInput

A_NUMBER = re.compile(r"[-+]?[\d.]+")
LINE_END = re.compile(r"\r\n?|\n")


@dataclass(frozen=True)
class QuotedCell:
    """A quoted cell: its number in the row, and the lines of the file on which it opens and closes.

    `is_closed` is False if the file ends within it; `is_clean` is True if a delimiter or the end of the line follows
    its closing mark.
    """

    cell: int
    opens: int
    closes: int
    is_closed: bool
    is_clean: bool


def find_quoted_cells(raw: Sequence[str], line: int, delimiter: str) -> Iterator[QuotedCell]:
    """Yield the quoted cells of a row as csv reads them.

    Args:
        raw: the lines of the file that the row has.
        line: the number of the first of them.
        delimiter: what separates cells.
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
    """Raise BadInput if a file's last row ends within a quoted cell; the arguments are those of find_quoted_cells."""
    if not any('"' in part for part in raw):
        return
    for cell in find_quoted_cells(raw, line, delimiter):
        if not cell.is_closed:
            raise BadInput(
                f"The quotation mark that opens on line {cell.opens} of the CSV is never closed, so the rows after it "
                "cannot be told apart; close it, or delete it."
            )


def find_swallowed_rows(raw: Sequence[str], line: int, values: Sequence[str], delimiter: str) -> str:
    """Return what is wrong with a row if a quotation mark seems to have made one row of several; else "".

    Quoted cells may have several lines. Two things show that one is not meant to: a quotation mark in the
    middle of a later line closes it, or all its other lines have as many cells as the row, with numbers where it has
    some.
    """
    numbers = [index for index, value in enumerate(values) if A_NUMBER.fullmatch(value.strip())]
    for cell in find_quoted_cells(raw, line, delimiter):
        if cell.opens == cell.closes:
            continue
        is_last = cell.cell == len(values) - 1  # then the mark may have been meant to protect delimiters
        whole = raw[cell.opens - line + is_last : cell.closes - line + 1]
        others = (part.strip().split(delimiter) for part in whole)
        looks_like_rows = any(index != cell.cell for index in numbers[:2]) and all(
            len(other) == len(values)
            and all(A_NUMBER.fullmatch(other[index].strip()) for index in numbers if index != cell.cell)
            for other in others
        )
        if looks_like_rows or not cell.is_clean:
            return (
                f"Lines {cell.opens} to {cell.closes} are one cell, since the quotation mark on line {cell.opens} is "
                f"not closed before line {cell.closes}; close it on its own line, or delete it."
            )
    return ""
