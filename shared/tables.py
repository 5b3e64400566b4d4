"""CSV in, CSV out: read what people really have, answer row by row, write what a spreadsheet may open.

A file is never held in memory: it is read to find its encoding, read to find what is wrong with it, and read again to
be answered.
"""

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

from .errors import BadInput, quoted
from .text import plain, visible
from .text_files import GUESSED, encoding_of, open_text

MAX_ROWS = 100_000
MAX_EMPTY_ROWS = 1_048_576  # as many as a sheet of Excel has, which may write them all
MAX_COLUMNS = 200
MAX_CELL = 6_000_000  # characters: a long review is one, Python's own limit is 131,072
MAX_ROW = 6_500_000  # characters: bounds the memory of a row of very many short cells
MAX_SENTENCE = 500  # characters that say what is wrong with a row: there may be 100,000 of them
CHUNK = 4096
CHUNK_CHARACTERS = 500_000  # in a chunk of fewer rows, if they are long
NAMES_SHOWN = 12  # columns of a header, in a sentence
csv.field_size_limit(MAX_CELL)

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# A first line by which Excel is told the delimiter.
EXCEL_SEPARATOR = re.compile(r'"?sep=([,;|:~^\t])"?[\r\n]*', re.IGNORECASE)
SEPARATORS = re.compile(r"[-_. ]")  # in the name of a column, which may be written with or without them
OTHER_TEXTS = {r"<(!|html|head|body|table|\?xml)": "an HTML or XML file", r"\[\s*\{|\{\s*$|\{\"": "JSON"}
A_NUMBER = re.compile(r"[-+]?[\d.]+")
BLANK = "\ufeff\u200b\u2060\xa0 \t\r\n\x0b\x0c"
LINE_END = re.compile(r"\r\n?|\n")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Row:
    """A row: the line of the file that it begins on, its values by column, and what is wrong with it, if anything."""

    line: int
    columns: Sequence[str]
    values: Sequence[str]
    error: str = ""
    written: Sequence[str] = ()  # the columns as the file spells them, where it has a header

    @cached_property
    def cells(self) -> dict[str, str]:
        """The values by column, without the spaces around them. A row with an error may lack some."""
        return dict(zip(self.columns, (value.strip() for value in self.values), strict=False))


