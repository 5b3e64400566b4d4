"""Pictures of nothing a model was trained on, to measure whether it notices.

Each function gives named pictures; what is drawn here depends on the seed alone.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data import DataError

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


def photographs() -> list[Path]:
    """The photographs that gradio, scikit-image and scikit-learn bring along, without those of animals."""
    return [
        package_folder(package) / folder / name
        for package, (folder, names) in PHOTOGRAPHS.items()
        for name in names.split()
    ]


def animals() -> list[Path]:
    """The photographs of animals that gradio brings along: lions and cheetahs."""
    return [package_folder("gradio") / name for name in ANIMALS]


def stamps(folder: Path) -> list[Path]:
    """The photographs of animals other than cats and dogs among Tux Paint's stamps, cut out on a transparent ground.

    Args:
        folder: stamps/animals of Tux Paint.

    Raises:
        DataError: there are none in it.
    """
    paths = sorted(
        path
        for path in folder.rglob("*.png")
        if not {"cartoon", "toys"} & set(path.parts) and path.relative_to(folder).as_posix() not in NO_STAMPS
    )
    if not paths:
        raise DataError(
            f"There are no stamps in {folder}; --animals must name stamps/animals of Tux Paint (Debian's package "
            "tuxpaint-stamps-default has it in /usr/share/tuxpaint), or be left out."
        )
    return paths


def package_folder(package: str) -> Path:
    """Where a package is installed.

    Raises:
        ModuleNotFoundError: it is not.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The package {package} is not installed: pip install -r requirements.txt")
    return Path(spec.origin).parent


def noise(count: int, seed: int) -> list[Image.Image]:
    """Noise, from single pixels to clouds, grey or coloured."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        grain = int(2 ** rng.integers(0, 7))
        channels = int(rng.choice([1, 3]))
        small = rng.integers(0, 256, (SIZE // grain, SIZE // grain, channels), dtype=np.uint8)
        image = Image.fromarray(np.repeat(small, 3 // channels, axis=2))
        pictures.append(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return pictures


def drawings(count: int, seed: int) -> list[Image.Image]:
    """Drawings of a few plain shapes and lines on a plain ground."""
    return _drawn(count, seed, _shapes)


def texts(count: int, seed: int) -> list[Image.Image]:
    """Lines of text, as on a page or a screen."""
    return _drawn(count, seed, _lines)


def _drawn(
    count: int, seed: int, draw: Callable[[ImageDraw.ImageDraw, np.random.Generator], None]
) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        image = Image.new("RGB", (SIZE, SIZE), _colour(rng, light=True))
        draw(ImageDraw.Draw(image), rng)
        pictures.append(image)
    return pictures


def _shapes(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(2, 9)):
        (x1, x2), (y1, y2) = np.sort(rng.integers(0, SIZE, (2, 2)), axis=1).tolist()
        width = int(rng.integers(1, 9))
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse((x1, y1, x2, y2), fill=_colour(rng), outline=_colour(rng), width=width)
        elif kind == 1:
            draw.rectangle((x1, y1, x2, y2), fill=_colour(rng), outline=_colour(rng), width=width)
        elif kind == 2:
            draw.line([tuple(point) for point in rng.integers(0, SIZE, (4, 2)).tolist()], _colour(rng), width)
        else:
            draw.polygon([tuple(point) for point in rng.integers(0, SIZE, (3, 2)).tolist()], fill=_colour(rng))


def _lines(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    size = int(rng.integers(9, 32))
    font, ink = ImageFont.load_default(size), _colour(rng)
    for top in range(8, SIZE, int(size * 1.4)):
        draw.text((8, top), " ".join(rng.choice(WORDS, 12)), ink, font)


def _colour(rng: np.random.Generator, light: bool = False) -> tuple[int, int, int]:
    red, green, blue = rng.integers(150 if light else 0, 256 if light else 200, 3).tolist()
    return red, green, blue
