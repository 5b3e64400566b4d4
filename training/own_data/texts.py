"""Read a user's own texts and their labels from a table or from folders, check them, and split them."""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import BadInput
from shared.tokens import clean_text
from training.data import DataError, is_clutter
from training.own_data.column_types import parse_times
from training.own_data.folders import (
    check_labels,
    describe_others,
    find_label,
    find_parts,
    has_texts,
    list_files,
    name_kind,
)
from training.own_data.labels import clean_label, count_labels, describe_alike, index_labels, read_group
from training.own_data.options import DataOptions
from training.own_data.problems import Problems
from training.own_data.tables import (
    LABELS,
    OwnTable,
    find_tables,
    lacks_targets,
    name_data,
    read_division,
    read_own_table,
)
from training.sentences import list_names, print_lines
from training.splitting import (
    PART_NAMES,
    PARTS,
    TEST,
    TRAIN,
    VALID,
    check_parts,
    find_leaks,
    print_split,
    split_by_time,
    split_rows,
)
from training.texts.reading import MIN_SAMPLES, TEST_SHARE, VALID_SHARE, Texts, read_text, read_unlabelled

COLUMNS = (
    "text", "review", "content", "sentence", "message", "comment", "body", "tweet", "document", "description",
    "question", "utterance", "abstract", "phrase", "headline", "texts", "inhalt", "nachricht", "texte",
)  # fmt: skip
UNLABELLED = "unsup"  # a folder or file of texts without labels, as in IMDB


@dataclass(frozen=True)
class Row:
    """A text with its label, where it is, and the part it is given for, its group and its time, if any.

    `moment` is the time as a number, for rows that are divided by it.
    """

    text: str
    label: str
    place: str
    part: str | None = None
    group: str | None = None
    time: str | None = None
    moment: float = math.nan

    @property
    def key(self) -> str:
        """The text without differences of case, width and spaces."""
        return make_key(self.text)


def make_key(text: str) -> str:
    """Return a text without differences of case, width and spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True)
class OwnTexts:
    """The labels and the parts of a user's own texts; `given` are the parts that the data itself names."""

    labels: tuple[str, ...]
    parts: Mapping[str, Texts]
    given: frozenset[str]


def read_own_texts(data: Path, own: DataOptions, seed: int) -> OwnTexts:
    """Read, check, count and split a user's own texts, and print what was understood.

    Args:
        data: a table; or a folder with a subfolder of text files for each label, with train/ and test/ of such folders,
            or with train.csv and test.csv.
        own: the options that say how to read it.
        seed: determines the split.

    Raises:
        DataError: the data cannot be used.
    """
    problems = Problems(data, own.skip_bad, "texts")
    tables = find_tables(data)
    if tables:
        rows, own = read_tables(tables, own, problems)
    elif not data.is_dir():
        raise DataError(f"There is no file or folder {data}; name a table or a folder of texts with --data.")
    elif own.group or own.time or own.text_column or own.label_column:
        raise DataError(
            f"{data} is a folder of text files, which have no columns; leave out the options that name one."
        )
    else:
        rows = read_files(data, problems)
    rows = clean(rows, problems)
    if own.time:
        rows = read_times(rows, own.time, problems)
    rows, lines = drop_copies(rows, bool(own.time or own.group), problems)
    given = [row.label for row in rows]
    labels, y = problems.settle_with(lambda: index_labels(given, name_data(data), "texts", MIN_SAMPLES))
    print_lines(lines)
    print(f"{len(rows):,} texts with {len(labels)} labels: {count_labels(labels, np.bincount(y).tolist())}.")
    print_lines(describe_alike(labels))
    found = divide_parts(rows, labels, y, own, seed)
    if data.is_dir():
        others = {text for part in found.parts.values() for text in part.texts}
        held_out = {make_key(text) for part in (VALID, TEST) for text in found.parts[part].texts}
        unlabelled = tuple(text for text in read_unlabelled(data, others) if make_key(text) not in held_out)
        found = replace(found, parts={**found.parts, TRAIN: replace(found.parts[TRAIN], unlabelled=unlabelled)})
    return found


# --- files ---


def check_folders(data: Path) -> None:
    """Check that a folder has a table, or subfolders of text files.

    Raises:
        DataError: it has neither.
    """
    if data.is_dir() and not find_tables(data) and not has_texts(data):
        raise refuse_folder(data)


def refuse_folder(folder: Path) -> DataError:
    """Return the error about a folder without texts, which names what it has instead."""
    names = [path.name for path in sorted(folder.iterdir()) if not is_clutter(Path(path.name))]
    there = f" It has {list_names(names, 5)}." if names else ""
    return DataError(
        f"There are no texts in {folder}; it must have a table such as train.csv, or a subfolder of .txt files for "
        f"each label.{there}"
    )


