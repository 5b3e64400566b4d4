"""Clean, index, count and compare labels."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.errors import quote
from shared.tabular_values import is_missing
from shared.text import drop_zeros
from training.data import DataError
from training.sentences import list_names

SEPARATORS = re.compile(r"[\s,;|]+")  # of words in a label


def clean_label(label: str) -> str:
    """Return a label on one line, with single spaces and composed letters: a Mac writes ü as two characters."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def read_group(cell: str) -> str | None:
    """Return the group in a cell, 17 for 17.0, which pandas may write; None if it is missing, which is no group."""
    return None if is_missing(cell) else drop_zeros(clean_label(cell))


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
        raise DataError(f"No {items} of {data} are left that can be read and have a label; add some.")
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
