"""Read labelled pictures from a folder with a subfolder for each label, and split them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import DataError
from training.pictures import list_pictures
from training.recipe import TestSet

MIN_SAMPLES = 10  # pictures of each label


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


def read_folder(folder: Path) -> tuple[tuple[str, ...], Pictures]:
    """Read a folder; return the labels, which are the names of its subfolders, and all pictures.

    Raises:
        DataError: there are fewer than two labels, or too few pictures of a label.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; --data must name one with a subfolder for each label.")
    subfolders = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not sub.name.startswith(".")]
    by_label = {sub.name: list_pictures(sub) for sub in subfolders}
    if len(by_label) < 2:
        raise DataError(f"{folder} must have a subfolder of pictures for each label, at least two.")
    for label, paths in by_label.items():
        if len(paths) < MIN_SAMPLES:
            raise DataError(f"{folder / label} has {len(paths)} pictures; at least {MIN_SAMPLES} are needed.")
    y = np.repeat(np.arange(len(by_label)), [len(paths) for paths in by_label.values()])
    return tuple(by_label), Pictures([path for paths in by_label.values() for path in paths], y, y)


def divide(pictures: Pictures, share: float, seed: int) -> tuple[Pictures, Pictures]:
    """Split at random; the second part has this share of each label, at least one picture."""
    rng = np.random.default_rng(seed)
    second = []
    for label in np.unique(pictures.y):
        rows = np.flatnonzero(pictures.y == label)
        second += rng.permutation(rows)[: max(1, round(share * len(rows)))].tolist()
    is_second = np.isin(np.arange(len(pictures)), second)
    return pictures.take(np.flatnonzero(~is_second)), pictures.take(np.flatnonzero(is_second))
