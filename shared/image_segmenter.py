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
from .errors import BadInput, quote
from .images import Source, fit_size, load_image, read_picture_size, sample_image, to_array
from .limits import LIMITS
from .predictor import Prediction, Predictor, answer_each
from .session import THREADS, Shapes, map_in_threads
from .text import parse_whole

Channels = tuple[float, float, float]
Level = Annotated[int, Field(ge=0, le=255)]
Size = tuple[int, int]  # width, height

SURE = 0.5  # a pixel below this confidence counts as unsure
TILE = 250_000  # numbers in a tile of upsampled logits: 1 MB, so that it fits in a CPU cache
TILE_WIDTH = 1024  # pixels; wider tiles would have only a few rows
MIN_TILE_ROWS = 16  # with many classes, tiles are narrower instead
# LIMITS.mask_pixels is for this many classes. The cost of a pixel grows with their number, so masks with more of them
# have proportionally fewer pixels.
CLASSES = 11
NETWORK_PIXELS = 4_000_000  # cost of running the network on one picture, in mask pixels
BLOCK = 1_000_000  # pixels summed at once, at 16 bytes each


class ImageSegmenterConfig(GalleryConfig):
    """gallery.json of a segmentation model.

    A picture is resized to its working size (see `find_working_size`), scaled to 0 … 1, and normalised with `mean` and
    `std`. The logits have half that width and height and are calibrated. `colours` has one (red, green, blue) for each
    of `labels`.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2, max_length=256)]
    colours: tuple[tuple[Level, Level, Level], ...]
    area: Annotated[int, Field(ge=4_096, le=4_000_000)]
    multiple: Annotated[int, Field(ge=4, le=64, multiple_of=4)]
    mean: Channels
    std: Channels

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if len(self.colours) != len(self.labels):
            raise ValueError("colours must have one colour for each label")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class ImageSegmenterPrediction(Prediction):
    """The class of every pixel of a picture.

    `mask`, (height, width) uint8, holds the class index of each pixel; `confidence`, (height, width) float32, the
    calibrated probability of that class. `share` is the fraction of all pixels that each class covers; the fractions
    sum to 1. `size` is the (width, height) of the upright picture in pixels.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    share: dict[str, float]
    size: Size

    @property
    def scale(self) -> float:
        """The long side of the mask divided by that of the picture: 1 unless the mask was scaled down."""
        return float(max(self.mask.shape) / max(self.size))

    @property
    def present(self) -> list[str]:
        """The classes present in the picture, largest share first."""
        return sorted((label for label, part in self.share.items() if part), key=lambda label: -self.share[label])

    @property
    def mean_confidence(self) -> float:
        """The mean of `confidence`: the fraction of pixels that the model expects to be correct."""
        return float(self.confidence.mean(dtype=np.float64))

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON object, without the pixels."""
        height, width = self.mask.shape
        return {
            "shares": self.share,
            "width": width,
            "height": height,
            "scale": self.scale,
            "mean_confidence": self.mean_confidence,
        }

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row."""
        return {
            **{f"share {label}": round(share, 4) for label, share in self.share.items()},
            "mean_confidence": round(self.mean_confidence, 4),
            "mask scale": round(self.scale, 4),
        }

    def reduce(self, longest: int) -> "ImageSegmenterPrediction":
        """Return a copy with a long side of at most `longest` pixels (nearest neighbour); the shares do not change."""
        height, width = self.mask.shape
        columns, rows = (
            (np.arange(few) * 2 + 1) * many // (2 * few)
            for few, many in zip(fit_size((width, height), longest), (width, height), strict=True)
        )
        at = np.ix_(rows, columns)
        return replace(self, mask=self.mask[at], confidence=self.confidence[at])


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class ImageSegmenterExplanation:
    """The confidence of the model for each pixel.

    `confidence`, (height, width) float32, is that of the prediction and `mean` its mean. `unsure` is the fraction of
    pixels below 0.5, where the other classes together are more probable. `by_class` is the mean for each class
    present in the picture.
    """

    confidence: NDArray[np.float32]
    mean: float
    unsure: float
    by_class: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object, without the pixels."""
        return {"mean_confidence": self.mean, "unsure": self.unsure, "confidence_by_class": self.by_class}


class ImageSegmenter(Predictor[ImageSegmenterConfig, Source, ImageSegmenterPrediction]):
    """A segmentation model; pictures are anything that load_image accepts."""

    task = "image-segmentation"
    max_request_cost = LIMITS.request_mask_pixels  # of all pictures of one request
    config_type = ImageSegmenterConfig
    threads = THREADS

    @property
    def shapes(self) -> tuple[Shapes, Shapes]:
        """The shapes of the model's inputs and outputs; see Session."""
        return {0: (None, 3, None, None)}, {"logits": (None, len(self.config.labels), None, None)}

    def example(self) -> Image.Image:
        """Return a drawing."""
        return sample_image()

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the mask's indices."""
        return self.config.labels

    def predict(self, image: Source, longest: int | None = None) -> ImageSegmenterPrediction:
        """Predict the class of every pixel of one picture.

        Args:
            image: the picture.
            longest: maximum long side of the mask in pixels; by default the mask has the size of the upright picture.
                It never has more than `max_mask_pixels` (see `scale`). The model's own resolution does not change.

        Raises:
            BadInput: the input cannot be read as a picture, or `longest` is not a whole number above 0.
        """
        most = None if longest is None else parse_whole(longest)
        if most is not None and most < 1:
            raise BadInput(
                f"The longest side of a mask must be a whole number of pixels above 0, not {quote(longest)}."
            )
        size, pixels = self._preprocess(image)
        (logits,) = self.session.run(["logits"], {self.session.inputs[0]: pixels[None]})
        mask, confidence, counts = choose_classes(logits[0], find_mask_size(size, most, self.max_mask_pixels))
        share = dict(zip(self.classes, (counts / counts.sum()).tolist(), strict=True))
        return ImageSegmenterPrediction(mask, confidence, share, size)

    def count_mask_pixels(self, image: Source) -> int:
        """Return the number of pixels in the mask of a picture.

        Raises:
            BadInput: the header shows that the input cannot be read as a picture.
        """
        width, height = find_mask_size(read_picture_size(image, self._least), most=self.max_mask_pixels)
        return width * height

    def estimate_cost(self, image: Source) -> int:
        """Return the cost of segmenting a picture, in pixels of a mask of few classes: its mask, and the network.

        Raises:
            BadInput: the header shows that the input cannot be read as a picture.
        """
        return round(self.count_mask_pixels(image) * self._pixel_cost) + NETWORK_PIXELS

    def _predict_all(self, items: Sequence[Source]) -> list[ImageSegmenterPrediction | BadInput]:
        """Segment pictures, two at a time; the result for an unreadable picture is a BadInput.

        A prediction takes 5 bytes of memory per pixel.
        """
        return answer_each(self.predict, items)

    def explain(self, image: Source, longest: int | None = None) -> ImageSegmenterExplanation:
        """Return the model's confidence for each pixel and each class.

        Arguments and errors are those of `predict`.
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
        """Return a mask as a palette image: pixel values are class indices, shown in the config's colours."""
        image = Image.fromarray(mask)
        image.putpalette([level for colour in self.config.colours for level in colour])
        return image

    def _preprocess(self, image: Source) -> tuple[Size, NDArray[np.float32]]:
        """Return a picture's (width, height) and the model's input: float32 (3, height, width), normalised."""
        picture = load_image(image, self._least)
        working = picture.resize(find_working_size(picture.size, self.config.area, self.config.multiple))
        return picture.size, to_array(working, self.config.mean, self.config.std)

    @property
    def max_mask_pixels(self) -> int:
        """The maximum number of pixels in a mask: 24 million with up to 11 classes, fewer with more."""
        return int(LIMITS.mask_pixels / self._pixel_cost)

    @property
    def _pixel_cost(self) -> float:
        return max(1.0, len(self.classes) / CLASSES)

    @property
    def _least(self) -> int:
        # A square picture has the longest short side.
        return max(find_working_size((1, 1), self.config.area, self.config.multiple))


