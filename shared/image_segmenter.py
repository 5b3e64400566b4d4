"""Image segmentation: the class of every pixel of a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from .config import GalleryConfig
from .errors import BadInput
from .images import Source, fit_size, load_image, read_picture_size, sample_image, to_array
from .predictor import Prediction, Predictor, answer_each
from .session import THREADS, map_in_threads

Channels = tuple[float, float, float]
Level = Annotated[int, Field(ge=0, le=255)]
Size = tuple[int, int]  # width, height

SURE = 0.5  # from this confidence on a pixel counts as sure
TILE = 250_000  # numbers in a tile of upsampled logits: 1 MB, meant to stay in a processor's cache
TILE_WIDTH = 1024  # pixels; a tile as wide as a wide picture would be only a few rows high
# Bounds on the time and memory of one mask, and of all masks of one request; see tests/spaces/test_batches.py.
# A mask that would be larger is made smaller, since a JPEG may have many more pixels.
MAX_MASK_PIXELS = 24_000_000
MAX_REQUEST_PIXELS = 100_000_000
NETWORK_PIXELS = 4_000_000  # what running the network counts for each picture, however small, in pixels of a mask
BLOCK = 1_000_000  # pixels that are summed at once: each takes 16 bytes while it is


class ImageSegmenterConfig(GalleryConfig):
    """gallery.json of a model that names every pixel.

    A picture is resized to its working size (see `find_working_size`), scaled to 0 … 1, less `mean`, divided by
    `std`. The logits, half of that size in each direction, are calibrated. `colours` has (red, green,
    blue) for each of `labels`.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2, max_length=256)]
    colours: tuple[tuple[Level, Level, Level], ...]
    area: Annotated[int, Field(ge=4_096, le=4_000_000)]
    multiple: Annotated[int, Field(ge=4, le=64, multiple_of=4)]
    mean: Channels
    std: Channels

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        if len(self.colours) != len(self.labels):
            raise ValueError("colours must have one colour for each label")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


@dataclass(frozen=True)
class ImageSegmenterPrediction(Prediction):
    """What every pixel of a picture is.

    `mask`, (height, width) uint8, has the index of each pixel's class; `confidence`, (height, width) float32,
    the calibrated probability of that class. `share` says which part of all pixels each class has; they sum
    to 1. `size` is the upright picture's own (width, height) in pixels.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    share: dict[str, float]
    size: Size

    @property
    def scale(self) -> float:
        """The mask's long side as a fraction of the picture's: 1 unless the mask was bounded."""
        return float(max(self.mask.shape) / max(self.size))

    @property
    def present(self) -> list[str]:
        """The classes that are in the picture, the largest first."""
        return sorted((label for label, part in self.share.items() if part), key=lambda label: -self.share[label])

    @property
    def mean_confidence(self) -> float:
        """The mean of `confidence`: which part of all pixels the model expects to be right."""
        return float(self.confidence.mean(dtype=np.float64))

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON has it, without the pixels."""
        height, width = self.mask.shape
        return {
            "shares": self.share,
            "width": width,
            "height": height,
            "scale": self.scale,
            "mean_confidence": self.mean_confidence,
        }

    def as_row(self) -> dict[str, object]:
        """Return the answer as cells of a CSV."""
        return {
            **{f"share {label}": round(share, 4) for label, share in self.share.items()},
            "mean_confidence": round(self.mean_confidence, 4),
            "mask scale": round(self.scale, 4),
        }

    def reduce(self, longest: int) -> "ImageSegmenterPrediction":
        """Return the same, its long side at most `longest` pixels: the nearest pixels, the shares of all."""
        height, width = self.mask.shape
        columns, rows = (
            (np.arange(few) * 2 + 1) * many // (2 * few)
            for few, many in zip(fit_size((width, height), longest), (width, height), strict=True)
        )
        at = np.ix_(rows, columns)
        return replace(self, mask=self.mask[at], confidence=self.confidence[at])


