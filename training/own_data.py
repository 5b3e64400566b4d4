"""A user's own data: the options that say how to read it, and all its problems at once."""

import argparse
import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.errors import quote
from training.data import DataError

Result = TypeVar("Result")
SHOWN = 20  # problems, labels and names in a list
LARGE = 1e9  # bytes of memory that are worth a line
MEMORY_SHARE = 0.8  # of the free memory that the data may take
PATTERN = r"^(.*)_\d+"  # of file names such as great_pyrenees_173.jpg
CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")
SEPARATORS = re.compile(r"[\s,;|]+")  # of words in a label
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class DataOptions:
    """How to read a user's own data; each field is set by the command-line option of its name.

    `group` is a column whose equal values stay on one side of the split, or a regular expression for the paths of
    pictures. `groups` are columns to report by, with commas between them. `labels` is a CSV with the names of pictures
    and their labels. `pattern` is a regular expression for file names; None is PATTERN.
    """

    skip_bad: bool = False
    group: str | None = None
    time: str | None = None
    labels_from: str | None = None
    labels: str | None = None
    pattern: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    void: str | None = None
    user_column: str | None = None
    item_column: str | None = None
    rating_column: str | None = None
    items: str | None = None
    scale: str | None = None
    users: bool = False
    item_name: str = "item"
    unit: str | None = None
    groups: str | None = None
    task: str | None = None

    @classmethod
    def read(cls, options: argparse.Namespace) -> "DataOptions":
        """Return the options that were given on the command line."""
        given = {item.name: getattr(options, item.name, None) for item in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})


