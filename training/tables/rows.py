"""Read, clean and split rows of tables."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.tabular_values import MISSING
from training.data import DataError, TestSet

MIN_ROWS = 100
MIN_SAMPLES = 10  # rows per label
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Rows:
    """Rows of a table, and the index of each row's label, (rows,).

    Rows with the same index in `groups`, (rows,), are alike: folds do not divide them.
    """

    table: pd.DataFrame
    y: NDArray[np.int64]
    groups: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: NDArray[np.intp]) -> "Rows":
        """Return the rows with these indices."""
        groups = None if self.groups is None else self.groups[rows]
        return Rows(self.table.iloc[rows].reset_index(drop=True), self.y[rows], groups)

    def as_test(self, data: str, split: str, train: pd.DataFrame) -> TestSet:
        """Return the rows as a test set, clipped to the values of `train`, as a page would accept them."""
        return TestSet(data, split, clip_to_range(train, self.table).to_dict("records"), self.y)


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
