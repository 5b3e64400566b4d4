"""CSV in, CSV out: read what people really have, answer row by row, write what a spreadsheet may open.

A file is never held in memory: it is read once to find what is wrong with it, and again to be answered.
"""

import codecs
import csv
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TextIO, TypeVar

from shared.errors import BadInput, quoted

MAX_ROWS = 100_000
MAX_EMPTY_ROWS = 1_048_576  # as many as a sheet of Excel has, which may write them all
MAX_BYTES = 50_000_000
MAX_COLUMNS = 200
MAX_CELL = 6_000_000  # characters: a long review is one, Python's own limit is 131,072
MAX_ROW = 6_500_000  # characters: bounds the memory of a row of very many short cells
MAX_SENTENCE = 500  # characters that say what is wrong with a row: there may be 100,000 of them
CHUNK = 4096
CHUNK_CHARACTERS = 500_000  # in a chunk of fewer rows, if they are long
BLOCK = 1_000_000  # bytes
csv.field_size_limit(MAX_CELL)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Row:
    """A row: the line of the file that it begins on, its values by column, and what is wrong with it, if anything."""

    line: int
    columns: Sequence[str]
    values: Sequence[str]
    error: str = ""

    @cached_property
    def cells(self) -> dict[str, str]:
        """The values by column, without the spaces around them. A row with an error may lack some."""
        return dict(zip(self.columns, (value.strip() for value in self.values), strict=False))


@dataclass(frozen=True)
class Table:
    """A file that has been checked to its end. Its length is the number of rows; iterating reads them once more."""

    required: tuple[str, ...]
    delimiter: str
    count: int
    read: Callable[[], Iterator[Row]] = field(repr=False)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        return self.read()


def read_csv(path: str | Path, required: Sequence[str], max_rows: int = MAX_ROWS) -> Table:
    """Check a CSV with a header; UTF-8 (with or without BOM), UTF-16 or Latin-1; comma, semicolon or tab.

    Columns beyond the required ones are kept. A row with too few or too many cells is kept too, with an error. Empty
    rows are skipped.

    Raises:
        BadInput: the file is no CSV, is empty, is too large, lacks a required column, or has a row that cannot be read.
    """
    encoding = _encoding(path)
    with _open(path, encoding) as file:
        delimiter = max(",;\t", key=file.readline(MAX_ROW).count)

    def read() -> Iterator[Row]:
        with _open(path, encoding) as file:
            yield from _csv_rows(file, delimiter, required, max_rows)

    count = sum(1 for _ in read())
    if not count:
        raise BadInput("The CSV has a header but no rows; put one row for each prediction below it.")
    return Table(tuple(required), delimiter, count, read)


def read_lines(path: str | Path, column: str, max_rows: int = MAX_ROWS) -> Table:
    """Check a text file: a table of one column, a row for each line that is not empty; encodings as in read_csv.

    Raises:
        BadInput: the file is empty, binary, too large, or has too long a line.
    """
    encoding = _encoding(path)

    def read() -> Iterator[Row]:
        with _open(path, encoding, newline=None) as file:
            yield from _text_rows(file, column, max_rows)

    count = sum(1 for _ in read())
    if not count:
        raise BadInput("The file is empty; write a line for each prediction.")
    return Table((column,), ",", count, read)


def _csv_rows(file: TextIO, delimiter: str, required: Sequence[str], max_rows: int) -> Iterator[Row]:
    lines = _Lines(file, "CSV")
    reader = csv.reader(lines, delimiter=delimiter)
    count = empty = 0
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_header(columns, required)
        line = reader.line_num + 1
        for values in reader:
            lines.characters = 0
            if any(value.strip() for value in values):
                count += 1
                if count > max_rows:
                    raise BadInput(f"The CSV has more than {max_rows:,} rows; split it into smaller files.")
                is_whole = len(values) == len(columns)
                error = "" if is_whole else f"The row has {len(values):,} cells; the header has {len(columns)}."
                yield Row(line, columns, values[: len(columns)], error)
            else:
                empty += 1
                if empty > MAX_EMPTY_ROWS:
                    raise BadInput(f"The CSV has more than {MAX_EMPTY_ROWS:,} empty rows; delete them.")
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadInput(f"Line {reader.line_num} of the CSV cannot be read: {error}.") from error


def _text_rows(file: TextIO, column: str, max_rows: int) -> Iterator[Row]:
    lines = _Lines(file, "file")
    count = 0
    for number, line in enumerate(lines, 1):
        lines.characters = 0
        if line.strip():
            count += 1
            if count > max_rows:
                raise BadInput(f"The file has more than {max_rows:,} lines; split it into smaller files.")
            yield Row(number, (column,), (line,))


