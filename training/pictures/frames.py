"""Segmented pictures in memory: read them, augment them on their device, and save a few as examples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shared.archives import make_safe_filename
from shared.images.limits import find_shortest_side
from training.data import DataError, TestSet
from training.folder import EXAMPLES
from training.networks.image_segmentation import IGNORED
from training.own_data.mask_files import Pair
from training.own_data.masks import OwnMasks
from training.pictures.augmentation import change_light, draw_warps, make_grids, sample
from training.pictures.batches import PictureLoader
from training.pictures.files import decode

MIN_SAMPLES = 4  # pictures in a split
EXAMPLE_COUNT = 3
SAME_SHAPE = 0.95  # share of the area from which a picture is stretched to fill it
ZOOM = (0.75, 2.25)
ROTATE, PERSPECTIVE, LIGHT = 5.0, 0.1, 0.3


@dataclass(frozen=True)
class Frames:
    """Pictures and the class of each pixel: (n, 3, height, width) and (n, height, width), both uint8.

    `sizes` are the (width, height) of those that fill only the top left, (n, 2), or None: the rest is grey and ignored.
    `colours` are those of the classes in the masks, (red, green, blue), if they have any.
    """

    names: list[str]
    pictures: torch.Tensor
    labels: torch.Tensor
    sizes: NDArray[np.int64] | None = None
    colours: tuple[tuple[int, int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: slice | Sequence[int]) -> "Frames":
        """Return the frames with these indices."""
        names = self.names[rows] if isinstance(rows, slice) else [self.names[row] for row in rows]
        sizes = None if self.sizes is None else self.sizes[rows]
        return replace(self, names=names, pictures=self.pictures[rows], labels=self.labels[rows], sizes=sizes)

    def join(self, other: "Frames") -> "Frames":
        """Return these frames followed by the others."""
        return Frames(
            self.names + other.names,
            torch.cat([self.pictures, other.pictures]),
            torch.cat([self.labels, other.labels]),
        )

    def as_test(self, data: str, split: str) -> TestSet:
        """Return the frames as a test set: PIL pictures, and their labels."""
        pictures = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in self.pictures]
        if self.sizes is None:
            return TestSet(data, split, pictures, self.labels.numpy(), self.names)
        sizes = self.sizes.tolist()
        pictures = [picture.crop((0, 0, *size)) for picture, size in zip(pictures, sizes, strict=True)]
        labels = [label[:height, :width] for label, (width, height) in zip(self.labels.numpy(), sizes, strict=True)]
        return TestSet(data, split, pictures, labels, self.names)


class RepeatedLoader(PictureLoader):
    """Batches of several passes over the pictures, for epochs that are worth a validation."""

    def __init__(self, *tensors: torch.Tensor, passes: int, **kwargs: Any) -> None:
        super().__init__(*tensors, **kwargs)
        self.n *= passes

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return the rows with these indices, which are counted on from pass to pass."""
        return super().create_batch([index % len(self.tensors[0]) for index in indices])


def read_pairs(found: OwnMasks, pairs: Sequence[Pair], size: tuple[int, int]) -> Frames:
    """Read pictures and masks of a user's own, fitted into a size (width, height)."""
    sizes = [fit_into(pair.size, size) for pair in pairs]
    masks = np.full((len(pairs), size[1], size[0]), IGNORED, dtype=np.uint8)
    for mask, pair, (width, height) in zip(masks, pairs, sizes, strict=True):
        mask[:height, :width] = found.read(pair, (width, height))
    pictures = decode([pair.picture for pair in pairs], size, inner=sizes)
    return Frames([pair.name for pair in pairs], pictures, torch.from_numpy(masks), np.array(sizes), found.colours)


def fit_into(size: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (width, height) within `most` with the aspect ratio of `size`; `most` if that is nearly it.

    Rounding does not make a picture too narrow for serving.
    """
    scale = min(most[0] / size[0], most[1] / size[1])
    width, height = (max(1, round(length * scale)) for length in size)
    width, height = max(width, find_shortest_side(height)), max(height, find_shortest_side(width))
    return most if width * height > SAME_SHAPE * most[0] * most[1] else (width, height)


def read_frames(images: Path, labels: Path, size: tuple[int, int], classes: int) -> Frames:
    """Read pictures and labels at a size (width, height); larger indices than those of the classes are ignored.

    Raises:
        DataError: there are too few pictures, or a label is missing or is not a picture of class indices.
    """
    paths = sorted(path for path in images.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(paths) < MIN_SAMPLES or not labels.is_dir():
        raise DataError(f"There must be at least {MIN_SAMPLES} pictures in {images}, and their labels in {labels}.")
    named = [labels / f"{path.stem}.png" for path in paths]
    if missing := [path for path in named if not path.is_file()]:
        raise DataError(f"There is no label {missing[0]}.")
    pixels = np.stack([read_label(path, size) for path in named])
    pixels[pixels >= classes] = IGNORED
    return Frames([path.stem for path in paths], decode(paths, size), torch.from_numpy(pixels))


def read_label(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class indices of one picture, (height, width).

    Raises:
        DataError: it is not a picture of class indices.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise DataError(f"{path} must be a PNG of class indices, not of colours ({image.mode}).")
            return np.array(image.resize(size, Image.Resampling.NEAREST), dtype=np.uint8)
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture ({error}); it must be a PNG of class indices.") from error


def make_augmentation(size: tuple[int, int]) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Return a function that augments batches: zoom, rotation, perspective, flip, light and saturation.

    It takes pictures from 0 to 1, (n, 3, height, width), masks (n, height, width), and perhaps the probabilities of
    teachers, (n, classes, h, w) uint8. It returns pictures and masks of `size` (height, width), and probabilities of
    half that size.
    """

    def augment(
        pictures: torch.Tensor, masks: torch.Tensor, soft: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        warps = draw_warps(
            len(pictures), pictures.device, zoom=ZOOM, rotate=ROTATE, perspective=PERSPECTIVE, aspect=size[1] / size[0]
        )
        grids = make_grids(warps, size)
        labels = sample(masks[:, None].float(), grids, "nearest")[:, 0].to(masks.dtype)
        lit = change_light(sample(pictures, grids), LIGHT, LIGHT)
        if soft is None:
            return lit, labels
        warped = sample(soft.float(), make_grids(warps, (size[0] // 2, size[1] // 2)))
        return lit, labels, warped / warped.sum(1, keepdim=True)

    return augment


def write_examples(folder: Path, valid: Frames) -> None:
    """Save a few validation frames, which are published with the model and shown by Spaces."""
    (folder / EXAMPLES).mkdir()
    pictures = valid.as_test("", "").inputs
    for index in np.linspace(0, len(valid) - 1, EXAMPLE_COUNT).astype(int):
        pictures[index].save(folder / EXAMPLES / f"{make_safe_filename(valid.names[index])}.jpg", quality=90)
