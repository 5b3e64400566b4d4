"""Read, clean and split rows of tables."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from shared.tabular_values import MISSING
from training.data import DataError, read_table
from training.recipe import TestSet

MIN_ROWS = 100
MIN_SAMPLES = 10  # rows per label
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Rows:
    """Rows of a table, and the index of each row's label, (rows,)."""

    table: pd.DataFrame
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: NDArray[np.intp]) -> "Rows":
        """Return the rows with these indices."""
        return Rows(self.table.iloc[rows].reset_index(drop=True), self.y[rows])

    def as_test(self, data: str, split: str, train: pd.DataFrame) -> TestSet:
        """Return the rows as a test set, clipped to the values of `train`, as a page would accept them."""
        return TestSet(data, split, clip_to_range(train, self.table).to_dict("records"), self.y)


def read_rows(path: Path, target: str | None = None) -> tuple[Rows, tuple[str, ...]]:
    """Read a CSV whose target, by default the last column, has two values; return its rows and the labels.

    Raises:
        DataError: there is no such target, or too few rows.
    """
    table = read_table(path)
    target = target or str(table.columns[-1])
    if target not in table.columns:
        raise DataError(f"{path} has no column {target!r}; its columns are {', '.join(map(str, table.columns))}.")
    if len(table.columns) < 2:
        raise DataError(f"{path} has no column to predict the target {target} from.")
    table = table.dropna(subset=[target]).reset_index(drop=True)
    values = table.pop(target).astype(str)
    labels = tuple(sorted(values.unique()))
    if len(labels) != 2:
        raise DataError(f"The target {target} must have two values; it has {len(labels)}.")
    if len(table) < MIN_ROWS:
        raise DataError(f"{path} has {len(table)} rows with a target; at least {MIN_ROWS} are needed.")
    for label in labels:
        if (count := int((values == label).sum())) < MIN_SAMPLES:
            raise DataError(f"{path} has {count} rows whose {target} is {label!r}; at least {MIN_SAMPLES} are needed.")
    return Rows(clean(table), (values == labels[1]).to_numpy(np.int64)), labels


def divide(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Split at random; return the training rows and a stratified fifth for the test."""
    train, test = train_test_split(np.arange(len(rows)), test_size=TEST_SHARE, stratify=rows.y, random_state=seed)
    return rows.take(train), rows.take(test)


def clean(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with numbers as floats, NaN if missing, and all else as text, "?" if missing.

    Raises:
        DataError: a number is infinite, or too large for float32.
    """
    table = table.copy()
    for name in table:
        if not is_number(table[name]):
            table[name] = table[name].fillna(MISSING).astype(str).str.strip()
            continue
        table[name] = table[name].astype(np.float64)
        if (table[name].abs() > np.finfo(np.float32).max).any():
            raise DataError(f"The column {name} has an infinite number, or one above 3e38; leave its cell empty.")
    return table


def is_number(values: pd.Series) -> bool:
    """Return True if a column holds numbers; booleans do not count."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def clip_to_range(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Return test rows limited to the values of `train`: unknown categories missing, numbers in range."""
    test = test.copy()
    for name in test:
        if is_number(train[name]):
            test[name] = test[name].clip(train[name].min(), train[name].max())
        else:
            test.loc[~test[name].isin(set(train[name])), name] = MISSING
    return test
