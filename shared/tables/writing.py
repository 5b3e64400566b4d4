"""Write CSV that is safe to open in a spreadsheet: no cell can become a formula."""

import csv
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

SAFE_STARTS = frozenset(["", *string.ascii_letters, *string.digits])  # first characters of most cells
# Digits and separators, which every spreadsheet reads as a number.
NUMBER = re.compile(r"\s*[-+\u2212]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?\s*%?", re.ASCII)
LONGEST_NUMBER = 64
FORMULA = set("=+-@\u2212")
INVISIBLE = {"Cc", "Cf", "Mn", "Zl", "Zp", "Zs"}  # Unicode categories of invisible and blank characters
BLANKS = set("\u115f\u1160\u2800\u3164\uffa0")  # blank, but in other categories
MAX_INVISIBLE = 100


def write_csv(
    path: str | Path,
    rows: Iterable[Mapping[str, object]],
    delimiter: str = ",",
    columns: Sequence[str] | None = None,
) -> Path:
    """Write rows as CSV that is safe to open in a spreadsheet: no cell can become a formula.

    The encoding is UTF-8 with a byte order mark, which Excel needs; text is quoted. Lone surrogates become question
    marks.

    Args:
        path: the file to write; it is returned.
        rows: rows as {column: value}.
        delimiter: the separator of cells.
        columns: the columns to write; by default those of all rows, which are then held in memory.
    """
    if columns is None:
        rows = list(rows)
        columns = list(dict.fromkeys(name for row in rows for name in row))
    with Path(path).open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(escape_formulas(columns))
        writer.writerows(escape_formulas(row.get(name, "") for name in columns) for row in rows)
    return Path(path)


def escape_formulas(cells: Iterable[object]) -> list[object]:
    """Return the cells, with an apostrophe before each text that a spreadsheet may read as a formula.

    A text that looks as if it already had one gets another, so that read_escaped returns each text as it was.
    """
    return [
        f"'{cell}" if isinstance(cell, str) and cell[:1] not in SAFE_STARTS and _needs_escape(cell) else cell
        for cell in cells
    ]


def read_escaped(cell: str) -> str:
    """Return a cell as it was before escape_formulas."""
    return cell[1:] if cell[:1] == "'" and _needs_escape(cell[1:]) else cell


def _needs_escape(text: str) -> bool:
    bare = text.lstrip("'")
    return bool(bare) and _is_formula(bare)


def _is_formula(text: str) -> bool:
    """Return True if a spreadsheet may read a cell as a formula, ignoring invisible characters and full width."""
    if len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text):
        return False
    if text[0] in "\t\r\n":
        return True
    for letter in islice(text, MAX_INVISIBLE):
        if letter not in BLANKS and unicodedata.category(letter) not in INVISIBLE:
            return unicodedata.normalize("NFKC", letter)[0] in FORMULA
    return len(text) > MAX_INVISIBLE