@dataclass(frozen=True)
class Table:
    """A file that has been checked to its end. Its length is the number of rows; iterating reads them once more.

    `guessed` is the encoding it was read in, if that is a guess: "" for UTF-8, UTF-16 and UTF-32.
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


def read_csv(path: str | Path, required: Sequence[str], max_rows: int = MAX_ROWS) -> Table:
    """Check a CSV with a header; comma, semicolon, tab or vertical bar; UTF-8, UTF-16 or, as a guess, Windows-1252.

    Names of required columns may differ in case and in the signs between words: user_id is found as userId, too.
    Columns beyond the required ones are kept. A row with too few or too many cells is kept too, with an error, and so
    is a row whose quotation marks seem to have swallowed other rows. Empty rows are skipped, and empty cells at the
    end of a row that the header has no name for.

    Raises:
        BadInput: the file is no CSV, is empty, is too large, lacks a required column, has a row that cannot be read,
            or ends within a quoted cell.
    """
    encoding = encoding_of(path)
    with open_text(path, encoding) as file:
        delimiter = _delimiter(file, required)

    def read() -> Iterator[Row]:
        with open_text(path, encoding) as file:
            yield from _csv_rows(file, delimiter, required, max_rows)

    count = sum(1 for _ in read())
    if not count:
        raise BadInput("The CSV has a header but no rows; put one row for each prediction below it.")
    return Table(tuple(required), delimiter, count, read, GUESSED.get(encoding, ""))


def read_lines(path: str | Path, column: str, max_rows: int = MAX_ROWS) -> Table:
    """Check a text file: a table of one column, a row for each line that is not empty; encodings as in read_csv.

    Raises:
        BadInput: the file is empty, binary, too large, or has too long a line.
    """
    encoding = encoding_of(path)

    def read() -> Iterator[Row]:
        with open_text(path, encoding, newline=None) as file:
            yield from _text_rows(file, column, max_rows)

    count = sum(1 for _ in read())
    if not count:
        raise BadInput("The file is empty; write a line for each prediction.")
    return Table((column,), ",", count, read, GUESSED.get(encoding, ""))


def _delimiter(file: TextIO, required: Sequence[str]) -> str:
    """The delimiter in which the first line names most of the required columns; of several, the most frequent."""
    line = next((line for line in _Lines(file, "CSV") if line.strip(BLANK)), "")[:CHUNK_CHARACTERS]
    if found := EXCEL_SEPARATOR.fullmatch(line):
        return found[1]

    def fitness(delimiter: str) -> tuple[int, int]:
        names = _names(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))
        return sum(name is not None for name in _matching(names, required)), line.count(delimiter)

    return max(DELIMITERS, key=fitness)


def _csv_rows(file: TextIO, delimiter: str, required: Sequence[str], max_rows: int) -> Iterator[Row]:
    lines = _Lines(file, "CSV")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    count = empty = 0
    columns: list[str] = []
    written: list[str] = []
    raw: list[str] = []
    try:
        for values in reader:
            line, raw = lines.begin, lines.take()
            if not any(value.strip(BLANK) for value in values):
                empty += 1
                if empty > MAX_EMPTY_ROWS:
                    raise BadInput(f"The CSV has more than {MAX_EMPTY_ROWS:,} empty rows; delete them.")
            elif not columns:
                if not EXCEL_SEPARATOR.fullmatch("".join(raw)):
                    _check_closed(raw, line, delimiter)
                    written, columns = _header(values, required)
            else:
                count += 1
                if count > max_rows:
                    raise BadInput(f"The CSV has more than {max_rows:,} rows; split it into smaller files.")
                error = _wrong_cells(values, columns, delimiter)
                if len(raw) > 1:
                    error = _swallowed(raw, line, values, delimiter) or error
                yield Row(line, columns, values[: len(columns)], error, written)
        _check_closed(raw, line if raw else 1, delimiter)
    except csv.Error as error:
        raise BadInput(
            f"Line {lines.number} of the CSV cannot be read: {error}. Its row begins on line {lines.begin}; "
            "a quotation mark there may not be closed."
        ) from error
    if not columns:
        raise BadInput("The file is empty; write a line for each prediction.")


def _wrong_cells(values: Sequence[str], columns: Sequence[str], delimiter: str) -> str:
    """What is wrong with the number of a row's cells, or ""."""
    if len(values) == len(columns) or (len(values) > len(columns) and not any(map(str.strip, values[len(columns) :]))):
        return ""
    cells = f"{len(values):,} cell{'s' if len(values) > 1 else ''}"
    sentence = f"The row has {cells}; the header has {len(columns)}."
    if len(values) < len(columns):
        return sentence
    return f"{sentence} Put quotation marks around a cell with a {DELIMITERS.get(delimiter, delimiter)} in it."


def _text_rows(file: TextIO, column: str, max_rows: int) -> Iterator[Row]:
    lines = _Lines(file, "file")
    count = empty = 0
    for number, line in enumerate(lines, 1):
        lines.take()
        if not line.strip(BLANK):
            empty += 1
            if empty > MAX_EMPTY_ROWS:
                raise BadInput(f"The file has more than {MAX_EMPTY_ROWS:,} empty lines; delete them.")
        else:
            count += 1
            if count > max_rows:
                raise BadInput(f"The file has more than {max_rows:,} lines; split it into smaller files.")
            yield Row(number, (column,), (line,))


@dataclass(frozen=True)
class _Quoted:
    """A quoted cell of a row: its number, the lines it opens and closes on, and whether it closes, and cleanly.

    It closes cleanly where a delimiter or the end of the line follows.
    """

    cell: int
    opens: int
    closes: int
    is_closed: bool
    is_clean: bool


def _quoted_cells(raw: Sequence[str], line: int, delimiter: str) -> Iterator[_Quoted]:
    """The quoted cells of a row, given as its lines of the file, the first of which is `line`: as csv reads them."""
    text = "".join(raw)
    mark = re.escape(delimiter)
    quoted_part = r'"(?P<inside>[^"]*+(?:""[^"]*+)*+)(?P<close>"?)'
    cell = re.compile(rf" *+(?:{quoted_part})?(?P<rest>[^{mark}\r\n]*+)({mark}|\r\n?|\n|$)")
    start = number = 0
    while start < len(text) and (found := cell.match(text, start)):
        opens = line
        if found["inside"] is not None:
            line += sum(1 for _ in LINE_END.finditer(found["inside"]))
            yield _Quoted(number, opens, line, bool(found["close"]), not found["rest"].strip())
        if found.end() == start:
            return
        start, number = found.end(), number + 1


