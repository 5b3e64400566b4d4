"""Draw segmentation/examples/street.jpg, since CamVid photos may not be redistributed: python spaces/draw_street.py

The model was trained only on photos, so leaves and grain make the drawing look more like one.
"""

import argparse
import math
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw

OUT = Path(__file__).resolve().parent / "segmentation/examples/street.jpg"
WIDTH, HEIGHT, SCALE = 960, 720, 2  # drawn at twice the size and reduced, for smooth edges
VANISHING = (500, 330)  # where the edges of the road meet


def draw_street() -> Image.Image:
    """Return a drawing of a street in an overcast city, 960 by 720 pixels, the same on every call."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "#c3cdd6")
    sky = Image.linear_gradient("L").resize((image.width, 420 * SCALE)).point(lambda level: 190 + level // 6)
    image.paste(Image.merge("RGB", (sky, ImageChops.add(sky, sky, 2, 6), ImageChops.add(sky, sky, 2, 16))), (0, 0))
    pen = ImageDraw.Draw(image)
    draw_ground(pen)
    for near, far, top, colour in [(0, 130, -60, "#7d5a4c"), (130, 250, 60, "#8f8271"), (250, 360, 150, "#6f5c55")]:
        draw_building(pen, near, far, top, colour)
    for near, far, top, colour in [(960, 850, -20, "#94806a"), (850, 740, 90, "#77604f"), (740, 640, 170, "#8a8078")]:
        draw_building(pen, near, far, top, colour)
    for x, y, size in [(420, 385, 0.45), (590, 390, 0.5), (335, 430, 0.8), (705, 445, 0.9)]:
        draw_tree(pen, x, y, size)
    draw_lamp(pen, 262, 500, 330)
    draw_lamp(pen, 612, 402, 120)
    draw_sign(pen, 800, 520)
    for x, y, size, colour in [(452, 392, 0.35, "#3c4148"), (560, 420, 0.6, "#6b7076"), (690, 520, 1.3, "#27343f")]:
        draw_car(pen, x, y, size, colour)
    for x, y, size, coat in [(180, 590, 1.0, "#2d3a52"), (130, 570, 0.95, "#6b2f3a"), (770, 455, 0.5, "#33403a")]:
        draw_pedestrian(pen, x, y, size, coat)
    return add_grain(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def add_grain(image: Image.Image) -> Image.Image:
    """Return the picture slightly darker and with grain of three sizes, except for the sky, which has little grain."""
    rng = np.random.default_rng(0)
    pixels = np.asarray(image, np.float32)
    grain = np.zeros((HEIGHT, WIDTH), np.float32)
    for size, strength in ((1, 7), (3, 6), (12, 5)):
        noise = Image.fromarray(rng.normal(0, strength, (HEIGHT // size, WIDTH // size)).astype(np.float32))
        grain += np.asarray(noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    is_sky = (pixels[..., 2] > pixels[..., 0] + 3) & (pixels.mean(2) > 140)
    grain[is_sky] *= 0.15
    return Image.fromarray((255 * (np.clip(pixels + grain[..., None], 0, 255) / 255) ** 1.3).astype(np.uint8))


def scale(*points: tuple[float, float]) -> list[tuple[float, float]]:
    """Convert points of the finished picture to drawing coordinates."""
    return [(x * SCALE, y * SCALE) for x, y in points]


def move_towards(x: float, y: float, at: float) -> tuple[float, float]:
    """Return the point at the fraction `at` (0 … 1) of the line from (x, y) to the vanishing point."""
    return x + (VANISHING[0] - x) * at, y + (VANISHING[1] - y) * at


def draw_ground(pen: ImageDraw.ImageDraw) -> None:
    """Draw the road, kerbs, pavements and centre line."""
    pen.polygon(scale((0, 500), VANISHING, (960, 490), (960, 720), (0, 720)), "#9b958d")
    pen.polygon(scale((20, 720), move_towards(20, 720, 0.97), move_towards(1010, 720, 0.97), (1010, 720)), "#c4bfb6")
    pen.polygon(scale((50, 720), move_towards(50, 720, 0.97), move_towards(980, 720, 0.97), (980, 720)), "#5d5f63")
    for start in range(5):
        far, near = 0.16 + start * 0.17, 0.08 + start * 0.17
        corners = [
            move_towards(486, 720, near),
            move_towards(486, 720, far),
            move_towards(504, 720, far),
            move_towards(504, 720, near),
        ]
        pen.polygon(scale(*corners), "#dcdcd6")


def draw_building(pen: ImageDraw.ImageDraw, near: float, far: float, top: float, colour: str) -> None:
    """Draw a front along the street from x = `near` to `far`, with its top at y = `top` and four rows of windows."""

    def along(x: float, y: float) -> tuple[float, float]:  # the height y at `near`, in perspective at x
        return x, y + (VANISHING[1] - y) * (x - near) / (VANISHING[0] - near)

    foot = VANISHING[1] + 0.36 * abs(near - VANISHING[0])
    pen.polygon(scale(along(near, top), along(far, top), along(far, foot), along(near, foot)), colour)
    for row in range(4):
        upper = top + (foot - top) * (0.1 + 0.22 * row)
        lower = upper + (foot - top) * 0.13
        for column in range(3):
            left, right = (near + (far - near) * (column + part) / 3 for part in (0.22, 0.78))
            window = [along(left, upper), along(right, upper), along(right, lower), along(left, lower)]
            pen.polygon(scale(*window), "#39424c" if (row + column) % 3 else "#566472")


def draw_tree(pen: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """Draw a tree with its trunk at (x, y)."""
    pen.polygon(scale((x - 7 * size, y), (x - 4 * size, y - 120 * size), (x + 4 * size, y - 120 * size),
                       (x + 7 * size, y)), "#3a2f26")  # fmt: skip
    blobs = [(-50, -150, 48), (45, -155, 50), (0, -200, 62), (-30, -240, 44), (35, -235, 42), (0, -140, 48)]
    rng = random.Random(round(x))
    for across, up, radius in blobs:
        for _ in range(220):  # leaves
            angle, distance = rng.uniform(0, 2 * math.pi), radius * 1.15 * math.sqrt(rng.random())
            centre = x + (across + distance * math.cos(angle)) * size, y + (up + distance * math.sin(angle)) * size
            green, leaf = rng.randint(25, 110), rng.uniform(2, 6) * size
            corners = scale((centre[0] - leaf, centre[1] - leaf * 0.7), (centre[0] + leaf, centre[1] + leaf * 0.7))
            pen.ellipse(corners, (green * 3 // 4, green, green // 2))


def draw_lamp(pen: ImageDraw.ImageDraw, x: float, y: float, height: float) -> None:
    """Draw a lamp post at (x, y), `height` pixels high."""
    width = height / 45
    pen.rectangle(scale((x - width / 2, y - height), (x + width / 2, y)), "#4b4f52")
    pen.rectangle(scale((x, y - height), (x + height / 5, y - height + width)), "#4b4f52")
    pen.ellipse(scale((x + height / 8, y - height), (x + height / 4, y - height + 2.2 * width)), "#d9d6c4")


def draw_sign(pen: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """Draw a round traffic sign on a post at (x, y)."""
    pen.rectangle(scale((x - 3, y - 150), (x + 3, y)), "#777b7e")
    for radius, colour in [(26, "#b3262b"), (19, "#eeeeea")]:
        pen.circle((x * SCALE, (y - 160) * SCALE), radius * SCALE, colour)


def draw_car(pen: ImageDraw.ImageDraw, x: float, y: float, size: float, colour: str) -> None:
    """Draw a car from behind, with (x, y) between its rear wheels."""

    def box(left: float, top: float, right: float, bottom: float, fill: str, radius: float = 0) -> None:
        corners = scale((x + left * size, y + top * size), (x + right * size, y + bottom * size))
        pen.rounded_rectangle(corners, radius * size * SCALE, fill)

    box(-66, -6, 66, 5, "#3f4145", 5)  # its shadow
    box(-58, -18, -36, 4, "#1d1e20", 4)
    box(36, -18, 58, 4, "#1d1e20", 4)
    box(-48, -94, 48, -40, colour, 16)
    box(-62, -58, 62, -8, colour, 12)
    box(-40, -86, 40, -58, "#222a31", 8)
    box(-58, -50, -40, -38, "#d8443c", 3)
    box(40, -50, 58, -38, "#d8443c", 3)
    box(-18, -34, 18, -24, "#e3d9a8", 2)


def draw_pedestrian(pen: ImageDraw.ImageDraw, x: float, y: float, size: float, coat: str) -> None:
    """Draw a walking person with their feet at (x, y)."""
    for step in (-10, 10):
        legs = [(x, y - 56 * size), (x + step * size, y)]
        pen.line(scale(*legs), "#23252b", round(10 * size * SCALE))
    corners = scale((x - 15 * size, y - 112 * size), (x + 15 * size, y - 46 * size))
    pen.rounded_rectangle(corners, 10 * size * SCALE, coat)
    pen.circle((x * SCALE, (y - 124 * size) * SCALE), 11 * size * SCALE, "#c99f82")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    OUT.parent.mkdir(exist_ok=True)
    draw_street().save(OUT, quality=85, optimize=True)
