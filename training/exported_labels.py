"""Find the labels of pictures for an exported Learner: in folders' names, by its own label function, or in a CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fastai.learner import Learner
from numpy.typing import NDArray

from shared.errors import quote
from training.data import DataError
from training.exported_learner import find_label_function, takes_table
from training.own_data.labelled_pictures import MIN_SAMPLES, Pictures, drop_copies
from training.own_data.labels import clean_label
from training.own_data.options import DataOptions
from training.own_data.picture_files import check_pictures, find_pictures
from training.own_data.picture_labels import Labelled, find_csv, find_part, label_by_csv, list_csvs
from training.own_data.problems import Problems
from training.sentences import list_names, print_lines
from training.splitting import TEST, TRAIN, VALID

Found = list[tuple[Path, str | None]]  # pictures with what they are labelled


@dataclass(frozen=True)
class Vocab:
    """The labels of a Learner: `labels` are the names to show, `entries` those of its vocab, in the same order."""

    labels: tuple[str, ...]
    entries: tuple[Any, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """The index of each label by the names that data may have for it, as `fold` returns them."""
        names = {fold(str(entry)): index for index, entry in enumerate(self.entries)}
        if len(names) < len(self.entries):  # the names given to the labels tell apart what differs only in case
            names = {}
        numbers = {
            str(int(entry)): index  # a CSV may have 0 and 1 for False and True, or for 0.0 and 1.0
            for index, entry in enumerate(self.entries)
            if isinstance(entry, bool | int | float | np.bool_ | np.number) and float(entry).is_integer()
        }
        return numbers | names | {fold(label): index for index, label in enumerate(self.labels)}


def choose_labels(categories: Sequence[Any], given: str | None) -> tuple[str, ...]:
    """Return the labels: the names given, separated by commas, or the entries of the vocab as text.

    Raises:
        DataError: their number is wrong, one is empty, or two differ at most in case.
    """
    vocab = tuple(clean_label(str(category)) for category in categories)
    labels = tuple(clean_label(name) for name in given.split(",")) if given else vocab
    if len(labels) != len(vocab):
        raise DataError(f"--labels must name {len(vocab)} labels, in the order of the vocab: {', '.join(vocab)}.")
    if len({label.casefold() for label in labels}) < len(labels) or "" in labels or len(labels) < 2:
        raise DataError(
            "At least two labels are needed, and they must differ in more than case and spaces; name others with "
            f"--labels: {', '.join(labels)}."
        )
    if not given and {label.casefold() for label in labels} == {"false", "true"}:
        print(f"The labels are {list_names(labels)}; to name them, add --labels with two names in this order.")
    return labels


def read_pictures(folder: Path, vocab: Vocab, learn: Learner, own: DataOptions) -> Pictures:
    """Read labelled pictures, each content once; print what was left out.

    Raises:
        DataError: a picture has no label or two, cannot be read, or there are too few of a label; the text lists them.
    """
    paths, _ = find_pictures(folder)
    if not paths:
        raise DataError(f"There are no pictures in {folder}.")
    problems, labels, index = Problems(folder, own.skip_bad, "pictures"), vocab.labels, vocab.index
    found = []
    for path, name in find_labels(folder, paths, vocab, learn, own, problems):
        if name is not None and fold(name) in index:
            found.append(Labelled(path, labels[index[fold(name)]]))
        else:
            what = "It has no label" if name is None else f"Its label {quote(name)} is not one of the Learner's"
            problems.add(path, f"{what}; the labels are {list_names(labels)}.")
    found, lines = drop_copies(found, check_pictures([item.path for item in found], problems), problems)
    y = np.array([labels.index(item.label) for item in found], np.int64)
    problems.settle_with(lambda: check_counts(y, labels, folder))
    print_lines(lines)
    return Pictures([item.path for item in found], y, y)


def find_labels(
    folder: Path, paths: Sequence[Path], vocab: Vocab, learn: Learner, own: DataOptions, problems: Problems
) -> Found:
    """Return pictures with what they are labelled, or None where nothing tells; print what tells it.

    A picture in a subfolder has the label that is the name of the nearest folder above it; the entries of the vocab are
    also recognised. Where no folder has the name of a label, the Learner's own label function reads the names of files.
    Where it finds none, or if a column is named, a CSV of names and labels in the folder is read. If that, or folders
    called train, valid and test, give some of them to validate or test on, the others are left out.

    Raises:
        DataError: none of the three gives a label.
    """
    reason = ""
    if not own.label_column:
        found = [find_by_folder(path.relative_to(folder), vocab.index) for path in paths]
        if any(found):
            print("The labels are the names of folders.")
            return keep_held_out(list(zip(paths, found, strict=True)), find_parts(folder, paths, vocab))
        found, reason = find_by_name(paths, vocab, learn)
        if any(found):
            print("The labels are what the Learner's own label function reads in the files' names.")
            return keep_held_out(list(zip(paths, found, strict=True)), find_parts(folder, paths, vocab))
    try:
        table = find_csv(folder)
    except DataError:
        tables = [path.name for path in list_csvs(folder)]
        no_table = f"none of {list_names(tables)} is called labels.csv" if tables else "there is no CSV"
        if own.label_column:
            raise DataError(f"--label-column names a column of a CSV in {folder}, but {no_table}.") from None
        raise DataError(
            f"No picture in {folder} has a label: no folder has the name of one ({list_names(vocab.labels)}), {reason}"
            f", and {no_table}. Name another --data, or sort the pictures into a subfolder for each label."
        ) from None
    labelled, lines = label_by_csv(folder, paths, table, own, problems)
    print_lines(lines)
    return keep_held_out([(item.path, item.label) for item in labelled], [item.part for item in labelled])


def find_parts(folder: Path, paths: Sequence[Path], vocab: Vocab) -> list[str | None]:
    """Return the part of each picture by its first folder, which is no part if the folders are labels."""
    inside = [path.relative_to(folder) for path in paths]
    parts = [find_part(path) if fold(path.parts[0]) not in vocab.index else None for path in inside]
    return parts if TRAIN in parts else [None] * len(parts)


def keep_held_out(found: Found, parts: Sequence[str | None]) -> Found:
    """Return the pictures to validate or test on, and print how many they are; all if there are none."""
    held_out = [item for item, part in zip(found, parts, strict=True) if part in (VALID, TEST)]
    if held_out and len(held_out) < len(found):
        print(
            f"Only the {len(held_out):,} pictures to validate or test on are used: the Learner may have been trained "
            "on the others."
        )
    return held_out or found


def check_counts(y: NDArray[np.int64], labels: Sequence[str], folder: Path) -> None:
    """Check that there are enough pictures of each label.

    Raises:
        DataError: there are not.
    """
    for label, count in zip(labels, np.bincount(y, minlength=len(labels)), strict=True):
        if count < MIN_SAMPLES:
            raise DataError(f"{folder} has {count} different pictures of {label}; at least {MIN_SAMPLES} are needed.")


def find_by_folder(path: Path, names: Mapping[str, int]) -> str | None:
    """Return the name of the nearest folder that is the name of a label, or None."""
    return next((part for part in reversed(path.parts[:-1]) if fold(part) in names), None)


def fold(name: str) -> str:
    """Return a name of a label or folder without differences of case and spaces."""
    return clean_label(name).casefold()


def find_by_name(paths: Sequence[Path], vocab: Vocab, learn: Learner) -> tuple[list[str | None], str]:
    """Return the labels that the Learner's own label function reads from the names of the files, if it does.

    Returns:
        For each picture, its label or None, and why there may be none, as a part of a sentence.
    """
    if takes_table(learn):
        return [], "the Learner's labels came from a table"
    read, labels = find_label_function(learn), dict(zip(vocab.entries, vocab.labels, strict=True))
    try:
        return [labels.get(read(path)) for path in paths], "the Learner's label function finds none in the files' names"
    except Exception as error:  # it is the user's own code
        return [], f"the Learner's label function cannot read the files' names ({error})"
