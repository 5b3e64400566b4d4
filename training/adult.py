"""UCI Adult, the census of 1994, as fastai spells it: its columns, and how its files are read."""

from pathlib import Path

import numpy as np
import pandas as pd

from training.data import DataError, read_table
from training.tables import MIN_ROWS, Rows, clean

TARGET, LABELS = "salary", ("<50k", ">=50k")
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")


def read_people(path: Path) -> Rows:
    """Read a CSV of people with their salaries.

    Raises:
        DataError: a column is missing, a salary is neither of the two, or there are too few rows.
    """
    people = read_table(path, [*COLUMNS, TARGET])
    if len(people) < MIN_ROWS:
        raise DataError(f"{path} has {len(people)} rows; at least {MIN_ROWS} are needed.")
    salaries = people.pop(TARGET).astype(str)
    if unknown := set(salaries) - set(LABELS):
        raise DataError(f"{path}: salary must be {' or '.join(LABELS)}, not {min(unknown)!r}.")
    for name in COLUMNS:
        if name not in NUMBERS:
            people[name] = people[name].astype(object)  # an empty column, too, which pandas takes for numbers
            continue
        people[name] = pd.to_numeric(people[name], errors="coerce")
        if people[name].isna().all():
            raise DataError(f"{path}: the column {name} holds no numbers.")
    return Rows(clean(people), (salaries == LABELS[1]).to_numpy(np.int64))


def book_table(people: Rows) -> pd.DataFrame:
    """Return people as the book's cell takes them: with their salaries in a column."""
    return people.table.assign(**{TARGET: np.array(LABELS)[people.y]})


def divide(people: Rows, seed: int) -> tuple[Rows, Rows]:
    """Return people to train on, and a fifth, drawn at random, that takes the place of the official test."""
    order = people.table.sample(frac=1, random_state=seed).index.to_numpy()
    cut = len(order) // 5
    return people.take(order[cut:]), people.take(order[:cut])
