"""Read a table of a user's own: CSV and TSV with the reader of the pages, or Parquet."""

import gzip
import lzma
import tempfile
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import BadInput, quote
from shared.tables import read_csv
from training.data import DataError
from training.own_data import Problems, clean_label, find_column
from training.splitting import PART_NAMES, TRAIN

MAX_ROWS = 20_000_000
MAX_BYTES = 4_000_000_000
MAX_CELLS = 20_000_000  # of a sample
TABLES = (".csv", ".tsv", ".parquet", ".csv.xz", ".csv.gz")
BLOCK = 1_000_000  # bytes
OPENERS: dict[str, Callable[[Path], BufferedIOBase]] = {".gz": gzip.GzipFile, ".xz": lzma.LZMAFile}
LABELS = (
    "label", "labels", "class", "category", "target", "sentiment", "class_name", "intent", "topic", "tag", "y",
    "klasse", "kategorie", "polarity", "rating", "stars",
)  # fmt: skip


@dataclass(frozen=True)
class OwnTable:
    """The rows of a file as text: the cells of each by column, and where each is, such as "line 7"."""

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]
    places: list[str]

    def find(self, asked: str | None, usual: Collection[str], option: str) -> str:
        """Return the column that is asked for, or else one with a usual name; see find_column."""
        return find_column(self.columns, asked, usual, option, self.path)


@dataclass(frozen=True)
class OwnColumns:
    """The columns of a file: the index of each cell's text among the different texts of its column.

    This takes a few bytes for each cell that repeats. `count` is the number of rows in the file.
    """

    table: pd.DataFrame
    places: list[str]
    count: int
    is_sample: bool


def find_tables(data: Path) -> dict[Path, str | None]:
    """Return the tables of a data set and the part that each is: a file, train.csv and the like, or the only table.

    A folder of text files has none, though there may be a table beside them.
    """
    if data.is_file():
        return {data: None}
    if not data.is_dir():
        return {}
    tables = {path: _strip_suffix(path) for path in sorted(data.iterdir()) if _strip_suffix(path) != path.name}
    parts: dict[Path, str | None] = {
        path: PART_NAMES[stem.casefold()] for path, stem in tables.items() if stem.casefold() in PART_NAMES
    }
    if TRAIN in parts.values():
        return parts
    has_files = next(data.glob("*/**/*.txt"), None) is not None
    return dict.fromkeys(tables) if len(tables) == 1 and not has_files else {}


def _strip_suffix(path: Path) -> str:
    """Return the name of a table without its suffix; the whole name of another file."""
    suffix = next((suffix for suffix in TABLES if path.is_file() and path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def read_own_table(path: Path, problems: Problems) -> OwnTable:
    """Read a table, such as read_own_columns does, row by row.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    found = read_own_columns(path, problems)
    columns = list(found.table)
    cells = zip(*(found.table[name].astype(object) for name in columns), strict=True)
    return OwnTable(path, columns, [dict(zip(columns, row, strict=True)) for row in cells], found.places)


def read_own_columns(path: Path, problems: Problems, most: int | None = None, seed: int = 0) -> OwnColumns:
    """Read a CSV or TSV (any delimiter and encoding that the pages accept), also compressed as .gz or .xz, or Parquet.

    A row with a wrong number of cells is a problem, and left out. The file is read as a stream.

    Args:
        path: the file.
        problems: takes the problems of rows.
        most: of more rows than this or of more than MAX_CELLS cells, a random sample is read; None reads all.
        seed: determines the sample.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name the data with --data.")
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _read_parquet(path, most, seed)
    try:
        if kind not in OPENERS:
            return _read_csv(path, problems, most, seed)
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / "table.csv"
            _unpack(path, unpacked, OPENERS[kind])
            return _read_csv(unpacked, problems, most, seed)
    except BadInput as error:
        raise DataError(f"{path}: {error}") from error


def _read_csv(file: Path, problems: Problems, most: int | None, seed: int) -> OwnColumns:
    rows = read_csv(file, (), MAX_ROWS, MAX_BYTES)
    columns = next(iter(rows)).columns
    chosen = _sample(len(rows), len(columns), most, seed)
    index: list[dict[str, int]] = [{} for _ in columns]
    codes = [array("i") for _ in columns]
    places = []
    for number, row in enumerate(rows):
        if row.error:
            problems.add(f"line {row.line}", row.error)
        elif chosen is None or chosen[number]:
            places.append(f"line {row.line}")
            for texts, column, value in zip(index, codes, row.values, strict=True):
                column.append(texts.setdefault(value.strip(), len(texts)))
    table = {
        name: pd.Categorical.from_codes(np.frombuffer(column, np.int32), pd.Index(list(texts), dtype=object))
        for name, texts, column in zip(columns, index, codes, strict=True)
    }
    return OwnColumns(pd.DataFrame(table), places, len(rows), chosen is not None)


def _sample(rows: int, columns: int, most: int | None, seed: int) -> NDArray[np.bool_] | None:
    """Return which rows are in the sample; None for all."""
    wanted = rows if most is None else min(rows, most, MAX_CELLS // columns)
    if wanted == rows:
        return None
    chosen = np.zeros(rows, np.bool_)
    chosen[np.random.default_rng(seed).choice(rows, wanted, replace=False, shuffle=False)] = True
    return chosen


def _unpack(path: Path, target: Path, opener: Callable[[Path], BufferedIOBase]) -> None:
    """Write the decompressed content of a file.

    Raises:
        DataError: it cannot be decompressed, or is too large.
    """
    size = 0
    try:
        with opener(path) as file, target.open("wb") as unpacked:
            while size <= MAX_BYTES and (block := file.read(BLOCK)):
                size += unpacked.write(block)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed ({error}); save it as CSV.") from error
    if size > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES // 10**9} GB when decompressed; split it into smaller files.")


def _read_parquet(path: Path, most: int | None, seed: int) -> OwnColumns:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f"Reading {path} needs pyarrow: pip install pyarrow, or save it as CSV.") from error
    try:
        with parquet.ParquetFile(path) as file:
            count, start, parts = file.metadata.num_rows, 0, []
            chosen = _sample(count, len(file.schema_arrow), most, seed)
            for batch in file.iter_batches():
                part = batch if chosen is None else batch.filter(pyarrow.array(chosen[start : start + len(batch)]))
                parts.append(part)
                start += len(batch)
        table = pyarrow.Table.from_batches(parts).to_pandas() if count else pd.DataFrame()
    except Exception as error:  # pyarrow has errors of its own
        raise DataError(f"{path} cannot be read ({error}); save it as CSV in UTF-8.") from error
    if table.empty:
        raise DataError(f"{path} has no rows.")
    names = [clean_label(str(name)) for name in table.columns]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} names the column {quote(repeated[0])} twice.")
    cells = {
        name: pd.Categorical(["" if _is_missing(cell) else _spell(cell) for cell in column])
        for name, (_, column) in zip(names, table.items(), strict=True)
    }
    rows = range(count) if chosen is None else np.flatnonzero(chosen)
    return OwnColumns(pd.DataFrame(cells), [f"row {row + 1}" for row in rows], count, chosen is not None)


def _is_missing(cell: object) -> bool:
    missing = pd.isna(cell) if pd.api.types.is_scalar(cell) else False
    return bool(missing)


def _spell(cell: object) -> str:
    """Return a cell as text; a whole number has no decimals."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