def add_data_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add --skip-bad, --group, and the options with these names."""
    helps = {
        "time": ("COLUMN", "split by this column: the last part is the test"),
        "text_column": ("COLUMN", "the column with the texts (found if it has a usual name)"),
        "label_column": ("COLUMN", "the column with the labels (found if it has a usual name)"),
        "labels": ("FILE", "a CSV with the names of the pictures and their labels"),
        "groups": ("COLUMNS", "report the figures for each value of these columns, such as sex,region"),
        "pattern": ("REGEX", f"finds the label in a file's name: --labels-from pattern (default {PATTERN})"),
        "void": ("VALUE", "an index or a colour such as #ff00ff in the masks that stands for no class"),
        "user_column": ("COLUMN", "the column with the users (found if it has a usual name)"),
        "item_column": ("COLUMN", "the column with what they rated (found if it has a usual name)"),
        "rating_column": ("COLUMN", "the column with the ratings (found if it has a usual name)"),
        "items": ("FILE", "a table with titles, kinds and years of the items"),
        "scale": ("LOW,HIGH", "the lowest and highest possible rating (found by default)"),
        "users": ("", "publish users' ids and ratings with the model, so that the page can name them"),
        "item_name": ("WORD", "what an item is called, such as book, or story,stories (default item)"),
        "unit": ("WORD", "what the numbers are counted in, such as stars or EUR (default for ratings: points)"),
    }
    parser.add_argument("--skip-bad", action="store_true", default=None, help="go on without bad rows or files")
    grouped = "keep equal values of this column in one part of the split"
    if "labels_from" in names:
        parser.add_argument(
            "--labels-from", choices=("folder", "csv", "pattern"), help="where labels are (default: names of folders)"
        )
        grouped += "; without a CSV, a REGEX for paths"
    if "void" in names:
        grouped = "keep pictures in one part of the split for whose names this finds the same"
    parser.add_argument("--group", metavar="REGEX" if "void" in names else "COLUMN", help=grouped)
    if "task" in names:
        parser.add_argument(
            "--task", choices=("classes", "number"), help="what the target is (default: found from its values)"
        )
    for name in names:
        if name in helps:
            metavar, text = helps[name]
            kind: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true", "default": None}
            parser.add_argument(f"--{name.replace('_', '-')}", help=text.replace("%", "%%"), **kind)


class Problems:
    """The problems of a data set: one sentence for each bad row or file.

    Args:
        data: the file or folder, for the message.
        skip: leave out what is bad, instead of raising an error.
        unit: what is counted, such as "pictures".
    """

    def __init__(self, data: Path, skip: bool, unit: str) -> None:
        self.data, self.skip, self.unit = data, skip, unit
        self.found: list[str] = []  # the first ones, which are shown: there may be millions
        self.count = 0

    def add(self, where: object, sentence: str) -> None:
        """Add a problem of a row or file."""
        self.count += 1
        if len(self.found) < SHOWN:
            shown = where.relative_to(self.data) if isinstance(where, Path) and self.data in where.parents else where
            self.found.append(f"{shown}: {sentence}")

    def settle_with(self, check: Callable[[], Result]) -> Result:
        """Return what a check of the rest of the data returns, and settle; what it finds is reported with the others.

        Raises:
            DataError: the check found something, or there are problems that are not to be skipped.
        """
        try:
            result = check()
        except DataError as error:
            self.settle(str(error))
            raise
        self.settle()
        return result

    def settle(self, more: str = "") -> None:
        """Print the problems with --skip-bad; otherwise raise them together.

        Args:
            more: what is wrong with the rest of the data.

        Raises:
            DataError: there are problems, and they are not to be skipped.
        """
        if not self.found:
            return
        listed = "".join(f"\n  {line}" for line in self.found)
        hidden = f"\n  … and {self.count - SHOWN:,} more" if self.count > SHOWN else ""
        what = f"{self.count:,} problem{'s' * (self.count > 1)} with the {self.unit} of {self.data}"
        if not self.skip:
            way_on = f". Without them: {more}" if more else ", or go on without them with --skip-bad."
            raise DataError(f"{what}:{listed}{hidden}\nRepair or delete them{way_on}")
        done = "Bad cells count as missing, bad rows are left out" if self.unit == "rows" else "Left out"
        print(f"{done}: {what}:{listed}{hidden}")
        self.found, self.count = [], 0


def suggest(name: str, names: Iterable[str], kind: str = "column", least: float = 0.7) -> str:
    """Return a clause, after a space, that names the nearest of `names`; "" if none is as similar as `least`."""
    by_key = {other.casefold().replace("_", " ").replace("-", " "): other for other in names}
    near = difflib.get_close_matches(name.casefold().replace("_", " ").replace("-", " "), by_key, 1, least)
    article = "an" if kind[0] in "aeiou" else "a"
    return f" There is {article} {kind} {quote(by_key[near[0]])}; did you mean it?" if near else ""


def find_column(
    columns: Sequence[str],
    asked: str | None,
    usual: Collection[str],
    option: str,
    data: Path,
    others: Collection[str] = (),
) -> str:
    """Return the column that is asked for, or else the one with the most usual name, in any case.

    Args:
        columns: all columns.
        asked: the value of the option, or None.
        usual: usual names in lower case, the most usual first.
        option: the option that names the column, for the message; "" if there is none.
        data: the file, for the message.
        others: usual names of columns with another use, in lower case, which the message does not propose.

    Raises:
        DataError: there is no such column.
    """
    there = f"Its columns are: {list_names(columns)}."
    if asked is not None:
        exact = [column for column in columns if column == asked]
        loose = exact or [column for column in columns if column.strip().casefold() == asked.strip().casefold()]
        if len(loose) != 1:
            raise DataError(f"{data} has no column {quote(asked)}.{suggest(asked, columns)} {there}")
        return loose[0]
    if found := find_usual(columns, usual):
        return found
    free = [column for column in columns if column.strip().casefold() not in others]
    near = next((clause for name in usual if (clause := suggest(name, free, least=0.8))), "")
    advice = f"name another with {option}" if option else "rename the one that is meant"
    called = " or ".join(list(usual)[:2])
    raise DataError(f"{data} has no column called {called}; {advice}.{near} {there}")


def find_usual(columns: Sequence[str], usual: Collection[str]) -> str | None:
    """Return the column with the most usual name, in any case; None if none has a usual one."""
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in usual if name in by_name), None)


def list_names(names: Iterable[object], shown: int = SHOWN) -> str:
    """Return names as a list for a sentence; of many, the first ones and the number of the rest."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - shown:,} more" if len(listed) > shown else ""
    return ", ".join(listed[:shown]) + more


