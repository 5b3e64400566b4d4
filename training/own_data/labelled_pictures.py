"""Read labelled pictures from folders, a CSV or file names, and split them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import DataError, TestSet
from training.memory import check_memory
from training.own_data.folders import describe_others
from training.own_data.labels import count_labels, describe_alike, describe_combinations, index_labels
from training.own_data.near_copies import find_near_copies
from training.own_data.options import PATTERN, DataOptions
from training.own_data.picture_files import Checked, check_pictures, find_pictures
from training.own_data.picture_labels import Labelled, find_groups, label_by_csv, label_by_folder, label_by_pattern
from training.own_data.problems import Problems
from training.sentences import list_names, print_lines
from training.splitting import PARTS, TEST, TRAIN, VALID, check_parts, fill_parts, print_split

MIN_SAMPLES = 10  # different pictures of each label


@dataclass(frozen=True)
class Pictures:
    """Picture files with the index of each one's label, and of its kind, such as a breed, or else the label again."""

    paths: list[Path]
    y: NDArray[np.int64]
    kind: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.intp]) -> "Pictures":
        """Return the pictures with these indices."""
        return Pictures([self.paths[row] for row in rows], self.y[rows], self.kind[rows])

    def as_test(self, data: str, split: str) -> TestSet:
        """Return the pictures as a test set."""
        return TestSet(data, split, self.paths, self.y)


@dataclass(frozen=True)
class OwnPictures:
    """The labels and the parts of a user's own pictures; `given` are the parts that the data itself names."""

    labels: tuple[str, ...]
    parts: Mapping[str, Pictures]
    given: frozenset[str]


def read_own_pictures(data: Path, own: DataOptions, shares: Mapping[str, float], side: int, seed: int) -> OwnPictures:
    """Read, check, count and split a user's own pictures, and print what was understood.

    Args:
        data: a folder, or a CSV of names and labels beside the pictures.
        own: the options that say how to read it.
        shares: the share of the test and of the validation pictures, where the data has no such parts.
        side: the side of the square pictures that training holds in memory, in pixels.
        seed: determines the split.

    Raises:
        DataError: the data cannot be used.
    """
    found, lines, problems = label_pictures(data, own)
    folder = problems.data
    check_memory(round((1 - shares[TEST]) * len(found)), (side, side))
    checked = check_pictures([item.path for item in found], problems)
    found, more = drop_copies(found, checked, problems)
    print_lines(describe_combinations({item.label for item in found}))  # before an error about too few of each
    given = [item.label for item in found]
    labels, y = problems.settle_with(lambda: index_labels(given, folder, "pictures", MIN_SAMPLES))
    print_lines((*lines, *more))
    print(f"{len(found):,} pictures with {len(labels)} labels: {count_labels(labels, np.bincount(y).tolist())}.")
    print_lines(describe_alike(labels))
    divided = divide_parts(found, labels, y, own, shares, seed)
    warn_of_near_copies(divided, checked, folder)
    return divided


def warn_of_near_copies(divided: OwnPictures, checked: Mapping[Path, Checked], folder: Path) -> None:
    """Print a line if test pictures are nearly those of the other parts, which makes the figures too good."""
    files = {file.path: (path.relative_to(folder).as_posix(), file.small) for path, file in checked.items()}
    found = {
        part: [(*files[path], label) for path, label in zip(pictures.paths, pictures.y.tolist(), strict=True)]
        for part, pictures in divided.parts.items()
    }
    test, others = found[TEST], [*found[TRAIN], *found[VALID]]
    pairs = find_near_copies([one[1:] for one in test], [one[1:] for one in others])
    if pairs:
        first, second = test[pairs[0][0]][0], others[pairs[0][1]][0]
        print(
            f"Warning: {len(pairs):,} of {len(test):,} test pictures are nearly the same as others of their label, "
            f"such as {first} and {second}. If they are copies, the figures are too good: delete them, or keep them in "
            "one part with --group."
        )


def label_pictures(data: Path, own: DataOptions) -> tuple[list[Labelled], list[str], Problems]:
    """Find a user's own pictures and their labels, without reading the pictures.

    Returns:
        The pictures, lines on what was understood, and problems.

    Raises:
        DataError: the data has another layout.
    """
    folder = data.parent if data.is_file() else data
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {folder}; --data must name one with a subfolder of pictures for each label."
        )
    table = data if data.is_file() else Path(own.labels) if own.labels else None
    source = choose_source(table, own)
    problems = Problems(folder, own.skip_bad, "pictures")
    paths, others = find_pictures(folder)
    if not paths:
        raise DataError(f"There are no pictures in {folder}; it must have a subfolder for each label, at least two.")
    if source == "csv":
        found, lines = label_by_csv(folder, paths, table, own, problems)
    elif source == "pattern":
        found, lines = label_by_pattern(folder, paths, own.pattern or PATTERN, problems)
    else:
        found, lines = label_by_folder(folder, paths)
    if own.group and source != "csv":
        names = {item.path: item.path.relative_to(folder).as_posix() for item in found}
        groups = find_groups(names, own.group, problems)
        found = [replace(item, group=groups[item.path]) for item in found if item.path in groups]
    return found, [*lines, *describe_others(others, "pictures")], problems


