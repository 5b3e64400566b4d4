"""CSV in, CSV out: read what people really have, answer row by row, write what a spreadsheet may open."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from shared.errors import BadInput, quoted

MAX_ROWS = 100_000
MAX_BYTES = 50_000_000
MAX_COLUMNS = 200
CHUNK = 4096
MAX_CELL = 6_000_000  # characters: a long review is one, Python's own limit is 131,072
csv.field_size_limit(MAX_CELL)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Table:
    """Rows of text, the line of the file each began on, and what was wrong with some of them."""

    required: tuple[str, ...]
    delimiter: str
    rows: list[dict[str, str]]
    lines: list[int]
    errors: dict[int, str] = field(default_factory=dict)  # by row index


def read_csv(path: str | Path, required: Sequence[str], max_rows: int = MAX_ROWS) -> Table:
    """Read a CSV with a header; UTF-8 (with or without BOM), UTF-16 or Latin-1; comma, semicolon or tab.

    Columns beyond the required ones are kept. A row with too few or too many cells is kept too, with an
    entry in `errors`. Empty lines are skipped.

    Raises:
        BadInput: the file is no CSV, is empty, is too large, or lacks a required column.
    """
    text = _decode(_read_bytes(Path(path)))
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_header(columns, required)
        rows: list[dict[str, str]] = []
        lines: list[int] = []
        errors: dict[int, str] = {}
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(rows) == max_rows:
                    raise BadInput(f"The CSV has more than {max_rows:,} rows; split it into smaller files.")
                if len(cells) != len(columns):
                    errors[len(rows)] = f"The row has {len(cells)} cells; the header has {len(columns)}."
                rows.append(dict(zip(columns, (cell.strip() for cell in cells), strict=False)))
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadInput(f"Line {reader.line_num} of the CSV cannot be read: {error}.") from error
    if not rows:
        raise BadInput("The CSV has a header but no rows; put one row for each prediction below it.")
    return Table(tuple(required), delimiter, rows, lines, errors)


def read_lines(path: str | Path, column: str, max_rows: int = MAX_ROWS) -> Table:
    """Read a text file as a table of one column, a row for each line that is not empty; encodings as in read_csv.

    Raises:
        BadInput: the file is empty, binary or too large.
    """
    lines = re.split(r"\r\n|\r|\n", _decode(_read_bytes(Path(path))))  # as an editor counts them
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    if not numbers:
        raise BadInput("The file is empty; write a line for each prediction.")
    if len(numbers) > max_rows:
        raise BadInput(f"The file has more than {max_rows:,} lines; split it into smaller files.")
    return Table((column,), ",", [{column: lines[number - 1].strip()} for number in numbers], numbers)


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"The file is larger than {MAX_BYTES // 1_000_000} MB; split it into smaller files.")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.") from error
    if not data.strip():
        raise BadInput("The file is empty; write a line for each prediction.")
    if data.startswith(b"PK\x03\x04"):
        raise BadInput("This is an Excel or zip file; save it as CSV first.")
    return data


def _decode(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    elif b"\x00" in data:
        raise BadInput("This is not a text file or a CSV: it contains binary data.")
    else:
        encodings = ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadInput("The file's characters cannot be read; save it as UTF-8.")


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
) -> list[dict[str, object]]:
    """The table's rows with the cells of each answer added, or an "error" that names the line.

    Args:
        table: from read_csv.
        answer: answers a list of rows, each with the required columns alone; a bad row's answer is a BadInput.
        cells: turns an answer into columns to add.
        progress: told the share done, 0 to 1, after every chunk.
        chunk: rows that are answered at once.
    """
    result: list[dict[str, object]] = []
    for start in range(0, len(table.rows), chunk):
        rows = table.rows[start : start + chunk]
        asked = [{name: row.get(name, "") for name in table.required} for row in rows]
        for index, (row, reply) in enumerate(zip(rows, answer(asked), strict=True), start):
            problem = table.errors.get(index) or (str(reply) if isinstance(reply, BadInput) else "")
            if problem or isinstance(reply, BadInput):
                added: dict[str, object] = {"error": f"Line {table.lines[index]}: {problem}"}
            else:
                added = {**cells(reply), "error": ""}
            yours = {f"{name} (yours)" if name in added else name: cell for name, cell in row.items()}
            result.append({**yours, **added})
        progress(min(1.0, (start + len(rows)) / len(table.rows)))
    return result


def write_csv(path: str | Path, rows: Sequence[Mapping[str, object]], delimiter: str = ",") -> Path:
    """Write rows as CSV that is safe to open in a spreadsheet: no cell can become a formula.

    UTF-8 with a byte order mark, without which Excel reads another encoding; text is quoted.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with Path(path).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(_harmless(columns))
        writer.writerows(_harmless(row.get(name, "") for name in columns) for row in rows)
    return Path(path)


def _harmless(cells: Iterable[object]) -> list[object]:
    return [
        f"'{cell}"
        if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(cell)
        else cell
        for cell in cells
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