@dataclass(frozen=True)
class ImageSegmenterExplanation:
    """How sure the model is, and where.

    `confidence`, (height, width) float32, is that of the prediction; `mean` its mean; `unsure` the share of
    pixels where it is below 0.5, that is, where the other classes together are likelier; `by_class` the mean
    for each class that is in the picture.
    """

    confidence: NDArray[np.float32]
    mean: float
    unsure: float
    by_class: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON has it, without the pixels."""
        return {"mean_confidence": self.mean, "unsure": self.unsure, "confidence_by_class": self.by_class}


class ImageSegmenter(Predictor[ImageSegmenterConfig, Source, ImageSegmenterPrediction]):
    """A model that names every pixel; a picture is anything that load_image takes."""

    task = "image-segmentation"
    max_request_cost = MAX_REQUEST_PIXELS  # of all pictures of one request
    config_type = ImageSegmenterConfig
    threads = THREADS

    def example(self) -> Image.Image:
        """Return a drawing."""
        return sample_image()

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the indices in a mask."""
        return self.config.labels

    def predict(self, image: Source, longest: int | None = None) -> ImageSegmenterPrediction:
        """Name every pixel of one picture.

        Args:
            image: the picture.
            longest: the long side, in pixels, that the answer may have; by default it has the upright picture's
                own size. Whatever it is, the answer has at most 24 megapixels (see `scale`). The picture is seen in
                the same detail either way.

        Raises:
            BadInput: it cannot be read as a picture.
        """
        size, pixels = self._preprocess(image)
        (logits,) = self.session.run(["logits"], {self.session.inputs[0]: pixels[None]})
        mask, confidence, counts = choose_classes(logits[0], find_mask_size(size, longest))
        share = dict(zip(self.classes, (counts / counts.sum()).tolist(), strict=True))
        return ImageSegmenterPrediction(mask, confidence, share, size)

    def count_mask_pixels(self, image: Source) -> int:
        """Return how many pixels the answer to a picture will have.

        Raises:
            BadInput: its header shows that it cannot be read as a picture.
        """
        width, height = find_mask_size(read_picture_size(image, self._least))
        return width * height

    def estimate_cost(self, image: Source) -> int:
        """Return what the answer to a picture costs, in pixels of a mask: its own, and those of running the network.

        Raises:
            BadInput: its header shows that it cannot be read as a picture.
        """
        return self.count_mask_pixels(image) + NETWORK_PIXELS

    def predict_each(self, items: Sequence[Source]) -> list[ImageSegmenterPrediction | BadInput]:
        """Name every pixel of every picture, two at a time; a bad one gets its BadInput as the answer.

        An answer takes 5 bytes a pixel.
        """
        return answer_each(self.predict, items)

    def explain(self, image: Source, longest: int | None = None) -> ImageSegmenterExplanation:
        """Say how sure the model is of each pixel and each class.

        The arguments and errors are those of predict.
        """
        answer = self.predict(image, longest)
        sums, counts = np.zeros((2, len(self.classes)))
        rows = max(1, BLOCK // answer.mask.shape[1])
        for start in range(0, len(answer.mask), rows):
            mask = answer.mask[start : start + rows].ravel()
            sums += np.bincount(mask, answer.confidence[start : start + rows].ravel(), len(sums))
            counts += np.bincount(mask, minlength=len(counts))
        by_class = {self.classes[index]: float(sums[index] / counts[index]) for index in np.flatnonzero(counts)}
        unsure = float((answer.confidence < SURE).mean())
        return ImageSegmenterExplanation(answer.confidence, answer.mean_confidence, unsure, by_class)

    def colour_mask(self, mask: NDArray[np.uint8]) -> Image.Image:
        """Return a mask as a palette picture: its pixels are class indices, shown in the config's colours."""
        image = Image.fromarray(mask)
        image.putpalette([level for colour in self.config.colours for level in colour])
        return image

    def _preprocess(self, image: Source) -> tuple[Size, NDArray[np.float32]]:
        """Return a picture's own (width, height), and the picture as the model takes it: float32 (3, height, width)."""
        picture = load_image(image, self._least)
        working = picture.resize(find_working_size(picture.size, self.config.area, self.config.multiple))
        return picture.size, to_array(working, self.config.mean, self.config.std)

    @property
    def _least(self) -> int:
        # No picture's short side gets longer than a square's.
        return max(find_working_size((1, 1), self.config.area, self.config.multiple))


def find_working_size(size: Size, area: int, multiple: int) -> Size:
    """Return the (width, height) at which the model looks at a picture of `size`.

    About `area` pixels in the picture's own shape: the long side is the nearest multiple of `multiple`, the
    short side the one that then comes nearest to the shape, and both are at least twice `multiple`.
    """
    aspect = max(size) / min(size)
    long = max(2, round(math.sqrt(area * aspect) / multiple)) * multiple
    short = max(2, round(long / aspect / multiple)) * multiple
    return (long, short) if size[0] >= size[1] else (short, long)


def find_mask_size(size: Size, longest: int | None = None) -> Size:
    """Return the (width, height) of the mask of a picture of `size`: its own, or less.

    It has at most MAX_MASK_PIXELS, and its long side at most `longest` pixels; its shape is the picture's.
    """
    scale = math.sqrt(MAX_MASK_PIXELS / (size[0] * size[1]))
    if scale < 1:
        size = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    return size if longest is None else fit_size(size, longest)


def choose_classes(
    logits: NDArray[np.float32], size: Size
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Choose a class for each pixel of a picture of `size` (width, height) from coarse logits.

    The logits are interpolated bilinearly, pixels and logits each standing for the middle of their squares
    (torch's align_corners=False), and only then compared, so that edges are smooth. This is done in tiles, two at a
    time: all classes of 12 million pixels at once would take half a gigabyte.

    Args:
        logits: (classes, rows, columns) float32 over the whole picture.
        size: width and height in pixels.

    Returns:
        The mask, (height, width) uint8; the probability of each pixel's class, (height, width) float32; and
        the number of pixels of each class.
    """
    classes, (width, height) = len(logits), size
    left, right, across = _find_neighbours(logits.shape[2], width)
    above, below, down = _find_neighbours(logits.shape[1], height)
    mask = np.zeros((height, width), np.uint8)
    confidence = np.empty((height, width), np.float32)
    columns = min(width, TILE_WIDTH)
    rows = max(1, TILE // (classes * columns))
    tiles = [
        (slice(top, top + rows), slice(start, start + columns))
        for top in range(0, height, rows)
        for start in range(0, width, columns)
    ]

    def choose(tile: tuple[slice, slice]) -> NDArray[np.int64]:
        lines, places = tile
        first, last = above[lines][0], below[lines][-1]
        near = logits[:, first : last + 1]
        wide = np.take(near, left[places], axis=2)
        wide += (np.take(near, right[places], axis=2) - wide) * across[places]
        # Between rows of logits by a matrix product, so that the two rows of each need not be gathered.
        weights = np.zeros((len(above[lines]), near.shape[1]), np.float32)
        line = np.arange(len(weights))
        weights[line, above[lines] - first] = 1 - down[lines]
        weights[line, below[lines] - first] += down[lines]
        strip = weights @ wide
        best = strip.max(axis=0)
        for index in reversed(range(classes)):  # so that of equals the first is chosen, as argmax does
            np.copyto(mask[tile], np.uint8(index), where=strip[index] == best)
        strip -= best
        np.divide(1, np.exp(strip, out=strip).sum(axis=0), out=confidence[tile])
        return np.bincount(mask[tile].ravel(), minlength=classes)

    return mask, confidence, np.sum(map_in_threads(choose, tiles), axis=0)


def _find_neighbours(values: int, pixels: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return for each of `pixels` over a line of `values` those before and after it, and the weight of the latter."""
    place = np.clip((np.arange(pixels) + 0.5) * (values / pixels) - 0.5, 0, values - 1)
    before = place.astype(np.intp)
    after = np.minimum(before + 1, values - 1)
    return before, after, (place - before).astype(np.float32)