def choose_source(table: Path | None, own: DataOptions) -> str:
    """Return where the labels are: in a "csv", such as `table`, in names by a "pattern", or in names of a "folder".

    Raises:
        DataError: the options contradict each other.
    """
    if table and own.labels_from in ("folder", "pattern"):
        raise DataError(f"{table} has the labels, so leave out --labels-from {own.labels_from}, or the file.")
    column = f"--label-column {own.label_column}" if own.label_column else None
    if column and own.labels_from in ("folder", "pattern"):
        raise DataError(f"{column} has the labels, so leave out --labels-from {own.labels_from}, or the column.")
    if own.pattern is not None and (table or column or own.labels_from in ("folder", "csv")):
        other = f"--labels-from {own.labels_from}" if own.labels_from else table or column
        raise DataError(f"--pattern finds the labels in the files' names, so leave out {other}, or the pattern.")
    if table or column:
        return "csv"
    return own.labels_from or ("folder" if own.pattern is None else "pattern")


def drop_copies(
    found: Sequence[Labelled], checked: Mapping[Path, Checked], problems: Problems
) -> tuple[list[Labelled], list[str]]:
    """Return each readable picture once, and a line on copies; the same picture under two labels is a problem.

    Of copies in several parts, the one in the test is kept, or else that in the validation part.
    """
    by_digest: dict[str, list[Labelled]] = {}
    for item in found:
        if item.path in checked:
            file = checked[item.path]
            by_digest.setdefault(file.digest, []).append(replace(item, path=file.path, digest=file.digest))
    original = {file.path: path for path, file in checked.items()}
    kept, copies, across = [], 0, 0
    for items in by_digest.values():
        if len({item.label for item in items}) > 1:
            first = items[0]
            other = next(item for item in items if item.label != first.label)
            sentence = (
                f"It is the same picture as {original[other.path].name} of {other.label}, but labelled {first.label}."
            )
            problems.add(original[first.path], sentence)
            continue
        best = max(items, key=lambda item: PARTS.index(item.part or TRAIN))
        kept.append(best)
        copies += len(items) - 1
        across += len({item.part for item in items}) > 1
    lines = [f"Equal pictures count once: {copies:,} left out."] if copies else []
    if across:
        lines.append(f"{across:,} of them were in several parts; the test or validation keeps them.")
    return kept, lines


def divide_parts(
    found: Sequence[Labelled],
    labels: tuple[str, ...],
    y: NDArray[np.int64],
    own: DataOptions,
    shares: Mapping[str, float],
    seed: int,
) -> OwnPictures:
    """Split pictures into the parts that the data has not given itself, and print their sizes.

    Pictures are left out if their group is also in a given test or validation part.

    Raises:
        DataError: a part lacks a label.
    """
    given = frozenset(item.part for item in found if item.part)
    keys = [[("content", item.digest), *([("group", item.group)] if item.group else [])] for item in found]
    filled, leaks = fill_parts([item.part for item in found], [[int(label)] for label in y], keys, shares, seed)
    if leaks:
        held = list_names(sorted(given - {TRAIN}))
        print(f"Not used, since their groups are in the given {held}: {len(leaks):,} pictures.")
    rows = {part: np.array(part_rows, np.intp) for part, part_rows in filled.items()}
    advice = "add pictures of it there, or leave the folder out, so that the part is split off from the others."
    if own.group:
        advice = f"--group {own.group} leaves too few groups of a label; each needs at least three."
    check_parts({part: y[part_rows] for part, part_rows in rows.items()}, labels, advice)
    everything = Pictures([item.path for item in found], y, y)
    parts = {part: everything.take(part_rows) for part, part_rows in rows.items()}
    print_split(parts, sorted(given if given.issuperset(shares) and not leaks else given - {TRAIN}))
    return OwnPictures(labels, parts, given)


def divide(pictures: Pictures, share: float, seed: int) -> tuple[Pictures, Pictures]:
    """Split at random; the second part has this share of each label, at least one picture."""
    rng = np.random.default_rng(seed)
    second = []
    for label in np.unique(pictures.y):
        rows = np.flatnonzero(pictures.y == label)
        second += rng.permutation(rows)[: max(1, round(share * len(rows)))].tolist()
    is_second = np.isin(np.arange(len(pictures)), second)
    return pictures.take(np.flatnonzero(~is_second)), pictures.take(np.flatnonzero(is_second))
