"""Draw explanations: bars and maps over a picture; format numbers for a page."""

import html
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images import Source, load_image

FOR, AGAINST = (249, 115, 22), (37, 99, 235)  # orange and blue, distinct for colour-blind people


def draw_evidence(
    image: Source,
    evidence: NDArray[np.float32],
    side: int = 640,
    largest: float | None = None,
    region: tuple[float, float, float, float] = (0, 0, 1, 1),
) -> Image.Image:
    """Draw a map of evidence over a picture: orange is evidence for, blue is evidence against.

    Args:
        image: the picture.
        evidence: (rows, columns) float32 over `region`.
        side: maximum long side of the result in pixels.
        largest: absolute value drawn in full colour; by default the maximum of the map.
        region: part of the picture (left, top, right, bottom), in its widths and heights; the rest stays grey.
    """
    shown = load_image(image, side).thumbnail(side)
    strength = evidence / (largest or np.abs(evidence).max() or 1)
    left, top, right, bottom = (round(edge * shown.size[axis % 2]) for axis, edge in enumerate(region))
    size = max(1, right - left), max(1, bottom - top)
    patch = Image.fromarray(strength.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    canvas = Image.new("F", shown.size)
    canvas.paste(patch, (left, top))
    smooth = np.asarray(canvas)
    colour = np.where(smooth[..., None] > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    cover = np.clip(np.abs(smooth), 0, 1)[..., None] * 0.65
    pixels = np.asarray(shown.convert("L"), dtype=np.float32)[..., None]  # grey, so that only the map has colours
    return Image.fromarray((pixels * (1 - cover) + colour * cover).round().astype(np.uint8))


def add_up(parts: Mapping[str, float], base: float, total: float, digits: int) -> dict[str, float]:
    """Round the parts of a sum so that they still add up: rounded base + rounded parts == rounded total.

    Each part is rounded down or up; the parts with the largest remainders are rounded up.

    Args:
        parts: values by label; base + the sum of the values is the total.
        base: the value to which the parts are added.
        total: the sum.
        digits: number of decimals.
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
    """Return HTML with a bar for each value, left or right of a zero line.

    Args:
        title: the sentence above the bars.
        values: signed values by label, drawn in this order; labels are escaped.
        format_value: formats a value, such as `format_points`.
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
    """Return HTML with a bar for each part of a whole.

    Args:
        title: the sentence above the bars.
        shares: shares (0 … 1) by label, drawn in this order; labels are escaped. The largest share has the full width.
        colours: CSS colours by label.
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
    """Format a probability: 0.123 is "12%"; "< 1%" and "> 99%" instead of rounding to 0% or 100%."""
    return "< 1%" if 0 < probability < 0.005 else "> 99%" if 0.995 < probability < 1 else f"{probability:.0%}"


def format_points(difference: float) -> str:
    """Format a difference of probabilities in percentage points: 0.123 is "+12.3"."""
    return f"{100 * difference:+.1f}"
