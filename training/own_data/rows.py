"""Read a user's own table to predict one of its columns: what each column holds, what is wrong with it, its split."""

import math
import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from shared.dates import ISO, format_date
from shared.errors import quote
from shared.limits import LIMITS
from shared.tabular_values import MISSING, is_missing
from shared.text import parse_number
from training.data import OWN_TEST, DataError
from training.own_data.column_types import (
    CATEGORY,
    DATE,
    LEFT_OUT,
    MAX_CATEGORIES,
    NUMBER,
    RARE,
    UNITS,
    Column,
    read_columns,
)  # fmt: skip
from training.own_data.columns import find_column
from training.own_data.labels import describe_alike, read_group
from training.own_data.options import DataOptions
from training.own_data.problems import Problems
from training.own_data.tables import find_tables, lacks_targets, read_division, read_own_table
from training.own_data.targets import (
    Target,
    describe_missing,
    find_same,
    find_target,
    find_totals,
    is_given,
    keep_labels,
    read_target,
)
from training.sentences import SHOWN, list_names, print_lines
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
from training.tables.rows import TEST_SHARE, Rows

MAX_READ = 200_000  # rows; of more, a random sample is read
LONGEST_NAME = 100  # characters of a column's name
BANDS = 4  # groups of a number to report by
MAX_GROUPS = 20
LEAST_GROUPS = 5  # as many as the folds on which a model is calibrated
MANY_UNSEEN = 0.2  # share of test rows whose category no training row has, from which a warning names it
STRATA = 10  # bands of a number to predict, each of which is split alike
FUTURE = 10 * 365  # days from now, after which a date with a year of two digits may be of the century before
FILES = "files divide the data"
UNCLEAR = {
    DATE: "its days and months cannot be told apart",
    NUMBER: "its thousands and decimals cannot be told apart",
}


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
        data: a table, or a folder with one, or with train.csv and test.csv or valid.csv.
        target: the column to predict; None is one with a usual name, or else the last one.
        own: the options that say how to read it.
        seed: determines the sample and the split.

    Raises:
        DataError: the data cannot be used.
    """
    problems = Problems(data, own.skip_bad, "rows")
    asked = own.time
    source = read_source(data, target, problems, seed)
    source, own = settle_division(source, target, own, problems)
    roles = assign_roles(source, target, own, data)
    name, columns = roles.target, roles.columns
    given = find_given(roles, source, problems)
    values = {key: column.values[given].reset_index(drop=True) for key, column in columns.items()}
    y, labels = problems.settle_with(lambda: read_target(columns[name], values[name], own.task, data))

    table = pd.DataFrame({column.name: values[column.name] for column in roles.inputs if not column.question})
    same, lines = find_same(table, y, bool(labels), name)
    lines = describe_missing(columns[name], source.table[name]) + lines
    table = table.drop(columns=same)
    check_inputs(table, name, data)

    groups = source.table[roles.group][given].astype(str).tolist() if roles.group else None  # A17 among numbers, too
    keys, copies = make_keys(table, y, groups, has_times=roles.time is not None)
    print_lines(lines := lines + copies)
    parts = take_parts(source, given, name, asked)
    times = values[roles.time].rename(roles.time) if roles.time else None
    rows, split = divide(y, bool(labels), parts, keys, times, seed)
    if labels:
        check_parts({part: y[index] for part, index in rows.items()}, labels, "add rows of it, or divide otherwise.")
    table, open_categories, rare = merge_rare(table, rows)
    dates = [key for key in table if columns[key].date_format]
    print_lines(rare := rare + describe_outside(table.drop(columns=dates), rows))
    check_inputs(table, name, data)

    return OwnRows(
        train=Rows(table, y, number_groups(choose_keys(keys), rows[TRAIN], roles.group)).take(rows[TRAIN]),
        test=Rows(table, y).take(rows[TEST]),
        target=name,
        labels=labels,
        date_formats={key: form for key in table if (form := columns[key].date_format)},
        decimals={key: decimal for key in table if (decimal := columns[key].decimal)},
        open_categories=open_categories,
        groups={column.name: name_groups(column, values[column.name], rows) for column in roles.reported},
        split=split,
        notes=(*source.notes, *describe_left_out(roles), *lines, *rare),
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

    A test without targets, as on Kaggle, is not used. A table to validate on is the test if there is no other, as it is
    for read_division. If the tables divide the data, a column that would divide it, such as fast.ai's is_valid, is left
    out; the others may lack it.

    Args:
        data: a table or a folder.
        target: the column to predict, if it is asked for.
        problems: takes the problems of rows.
        seed: determines the sample.

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
    first = next(path for path, part in tables.items() if part in (TRAIN, None))
    division = read_division(found[first].table, FILES, (target,))
    name, _ = find_target([name for name in found[first].columns if name not in division.columns], target, data)
    names = found[first].columns
    for path in [path for path, part in tables.items() if part == TEST]:
        if lacks_targets(found[path], name, names, is_missing):
            print(f"{path.name} is not used, since none of its rows has a target ({name}).")
            del found[path], tables[path]
    if TEST not in tables.values():
        for path in (path for path, part in tables.items() if part == VALID):
            print(f"{path.name} is the test, since there is no other.")
            tables[path] = TEST
    notes = [
        f"Of the {own.count:,} rows of {path.name}, a random sample of {len(own.table):,} is read."
        for path, own in found.items()
        if own.is_sample
    ]
    if TEST in tables.values():
        print_lines(division.lines)
        names = [name for name in names if name not in division.columns]
    for path, own in found.items():
        if lacking := [name for name in names if name not in own.columns]:
            hint = f" If that is the target, add --target {shlex.quote(lacking[0])}." if tables[path] == TEST else ""
            raise DataError(f"{path} lacks the column {quote(lacking[0])} of {first.name}.{hint}")
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


def settle_division(
    source: _Source, target: str | None, own: DataOptions, problems: Problems
) -> tuple[_Source, DataOptions]:
    """Leave out --time if the data has a test, and take the parts from a column that divides the rows; say so.

    That column is never an input. It may be the target, if it is asked for. A row of which it names no part is a
    problem, and left out.

    Raises:
        DataError: figures are asked for each value of that column.
    """
    if own.time and TEST in source.parts:
        print(f"--time {own.time} has no effect, since the data has a test of its own.")
        own = replace(own, time=None)
    other = FILES if TEST in source.parts else f"--time {own.time} divides the rows" if own.time else ""
    division = read_division(source.table, other, (target,))
    for name in division.columns:
        if name.casefold() in (reported.casefold() for reported in list_reported(own)):
            raise DataError(f"--groups cannot name {name}, a column for the split; leave it out, or rename the column.")
    print_lines(division.lines)
    for row, sentence in division.bad.items():
        problems.add(source.places[row], sentence)
    parts = division.parts or source.parts
    rows = [row for row in range(len(parts)) if row not in division.bad]
    source = replace(
        source,
        table=source.table.drop(columns=[*division.columns]).iloc[rows].reset_index(drop=True),
        places=[source.places[row] for row in rows],
        parts=[parts[row] for row in rows],
    )
    return source, own


@dataclass(frozen=True)
class _Roles:
    """What each column of a table is for.

    Attributes:
        columns: all columns, by name.
        target: the column to predict.
        group: the column of --group, or None.
        time: the column of --time, or None.
        inputs: the columns to predict from; those with a question only if it is answered.
        left_out: the columns that tell nothing.
        reported: the columns to report by.
    """

    columns: Mapping[str, Column]
    target: str
    group: str | None
    time: str | None
    inputs: list[Column]
    left_out: list[Column]
    reported: list[Column]


def assign_roles(source: _Source, target: str | None, own: DataOptions, data: Path) -> _Roles:
    """Find out what each column holds and what it is for, and print it.

    Raises:
        DataError: a column that is asked for is missing, or the spelling of the target or the time has two meanings.
    """
    name, how = find_target(list(source.table), target, data)
    group, time = find_dividers(list(source.table), name, own, data)
    kept = (name, time) if time else (name,)
    columns = {column.name: column for column in read_columns(source.table, source.count, kept, source.delimiter)}
    columns[name] = keep_labels(columns[name], source.table[name])
    for column in (columns[key] for key in kept):
        if column.question and (column.name == time or column.kind == NUMBER):
            raise DataError(column.question)
    reported = find_groups(own, columns, data)
    others = [column for key, column in columns.items() if key not in (name, group, time)]
    print_columns(data, source, f"{name}{how}", others)
    inputs = [column for column in others if column.kind != LEFT_OUT]
    return _Roles(
        columns, name, group, time, inputs, [column for column in others if column.kind == LEFT_OUT], reported
    )


def describe_left_out(roles: _Roles) -> list[str]:
    """Return a sentence on the columns that are left out, and why; none if there are none."""
    reasons = [f"{column.name} ({column.reason})" for column in roles.left_out]
    reasons += [f"{column.name} ({UNCLEAR[column.kind]})" for column in roles.inputs if column.question]
    return [f"Columns left out: {'; '.join(reasons)}."] * bool(reasons)


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


def find_groups(own: DataOptions, columns: Mapping[str, Column], data: Path) -> list[Column]:
    """Return the columns to report by."""
    names = dict.fromkeys(list_reported(own))
    return [columns[find_column(list(columns), name, (), "--groups", data)] for name in names]


def list_reported(own: DataOptions) -> list[str]:
    """Return the columns that --groups names."""
    return [name.strip() for name in (own.groups or "").split(",") if name.strip()]


def print_columns(data: Path, source: _Source, target: str, inputs: Sequence[Column]) -> None:
    """Print what each column was understood as."""
    print_lines(source.notes)
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
        print_lines(describe_two_digits(column))
        if column.kind == CATEGORY:
            print_lines(describe_alike(sorted(column.categories), f"values of {column.name}"))


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


def find_given(roles: _Roles, source: _Source, problems: Problems) -> NDArray[np.bool_]:
    """Return which rows have a target and a time, and are no totals; add what is wrong with cells to the problems."""
    target = roles.columns[roles.target]
    given = np.array(is_given(target))
    totals = find_totals(target, given, roles.inputs)
    for row in totals:
        seen = f"{target.name} is {source.table[target.name].iloc[row]}, and most inputs are empty"
        problems.add(source.places[row], f"It seems to be a total: {seen}.")
    given[totals] = False
    times = [roles.columns[roles.time]] if roles.time else []
    add_problems([*roles.inputs, target, *times], source, problems)
    for time in times:
        if TEST not in source.parts:
            given &= find_times(time, given, source, problems)
    return given


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


# --- split ---


def take_parts(source: _Source, given: NDArray[np.bool_], target: str, time: str | None) -> list[str | None]:
    """Return the parts of the rows that have a target; if none of the test has one, the validation part is the test.

    Args:
        source: the rows.
        given: which rows have a target.
        target: the column to predict.
        time: what --time names, also if a given test keeps it from dividing the rows.

    Raises:
        DataError: no row to test or validate on has a target, and --time does not divide the others.
    """
    parts = [source.parts[row] for row in np.flatnonzero(given).tolist()]
    if TEST not in source.parts or TEST in parts:
        return parts
    reason = f"No row of the given test has a target ({target})"
    if VALID in parts:
        print(f"{reason}, so the validation part is the test.")
        return [TEST if part == VALID else part for part in parts]
    if time:
        raise DataError(f"{reason}; leave the test out, and --time {time} divides the other rows.")
    print(f"{reason}, so a part of the others is the test.")
    return parts


def make_keys(
    table: pd.DataFrame, y: Target, groups: Sequence[str] | None, has_times: bool
) -> tuple[list[list[Hashable]], list[str]]:
    """Return the keys of each row, and a line on equal rows; see choose_keys and find_leaks.

    Rows with equal inputs and target have a common key, unless most rows have equals or `has_times`: rows of another
    time are no copies.
    """
    hashes = pd.util.hash_pandas_object(table.assign(**{"": y}), index=False).tolist()
    copies = len(hashes) - len(set(hashes))
    keys: list[list[Hashable]] = [[] for _ in hashes]
    lines = []
    if copies > len(hashes) / 2:
        lines.append(f"Most rows ({copies:,}) equal another one, so equal rows may be in both parts of the split.")
    elif not has_times:
        keys = [[("row", value)] for value in hashes]
        unless = ", unless their groups differ" * (groups is not None)
        lines = [f"Equal rows are kept in one part of the split{unless}: {copies:,} repeat another one."] * bool(copies)
    if groups is not None:
        for row, value in enumerate(groups):
            keys[row] += [("group", group)] if (group := read_group(value)) is not None else []
    return keys, lines


def choose_keys(keys: Sequence[Sequence[Hashable]]) -> list[list[Hashable]]:
    """Return the keys by which rows are kept together: the last of each, which is its group if it has one.

    A row without a group is in that of the first equal row with one. With all keys, a few equal rows of different
    groups would join nearly all groups, one through the other.
    """
    groups: dict[Hashable, Hashable] = {}
    for first, *group in (row_keys for row_keys in keys if len(row_keys) > 1):
        groups.setdefault(first, group[-1])
    return [[groups.get(last, last) for last in row_keys[-1:]] for row_keys in keys]


def number_groups(
    keys: Sequence[Sequence[Hashable]], train: NDArray[np.intp], group: str | None
) -> NDArray[np.intp] | None:
    """Return a number for each row, which rows with a common key share; None if no two do.

    Args:
        keys: those of each row.
        train: the rows to train on.
        group: the column of --group, for the message.

    Raises:
        DataError: the rows to train on have too few numbers to divide them into folds.
    """
    clusters = join_rows(keys)
    if len(clusters) == len(keys):
        return None
    numbers = np.empty(len(keys), np.intp)
    for number, rows in enumerate(clusters):
        numbers[rows] = number
    if len(np.unique(numbers[train])) < LEAST_GROUPS:
        raise DataError(
            f"The column {group} of --group has too few values; at least {LEAST_GROUPS} must be trained on."
        )
    return numbers


def divide(
    y: Target,
    has_classes: bool,
    parts: Sequence[str | None],
    keys: Sequence[Sequence[Hashable]],
    times: pd.Series | None,
    seed: int,
) -> tuple[dict[str, NDArray[np.intp]], str]:
    """Return the rows of the training part and of the test, and what the test is; print it.

    What is given to validate on is trained on.

    Raises:
        DataError: the times are neither numbers nor dates.
    """
    as_given: list[str] = []
    if TEST in parts:
        chosen, as_given = np.array([TEST if part == TEST else TRAIN for part in parts]), [TEST]
        if leaks := find_leaks(keys, chosen.tolist()):
            chosen[leaks] = ""
            print(f"{len(leaks):,} training rows left out: they, or their groups, are also in the given test.")
        split, how = OWN_TEST, ""
    elif times is not None:
        if not pd.api.types.is_numeric_dtype(times):
            raise DataError(f"Not every row has a number or a date in the column {times.name} of --time.")
        chosen = np.array(split_by_time(times.tolist(), {TEST: TEST_SHARE}))
        split, how = f"last fifth by {times.name}", f" by {times.name}"
    else:
        strata = y if has_classes else pd.qcut(y, STRATA, labels=False, duplicates="drop")
        chosen = np.array(split_rows([[int(band)] for band in strata], choose_keys(keys), {TEST: TEST_SHARE}, seed))
        split, how = "held-out fifth", ""
    rows = {part: np.flatnonzero(chosen == part) for part in (TRAIN, TEST)}
    print_split(rows, as_given, how)
    return rows, split


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
    lines += describe_unseen(table[list(changed)], rows)
    return table.assign(**changed).drop(columns=empty), tuple(changed), lines


def describe_unseen(table: pd.DataFrame, rows: Mapping[str, NDArray[np.intp]]) -> list[str]:
    """Return sentences on test rows whose category no training row has; none if there are none.

    Args:
        table: columns of categories.
        rows: those of each part.
    """
    train, test = (table.iloc[rows[part]] for part in (TRAIN, TEST))
    shares = {name: float((~test[name].isin({MISSING, *train[name]})).mean()) for name in table}
    few = [f"{name} {share:.1%}" for name, share in shares.items() if 0 < share <= MANY_UNSEEN]
    return [f"Test rows with a value that no training row has: {list_names(few)}."] * bool(few) + [
        f"Warning: {share:.0%} of the test rows have a value of {name} that no training row has, so it counts as "
        "missing; are they spelled otherwise?"
        for name, share in shares.items()
        if share > MANY_UNSEEN
    ]


def describe_outside(table: pd.DataFrame, rows: Mapping[str, NDArray[np.intp]]) -> list[str]:
    """Return a sentence on test rows with numbers outside the range of the training rows; none if there are none.

    Args:
        table: the inputs but for dates, which the model takes from outside their range, too.
        rows: those of each part.
    """
    numbers = table.select_dtypes("number")
    train, test = (numbers.iloc[rows[part]] for part in (TRAIN, TEST))
    is_outside = (test < train.min()) | (test > train.max())
    count = int(is_outside.any(axis=1).sum())
    return [
        f"{count:,} of {len(test):,} test rows have numbers outside the range of the training rows "
        f"({list_names(numbers.columns[is_outside.any()])}). The model refuses such rows; they are measured at the "
        "nearest number."
    ] * bool(count)
