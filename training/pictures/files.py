"""Find pictures, decode them into memory, and save a few as examples."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.archives import make_safe_filename
from shared.errors import BadInput
from shared.images import SUFFIXES, Source, load_image
from training.data import DataError, is_clutter, sort_paths
from training.folder import EXAMPLES
from training.progress import show_progress

GREY = 127  # of pixels outside a picture
EXAMPLE_SIDE = 640  # pixels


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files in a folder tree, without hidden ones and those of macOS's archives."""
    return sort_paths(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not is_clutter(path.relative_to(folder))
    )


def decode(
    sources: Sequence[Source],
    size: tuple[int, int],
    inner: Sequence[tuple[int, int]] = (),
    what: str = "Decoding pictures",
) -> torch.Tensor:
    """Decode pictures at `size` (width, height) as serving does; return uint8 (n, 3, height, width).

    Args:
        sources: the pictures.
        size: width and height.
        inner: the (width, height) of each picture, at the top left of a grey one of `size`, to keep its aspect ratio.
        what: the name of the progress bar.

    Raises:
        DataError: a file cannot be read as a picture.
    """
    pictures = np.full((len(sources), size[1], size[0], 3), GREY, dtype=np.uint8)

    def read(index: int) -> None:
        width, height = shape = inner[index] if inner else size
        try:
            pictures[index, :height, :width] = np.asarray(load_image(sources[index], min(shape)).resize(shape))
        except BadInput as error:
            raise DataError(f"{str(sources[index])[:200]}: {error}") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in show_progress(what, pool.map(read, range(len(sources))), len(sources)):
            pass
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def write_examples(
    folder: Path, paths: Sequence[Path], y: NDArray[np.int64], labels: Sequence[str], count: int
) -> None:
    """Save a few resized pictures, which are published with the model and shown by Spaces.

    Args:
        folder: the checkpoint folder.
        paths: pictures to choose from.
        y: indices of their labels, (n,).
        labels: names of the labels.
        count: approximate number of pictures; at least one of each label.
    """
    (folder / EXAMPLES).mkdir()
    taken: set[str] = set()
    for index, label in enumerate(labels):
        for row in np.flatnonzero(y == index)[: max(1, count // len(labels))]:
            small = load_image(paths[row], EXAMPLE_SIDE).thumbnail(EXAMPLE_SIDE)  # leaves out EXIF: where and when
            stem = make_safe_filename(f"{label}-{paths[row].stem}")
            if stem.lower() in taken:  # in two folders, or where a system does not tell upper case from lower
                stem = f"{stem}-{row}"
            taken.add(stem.lower())
            small.save(folder / EXAMPLES / f"{stem}.jpg", quality=90)
