"""Draw explanations: bars, maps over a picture, and numbers as a page writes them."""

import html
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images import Source, load_image

FOR, AGAINST = (249, 115, 22), (37, 99, 235)  # orange and blue: apart for the colour-blind, too


def draw_evidence(
    image: Source, evidence: NDArray[np.float32], side: int = 640, largest: float | None = None
) -> Image.Image:
    """Return a picture, `side` pixels long at most, under a map of evidence: orange speaks for it, blue against it.

    Args:
        image: the picture.
        evidence: (rows, columns) float32 over the whole picture.
        side: the long side of the result in pixels.
        largest: the absolute value that gets the full colour; by default the largest there is.
    """
    shown = load_image(image, side).thumbnail(side)
    strength = evidence / (largest or np.abs(evidence).max() or 1)
    smooth = np.asarray(Image.fromarray(strength.astype(np.float32)).resize(shown.size, Image.Resampling.BICUBIC))
    colour = np.where(smooth[..., None] > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    cover = np.clip(np.abs(smooth), 0, 1)[..., None] * 0.65
    pixels = np.asarray(shown.convert("L"), dtype=np.float32)[..., None]  # grey, so that the colours are the map's
    return Image.fromarray((pixels * (1 - cover) + colour * cover).round().astype(np.uint8))


def add_up(parts: Mapping[str, float], base: float, total: float, digits: int) -> dict[str, float]:
    """Round the parts of a sum so that they still add up: rounded base + rounded parts == rounded total.

    Each part is rounded down or up; those with the largest remainders are rounded up.

    Args:
        parts: label to value; base + the sum of the values is the total.
        base: what the parts are added to.
        total: the sum.
        digits: after the decimal point.
    """
    unit = 10**digits
    due = round(round(total, digits) * unit) - round(round(base, digits) * unit)
    steps = {label: math.floor(value * unit) for label, value in parts.items()}
    by_remainder = sorted(parts, key=lambda label: steps[label] - parts[label] * unit)
    missing = due - sum(steps.values())
    for position in range(abs(missing) if parts else 0):
        index = position if missing > 0 else -1 - position
        steps[by_remainder[index % len(by_remainder)]] += 1 if missing > 0 else -1
    return {label: step / unit for label, step in steps.items()}


def draw_signed_bars(title: str, values: dict[str, float], format_value: Callable[[float], str]) -> str:
    """Return a bar for each value around a common zero line, as HTML that suits narrow and dark screens.

    Args:
        title: the sentence above the bars.
        values: label to signed value, drawn in this order; labels are escaped.
        format_value: turns a value into words, such as `points`.
    """
    largest = max((abs(value) for value in values.values()), default=0) or 1
    rows = [
        f'<div class="bars-label">{html.escape(label)}</div><div class="bars-track">'
        f'<div class="bars-bar bars-{"up" if value >= 0 else "down"}" style="width:{50 * abs(value) / largest:.1f}%">'
        f'</div></div><div class="bars-value">{html.escape(format_value(value))}</div>'
        for label, value in values.items()
    ]
    return f'<p>{html.escape(title)}</p><div class="bars">{"".join(rows)}</div>'


def draw_share_bars(title: str, shares: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """Return a bar for each part of a whole, as HTML that suits narrow and dark screens.

    Args:
        title: the sentence above the bars.
        shares: label to share (0 … 1), drawn in this order; labels are escaped. The largest has the longest bar.
        colours: label to CSS colour.
    """
    largest = max(shares.values(), default=0) or 1
    rows = [
        f'<div class="bars-label">{html.escape(label)}</div><div class="bars-whole">'
        f'<div class="bars-bar" style="width:{100 * share / largest:.1f}%; background:{colours[label]}"></div></div>'
        f'<div class="bars-value">{format_percent(share)}</div>'
        for label, share in shares.items()
    ]
    return f'<p>{html.escape(title)}</p><div class="bars">{"".join(rows)}</div>'


def format_percent(probability: float) -> str:
    """Return a probability in words: 0.123 is "12%", and what rounds to 0 or 100 is not claimed to be."""
    return "< 1%" if 0 < probability < 0.005 else "> 99%" if 0.995 < probability < 1 else f"{probability:.0%}"


def format_points(difference: float) -> str:
    """Return a difference of probabilities in percentage points: 0.123 is "+12.3"."""
    return f"{100 * difference:+.1f}"
