"""Made-up data for --smoke and the tests."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw_shapes(folder: Path, seed: int, count: int = 24) -> Path:
    """Write three folders of drawn shapes; return the folder they lie in."""
    rng = np.random.default_rng(seed)
    for label in ("circle", "cross", "square"):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = Image.new("RGB", (80, 64), tuple(rng.integers(150, 256, 3).tolist()))
            x, y, r = (int(rng.integers(low, high)) for low, high in ((25, 55), (22, 42), (10, 20)))
            draw, ink = ImageDraw.Draw(image), tuple(rng.integers(0, 100, 3).tolist())
            if label == "cross":
                draw.line((x - r, y - r, x + r, y + r), ink, 4)
                draw.line((x - r, y + r, x + r, y - r), ink, 4)
            else:
                (draw.ellipse if label == "circle" else draw.rectangle)((x - r, y - r, x + r, y + r), fill=ink)
            image.save(folder / label / f"{index}.png")
    return folder
