"""Segmented pictures in memory: read them, augment them on their device, and save a few as examples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shared.archives import make_safe_filename
from training.augmentation import change_light, draw_warps, make_grids, sample
from training.data import DataError
from training.folder import EXAMPLES
from training.masks import OwnMasks, Pair
from training.networks.image_segmentation import IGNORED
from training.pictures import PictureLoader, decode
from training.recipe import TestSet

MIN_SAMPLES = 4  # pictures in a split
EXAMPLE_COUNT = 3
ZOOM = (0.75, 2.25)
ROTATE, PERSPECTIVE, LIGHT = 5.0, 0.1, 0.3


@dataclass(frozen=True)
class Frames:
    """Pictures and the class of each pixel: (n, 3, height, width) and (n, height, width), both uint8."""

    names: list[str]
    pictures: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: slice | Sequence[int]) -> "Frames":
        """Return the frames with these indices."""
        names = self.names[rows] if isinstance(rows, slice) else [self.names[row] for row in rows]
        return Frames(names, self.pictures[rows], self.labels[rows])

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
        return TestSet(data, split, pictures, self.labels.numpy(), self.names)


class RepeatedLoader(PictureLoader):
    """Batches of several passes over the pictures, for epochs that are worth a validation."""

    def __init__(self, *tensors: torch.Tensor, passes: int, **kwargs: Any) -> None:
        super().__init__(*tensors, **kwargs)
        self.n *= passes

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return the rows with these indices, which are counted on from pass to pass."""
        return super().create_batch([index % len(self.tensors[0]) for index in indices])


def read_pairs(found: OwnMasks, pairs: Sequence[Pair], size: tuple[int, int]) -> Frames:
    """Read pictures and masks of a user's own at a size (width, height)."""
    masks = np.stack([found.read(pair, size) for pair in pairs])
    paths = [pair.picture for pair in pairs]
    return Frames([pair.name for pair in pairs], decode(paths, size), torch.from_numpy(masks))


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