class _Lines:
    """The lines of a file; those since `characters` was last set to 0 may have MAX_ROW characters together."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.file, self.name = file, name
        self.number = self.characters = 0

    def __iter__(self) -> Iterator[str]:
        while line := self.file.readline(MAX_ROW + 1):
            self.number += 1
            self.characters += len(line)
            if self.characters > MAX_ROW:
                raise BadInput(
                    f"Line {self.number} of the {self.name} cannot be read: it belongs to a row of more than "
                    f"{MAX_ROW:,} characters."
                )
            yield line


def _open(path: str | Path, encoding: str, newline: str | None = "") -> TextIO:
    try:
        return Path(path).open(encoding=encoding, newline=newline)
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.") from error


def _encoding(path: str | Path) -> str:
    """The encoding of a text file, which is read once, block by block.

    Raises:
        BadInput: the file cannot be read, is empty or too large, or is no text.
    """
    if not isinstance(path, str | Path):
        raise BadInput("Choose a file first.")
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise BadInput(f"The file is larger than {MAX_BYTES // 1_000_000} MB; split it into smaller files.")
        with Path(path).open("rb") as file:
            return _encoding_of(iter(lambda: file.read(BLOCK), b""))
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.") from error
    except UnicodeError as error:
        raise BadInput("The file's characters cannot be read; save it as UTF-8.") from error
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput("There is no such file.") from error  # its name has characters that no name may have


def _encoding_of(blocks: Iterator[bytes]) -> str:
    block = next(blocks, b"")
    if block.startswith(b"PK\x03\x04"):
        raise BadInput("This is an Excel or zip file; save it as CSV first.")
    is_wide = block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    names = ["utf-16"] if is_wide else ["utf-8-sig", "cp1252", "latin-1"]
    decoders = {name: codecs.getincrementaldecoder(name)() for name in names}
    is_empty = True
    while True:
        if b"\x00" in block and not is_wide:
            raise BadInput("This is not a text file or a CSV: it contains binary data.")
        is_empty = is_empty and not block.strip()
        for name, decoder in list(decoders.items()):
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError:
                del decoders[name]
        if not block:
            break
        block = next(blocks, b"")
    if is_empty:
        raise BadInput("The file is empty; write a line for each prediction.")
    if not decoders:
        raise BadInput("The file's characters cannot be read; save it as UTF-8.")
    return next(iter(decoders))


def _check_header(columns: Sequence[str], required: Sequence[str]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise BadInput(f"The CSV has {len(columns):,} columns; at most {MAX_COLUMNS} are read.")
    missing = [name for name in required if name not in columns]
    if missing:
        raise BadInput(
            f"The CSV lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"its first line must name {', '.join(required)}."
        )
    repeated = [name for name, times in Counter(columns).items() if name and times > 1]
    if repeated:
        raise BadInput(f"The CSV names the column {quoted(repeated[0])} twice.")


def answer_table(
    table: Table,
    answer: Callable[[list[dict[str, str]]], Sequence[Answer | BadInput]],
    cells: Callable[[Answer], Mapping[str, object]],
    progress: Callable[[float], object] = lambda _: None,
    chunk: int = CHUNK,
) -> Iterator[dict[str, object]]:
    """The table's rows, one at a time, with the cells of each answer added, or an "error" that names the line.

    All rows have the same columns: those of the table, those of an answer, and "error". A column of the table that has
    the name of one of ours gets " (yours)" behind it.

    Args:
        table: from read_csv.
        answer: answers a list of rows, each with the required columns alone; a bad row's answer is a BadInput.
        cells: turns an answer into columns to add, the same for every answer.
        progress: told the share done, 0 to 1, after every chunk.
        chunk: rows that are answered at once; fewer if they are long.
    """

    def ask(rows: Sequence[Row]) -> list[Answer | BadInput]:
        asked = [{name: row.cells[name] for name in table.required} for row in rows if not row.error]
        replies = iter(answer(asked) if asked else ())
        return [BadInput(row.error) if row.error else next(replies) for row in rows]

    def columns(replies: Sequence[Answer | BadInput]) -> list[str] | None:
        return next((list(cells(reply)) for reply in replies if not isinstance(reply, BadInput)), None)

    added: list[str] | None = None
    done = 0
    for rows in _chunks(table, chunk):
        replies = ask(rows)
        if added is None:
            added = columns(replies)
        if added is None:  # nothing but bad rows so far: look ahead, since a CSV begins with its columns
            added = next((found for later in _chunks(table, chunk) if (found := columns(ask(later)))), [])
        renamed = {name: f"{name} (yours)" for name in (*added, "error")}
        for row, reply in zip(rows, replies, strict=True):
            yours = {renamed.get(name, name): cell for name, cell in row.cells.items()}
            if isinstance(reply, BadInput):
                sentence = f"Line {row.line}: {reply}"
                cut = sentence if len(sentence) <= MAX_SENTENCE else sentence[: MAX_SENTENCE - 3] + "..."
                yield {**yours, **dict.fromkeys(added, ""), "error": cut}
            else:
                yield {**yours, **cells(reply), "error": ""}
        done += len(rows)
        progress(done / len(table))


def _chunks(table: Table, most: int) -> Iterator[list[Row]]:
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
        writer.writerow(_harmless(columns))
        writer.writerows(_harmless(row.get(name, "") for name in columns) for row in rows)
    return Path(path)


HARMLESS = frozenset(["", *string.ascii_letters, *string.digits])  # nearly all cells begin so
# Digits and what separates them: no spreadsheet finds anything but a number in it.
NUMBER = re.compile(r"\s*[-+\u2212]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?\s*%?", re.ASCII)
LONGEST_NUMBER = 64
FORMULA = set("=+-@\u2212")
UNSEEN = {"Cc", "Cf", "Mn", "Zl", "Zp", "Zs"}  # categories of what has no width or is blank
BLANK_LETTERS = set("\u115f\u1160\u2800\u3164\uffa0")  # of other categories
MOST_UNSEEN = 100


def _harmless(cells: Iterable[object]) -> list[object]:
    return [
        f"'{cell}" if isinstance(cell, str) and cell[:1] not in HARMLESS and _is_formula(cell) else cell
        for cell in cells
    ]


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula: it may ignore what cannot be seen, and full width."""
    if len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text):
        return False
    if text[0] in "\t\r\n":
        return True
    for letter in islice(text, MOST_UNSEEN):
        if letter not in BLANK_LETTERS and unicodedata.category(letter) not in UNSEEN:
            return unicodedata.normalize("NFKC", letter)[0] in FORMULA
    return len(text) > MOST_UNSEEN
