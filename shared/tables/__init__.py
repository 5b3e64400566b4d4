"""Read CSV files of many dialects, predict their rows, and write CSV that is safe to open in a spreadsheet.

A file is never held in memory. It is read three times: to detect its encoding, to check it, and to predict its rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..errors import BadInput
from ..limits import LIMITS
from .encoding import GUESSED, find_encoding, open_text
from .rows import Row, find_delimiter, read_csv_rows, read_text_rows
from .writing import write_csv

__all__ = ["CHUNK", "Row", "Table", "answer_table", "read_csv", "read_lines", "write_csv"]

MAX_SENTENCE = 500  # characters of a row's error message; there may be 100,000 of them
CHUNK = 4096
CHUNK_CHARACTERS = 500_000  # a chunk ends at this size even if it has fewer rows

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Table:
    """A file that has been checked completely. Its length is the number of rows; iterating reads the file again.

    `guessed` is the encoding if it had to be guessed; "" for UTF-8, UTF-16 and UTF-32.
    """

    required: tuple[str, ...]
    delimiter: str
    count: int
    read: Callable[[], Iterator[Row]] = field(repr=False)
    guessed: str = ""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        return self.read()


def read_csv(
    path: str | Path, required: Sequence[str], max_rows: int = LIMITS.rows, max_bytes: int | None = None
) -> Table:
    """Check a CSV file with a header.

    The delimiter may be a comma, semicolon, tab or vertical bar, and the encoding UTF-8, UTF-16 or (guessed)
    Windows-1252. Required columns match in any case and with any separator: userId matches user_id. Other columns are
    kept. A row with a wrong number of cells, or with an unclosed quotation mark that seems to include other rows, is
    kept with an error. Empty rows, and empty cells beyond the header, are skipped. `max_bytes` limits the file's size.

    Raises:
        BadInput: the file is not a CSV, is empty or too large, lacks a required column, has a row that cannot be read,
            or ends within a quoted cell.
    """
    encoding = find_encoding(path, max_bytes)
    with open_text(path, encoding) as file:
        delimiter = find_delimiter(file, required)

    def read() -> Iterator[Row]:
        with open_text(path, encoding) as file:
            yield from read_csv_rows(file, delimiter, required, max_rows)

    count = sum(1 for _ in read())
    if not count:
        raise BadInput("The CSV has a header but no rows; put one row for each prediction below it.")
    return Table(tuple(required), delimiter, count, read, GUESSED.get(encoding, ""))


def read_lines(path: str | Path, column: str, max_rows: int = LIMITS.rows) -> Table:
    """Check a text file and return it as a table of one column, with a row for each line that is not empty.

    Raises:
        BadInput: the file is empty, binary or too large, or a line is too long.
    """
    encoding = find_encoding(path)

    def read() -> Iterator[Row]:
        with open_text(path, encoding, newline=None) as file:
            yield from read_text_rows(file, column, max_rows)

    count = sum(1 for _ in read())
    if not count:
        raise BadInput("The file is empty; write a line for each prediction.")
    return Table((column,), ",", count, read, GUESSED.get(encoding, ""))


def answer_table(
    table: Table,
    answer: Callable[[list[dict[str, str]]], Sequence[Answer | BadInput]],
    cells: Callable[[Answer], Mapping[str, object]],
    progress: Callable[[float], object] = lambda _: None,
    chunk: int = CHUNK,
) -> Iterator[dict[str, object]]:
    """Yield the table's rows, each with the cells of its prediction, or with an "error" that names the line.

    All rows have the same columns: those of the table, those of a prediction, and "error". If a column of the table has
    the same name as one of ours, " (yours)" is appended to its name, until no other has it.

    Args:
        table: the result of read_csv or read_lines.
        answer: predicts a list of rows, each with only the required columns; returns a BadInput for an invalid row.
        cells: converts a prediction to the columns to add, the same ones for every prediction.
        progress: called with the fraction done, 0 to 1, after every chunk.
        chunk: number of rows predicted at once; fewer if they are long.
    """

    def ask(rows: Sequence[Row]) -> list[Answer | BadInput]:
        asked = [{name: row.cells[name] for name in table.required} for row in rows if not row.error]
        replies = iter(answer(asked) if asked else ())
        return [BadInput(row.error) if row.error else next(replies) for row in rows]

    def columns(replies: Sequence[Answer | BadInput]) -> list[str] | None:
        return next((list(cells(reply)) for reply in replies if not isinstance(reply, BadInput)), None)

    added: list[str] | None = None
    done = 0
    for rows in _split_into_chunks(table, chunk):
        replies = ask(rows)
        if added is None:
            added = columns(replies)
        if added is None:  # only invalid rows so far: look ahead to find the columns
            added = next((found for later in _split_into_chunks(table, chunk) if (found := columns(ask(later)))), [])
        names = rename_columns(rows[0].header or rows[0].columns, (*added, "error"))
        for row, reply in zip(rows, replies, strict=True):
            yours = dict(zip(names, row.cells.values(), strict=False))
            if isinstance(reply, BadInput):
                sentence = f"Line {row.line}: {reply}"
                cut = sentence if len(sentence) <= MAX_SENTENCE else sentence[: MAX_SENTENCE - 3] + "..."
                yield {**yours, **dict.fromkeys(added, ""), "error": cut}
            else:
                yield {**yours, **cells(reply), "error": ""}
        done += len(rows)
        progress(done / len(table))


def rename_columns(names: Sequence[str], ours: Sequence[str]) -> list[str]:
    """Return the names of a visitor's columns, with " (yours)" behind those that are also among ours."""
    renamed: list[str] = []
    for name in names:
        new = name
        while new in ours or (new != name and (new in names or new in renamed)):
            new = f"{new} (yours)"
        renamed.append(new)
    return renamed


def _split_into_chunks(table: Table, most: int) -> Iterator[list[Row]]:
    rows: list[Row] = []
    characters = 0
    for row in table:
        rows.append(row)
        characters += len(row.values) + sum(map(len, row.values))
        if len(rows) == most or characters >= CHUNK_CHARACTERS:
            yield rows
            rows, characters = [], 0
    if rows:
        yield rows
