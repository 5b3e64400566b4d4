"""Read a table of a user's own: CSV and TSV with the reader of the pages, or Parquet."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shared.errors import BadInput
from shared.tables import read_csv
from training.data import DataError
from training.own_data import Problems, find_column

MAX_ROWS = 20_000_000
MAX_BYTES = 4_000_000_000
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
    """Read a CSV (any delimiter and encoding that the pages accept), TSV, Parquet, or a CSV compressed as .gz or .xz.

    A row with a wrong number of cells is a problem, and left out.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name the data with --data.")
    kind = path.suffix.lower()
    if kind in (".parquet", ".gz", ".xz"):
        return _read_with_pandas(path, kind)
    try:
        table = read_csv(path, (), MAX_ROWS, MAX_BYTES)
        found = OwnTable(path, [], [], [])
        for row in table:
            if not found.columns:
                found.columns.extend(row.columns)
            if row.error:
                problems.add(f"line {row.line}", row.error)
                continue
            found.rows.append(row.cells)
            found.places.append(f"line {row.line}")
    except BadInput as error:
        raise DataError(f"{path}: {error}") from error
    return found


def _read_with_pandas(path: Path, kind: str) -> OwnTable:
    try:
        table = pd.read_parquet(path) if kind == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    except ImportError as error:
        raise DataError(f"Reading {path} needs pyarrow: pip install pyarrow, or save it as CSV.") from error
    except Exception as error:  # pyarrow and the decompressors have errors of their own
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