def find_working_size(size: Size, area: int, multiple: int) -> Size:
    """Return the (width, height) to which a picture of `size` is resized for the model.

    It has about `area` pixels and nearly the picture's aspect ratio. Both sides are rounded to multiples of
    `multiple`, the long side first, and are at least twice `multiple`.
    """
    aspect = max(size) / min(size)
    long = max(2, round(math.sqrt(area * aspect) / multiple)) * multiple
    short = max(2, round(long / aspect / multiple)) * multiple
    return (long, short) if size[0] >= size[1] else (short, long)


def find_mask_size(size: Size, longest: int | None = None, most: int | None = None) -> Size:
    """Return the (width, height) of the mask of a picture of `size`: the same size, or scaled down.

    It has at most `most` pixels, by default LIMITS.mask_pixels, a long side of at most `longest` pixels, and the
    picture's aspect ratio.
    """
    scale = math.sqrt((most or LIMITS.mask_pixels) / (size[0] * size[1]))
    if scale < 1:
        size = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    return size if longest is None else fit_size(size, longest)


def choose_classes(
    logits: NDArray[np.float32], size: Size
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Choose a class for each pixel of a picture of `size` (width, height) from coarse logits.

    The logits are interpolated bilinearly (as with torch's align_corners=False) before they are compared, so that
    edges are smooth. This is done in tiles, two at a time: all classes of 12 million pixels at once would take half a
    gigabyte.

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
    columns = min(width, TILE_WIDTH, max(1, TILE // (classes * MIN_TILE_ROWS)))
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
        # A matrix product interpolates between rows, so that the two rows for each pixel need not be gathered.
        weights = np.zeros((len(above[lines]), near.shape[1]), np.float32)
        line = np.arange(len(weights))
        weights[line, above[lines] - first] = 1 - down[lines]
        weights[line, below[lines] - first] += down[lines]
        strip = weights @ wide
        best = strip.max(axis=0)
        for index in reversed(range(classes)):  # ties go to the first class, as with argmax
            np.copyto(mask[tile], np.uint8(index), where=strip[index] == best)
        strip -= best
        np.divide(1, np.exp(strip, out=strip).sum(axis=0), out=confidence[tile])
        return np.bincount(mask[tile].ravel(), minlength=classes)

    return mask, confidence, np.sum(map_in_threads(choose, tiles), axis=0)


def _find_neighbours(values: int, pixels: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the indices of the values before and after each of `pixels` on a line, and the weight of the second."""
    place = np.clip((np.arange(pixels) + 0.5) * (values / pixels) - 0.5, 0, values - 1)
    before = place.astype(np.intp)
    after = np.minimum(before + 1, values - 1)
    return before, after, (place - before).astype(np.float32)
