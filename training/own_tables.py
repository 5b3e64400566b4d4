"""Read a table of a user's own: CSV and TSV with the reader of the pages, or Parquet."""

import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import pandas as pd

from shared.errors import BadInput
from shared.tables import read_csv
from training.data import DataError
from training.own_data import Problems, find_column

MAX_ROWS = 20_000_000
MAX_BYTES = 4_000_000_000
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


def read_own_table(path: Path, problems: Problems) -> OwnTable:
    """Read a CSV or TSV (any delimiter and encoding that the pages accept), also compressed as .gz or .xz, or Parquet.

    A row with a wrong number of cells is a problem, and left out.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name the data with --data.")
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _read_parquet(path)
    try:
        if kind not in OPENERS:
            return _read_csv(path, path, problems)
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / "table.csv"
            _unpack(path, unpacked, OPENERS[kind])
            return _read_csv(unpacked, path, problems)
    except BadInput as error:
        raise DataError(f"{path}: {error}") from error


def _read_csv(file: Path, named: Path, problems: Problems) -> OwnTable:
    found = OwnTable(named, [], [], [])
    for row in read_csv(file, (), MAX_ROWS, MAX_BYTES):
        if not found.columns:
            found.columns.extend(row.columns)
        if row.error:
            problems.add(f"line {row.line}", row.error)
            continue
        found.rows.append(row.cells)
        found.places.append(f"line {row.line}")
    return found


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


def _read_parquet(path: Path) -> OwnTable:
    try:
        table = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(f"Reading {path} needs pyarrow: pip install pyarrow, or save it as CSV.") from error
    except Exception as error:  # pyarrow has errors of its own
        raise DataError(f"{path} cannot be read ({error}); save it as CSV in UTF-8.") from error
    if table.empty:
        raise DataError(f"{path} has no rows.")
    columns = [str(name) for name in table.columns]
    values = [["" if _is_missing(cell) else _spell(cell) for cell in row] for row in table.itertuples(index=False)]
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    return OwnTable(path, columns, rows, [f"row {number}" for number in range(1, len(rows) + 1)])


def _is_missing(cell: object) -> bool:
    missing = pd.isna(cell) if pd.api.types.is_scalar(cell) else False
    return bool(missing)


def _spell(cell: object) -> str:
    """Return a cell as text; a whole number has no decimals."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
