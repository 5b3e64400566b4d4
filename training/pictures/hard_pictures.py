"""Pictures made harder by drawing, to measure how robust a classifier is: fences, bars, few colours, two labels in one.

Every function draws the same for the same picture. Pictures are first reduced to SIDE pixels on their short side, so
that a line of two pixels means the same for every data set.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from shared.images import Source, load_image
from shared.metrics import Figure
from training import evaluate
from training.data import TestSet
from training.recipe import answer

SIDE = 200  # pixels
PAIRS = 500
CERTAIN = 0.95
GREY, DARK = (128, 128, 128), (40, 40, 40)
NOTE = (
    "The harder pictures are drawn by training/pictures/hard_pictures.py: a chain-link fence of grey diagonal lines, "
    "the bars of a cage, a mode filter of 7 pixels and 3 bits a channel, half a turn, or 48 pixels on the short side. "
    "Training draws obstacles with random widths, distances and colours, on other pictures."
)


def draw_chain_link(image: Image.Image) -> Image.Image:
    """Draw grey diagonal lines in both directions, 2 pixels wide, every 12 % of the short side."""
    drawn, (width, height) = image.copy(), image.size
    draw = ImageDraw.Draw(drawn)
    for start in np.arange(-height, width + height, 0.12 * min(image.size)).tolist():
        draw.line((start, 0, start + height, height), GREY, 2)
        draw.line((start, height, start + height, 0), GREY, 2)
    return drawn


def draw_cage(image: Image.Image) -> Image.Image:
    """Draw dark vertical bars every 9 % of the width, 1.8 % of it thick, and three across."""
    drawn, (width, height) = image.copy(), image.size
    draw, thick = ImageDraw.Draw(drawn), max(1, round(0.018 * width))
    for x in np.arange(0.045 * width, width, 0.09 * width).tolist():
        draw.line((x, 0, x, height), DARK, thick)
    for share in (0.2, 0.5, 0.8):
        draw.line((0, share * height, width, share * height), DARK, thick)
    return drawn


def posterise(image: Image.Image) -> Image.Image:
    """Apply a mode filter of 7 pixels, then keep 3 bits of each channel."""
    return ImageOps.posterize(image.filter(ImageFilter.ModeFilter(7)), 3)


def turn(image: Image.Image) -> Image.Image:
    """Turn the picture by 180°."""
    return image.transpose(Image.Transpose.ROTATE_180)


def shrink(image: Image.Image, side: int = 48) -> Image.Image:
    """Resize the picture to `side` pixels on its short side."""
    scale = side / min(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


HARDER: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {  # name of the figure: words, function
    "error_chain_link": ("error, behind a drawn chain-link fence", draw_chain_link),
    "error_cage": ("error, behind drawn bars", draw_cage),
    "error_posterised": ("error, posterised", posterise),
    "error_turned": ("error, upside down", turn),
    "error_48_pixels": ("error, at 48 pixels", shrink),
}


@dataclass(frozen=True)
class Drawn(Sequence):
    """Pictures that are read and drawn on only when they are taken, in several threads."""

    sources: Sequence[Any]
    draw: Callable[[Any], Image.Image]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, rows: Any) -> Any:
        """Return one picture, or a list of those in a slice."""
        if not isinstance(rows, slice):
            return self.draw(self.sources[rows])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self.draw, self.sources[rows]))


def read(source: Source) -> Image.Image:
    """Return a picture with at most SIDE pixels on its short side."""
    picture = load_image(source, SIDE)
    scale = min(1, SIDE / min(picture.size))
    return picture.resize((max(1, round(picture.size[0] * scale)), max(1, round(picture.size[1] * scale))))


def place_together(sources: tuple[Source, Source]) -> Image.Image:
    """Return two pictures side by side, both SIDE pixels high."""
    pictures = [read(source) for source in sources]
    left, right = (part.resize((max(1, round(part.width * SIDE / part.height)), SIDE)) for part in pictures)
    both = Image.new("RGB", (left.width + right.width, SIDE))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def pair(inputs: Sequence[Source], y: NDArray[np.int64], most: int = PAIRS) -> list[tuple[Source, Source]]:
    """Return pairs of a picture of the first label and one of the second, from all parts of the list."""
    rows = [np.flatnonzero(y == label) for label in (0, 1)]
    count = min(most, *map(len, rows))
    if not count:
        return []
    first, second = (part[np.linspace(0, len(part) - 1, count).astype(int)].tolist() for part in rows)
    pairs = [(inputs[a], inputs[b]) for a, b in zip(first, second, strict=True)]
    return [ab if index % 2 == 0 else ab[::-1] for index, ab in enumerate(pairs)]


def measure_robustness(model: Any, tests: Sequence[TestSet]) -> list[Figure]:
    """Return the errors of a classifier on harder versions of its test pictures, and how sure it is of two labels.

    Args:
        model: the stored model.
        tests: test sets of pictures; the targets are indices of its labels.
    """
    figures = []
    for test in tests:
        where, y = {"data": test.data, "split": test.split}, np.asarray(test.targets)
        for name, (label, draw) in HARDER.items():
            answers = answer(model, Drawn(test.inputs, lambda source, draw=draw: draw(read(source))))  # type: ignore[misc]
            wrong = evaluate.stack_probabilities(list(answers)).argmax(1) != y
            figures.append(evaluate.measure_share(name, wrong, **where, label=label))
        if pairs := pair(test.inputs, y):
            answers = answer(model, Drawn(pairs, place_together))
            is_certain = evaluate.stack_probabilities(list(answers)).max(1) > CERTAIN
            label = f"a probability above {CERTAIN} for two labels side by side"
            figures.append(evaluate.measure_share("certain_of_two", is_certain, **where, label=label))
    return figures


def add_robustness(measured: dict[str, Any], model: Any, tests: Sequence[TestSet]) -> dict[str, Any]:
    """Return what a recipe measured with the figures of measure_robustness, and a note on them."""
    figures = [*measured["figures"], *measure_robustness(model, tests)]
    return measured | {"figures": figures, "notes": [*measured["notes"], NOTE]}
