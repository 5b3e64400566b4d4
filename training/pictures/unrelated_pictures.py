"""Out-of-distribution pictures, to measure how many a model rejects.

Each function returns one group of pictures; drawings depend only on the seed, and are kept, since a training asks for
them more than once.
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data import DataError
from training.pictures.files import list_pictures

# Photographs in the packages gradio, scikit-image and scikit-learn. Left out: chelsea.png, which is a cat,
# and what is not a photograph (logos, phantoms, printed pages, a drawn bus).
PHOTOGRAPHS = {
    "gradio": ("media_assets/images", "groot.jpeg tower.jpg"),
    "skimage": (
        "data",
        "astronaut.png brick.png camera.png cell.png clock_motion.png coffee.png coins.png grass.png gravel.png "
        "hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png retina.jpg rocket.jpg",
    ),
    "sklearn": ("datasets/images", "china.jpg flower.jpg"),
}
ANIMALS = ("media_assets/images/cheetah.jpg", "media_assets/images/cheetah1.jpg", "media_assets/images/lion.jpg",
           "test_data/cheetah2.jpg")  # fmt: skip
NO_STAMPS = ("mammals/dogs/dog.png", "mammals/hedgehog.png")  # a dog, and a drawing
WORDS = ("a", "page", "with", "words", "on", "it", "and", "more", "of", "them", "in", "every", "line")
SIZE = 256


def find_photographs() -> list[Path]:
    """Return the photographs bundled with gradio, scikit-image and scikit-learn, without those of animals."""
    return [
        find_package(package) / folder / name
        for package, (folder, names) in PHOTOGRAPHS.items()
        for name in names.split()
    ]


def find_animals() -> list[Path]:
    """Return the photographs of animals bundled with gradio: lions and cheetahs."""
    return [find_package("gradio") / name for name in ANIMALS]


def find_street_scenes(folder: Path) -> list[Path]:
    """Return the test pictures of CamVid.

    Raises:
        DataError: the folder has none.
    """
    found = folder / "test/images"
    paths = list_pictures(found)
    if not paths:
        raise DataError(f"There are no pictures in {found}; add some, or omit --camvid.")
    return paths


def find_stamps(folder: Path) -> list[Path]:
    """Return Tux Paint's stamps of animals other than cats and dogs: photographs on a transparent background.

    Args:
        folder: stamps/animals of Tux Paint.

    Raises:
        DataError: the folder has none.
    """
    paths = sorted(
        path
        for path in folder.rglob("*.png")
        if not {"cartoon", "toys"} & set(path.parts) and path.relative_to(folder).as_posix() not in NO_STAMPS
    )
    if not paths:
        raise DataError(
            f"There are no stamps in {folder}; --animals must name stamps/animals of Tux Paint (Debian's package "
            "tuxpaint-stamps-default has it in /usr/share/tuxpaint), or be omitted."
        )
    return paths


def find_package(package: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The package {package} is not installed: pip install -r requirements.txt")
    return Path(spec.origin).parent


@cache
def draw_noise(count: int, seed: int) -> tuple[Image.Image, ...]:
    """Draw noise, from single pixels to clouds, grey or coloured."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        grain = int(2 ** rng.integers(0, 7))
        channels = int(rng.choice([1, 3]))
        small = rng.integers(0, 256, (SIZE // grain, SIZE // grain, channels), dtype=np.uint8)
        image = Image.fromarray(np.repeat(small, 3 // channels, axis=2))
        pictures.append(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return tuple(pictures)


@cache
def draw_plain_shapes(count: int, seed: int) -> tuple[Image.Image, ...]:
    """Draw a few plain shapes and lines on a plain background."""
    return _draw_pictures(count, seed, _draw_shapes)


@cache
def draw_texts(count: int, seed: int) -> tuple[Image.Image, ...]:
    """Draw lines of text, as on a page or a screen."""
    return _draw_pictures(count, seed, _draw_lines)


def _draw_pictures(
    count: int, seed: int, draw: Callable[[ImageDraw.ImageDraw, np.random.Generator], None]
) -> tuple[Image.Image, ...]:
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        image = Image.new("RGB", (SIZE, SIZE), _choose_colour(rng, light=True))
        draw(ImageDraw.Draw(image), rng)
        pictures.append(image)
    return tuple(pictures)


def _draw_shapes(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(2, 9)):
        (x1, x2), (y1, y2) = np.sort(rng.integers(0, SIZE, (2, 2)), axis=1).tolist()
        width = int(rng.integers(1, 9))
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse((x1, y1, x2, y2), fill=_choose_colour(rng), outline=_choose_colour(rng), width=width)
        elif kind == 1:
            draw.rectangle((x1, y1, x2, y2), fill=_choose_colour(rng), outline=_choose_colour(rng), width=width)
        elif kind == 2:
            draw.line([tuple(point) for point in rng.integers(0, SIZE, (4, 2)).tolist()], _choose_colour(rng), width)
        else:
            draw.polygon([tuple(point) for point in rng.integers(0, SIZE, (3, 2)).tolist()], fill=_choose_colour(rng))


def _draw_lines(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    size = int(rng.integers(9, 32))
    font, ink = ImageFont.load_default(size), _choose_colour(rng)
    for top in range(8, SIZE, int(size * 1.4)):
        draw.text((8, top), " ".join(rng.choice(WORDS, 12)), ink, font)


def _choose_colour(rng: np.random.Generator, light: bool = False) -> tuple[int, int, int]:
    red, green, blue = rng.integers(150 if light else 0, 256 if light else 200, 3).tolist()
    return red, green, blue
