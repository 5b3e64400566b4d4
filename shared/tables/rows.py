"""Read the rows of a CSV or text file one at a time."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TextIO

from ..errors import BadInput
from ..limits import LIMITS
from .header import clean_names, match_columns, read_header
from .quotes import check_closed, find_swallowed_rows
from .writing import read_escaped

MAX_EMPTY_ROWS = 1_048_576  # the rows of an Excel sheet, all of which it may write
MAX_CELL = 6_000_000  # characters, enough for a long text; Python's default is 131,072
MAX_ROW = 6_500_000  # characters: limits the memory of a row with very many short cells
LINES_PER_ROW = 20  # on average, at most: each line of a quoted cell takes time
QUOTED = re.compile(r'"[^"]*+"')
MAX_FIRST_LINE = 500_000  # characters of the first line that are searched for the delimiter
csv.field_size_limit(MAX_CELL)

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# A first line that tells Excel the delimiter.
EXCEL_SEPARATOR = re.compile(r'"?sep=([,;|:~^\t])"?[\r\n]*', re.IGNORECASE)
BLANK = "\ufeff\u200b\u2060\xa0 \t\r\n\x0b\x0c"


@dataclass(frozen=True)
class Row:
    """A row: its first line in the file, its values in the order of the columns, and an error message or ""."""

    line: int
    columns: Sequence[str]
    values: Sequence[str]
    error: str = ""
    header: Sequence[str] = ()  # the column names in the file, if it has a header

    @cached_property
    def cells(self) -> dict[str, str]:
        """The values by column, those of a CSV as they were before write_csv; a row with an error may lack some."""
        values = (value.strip() for value in self.values)
        return dict(zip(self.columns, map(read_escaped, values) if self.header else values, strict=False))


def find_delimiter(file: TextIO, required: Sequence[str]) -> str:
    """Return the delimiter that gives most of the required columns in the first line; of equals, the most frequent."""
    line = next((line for line in LineReader(file, "CSV") if line.strip(BLANK)), "")[:MAX_FIRST_LINE]
    if found := EXCEL_SEPARATOR.fullmatch(line):
        return found[1]
    unquoted = QUOTED.sub("", line)

    def fitness(delimiter: str) -> tuple[int, int]:
        names = clean_names(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))
        return sum(name is not None for name in match_columns(names, required)), unquoted.count(delimiter)

    return max(DELIMITERS, key=fitness)


def read_csv_rows(file: TextIO, delimiter: str, required: Sequence[str], max_rows: int) -> Iterator[Row]:
    """Yield the rows below the header; see read_csv for the accepted formats and the errors."""
    lines = LineReader(file, "CSV", LINES_PER_ROW * max(max_rows, LIMITS.rows))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    count = empty = 0
    columns: list[str] = []
    header: list[str] = []
    raw: list[str] = []
    values: list[str] = []
    try:
        for values in reader:
            line, raw = lines.begin, lines.take()
            if not any(value.strip(BLANK) for value in values):
                empty += 1
                if empty > MAX_EMPTY_ROWS:
                    raise BadInput(f"The CSV has more than {MAX_EMPTY_ROWS:,} empty rows; delete them.")
            elif not columns:
                if not EXCEL_SEPARATOR.fullmatch("".join(raw)):
                    check_closed(raw, line, delimiter)
                    header, columns = read_header(values, required)
            else:
                count += 1
                if count > max_rows:
                    raise BadInput(f"The CSV has more than {max_rows:,} rows; split it into smaller files.")
                error = find_swallowed_rows(raw, line, values, delimiter, len(columns))
                error = error or describe_wrong_count(values, columns, delimiter)
                yield Row(line, columns, values[: len(columns)], error, header)
        if len(values) <= 2 * len(columns):  # more cells are not those of two rows that were merged
            check_closed(raw, line if raw else 1, delimiter)
    except csv.Error as error:
        raise BadInput(
            f"Line {lines.number} of the CSV cannot be read: {error}. Its row begins on line {lines.begin}; "
            "a quotation mark there may not be closed."
        ) from error
    if not columns:
        raise BadInput("The file is empty; write a line for each prediction.")


def read_text_rows(file: TextIO, column: str, max_rows: int) -> Iterator[Row]:
    """Yield a row for each line that is not empty; see read_lines for the errors."""
    lines = LineReader(file, "file")
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


def describe_wrong_count(values: Sequence[str], columns: Sequence[str], delimiter: str) -> str:
    """Return an error message if a row has a wrong number of cells, else ""."""
    if len(values) == len(columns) or (len(values) > len(columns) and not any(map(str.strip, values[len(columns) :]))):
        return ""
    cells = f"{len(values):,} cell{'s' if len(values) > 1 else ''}"
    sentence = f"The row has {cells}; the header has {len(columns)}."
    if len(values) < len(columns):
        return sentence
    return f"{sentence} Put quotation marks around a cell with a {DELIMITERS.get(delimiter, delimiter)} in it."


class LineReader:
    """An iterator over the lines of a file that limits the lines of one row to MAX_ROW characters in total.

    If `most` is given, the file may have no more lines.
    `number` is the number of the last line read, `begin` that of the first line since the last take().
    """

    def __init__(self, file: TextIO, name: str, most: int | None = None) -> None:
        self.file, self.name, self.most = file, name, most
        self.number = self.characters = 0
        self.begin = 1
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        while line := self.file.readline(MAX_ROW + 1):
            self.number += 1
            if self.most is not None and self.number > self.most:
                raise BadInput(f"The file has more than {self.most:,} lines; split it into smaller files.")
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
        """Return the lines read since the last call."""
        row, self.row = self.row, []
        self.characters, self.begin = 0, self.number + 1
        return row
