"""Read a table of a user's own, and split it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from training.data import DataError, read_table
from training.own_data import DataOptions, list_names
from training.tables import MIN_ROWS, TEST_SHARE, Rows, clean, is_number

MANY_VALUES = 20


@dataclass(frozen=True)
class OwnRows:
    """The rows of a user's own table."""

    train: Rows
    test: Rows
    target: str
    labels: tuple[str, ...]
    date_formats: Mapping[str, str]
    decimals: Mapping[str, str]
    open_categories: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    split: str
    notes: tuple[str, ...]


def read_own_rows(data: Path, target: str | None, own: DataOptions, seed: int, kind: str | None = None) -> OwnRows:
    """Read a CSV."""
    table = read_table(data)
    target = target or str(table.columns[-1])
    if target not in table.columns:
        raise DataError(f"{data} has no column {target!r}; its columns are {list_names(table.columns)}.")
    table = table.dropna(subset=[target]).reset_index(drop=True)
    if len(table) < MIN_ROWS:
        raise DataError(f"{data} has {len(table)} rows with a target; at least {MIN_ROWS} are needed.")
    values = table.pop(target)
    labels: tuple[str, ...] = ()
    kind = kind or getattr(own, "task", None)
    if kind == "number" or (kind is None and is_number(values) and values.nunique() > MANY_VALUES):
        y, stratify = values.to_numpy(np.float64), None
    else:
        labels = tuple(sorted(values.astype(str).unique()))
        y = stratify = pd.Categorical(values.astype(str), labels).codes.astype(np.int64)
    rows = Rows(clean(table), y)
    train, test = train_test_split(np.arange(len(rows)), test_size=TEST_SHARE, stratify=stratify, random_state=seed)
    return OwnRows(rows.take(train), rows.take(test), target, labels, {}, {}, (), {}, "held-out fifth", ())
