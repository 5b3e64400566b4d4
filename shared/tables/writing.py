"""CSV that is safe to open in a spreadsheet: no cell can become a formula."""

import csv
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

HARMLESS = frozenset(["", *string.ascii_letters, *string.digits])  # nearly all cells begin so
# Digits and what separates them: no spreadsheet finds anything but a number in it.
NUMBER = re.compile(r"\s*[-+\u2212]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?\s*%?", re.ASCII)
LONGEST_NUMBER = 64
FORMULA = set("=+-@\u2212")
UNSEEN = {"Cc", "Cf", "Mn", "Zl", "Zp", "Zs"}  # categories of what has no width or is blank
BLANK_LETTERS = set("\u115f\u1160\u2800\u3164\uffa0")  # of other categories
MOST_UNSEEN = 100


def write_csv(
    path: str | Path,
    rows: Iterable[Mapping[str, object]],
    delimiter: str = ",",
    columns: Sequence[str] | None = None,
) -> Path:
    """Write rows as CSV that is safe to open in a spreadsheet: no cell can become a formula.

    UTF-8 with a byte order mark, without which Excel reads another encoding; text is quoted. Half a surrogate pair,
    which is no character, becomes a question mark.

    Args:
        path: the file to write; it is returned.
        rows: values by column, one row at a time.
        delimiter: what separates cells.
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
    """Return the cells, with an apostrophe before each text that a spreadsheet may take for a formula."""
    return [
        f"'{cell}" if isinstance(cell, str) and cell[:1] not in HARMLESS and _is_formula(cell) else cell
        for cell in cells
    ]


def _is_formula(text: str) -> bool:
    """Return True if a spreadsheet may take a cell for a formula: it may ignore invisible characters and full width."""
    if len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text):
        return False
    if text[0] in "\t\r\n":
        return True
    for letter in islice(text, MOST_UNSEEN):
        if letter not in BLANK_LETTERS and unicodedata.category(letter) not in UNSEEN:
            return unicodedata.normalize("NFKC", letter)[0] in FORMULA
    return len(text) > MOST_UNSEEN
