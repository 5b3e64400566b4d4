"""Find pictures of the test that are nearly those of other parts: copies of another size or quality."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROWS, COLUMNS = 16, 17  # of the small picture, each row of which has 16 differences of neighbours
MAX_BITS = 24  # of 256 differences that may have another sign
MAX_DIFFERENCE = 6.0  # of 255 levels, the mean of the small pictures
MIN_CORRELATION = 0.97  # of the small pictures: figures on a plain ground have most levels in common
MIN_CONTRAST = 8.0  # standard deviation of 255 levels: a plain picture is like any other plain one
BAND = 2  # bytes of a hash: of 16 such bands, near copies have some in common
CROWDED = 50  # pictures with one band in common, from which on it does not tell


def shrink(image: Image.Image) -> NDArray[np.uint8]:
    """Return a small copy of a picture in RGB, (16, 17, 3)."""
    return np.asarray(image.resize((COLUMNS, ROWS), Image.Resampling.BOX))


def find_near_copies(
    test: Sequence[tuple[NDArray[np.uint8], int]], others: Sequence[tuple[NDArray[np.uint8], int]]
) -> list[tuple[int, int]]:
    """Return pairs of a test picture and another that is nearly the same; each test picture once at most.

    They are compared by a difference hash and by their levels. Pictures of different labels are no copies.

    Args:
        test: small copies of the test pictures, from `shrink`, with the indices of their labels.
        others: those of the other pictures.
    """
    if not test or not others:
        return []
    hashes, hashes_of_others = (_hash(np.stack([small for small, _ in pictures])) for pictures in (test, others))
    found: dict[int, int] = {}
    for start in range(0, hashes.shape[1], BAND):
        rows_of = defaultdict(list)
        for row, key in enumerate(_list_keys(hashes_of_others, start)):
            rows_of[key].append(row)
        for row, key in enumerate(_list_keys(hashes, start)):
            near = rows_of.get(key, [])
            if row in found or not 0 < len(near) <= CROWDED or test[row][0].std() < MIN_CONTRAST:
                continue
            bits = np.unpackbits(hashes_of_others[near] ^ hashes[row], axis=1).sum(1)
            for other in [near[index] for index in np.flatnonzero(bits <= MAX_BITS)]:
                if test[row][1] == others[other][1] and _are_alike(test[row][0], others[other][0]):
                    found.setdefault(row, other)
    return sorted(found.items())


def _are_alike(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    levels = np.stack([first.ravel(), second.ravel()]).astype(np.float64)
    is_near = np.abs(levels[0] - levels[1]).mean() <= MAX_DIFFERENCE
    return bool(is_near and np.asarray(np.corrcoef(levels))[0, 1] >= MIN_CORRELATION)


def _hash(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the difference hashes of pictures, (n, 32)."""
    grey = pictures.astype(np.uint16).sum(3)
    return np.packbits(grey[:, :, 1:] > grey[:, :, :-1], axis=2).reshape(len(pictures), -1)


def _list_keys(hashes: NDArray[np.uint8], start: int) -> list[int]:
    """Return the band of each hash that begins with a byte."""
    keys: list[int] = hashes[:, start : start + BAND].copy().view(np.uint16).ravel().tolist()
    return keys
