"""Read the column to predict in a user's own table: find it, tell labels from numbers, find what gives it away."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shared.errors import quote
from shared.tabular_values import EXCEL_ERRORS, MISSING, is_missing
from shared.text import normalise_name
from training.data import DataError
from training.own_data.column_types import CATEGORY, DATE, NUMBER, UNITS, YES, Column
from training.own_data.columns import find_column, find_usual
from training.own_data.labels import clean_label, describe_alike
from training.sentences import list_names
from training.tables.rows import MIN_ROWS, MIN_SAMPLES

TARGETS = (
    "target", "label", "labels", "class", "y", "outcome", "churn", "churned", "survived", "price", "salary", "income",
    "ziel", "klasse", "preis",
)  # fmt: skip
MAX_CLASSES = 20  # different whole numbers of a target that are classes
SAME = 0.999  # correlation with the target from which a column is left out
NEARLY = 0.99  # accuracy or R² from one column alone that calls for a warning
CHECKED = 20_000  # rows on which that is measured
FAR = 10  # times the largest other number to predict, from which on the last one may be their sum
MOSTLY = 0.5  # of the inputs of such a row, or more, are missing
FEW_MISSING, FEW_TOTALS = 0.2, 0.1  # at most, to call rows totals: missing inputs of most rows, and rows without any
LARGER = 0.95  # of the other rows have smaller targets than most totals

Target = NDArray[Any]  # (rows,): int64 indices of labels, or float64


def find_target(names: Sequence[str], asked: str | None, data: Path) -> tuple[str, str]:
    """Return the column to predict, and a clause on how it was found."""
    if asked is not None:
        return find_column(names, asked, (), "--target", data), ""
    usual = find_usual(names, TARGETS)
    why = "it has a usual name" if usual else "it is the last column"
    return usual or names[-1], f" ({why}; --target names another)"


def is_given(target: Column) -> NDArray[np.bool_]:
    """Return which rows have a target."""
    values = target.values
    return (values.notna() if target.is_number else values != MISSING).to_numpy(np.bool_)


def keep_labels(target: Column, cells: pd.Series) -> Column:
    """Return a target of text with its labels such as none and NA, which in other columns count as missing.

    Those of too few rows for a class stay missing, as do empty cells and question marks.
    """
    if target.kind != CATEGORY:
        return target
    labels = cells.astype(object).map(clean_label)
    counts = labels[~is_given(target)].value_counts()
    empty = {"", MISSING, *EXCEL_ERRORS}
    kept = [label for label in counts[counts >= MIN_SAMPLES].index if normalise_name(label) not in empty]
    return replace(target, values=target.values.mask(labels.isin(kept), labels))


def find_totals(target: Column, given: NDArray[np.bool_], inputs: Sequence[Column]) -> list[int]:
    """Return the rows that seem to be sums or means of others.

    These are the last row with a target if at least half of its inputs are missing, and its target equals the sum of
    the others or is far above them; and a few rows of a nearly complete table in which all inputs are missing, if their
    targets are mostly larger than those of nearly all others.
    """
    rows = np.flatnonzero(given)
    if target.kind != NUMBER or len(rows) < MIN_ROWS or not inputs:
        return []
    missing = np.zeros(len(rows), np.int64)
    for column in inputs:
        values = column.values.iloc[rows]
        missing += (values.isna() | (values == MISSING)).to_numpy(np.bool_)
    last, others = target.values.iloc[rows[-1]], target.values.iloc[rows[:-1]]
    is_far = last > FAR * others.abs().max() or (last > others.max() and math.isclose(last, others.sum(), rel_tol=1e-4))
    is_total = missing == len(inputs)
    found, rest = (target.values.iloc[rows[part]] for part in (is_total, ~is_total))
    is_few = 2 <= len(found) <= FEW_TOTALS * len(rows) and np.median(missing) <= FEW_MISSING * len(inputs)
    if not (is_few and found.median() > rest.quantile(LARGER)):
        is_total[:] = False
    is_total[-1] |= missing[-1] >= MOSTLY * len(inputs) and is_far
    return [int(row) for row in rows[is_total]]


def describe_missing(target: Column, cells: pd.Series) -> list[str]:
    """Return a line on rows without a target that counts how they spell it; none if there are none."""
    spelled = cells[~is_given(target)].astype(object).map(clean_label)
    named = spelled.where(spelled.map(is_missing).astype(bool), f"not a {target.kind}").replace("", "empty")
    counts = [f"{name} {count:,}" for name, count in named.value_counts().sort_index().items()]
    return [f"Rows without a target are left out: {list_names(counts)}."] * bool(counts)


def count_different(target: Column, values: pd.Series) -> int:
    """Return how many different values a target has.

    Raises:
        DataError: it has one.
    """
    if (different := values.nunique()) > 1:
        return different
    only, missing = values.iloc[0], int((~is_given(target)).sum())
    if missing and target.kind == CATEGORY:
        raise DataError(
            f"The target {target.name} is {only} in {len(values):,} rows and missing in {missing:,}; if missing means "
            "another value, such as no, write it there."
        )
    raise DataError(f"The target {target.name} is {only} in every row; at least two values are needed.")


def read_target(target: Column, values: pd.Series, kind: str | None, data: Path) -> tuple[Target, tuple[str, ...]]:
    """Return the target from its given values, and its labels, or () if it is a number; print what it is.

    Raises:
        DataError: it cannot be predicted, or there are too few rows.
    """
    name = target.name
    if len(values) < MIN_ROWS:
        raise DataError(f"{data} has {len(values)} rows with a target ({name}); at least {MIN_ROWS} are needed.")
    if target.kind == DATE:
        raise DataError(f"The target {name} has dates, which cannot be predicted; name another column with --target.")
    different = count_different(target, values)
    repair = f"{UNITS}{target.hint}" if target.hint else ""
    if kind == "number" and target.kind != NUMBER:
        value = quote(values.iloc[0])
        raise DataError(
            f"The target {name} is not a number: it has values such as {value}; {repair or 'leave out --task number'}."
        )
    whole = target.kind == NUMBER and not (values % 1).any()
    is_number = target.kind == NUMBER and (different > MAX_CLASSES or not (whole or different == 2))
    if kind == "number" or (kind is None and is_number):
        low, middle, high = values.min(), values.median(), values.max()
        ends, reading = f"from {low:.15g} to {high:.15g}", f" ({target.reading})" if target.reading else ""
        span = f"{ends}{reading}, with the median {middle:.15g}"
        print(f"  {name} is a number {span}. Use --task classes to treat its values as classes.")
        return values.to_numpy(np.float64), ()
    # Pages show the probability of the second label.
    ordered = sorted(values.unique(), key=lambda value: (str(value).casefold() in YES, value))
    y = pd.Categorical(values, ordered).codes.astype(np.int64)
    labels = tuple(np.format_float_positional(one, trim="-") if target.kind == NUMBER else str(one) for one in ordered)
    counts = np.bincount(y)
    if few := [f"{label} has {count}" for label, count in zip(labels, counts, strict=True) if count < MIN_SAMPLES]:
        advice = repair or "add more, leave them out, or name another column with --target"
        if target.kind == NUMBER:
            advice += ", or predict the number with --task number"
        raise DataError(
            f"At least {MIN_SAMPLES} rows are needed of each class, but of {name}, {list_names(few)}; {advice}."
        )
    shares = list_names(f"{label} {count / len(y):.1%}" for label, count in zip(labels, counts, strict=True))
    advice = " Use --task number to predict it as a number." if whole else ""
    print(f"  {name} has {len(labels)} classes: {shares}.{advice}")
    if spelled := [label for label in labels if is_missing(label)]:
        print(f"Classes of {name}, too: {list_names(spelled)}; empty these cells if the target is missing there.")
    for line in describe_alike(labels):
        print(line)
    return y, labels


def find_same(table: pd.DataFrame, y: Target, has_classes: bool, target: str) -> tuple[list[str], list[str]]:
    """Return the columns that equal the target in other words, and lines on them and on those that nearly do."""
    same, lines = [], []
    for name in table:
        if equals_target(table[name], y, has_classes):
            same.append(name)
            lines.append(f"{name} is left out: it says the same as the target {target}, so nothing would be learned.")
        elif (score := predict_alone(table[name], y, has_classes)) is not None:
            what = f"{score:.1%} of the rows right" if has_classes else f"R² = {score:.3f}"
            lines.append(
                f"Warning: {name} alone predicts {target} almost perfectly ({what}). If it is not known before "
                f"{target} is, delete the column."
            )
    return same, lines


def equals_target(values: pd.Series, y: Target, has_classes: bool) -> bool:
    """Return True if a column has one value for each of the target's, or a number that rises and falls with it."""
    codes, targets = pd.factorize(values, use_na_sentinel=False)[0], pd.factorize(y)[0]
    pairs = len(np.unique(codes.astype(np.int64) * (targets.max() + 1) + targets))
    if pairs == codes.max() + 1 == targets.max() + 1 <= len(y) / 2:
        return True
    known = values.notna().to_numpy() if pd.api.types.is_numeric_dtype(values) else np.zeros(len(y), np.bool_)
    if has_classes or known.sum() < len(y) / 2 or values[known].nunique() < 2 or len(np.unique(y[known])) < 2:
        return False
    pair = pd.DataFrame({"x": values[known].to_numpy(), "y": y[known]})
    return bool(max(abs(pair.corr().iloc[0, 1]), abs(pair.rank().corr().iloc[0, 1])) > SAME)


def predict_alone(values: pd.Series, y: Target, has_classes: bool) -> float | None:
    """Return the accuracy, or R² of a number, of a small tree that sees one column, if it is almost perfect."""
    rows = np.random.default_rng(0).permutation(len(y))[:CHECKED]
    numeric = pd.api.types.is_numeric_dtype(values)
    x = (values.to_numpy(np.float64) if numeric else pd.factorize(values)[0])[rows].reshape(-1, 1)
    grow = DecisionTreeClassifier if has_classes else DecisionTreeRegressor
    score = float(
        grow(max_leaf_nodes=32, min_samples_leaf=MIN_SAMPLES, random_state=0).fit(x, y[rows]).score(x, y[rows])
    )
    worst = 1 - np.bincount(y[rows]).max() / len(rows) if has_classes else 1.0
    return score if score >= NEARLY and 1 - score <= (1 - NEARLY) * 10 * worst else None
