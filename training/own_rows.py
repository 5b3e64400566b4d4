"""Read a user's own table to predict one of its columns: what each column holds, what is wrong with it, its split."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shared.dates import ISO, format_date
from shared.errors import quote
from shared.limits import LIMITS
from shared.tabular_values import EXCEL_ERRORS, MISSING, is_missing
from shared.text import normalise_name, parse_number
from training.column_types import (
    CATEGORY,
    DATE,
    LEFT_OUT,
    MAX_CATEGORIES,
    NUMBER,
    RARE,
    UNITS,
    YES,
    Column,
    read_columns,
)  # fmt: skip
from training.data import DataError
from training.own_data import (
    SHOWN,
    DataOptions,
    Problems,
    clean_label,
    describe_alike,
    find_column,
    find_usual,
    list_names,
)
from training.own_tables import find_tables, read_division, read_own_table
from training.splitting import (
    TEST,
    TRAIN,
    VALID,
    check_parts,
    find_leaks,
    join_rows,
    print_split,
    split_by_time,
    split_rows,
)
from training.tables import MIN_ROWS, MIN_SAMPLES, TEST_SHARE, Rows

TARGETS = (
    "target", "label", "labels", "class", "y", "outcome", "churn", "churned", "survived", "price", "salary", "income",
    "ziel", "klasse", "preis",
)  # fmt: skip
MAX_READ = 200_000  # rows; of more, a random sample is read
MAX_CLASSES = 20  # different whole numbers of a target that are classes
LONGEST_NAME = 100  # characters of a column's name
BANDS = 4  # groups of a number to report by
MAX_GROUPS = 20
LEAST_GROUPS = 5  # as many as the folds on which a model is calibrated
STRATA = 10  # bands of a number to predict, each of which is split alike
SAME = 0.999  # correlation with the target from which a column is left out
NEARLY = 0.99  # accuracy or R² from one column alone that calls for a warning
CHECKED = 20_000  # rows on which that is measured
FAR = 10  # times the largest other number to predict, from which on the last one may be their sum
MOSTLY = 0.5  # of the inputs of such a row, or more, are missing
FEW_MISSING, FEW_TOTALS = 0.2, 0.1  # at most, to call rows totals: missing inputs of most rows, and rows without any
LARGER = 0.95  # of the other rows have smaller targets than most totals
FUTURE = 10 * 365  # days from now, after which a date with a year of two digits may be of the century before
UNCLEAR = {
    DATE: "its days and months cannot be told apart",
    NUMBER: "its thousands and decimals cannot be told apart",
}

Target = NDArray[Any]  # (rows,): int64 indices of labels, or float64


@dataclass(frozen=True)
class OwnRows:
    """The rows of a user's own table.

    Attributes:
        train: the rows to train on; `y` has the indices of labels, or float64 values if the target is a number.
        test: the rows to test on.
        target: the column to predict.
        labels: the labels; () if the target is a number.
        date_formats: the columns of dates, which are days since 1970-01-01 in the tables, and their spelling.
        decimals: the decimal signs of columns whose texts parse_number would not read alike; see NumberColumn.
        open_categories: columns of categories with rare values, or values that are only in the test, which are missing
            in the tables; so any other value counts as missing when the model is used.
        groups: for each column to report by, the group of each test row.
        split: what the test is, such as "held-out fifth".
        notes: sentences for the card.
    """

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


def read_own_rows(data: Path, target: str | None, own: DataOptions, seed: int) -> OwnRows:
    """Read, check and split a user's own table, and print what was understood.

    Args:
        data: a table, or a folder with one, or with train.csv and test.csv.
        target: the column to predict; None is one with a usual name, or else the last one.
        own: the options that say how to read it.
        seed: determines the sample and the split.

    Raises:
        DataError: the data cannot be used.
    """
    problems = Problems(data, own.skip_bad, "rows")
    source, own = settle_division(read_source(data, target, problems, seed), target, own)
    name, how = find_target(list(source.table), target, data)
    group, time = find_dividers(list(source.table), name, own, data)
    kept = (name, time) if time else (name,)
    columns = {column.name: column for column in read_columns(source.table, source.count, kept, source.delimiter)}
    columns[name] = keep_labels(columns[name], source.table[name])
    for column in (columns[key] for key in kept):
        if column.question and (column.name == time or column.kind == NUMBER):
            raise DataError(column.question)
    reported = find_groups(own.groups, columns, data)
    inputs = {key: column for key, column in columns.items() if key not in (name, group, time)}
    print_columns(data, source, f"{name}{how}", list(inputs.values()))
    left_out = {key: column.reason for key, column in inputs.items() if column.kind == LEFT_OUT}
    inputs = {key: column for key, column in inputs.items() if key not in left_out}
    given = is_given(columns[name])
    totals = find_totals(columns[name], given, list(inputs.values()))
    for total in totals:
        shown = source.table[name].iloc[total]
        problems.add(source.places[total], f"It seems to be a total: {name} is {shown}, and most inputs are empty.")
    given = given & ~np.isin(np.arange(len(given)), totals)
    add_problems([columns[key] for key in (*inputs, *kept)], source, problems)
    if time and TEST not in source.parts:
        given = given & find_times(columns[time], given, source, problems)
    values = {key: column.values[given].reset_index(drop=True) for key, column in columns.items()}
    y, labels = problems.settle_with(lambda: read_target(columns[name], values[name], own.task, data))
    left_out |= {key: UNCLEAR[item.kind] for key, item in inputs.items() if item.question}

    table = pd.DataFrame({key: values[key] for key in inputs if key not in left_out})
    same, lines = find_same(table, y, bool(labels), name)
    lines = describe_missing(columns[name], source.table[name]) + lines
    table = table.drop(columns=same)
    check_inputs(table, name, data)
    # As texts: a group such as A17 among numbers is one, too.
    groups = source.table[group][given].astype(str).tolist() if group else None
    keys, line = make_keys(table, y, groups, has_times=time is not None)
    lines += line
    print(*lines, sep="\n", end="\n" * bool(lines))
    # What is given to validate on is trained on, too, so it must not be in the test, either.
    parts = [TEST if source.parts[row] == TEST else TRAIN for row in np.flatnonzero(given).tolist()]
    chosen, split = divide(y, bool(labels), parts, keys, values[time].rename(time) if time else None, seed)
    rows = {part: np.flatnonzero(chosen == part) for part in (TRAIN, TEST)}
    print_split(rows, [TEST] if TEST in parts else [], f" by {time}" if time and TEST not in parts else "")
    if labels:
        check_parts({part: y[index] for part, index in rows.items()}, labels, "add rows of it, or divide otherwise.")
    table, open_categories, rare = merge_rare(table, rows)
    print(*rare, sep="\n", end="\n" * bool(rare))
    lines += rare
    check_inputs(table, name, data)
    notes = [f"Columns left out: {'; '.join(f'{key} ({why})' for key, why in left_out.items())}."] * bool(left_out)
    alike = number_groups(keys)
    train = Rows(table, y, alike if len(np.unique(alike)) < len(y) else None).take(rows[TRAIN])
    if train.groups is not None and len(np.unique(train.groups)) < LEAST_GROUPS:
        raise DataError(
            f"The column {group} of --group has too few values; at least {LEAST_GROUPS} must be trained on."
        )
    return OwnRows(
        train=train,
        test=Rows(table, y).take(rows[TEST]),
        target=name,
        labels=labels,
        date_formats={key: form for key in table if (form := columns[key].date_format)},
        decimals={key: decimal for key in table if (decimal := columns[key].decimal)},
        open_categories=open_categories,
        groups={column.name: name_groups(column, values[column.name], rows) for column in reported},
        split=split,
        notes=(*source.notes, *notes, *lines),
    )


# --- files and columns ---


@dataclass(frozen=True)
class _Source:
    """The columns of all files as categories of text, and of each row its place and the part it is given for.

    `delimiter` is that of the first file; "" for Parquet.
    """

    table: pd.DataFrame
    places: Sequence[str]
    parts: Sequence[str | None]
    count: int
    notes: tuple[str, ...]
    delimiter: str


def read_source(data: Path, target: str | None, problems: Problems, seed: int) -> _Source:
    """Read a table, or those of a folder; the columns of the others are those of the training part.

    If the tables divide the data, fast.ai's column is_valid is left out, which the others may lack; unless it is the
    target that is asked for.

    Raises:
        DataError: there is no table, a column is lacking, or a name is too long.
    """
    tables = find_tables(data)
    if not tables:
        raise DataError(
            f"There is no table {data}; name a CSV, TSV or Parquet with --data, or a folder with one, or with "
            "train.csv and test.csv."
        )
    found = {path: read_own_table(path, problems, most=MAX_READ, seed=seed) for path in tables}
    notes = [
        f"Of the {own.count:,} rows of {path.name}, a random sample of {len(own.table):,} is read."
        for path, own in found.items()
        if own.is_sample
    ]
    first = next(path for path, part in tables.items() if part in (TRAIN, None))
    names = found[first].columns
    if not {VALID, TEST}.isdisjoint(tables.values()):
        unused, _, lines = read_division(found[first].table, "files divide the data", (target,))
        print(*lines, sep="\n", end="\n" * len(lines))
        names = [name for name in names if name != unused]
    for path, own in found.items():
        if lacking := [name for name in names if name not in own.columns]:
            hint = f" If that is the target, {path.name} has no answers to test on: give --data {first}."
            raise DataError(
                f"{path} lacks the column {quote(lacking[0])} of {first.name}.{hint * (tables[path] == TEST)}"
            )
    if long := [name for name in names if len(name) > LONGEST_NAME]:
        raise DataError(
            f"{data} has a column with a name of {len(long[0]):,} characters, {quote(long[0])}; at most {LONGEST_NAME} "
            "are possible. Does the first line name the columns?"
        )
    merged = {name: union_categoricals([pd.Categorical(own.table[name]) for own in found.values()]) for name in names}
    prefix = {path: f"{path.name}, " if len(found) > 1 else "" for path in found}
    return _Source(
        pd.DataFrame(merged),
        [f"{prefix[path]}{own.name_place(row)}" for path, own in found.items() for row in range(len(own.table))],
        [tables[path] for path, own in found.items() for _ in range(len(own.table))],
        sum(own.count for own in found.values()),
        tuple(notes),
        found[first].delimiter,
    )


def settle_division(source: _Source, target: str | None, own: DataOptions) -> tuple[_Source, DataOptions]:
    """Leave out --time if the data has a test, and take the parts from fast.ai's column is_valid; say so.

    That column is never an input. It may be the target, if it is asked for.
    """
    if own.time and TEST in source.parts:
        print(f"--time {own.time} has no effect, since the data has a test of its own.")
        own = replace(own, time=None)
    other = f"--time {own.time} divides the rows" if own.time else ""
    name, parts, lines = read_division(source.table, other, (target,))
    print(*lines, sep="\n", end="\n" * len(lines))
    if name:
        source = replace(source, table=source.table.drop(columns=name), parts=parts or source.parts)
    return source, own


def find_target(names: Sequence[str], asked: str | None, data: Path) -> tuple[str, str]:
    """Return the column to predict, and a clause on how it was found."""
    if asked is not None:
        return find_column(names, asked, (), "--target", data), ""
    usual = find_usual(names, TARGETS)
    why = "it has a usual name" if usual else "it is the last column"
    return usual or names[-1], f" ({why}; --target names another)"


def find_dividers(names: Sequence[str], target: str, own: DataOptions, data: Path) -> tuple[str | None, str | None]:
    """Return the columns of --group and --time that divide the rows, None for one that is not asked for.

    Raises:
        DataError: there is no such column, both are asked for, or one is the target.
    """
    group = find_column(names, own.group, (), "--group", data) if own.group else None
    time = find_column(names, own.time, (), "--time", data) if own.time else None
    if group and time:
        raise DataError("--time and --group exclude each other; leave out one of them.")
    if target in (group, time):
        raise DataError(f"The target {target} cannot also divide the rows; leave out --{'group' if group else 'time'}.")
    return group, time


def check_inputs(table: pd.DataFrame, target: str, data: Path) -> None:
    """Check the number of columns that are left to predict from.

    Raises:
        DataError: there are none, or more than the pages read.
    """
    if table.empty:
        raise DataError(f"{data} has no column to predict the target {target} from.")
    if len(table.columns) > LIMITS.columns:
        raise DataError(
            f"{data} has {len(table.columns):,} columns to predict the target {target} from; keep at most "
            f"{LIMITS.columns}, such as {', '.join(table.columns[:3])}."
        )


def find_groups(asked: str | None, columns: Mapping[str, Column], data: Path) -> list[Column]:
    """Return the columns to report by."""
    names = [name.strip() for name in (asked or "").split(",") if name.strip()]
    return [columns[find_column(list(columns), name, (), "--groups", data)] for name in dict.fromkeys(names)]


def print_columns(data: Path, source: _Source, target: str, inputs: Sequence[Column]) -> None:
    """Print what each column was understood as."""
    print(*source.notes, sep="\n", end="\n" * bool(source.notes))
    print(f"{data.resolve().name}: {len(source.table):,} rows of {len(source.table.columns):,} columns, understood as:")
    kinds = {
        "target": [target],
        "numbers": [column.describe() for column in inputs if column.kind == NUMBER],
        "dates": [column.describe() for column in inputs if column.kind == DATE],
        "yes or no": [column.name for column in inputs if column.is_yes_or_no],
        "categories": [column.describe() for column in inputs if column.kind == CATEGORY and not column.is_yes_or_no],
    }
    for kind, listed in kinds.items():
        if listed:
            print(f"  {kind:<10}  {list_names(listed)}")
    for column in [column for column in inputs if column.kind == LEFT_OUT][:SHOWN]:
        print(f"  left out    {column.name}: {column.reason}{column.hint}")
    for column in inputs:
        if column.kind == CATEGORY and column.hint:
            print(f"{column.name} has categories, since {UNITS}{column.hint}.")
        for line in describe_two_digits(column):
            print(line)
        if column.kind == CATEGORY:
            for line in describe_alike(sorted(column.categories), f"values of {column.name}"):
                print(line)


def describe_two_digits(column: Column) -> list[str]:
    """Return lines on how years of two digits are read, and on what they make of a date after today."""
    form = column.date_format or ""
    if "%y" not in form:
        return []
    lines = [f"{column.name} has years of two digits: 50 to 99 are 1950 to 1999, 00 to 49 are 2000 to 2049."]
    latest = column.values.max()
    if latest > (pd.Timestamp.now() - pd.Timestamp(0)).days + FUTURE:
        spelled = f"{format_date(latest, form)} is {format_date(latest, ISO)}"
        lines.append(f"Warning: {column.name} has dates in the future: {spelled}. Write its years with four digits.")
    return lines


def add_problems(columns: Sequence[Column], source: _Source, problems: Problems) -> None:
    """Add cells that are not what the others of their column are; with --skip-bad, they count as missing."""
    for column in columns:
        if column.question:
            problems.add(f"column {column.name}", column.question)
        for row in column.bad:
            cell = source.table[column.name].iloc[row]
            is_large = column.kind == NUMBER and not math.isnan(parse_number(cell))
            what = "has an infinite number, or one above 3e38" if is_large else f"is not a {column.kind}"
            problems.add(source.places[row], f"{column.name} {what}: {quote(cell)}.")


def find_times(column: Column, given: NDArray[np.bool_], source: _Source, problems: Problems) -> NDArray[np.bool_]:
    """Return which rows have a time; one that is missing beside a target is a problem, as a bad one already is."""
    if not column.is_number:
        return np.ones_like(given)
    has_time = column.values.notna().to_numpy(np.bool_)
    for row in sorted(set(np.flatnonzero(given & ~has_time).tolist()) - set(column.bad)):
        problems.add(source.places[row], f"{column.name} is missing.")
    return has_time


# --- target ---


def is_given(target: Column) -> NDArray[np.bool_]:
    """Return which rows have a target."""
    values = target.values
    return (values.notna() if target.is_number else values != MISSING).to_numpy(np.bool_)


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


# --- split ---


def make_keys(
    table: pd.DataFrame, y: Target, groups: Sequence[str] | None, has_times: bool
) -> tuple[list[list[Hashable]], list[str]]:
    """Return the keys of each row, and a line on equal rows; rows with a common key are in one part of the split.

    Rows with equal inputs and target have one, unless most rows have equals or `has_times`: rows of another time are
    no copies.
    """
    hashes = pd.util.hash_pandas_object(table.assign(**{"": y}), index=False).tolist()
    copies = len(hashes) - len(set(hashes))
    keys: list[list[Hashable]] = [[] for _ in hashes]
    lines = []
    if copies > len(hashes) / 2:
        lines.append(f"Most rows ({copies:,}) equal another one, so equal rows may be in both parts of the split.")
    elif not has_times:
        keys = [[("row", value)] for value in hashes]
        lines = [f"Equal rows are kept in one part of the split: {copies:,} repeat another one."] * bool(copies)
    if groups is not None:
        for row, value in enumerate(groups):
            keys[row] += [] if is_missing(value) else [("group", clean_label(value))]
    return keys, lines


def number_groups(keys: Sequence[Sequence[Hashable]]) -> NDArray[np.intp]:
    """Return a number for each row, which rows with a common key share."""
    groups = np.empty(len(keys), np.intp)
    for number, rows in enumerate(join_rows(keys)):
        groups[rows] = number
    return groups


def divide(
    y: Target,
    has_classes: bool,
    parts: Sequence[str],
    keys: Sequence[Sequence[Hashable]],
    times: pd.Series | None,
    seed: int,
) -> tuple[NDArray[np.str_], str]:
    """Return the part of each row ("" for one that is left out), and what the test is.

    Raises:
        DataError: the times are neither numbers nor dates.
    """
    if TEST in parts:
        chosen = np.array(parts)
        leaks = find_leaks(keys, parts)
        chosen[leaks] = ""
        if leaks:
            print(f"{len(leaks):,} training rows left out: they, or their groups, are also in the given test.")
        return chosen, "own test"
    if times is not None:
        if not pd.api.types.is_numeric_dtype(times):
            raise DataError(f"Not every row has a number or a date in the column {times.name} of --time.")
        return np.array(split_by_time(times.tolist(), {TEST: TEST_SHARE})), f"last fifth by {times.name}"
    strata = y if has_classes else pd.qcut(y, STRATA, labels=False, duplicates="drop")
    return np.array(split_rows([[int(band)] for band in strata], keys, {TEST: TEST_SHARE}, seed)), "held-out fifth"


def name_groups(column: Column, values: pd.Series, rows: Mapping[str, NDArray[np.intp]]) -> tuple[str, ...]:
    """Return the group of each test row: its value, or a band of numbers between quantiles of the training rows.

    Raises:
        DataError: there are too many groups.
    """
    test = values.iloc[rows[TEST]]
    if column.is_number and values.nunique() > STRATA:
        edges = np.unique(values.iloc[rows[TRAIN]].quantile(np.arange(1, BANDS) / BANDS, "nearest"))
        shown = [format_date(edge, column.date_format) if column.date_format else f"{edge:.15g}" for edge in edges]
        middle = [f"{low} to {high}" for low, high in pairwise(shown)]
        names = [f"under {shown[0]}", *middle, f"{shown[-1]} and over"]
        bands = np.digitize(test.fillna(0), edges)
        return tuple("unknown" if gone else names[band] for band, gone in zip(bands, test.isna(), strict=True))
    if values.nunique() > MAX_GROUPS:
        raise DataError(
            f"The column {column.name} has {values.nunique():,} values; --groups takes numbers and columns with at "
            f"most {MAX_GROUPS}."
        )
    named = test.map("{:.15g}".format) if column.is_number else test
    return tuple(named.where(test.notna() & (test != MISSING), "unknown"))


def merge_rare(
    table: pd.DataFrame, rows: Mapping[str, NDArray[np.intp]]
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """Return a table whose categories without enough training rows are missing.

    A column of which nothing is left is left out. Also return the other columns that had such categories, and lines.
    """
    changed, empty = {}, []
    for name in table:
        if pd.api.types.is_numeric_dtype(table[name]):
            continue
        counts = table[name].iloc[rows[TRAIN]].value_counts().drop(MISSING, errors="ignore")
        kept = {MISSING, *counts[counts >= RARE].index[:MAX_CATEGORIES]}
        is_kept = table[name].isin(kept)
        if kept == {MISSING}:
            empty.append(name)
        elif not is_kept.all():
            changed[name] = table[name].where(is_kept, MISSING)
    lines = [f"{name} is left out: none of its values has {RARE} training rows; merge some of them." for name in empty]
    if changed:
        lines.append(
            f"Values with fewer than {RARE} training rows count as missing, as unknown ones do, in "
            f"{list_names(changed)}."
        )
    return table.assign(**changed).drop(columns=empty), tuple(changed), lines