def clean_label(label: str) -> str:
    """Return a label on one line, with single spaces and composed letters: a Mac writes ü as two characters."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def index_labels(
    found: Sequence[str], data: object, items: str, least: int
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the labels, sorted, and the index of each item's.

    Args:
        found: the label of each item.
        data: what errors call the data.
        items: what errors call the items, such as pictures.
        least: different items that each label needs.

    Raises:
        DataError: there are fewer than two labels, or too few items of one.
    """
    labels = tuple(sorted(set(found)))
    if not labels:
        raise DataError(f"{data} has no {items} that can be read; add some.")
    if len(labels) < 2:
        raise DataError(f"All {items} of {data} have the label {labels[0]}; at least two labels are needed.")
    codes = {label: index for index, label in enumerate(labels)}
    y = np.array([codes[label] for label in found], np.int64)
    counts = zip(labels, np.bincount(y).tolist(), strict=True)
    if few := [f"{label} has {count}" for label, count in counts if count < least]:
        raise DataError(
            f"At least {least} different {items} are needed of each label, but in {data}, {list_names(few)}; add more, "
            "or leave these labels out."
        )
    return labels, y


def count_labels(labels: Sequence[str], counts: Sequence[int]) -> str:
    """Return labels with their counts, such as "cat 12, dog 15"."""
    return list_names(f"{label} {count:,}" for label, count in zip(labels, counts, strict=True))


def describe_alike(labels: Iterable[str], what: str = "labels") -> list[str]:
    """Return a line on labels, or other names, that differ only in case or spaces; none if there are none."""
    seen: dict[str, str] = {}
    pairs = [
        (seen[key], label)
        for label in labels
        if (key := "".join(label.casefold().split())) in seen or seen.setdefault(key, label) != label
    ]
    return (
        [f"Different {what}, but perhaps meant as one: {list_names(f'{a} and {b}' for a, b in pairs)}."]
        if pairs
        else []
    )


def describe_combinations(labels: Collection[str]) -> list[str]:
    """Return a line on labels that look like several in one, such as "car person" beside "car" and "person"."""
    words = {label: frozenset(SEPARATORS.split(label)) for label in labels}
    counts = Counter(word for found in words.values() for word in found)
    mixed = [label for label, found in words.items() if all(counts[word] > 1 for word in found)]
    if len({len(words[label]) for label in mixed}) < 2:  # such as light red, dark red, light blue and dark blue
        return []
    first = min(label for label in mixed if len(words[label]) > 1)
    return [f"A picture has one label here, so a combination such as {quote(first)} is learned as a label of its own."]


def is_clutter(path: Path) -> bool:
    """Return True for hidden files and what macOS and Windows leave in folders; give a path within the data."""
    return any(part.startswith(".") or part.casefold() in CLUTTER for part in path.parts)


def check_memory(count: int, size: tuple[int, int], channels: int = 3) -> None:
    """Check before decoding that pictures of `size` (width, height) with this many bytes per pixel fit into memory.

    Raises:
        DataError: they do not.
    """
    needed, free = count * size[0] * size[1] * channels, find_free_memory()
    if free is None:
        return
    if needed > LARGE:
        print(f"The pictures take {needed / 1e9:.1f} GB of memory in training; {free / 1e9:.1f} GB are free.")
    if needed > MEMORY_SHARE * free:
        raise DataError(
            f"{count:,} pictures of {size[0]}×{size[1]} pixels take {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free; train on about {int(MEMORY_SHARE * free * count / needed):,} of them, or "
            "on a machine with more memory."
        )


def find_free_memory() -> int | None:
    """Return the bytes of memory that are free on this machine or in its container; None if unknown."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError):
        pass
    try:
        limit, used = ((CGROUP / name).read_text(encoding="utf-8") for name in ("memory.max", "memory.current"))
        found.append(max(int(limit) - int(used), 0))
    except (OSError, ValueError):  # no container, or "max"
        pass
    return min(found, default=None)
