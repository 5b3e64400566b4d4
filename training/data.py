"""Find and read data sets; report what is wrong with one in a sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from training import processes

ABOUT = "about.yaml"  # beside data: words for the page and the card
CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")
OWN_TEST = "own test"  # the split of a test that a user's own data brings with it


class DataError(Exception):
    """The training data is missing or unusable; the text says what was expected."""


@dataclass(frozen=True)
class TestSet:
    """Inputs for the predictor, and the targets of its answers, of the same length.

    `data` is the name of the data set and `split` that of its part, as shown on the card.
    """

    __test__: ClassVar[bool] = False  # not a test for pytest

    data: str
    split: str
    inputs: Sequence[Any]
    targets: Any
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def where(self) -> dict[str, Any]:
        """The fields of a Figure that say where it was measured."""
        return {"data": self.data, "split": self.split, "count": len(self)}


def find_data(data: str | None, url: str, marker: str) -> Path:
    """Return the folder named by --data, else fastai's download of `url` (an address, or a name in URLs).

    Raises:
        DataError: --data lacks the file `marker`, or the download failed.
    """
    if data is None:
        from fastai.data.external import URLs, untar_data

        try:
            fetch = partial(untar_data, getattr(URLs, url, url))
            processes.run_once_per_host(fetch)
            return Path(fetch())
        except Exception as error:  # any network failure
            raise DataError(f"fastai could not download {url} ({error}); name a local copy with --data.") from error
    folder = Path(data)
    if not (folder / marker).is_file():
        raise DataError(f"There is no {marker} in {folder}; --data must name the folder that contains it.")
    return folder


def list_files(data: str | None) -> list[Path]:
    """Return the files at the path of --data, a file or a folder; none if `data` is None."""
    if data is None:
        return []
    return (
        [Path(data)] if Path(data).is_file() else sort_paths(path for path in Path(data).rglob("*") if path.is_file())
    )


def sort_paths(paths: Iterable[Path]) -> list[Path]:
    """Return paths in an order that is the same on each system; by itself, Windows ignores case."""
    return sorted(paths, key=lambda path: path.parts)


def read_table(path: Path, columns: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """Read these columns of a CSV, or all of them; strip text. `options` are those of pandas.read_csv.

    Raises:
        DataError: the file cannot be read, is empty, or lacks a column.
    """
    try:
        table = pd.read_csv(path, skipinitialspace=True, **options)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the column {', '.join(missing)}.")
    if table.empty:
        raise DataError(f"{path} has a header but no rows.")
    table = table[list(columns or table.columns)].copy()
    for name in table.columns[table.dtypes.map(pd.api.types.is_string_dtype)]:
        table[name] = table[name].str.strip()
    return table


def parse_numbers(table: pd.DataFrame, name: str, path: Path, whole: bool = False) -> pd.Series:
    """Return a column as numbers.

    Raises:
        DataError: a value is missing or not a number, or not a whole number where `whole` is true.
    """
    numbers = pd.to_numeric(table[name], errors="coerce")
    bad = numbers.isna() | (whole & (numbers % 1 != 0))
    if bad.any():
        kind = "whole number" if whole else "number"
        raise DataError(f"{path}, row {bad.idxmax() + 2}: {name} is not a {kind}: {table[name][bad.idxmax()]!r}.")
    return numbers.astype("int64" if whole else "float64")


def is_clutter(path: Path) -> bool:
    """Return True for hidden files and what macOS and Windows leave in folders; give a path within the data."""
    return any(part.startswith(".") or part.casefold() in CLUTTER for part in path.parts)
