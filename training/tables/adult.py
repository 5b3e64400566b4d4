"""Read UCI Adult, the 1994 census, with fastai's column names."""

from pathlib import Path

import numpy as np
import pandas as pd

from training.data import DataError, read_table
from training.tables.rows import MIN_ROWS, Rows, clean

TARGET, LABELS = "salary", ("<50k", ">=50k")
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")


def read_people(path: Path) -> Rows:
    """Read a CSV of people with their salaries.

    Raises:
        DataError: a column is missing, a salary is not one of LABELS, or there are too few rows.
    """
    people = read_table(path, [*COLUMNS, TARGET])
    if len(people) < MIN_ROWS:
        raise DataError(f"{path} has {len(people)} rows; at least {MIN_ROWS} are needed.")
    salaries = people.pop(TARGET).astype(str)
    if unknown := set(salaries) - set(LABELS):
        raise DataError(f"{path}: salary must be {' or '.join(LABELS)}, not {min(unknown)!r}.")
    for name in COLUMNS:
        if name not in NUMBERS:
            people[name] = people[name].astype(object)  # pandas reads an empty column as numbers
            continue
        people[name] = pd.to_numeric(people[name], errors="coerce")
        if people[name].isna().all():
            raise DataError(f"{path}: the column {name} contains no numbers.")
    return Rows(clean(people), (salaries == LABELS[1]).to_numpy(np.int64))


def make_book_table(people: Rows) -> pd.DataFrame:
    """Return a table for the book's cell, with the salary as a column."""
    return people.table.assign(**{TARGET: np.array(LABELS)[people.y]})


def divide(people: Rows, seed: int) -> tuple[Rows, Rows]:
    """Split at random; return the training people and a fifth that replaces the official test."""
    order = people.table.sample(frac=1, random_state=seed).index.to_numpy()
    cut = len(order) // 5
    return people.take(order[cut:]), people.take(order[:cut])