def read_tables(
    tables: Mapping[Path, str | None], own: DataOptions, problems: Problems
) -> tuple[list[Row], DataOptions]:
    """Return the rows of some tables and their parts, and the options, without --time if it has no effect.

    A test without labels, as on Kaggle, is not used.
    """
    found = {path: read_own_table(path, problems) for path in tables}
    parts = dict(tables)
    train = next(found[path] for path, part in tables.items() if part in (TRAIN, None))
    for path in [path for path, part in tables.items() if part == TEST]:
        _, label = find_columns(train, own)
        if lacks_targets(found[path], label, train.columns, lambda cell: not cell.strip()):
            print(f"{path.name} is not used, since none of its rows has a label.")
            del parts[path]
    if own.time and {VALID, TEST} <= set(parts.values()):
        print(f"--time {own.time} has no effect, since the data has a validation and a test part of its own.")
        own = replace(own, time=None)
    is_divided = not {VALID, TEST}.isdisjoint(parts.values())
    rows = [row for path, part in parts.items() for row in read_rows(found[path], part, own, problems, is_divided)]
    return rows, own


def find_columns(table: OwnTable, own: DataOptions) -> tuple[str, str]:
    """Return the columns of the texts and of the labels.

    Raises:
        DataError: one is missing, or both are the same.
    """
    text = table.find(own.text_column, COLUMNS, "--text-column")
    label = table.find(own.label_column, [name for name in LABELS if name != text.casefold()], "--label-column")
    if text == label:
        raise DataError(f"The column {text} cannot have both the texts and the labels of {table.path}.")
    return text, label


def read_rows(
    table: OwnTable, part: str | None, own: DataOptions, problems: Problems, is_divided: bool = False
) -> list[Row]:
    """Return the rows of a table; print which columns are the texts and the labels.

    Args:
        table: the table.
        part: the part that it is.
        own: the options that say how to read it.
        problems: takes the problems of rows.
        is_divided: True if other tables are the test or the validation part.
    """
    path, (text, label) = table.path, find_columns(table, own)
    if table.table[label].nunique() > table.table[text].nunique():
        raise DataError(
            f"{path} has more different values in the column of labels, {label}, than in that of texts, {text}; are "
            "--text-column and --label-column swapped?"
        )
    group = table.find(own.group, (), "--group") if own.group else None
    time = table.find(own.time, (), "--time") if own.time and part in (None, TRAIN) else None  # what is divided by it
    extra = f", groups in {group}" * bool(group) + f", times in {time}" * bool(time)
    print(f"{path.name}: texts are in the column {text}, labels in {label}{extra}.")
    other = "files divide the data" if is_divided else f"--time {time} divides the rows" if time else ""
    division = read_division(table.table, other, (text, label, group, time))
    print_lines(division.lines)
    where = f"{path.name}, " if part else ""
    for number, sentence in division.bad.items():
        problems.add(f"{where}{table.name_place(number)}", sentence)
    return [
        Row(
            row[text], row[label], f"{where}{place}", row_part,
            read_group(row[group]) if group else None, row[time] if time else None,
        )
        for (place, row), row_part in zip(table.iterate(), division.parts or repeat(part), strict=False)
        if row_part != ""
    ]  # fmt: skip


def read_files(folder: Path, problems: Problems) -> list[Row]:
    """Return the texts in the subfolders of a folder, or of its parts; the names of the subfolders are the labels.

    Raises:
        DataError: there are none, or parts and labels are side by side.
    """
    files = [path for path in list_files(folder) if UNLABELLED not in path.relative_to(folder).parts[:-1]]
    paths = [path for path in files if path.suffix.lower() == ".txt"]
    # Files straight in a folder such as notes/ are no labels beside parts.
    inside = {path: path.relative_to(folder).parts for path in paths}
    deep = [path for path, names in inside.items() if len(names) > 2 or names[0].casefold() in PART_NAMES]
    parts = find_parts(folder, deep, "texts")
    if not parts:
        check_labels(folder, paths, "texts")
    rows, loose = [], []
    for path in paths:
        part, label = find_label(path.relative_to(folder), parts)
        place = path.relative_to(folder).as_posix()
        if label is None:
            loose.append(place)
            continue
        try:
            rows.append(Row(read_text(path), label, place, part))
        except BadInput as error:
            problems.add(place, str(error))
    if not rows and not problems.found:
        raise refuse_folder(folder)
    print(f"The labels are the names of the subfolders{' of ' + list_names(sorted(parts)) if parts else ''}.")
    if loose:
        print(f"Not used, since they are in no label's folder: {len(loose):,} texts, such as {loose[0]}.")
    others = Counter(name_kind(path) for path in files if path.suffix.lower() != ".txt")
    print_lines(describe_others(others, ".txt files"))
    return rows


# --- checks ---