def _check_closed(raw: Sequence[str], line: int, delimiter: str) -> None:
    """Refuse a file whose last row, which begins on `line`, ends within a quoted cell."""
    if not any('"' in part for part in raw):
        return
    for cell in _quoted_cells(raw, line, delimiter):
        if not cell.is_closed:
            raise BadInput(
                f"The quotation mark that opens on line {cell.opens} of the CSV is never closed, so the rows after it "
                "cannot be told apart; close it, or delete it."
            )


def _swallowed(raw: Sequence[str], line: int, values: Sequence[str], delimiter: str) -> str:
    """What is wrong with a row of several lines, if a quotation mark seems to have made one row of several; or "".

    Quoted cells may have several lines. There are two signs that one is not meant to: a quotation mark in the middle
    of a later line closes it, or all its other lines are cut into cells as the row is, with numbers where it has some.
    """
    numbers = [index for index, value in enumerate(values) if A_NUMBER.fullmatch(value.strip())]
    for cell in _quoted_cells(raw, line, delimiter):
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


class _Lines:
    """The lines of a file; those of a row, taken one after the other, may have MAX_ROW characters together.

    `number` is that of the last line read, `begin` that of the first one since take().
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self.file, self.name = file, name
        self.number = self.characters = 0
        self.begin = 1
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        while line := self.file.readline(MAX_ROW + 1):
            self.number += 1
            if self.number == 1:
                line = line.lstrip("\ufeff\u200b\u2060")  # more than one byte order mark
            self.characters += len(line)
            if self.characters > MAX_ROW:
                began = (
                    ""
                    if self.begin == self.number
                    else f", which begins on line {self.begin}; a quotation mark there may not be closed"
                )
                raise BadInput(
                    f"Line {self.number} of the {self.name} cannot be read: it belongs to a row of more than "
                    f"{MAX_ROW:,} characters{began}."
                )
            if "\0" in line:
                raise BadInput(
                    f"This is not a text file or a CSV: line {self.number} contains binary data, a byte of value 0."
                )
            self.row.append(line)
            yield line

    def take(self) -> list[str]:
        """The lines since the last call."""
        row, self.row = self.row, []
        self.characters, self.begin = 0, self.number + 1
        return row


def _names(values: Sequence[str]) -> list[str]:
    """The names in a header, without what nobody sees; those missing at its end are left out."""
    names = [" ".join(visible(value).split()) for value in values]
    while names and not names[-1]:
        names.pop()
    return [name or f"column {number}" for number, name in enumerate(names, 1)] if names.count("") > 1 else names


def _matching(names: Sequence[str], required: Sequence[str]) -> list[int | None]:
    """Where each required column is among some names, or None: as it is, or else but for case and separators.

    Raises:
        BadInput: a column is not there as it is, but twice otherwise.
    """
    loose: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        loose.setdefault(SEPARATORS.sub("", plain(name)), []).append(index)
    places: list[int | None] = []
    for name in required:
        found = [names.index(name)] if name in names else loose.get(SEPARATORS.sub("", plain(name)), [])
        if len(found) > 1:
            both = " and ".join(quoted(names[index]) for index in found)
            raise BadInput(f"The CSV has the column {name} more than once: {both}; rename all but one.")
        places.append(found[0] if found else None)
    return places


def _header(values: Sequence[str], required: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns of a header as the file names them, and with the required ones named as they are asked for."""
    written = _names(values)
    if len(written) > MAX_COLUMNS:
        raise BadInput(f"The CSV has {len(written):,} columns; at most {MAX_COLUMNS} are read.")
    places = _matching(written, required)
    missing = [name for name, place in zip(required, places, strict=True) if place is None]
    if missing:
        for start, kind in OTHER_TEXTS.items():
            if re.match(start, written[0], re.IGNORECASE):
                raise BadInput(f"This is {kind}, whatever its name says; save the table as CSV first.")
        shown = ", ".join(quoted(name)[1:-1] for name in written[:NAMES_SHOWN])
        more = f", and {len(written) - NAMES_SHOWN} more" if len(written) > NAMES_SHOWN else ""
        rule = " The first line must name the columns." if len(missing) == len(required) else ""
        raise BadInput(
            f"The CSV lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; its first line has: "
            f"{shown}{more}.{rule}"
        )
    repeated = [name for name, times in Counter(written).items() if name and times > 1]
    if repeated:
        raise BadInput(f"The CSV names the column {quoted(repeated[0])} twice.")
    columns = list(written)
    for name, place in zip(required, places, strict=True):
        columns[place] = name  # type: ignore[index]  # none is missing
    return written, columns


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
            yours = {
                renamed.get(name, name): cell
                for name, cell in zip(row.written or row.columns, row.cells.values(), strict=False)
            }
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
