"""Find the labels of pictures for an exported Learner: in folders' names, by its own label function, or in a CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastai.learner import Learner
from numpy.typing import NDArray

from training.data import DataError
from training.exported_learner import find_label_function, takes_table
from training.own_data.labelled_pictures import MIN_SAMPLES, Pictures, drop_copies
from training.own_data.labels import clean_label
from training.own_data.options import DataOptions
from training.own_data.picture_files import check_pictures, find_pictures
from training.own_data.picture_labels import Labelled, find_csv, label_by_csv
from training.own_data.problems import Problems
from training.sentences import list_names, print_lines

Found = list[tuple[Path, int | None]]  # pictures with the index of each one's label


@dataclass(frozen=True)
class Vocab:
    """The labels of a Learner: `labels` are the names to show, `entries` those of its vocab, in the same order."""

    labels: tuple[str, ...]
    entries: tuple[Any, ...]

    def index(self) -> dict[str, int]:
        """Return the index of each label by the names that data may have for it, as `fold` returns them."""
        names = {fold(str(entry)): index for index, entry in enumerate(self.entries)}
        if len(names) < len(self.entries):  # the names given to the labels tell apart what differs only in case
            names = {}
        return names | {fold(label): index for index, label in enumerate(self.labels)}


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
    problems, labels, found = Problems(folder, own.skip_bad, "pictures"), vocab.labels, []
    for path, index in find_labels(folder, paths, vocab, learn, own, problems):
        if index is None:
            problems.add(path, f"It has no label; the labels are {list_names(labels)}.")
        else:
            found.append(Labelled(path, labels[index]))
    found, lines = drop_copies(found, check_pictures([item.path for item in found], problems), problems)
    y = np.array([labels.index(item.label) for item in found], np.int64)
    problems.settle_with(lambda: check_counts(y, labels, folder))
    print_lines(lines)
    return Pictures([item.path for item in found], y, y)


def find_labels(
    folder: Path, paths: Sequence[Path], vocab: Vocab, learn: Learner, own: DataOptions, problems: Problems
) -> Found:
    """Return pictures with the index of each one's label, or None if the vocab lacks the label.

    A picture in a subfolder has the label that is the name of the nearest folder above it; the entries of the vocab are
    also recognised. Where no folder has the name of a label, the Learner's own label function reads the names of files.
    Where it finds none, a CSV of names and labels in the folder is read.

    Raises:
        DataError: none of the three gives a label.
    """
    names = vocab.index()
    indices = [find_by_folder(path.relative_to(folder), names) for path in paths]
    reason = ""
    if not has_any(indices):
        indices, reason = find_by_name(paths, vocab.entries, learn)
    if has_any(indices):
        return list(zip(paths, indices, strict=True))
    try:
        table = find_csv(folder)
    except DataError:
        raise DataError(
            f"No picture in {folder} has a label: no folder has the name of one ({list_names(vocab.labels)}), {reason}"
            ", and there is no labels.csv or train.csv. Name another --data, or sort the pictures into a subfolder for "
            "each label."
        ) from None
    labelled, lines = label_by_csv(folder, paths, table, own, problems)
    print_lines(lines)
    return [(item.path, names.get(fold(item.label))) for item in labelled]


def has_any(indices: Sequence[int | None]) -> bool:
    """Return True if a label was found."""
    return any(index is not None for index in indices)


def check_counts(y: NDArray[np.int64], labels: Sequence[str], folder: Path) -> None:
    """Check that there are enough pictures of each label.

    Raises:
        DataError: there are not.
    """
    for label, count in zip(labels, np.bincount(y, minlength=len(labels)), strict=True):
        if count < MIN_SAMPLES:
            raise DataError(f"{folder} has {count} different pictures of {label}; at least {MIN_SAMPLES} are needed.")


def find_by_folder(path: Path, names: dict[str, int]) -> int | None:
    """Return the label of the nearest folder with the name of one, or None."""
    return next((names[fold(part)] for part in reversed(path.parts[:-1]) if fold(part) in names), None)


def fold(name: str) -> str:
    """Return a name of a label or folder without differences of case and spaces."""
    return clean_label(name).casefold()


def find_by_name(paths: Sequence[Path], entries: Sequence[Any], learn: Learner) -> tuple[list[int | None], str]:
    """Return the labels that the Learner's own label function reads from the names of the files, if it does.

    Returns:
        For each picture, the index in the vocab or None, and why there may be none, as a part of a sentence.
    """
    if takes_table(learn):
        return [], "the Learner's labels came from a table"
    read, index = find_label_function(learn), {entry: row for row, entry in enumerate(entries)}
    try:
        return [index.get(read(path)) for path in paths], "the Learner's label function finds none in the files' names"
    except Exception as error:  # it is the user's own code
        return [], f"the Learner's label function cannot read the files' names ({error})"