def clean(rows: Sequence[Row], problems: Problems) -> list[Row]:
    """Return rows with their texts as the model reads them; a row without text or label is a problem."""
    found = []
    for row in rows:
        try:
            if not row.label.strip():
                raise BadInput("The row has no label.")
            found.append(replace(row, text=clean_text(row.text), label=clean_label(row.label)))
        except BadInput as error:
            problems.add(row.place, str(error).split(";", maxsplit=1)[0].rstrip(".") + ".")
    return found


def read_times(rows: Sequence[Row], column: str, problems: Problems) -> list[Row]:
    """Return rows with their times as numbers; a row to divide whose time cannot be read is a problem, and left out.

    Raises:
        DataError: no time can be read, or days and months cannot be told apart.
    """
    divided = [index for index, row in enumerate(rows) if row.part in (None, TRAIN)]
    cells = pd.Series([rows[index].time or "" for index in divided], dtype="category")
    times = parse_times(cells, column, lambda number: rows[divided[number]].place, problems)
    moments = dict(zip(divided, times.tolist(), strict=True))
    timed = [replace(row, moment=moments.get(index, math.nan)) for index, row in enumerate(rows)]
    return [row for index, row in enumerate(timed) if index not in moments or not math.isnan(row.moment)]


def drop_copies(rows: Sequence[Row], is_divided: bool, problems: Problems) -> tuple[list[Row], list[str]]:
    """Return each text once, and a line on copies; the same text under two labels is a problem.

    Of copies in several parts, the one in the test is kept, or else that in the validation part. Texts of two parts are
    copies, too, if they differ only in case, width and spaces. If times or groups divide the rows (`is_divided`), so
    are those of one part: times do not keep them together, and groups would be joined by them.
    """
    by_text: dict[str, list[Row]] = {}
    for row in rows:
        by_text.setdefault(row.key if is_divided else row.text, []).append(row)
    kept = []
    for copies in by_text.values():
        other = next((row for row in copies if row.label != copies[0].label), None)
        if other:
            first = copies[0]
            problems.add(
                first.place, f"It is the same text as {other.place} ({other.label}), but labelled {first.label}."
            )
        else:
            kept.append(max(copies, key=_rank))
    left_out = sum(len(copies) - 1 for copies in by_text.values() if len({row.label for row in copies}) == 1)
    last: dict[str, int] = {}  # the index of the last part that has a text
    for row in kept:
        last[row.key] = max(_rank(row), last.get(row.key, 0))
    once = [row for row in kept if _rank(row) == last[row.key]]
    left_out, kept = left_out + len(kept) - len(once), once
    return kept, [f"Equal texts count once: {left_out:,} left out."] if left_out else []


def _rank(row: Row) -> int:
    return PARTS.index(row.part or TRAIN)


# --- split ---


def divide_parts(
    rows: Sequence[Row], labels: tuple[str, ...], y: NDArray[np.int64], own: DataOptions, seed: int
) -> OwnTexts:
    """Split texts into the parts that the data has not given itself, and print their sizes.

    Raises:
        DataError: a part lacks a label.
    """
    given = frozenset(row.part for row in rows if row.part)
    keys = [[("text", row.key), *([("group", row.group)] if row.group else [])] for row in rows]
    leaks = set(find_leaks(keys, [row.part for row in rows]))
    if leaks:
        print(f"{len(leaks):,} training texts left out: their {own.group} is also in a given test or validation part.")
    rest = [index for index, row in enumerate(rows) if row.part in (None, TRAIN) and index not in leaks]
    kept = 1 - TEST_SHARE * (TEST not in given)
    shares = {TEST: TEST_SHARE, VALID: kept * min(max(VALID_SHARE, 20 / (kept * len(rest) or 1)), 0.3)}
    shares = {part: share for part, share in shares.items() if part not in given}
    if own.time and own.group:
        raise DataError("--time and --group exclude each other; leave out one of them.")
    if own.time:
        chosen = split_by_time([rows[index].moment for index in rest], shares)
        advice = f"the order of {own.time} leaves no text of it there; leave out --time."
    else:
        chosen = split_rows([[int(y[index])] for index in rest], [keys[index] for index in rest], shares, seed)
        advice = "add texts of it there, or leave this part out, so that it is split off from the others."
        if own.group:
            advice = f"--group {own.group} leaves too few groups of a label; each needs at least three."
    parts = {part: [index for index, row in enumerate(rows) if row.part == part != TRAIN] for part in PARTS}
    for index, part in zip(rest, chosen, strict=True):
        parts[part].append(index)
    check_parts({part: y[indices] for part, indices in parts.items()}, labels, advice)
    everything = Texts([row.text for row in rows], y)
    divided = {part: everything.take(sorted(indices)) for part, indices in parts.items()}
    as_given = [part for part in PARTS if part in given and (part != TRAIN or not (shares or leaks))]
    print_split(divided, as_given, f" by {own.time}" if own.time and shares else "")
    return OwnTexts(labels, divided, given)
