"""Make batches of pictures harder on the device that they are on: wire and bars, few colours or pixels, two in one.

Each function takes pictures from 0 to 1, (n, 3, height, width), and returns as many. `obstruct` and `mix` change a part
of a batch, at random rows. How many rows is fixed, and what a whole part shares (such as the number of colours) is
drawn by Python, so a GPU never waits for the CPU and works only on the rows that change.
"""

import math
import random
from collections.abc import Callable

import torch
from torch.nn import functional as F

Draw = Callable[[torch.Tensor], torch.Tensor]
WIRES, BARS, FEW_COLOURS, FEW_PIXELS, GREY = 0.10, 0.08, 0.09, 0.08, 0.04  # shares of a batch
MIXED = 0.08


def draw_between(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Draw a number for each picture, (n, 1, 1, 1), uniform in its logarithm; both bounds are positive."""
    drawn = torch.rand(len(like), 1, 1, 1, device=like.device)
    return torch.exp(drawn * (math.log(high) - math.log(low)) + math.log(low))


def cover_with_lines(
    pictures: torch.Tensor, angle: torch.Tensor, distance: torch.Tensor, thickness: torch.Tensor
) -> torch.Tensor:
    """Return how much parallel lines cover each pixel, (n, 1, height, width), from 0 to 1.

    Args:
        pictures: only for their size and device.
        angle: of the lines' normal from the x axis, in radians, (n, 1, 1, 1).
        distance: between two lines, as a share of the side, (n, 1, 1, 1).
        thickness: of a line, in the same unit.
    """
    height, width = pictures.shape[-2:]
    y, x = (torch.arange(length, device=pictures.device) / length for length in (height, width))
    along = x.view(1, 1, 1, -1) * angle.cos() + y.view(1, 1, -1, 1) * angle.sin()
    phase = torch.rand(len(angle), 1, 1, 1, device=pictures.device)
    from_line = ((along / distance + phase).remainder(1) - 0.5).abs() * distance
    return ((thickness / 2 - from_line) * min(height, width) + 0.5).clamp(0, 1)


def paint(pictures: torch.Tensor, cover: torch.Tensor, darkest: float, lightest: float) -> torch.Tensor:
    """Paint what is covered in a random, nearly grey colour that is nearly opaque."""
    colour = draw_between(pictures, darkest, lightest) + 0.05 * torch.randn(len(pictures), 3, 1, 1, device=cover.device)
    opacity = draw_between(pictures, 0.75, 1)
    return torch.lerp(pictures, colour.clamp(0, 1).expand_as(pictures), cover * opacity)


def draw_wires(pictures: torch.Tensor) -> torch.Tensor:
    """Draw thin lines in two directions, as of a fence: mostly diagonal, and light, grey or dark."""
    count, device = len(pictures), pictures.device
    spread = 0.25 * torch.randn(2, count, 1, 1, 1, device=device)
    is_diagonal = torch.rand(count, 1, 1, 1, device=device) < 0.7
    first = torch.where(is_diagonal, math.pi / 4, math.pi * torch.rand(count, 1, 1, 1, device=device))
    distance, thickness = draw_between(pictures, 0.05, 0.22), draw_between(pictures, 0.005, 0.022)
    other = distance * draw_between(pictures, 0.8, 1.25)
    cover = torch.maximum(
        cover_with_lines(pictures, first + spread[0], distance, thickness),
        cover_with_lines(pictures, first + math.pi / 2 + spread[1], other, thickness),
    )
    return paint(pictures, cover, 0.1, 0.95)


def draw_bars(pictures: torch.Tensor) -> torch.Tensor:
    """Draw bars, as of a cage: upright or lying, mostly dark, with a few across."""
    count, device = len(pictures), pictures.device
    tilt = 0.08 * torch.randn(count, 1, 1, 1, device=device)
    upright = (torch.rand(count, 1, 1, 1, device=device) < 0.25) * math.pi / 2 + tilt
    thickness = draw_between(pictures, 0.006, 0.035)
    distance = thickness + draw_between(pictures, 0.04, 0.16)
    across = cover_with_lines(pictures, upright + math.pi / 2, draw_between(pictures, 0.15, 0.7), thickness)
    return paint(pictures, torch.maximum(cover_with_lines(pictures, upright, distance, thickness), across), 0.04, 0.8)


def take_most_frequent(pictures: torch.Tensor, levels: int, side: int) -> torch.Tensor:
    """Round to this many levels, then give each pixel the most frequent level among its neighbours.

    Args:
        pictures: from 0 to 1.
        levels: how many values a channel keeps.
        side: odd side of the neighbourhood in pixels.
    """
    rounded = (pictures * levels).floor().clamp(max=levels - 1)
    most = torch.full_like(rounded, -1)
    found = rounded
    for level in range(levels):
        frequency = F.avg_pool2d((rounded == level).to(pictures.dtype), side, 1, side // 2)
        found = torch.where(frequency > most, level, found)
        most = torch.maximum(frequency, most)
    return found / levels


def reduce_colours(pictures: torch.Tensor) -> torch.Tensor:
    """Keep 2 to 5 bits of each channel, after or before smoothing; the darker value of a step is kept."""
    bits, side = random.choice((2, 3, 3, 3, 4, 5)), random.choice((3, 5, 7))
    smoothing = random.random()
    if smoothing < 0.55 and bits < 5:
        return take_most_frequent(pictures, 2**bits, side)
    if smoothing < 0.8:
        pictures = F.avg_pool2d(pictures, side, 1, side // 2, count_include_pad=False)
    return (pictures * 2**bits).floor().clamp(max=2**bits - 1) / 2**bits


def reduce_pixels(pictures: torch.Tensor) -> torch.Tensor:
    """Reduce to 32 to 80 pixels, and enlarge again."""
    size = pictures.shape[-2:]
    small = F.interpolate(
        pictures, [min(random.randint(32, 80), side) for side in size], mode="bilinear", antialias=True
    )
    return F.interpolate(small, size, mode=random.choice(("bilinear", "bicubic"))).clamp(0, 1)


def turn_grey(pictures: torch.Tensor) -> torch.Tensor:
    """Return grey pictures."""
    return pictures.mean(1, keepdim=True).expand_as(pictures)


def change_share(pictures: torch.Tensor, share: float, draw: Draw) -> torch.Tensor:
    """Apply a function to this share of the pictures, at random rows; change the tensor in place and return it."""
    rows = draw_rows(pictures, share)
    if len(rows):
        pictures[rows] = draw(pictures[rows])
    return pictures


def draw_rows(pictures: torch.Tensor, share: float) -> torch.Tensor:
    """Return this share of the row numbers at random; of a small batch the number of rows is random, too."""
    count = int(share * len(pictures) + random.random())
    return torch.randperm(len(pictures), device=pictures.device)[:count]


def obstruct(pictures: torch.Tensor) -> torch.Tensor:
    """Make a part of the pictures grey, poor in pixels or colours, or draw wires or bars on them, each independently.

    The pictures are changed in place, and returned.
    """
    for share, draw in (
        (GREY, turn_grey),
        (FEW_PIXELS, reduce_pixels),
        (WIRES, draw_wires),
        (BARS, draw_bars),
        (FEW_COLOURS, reduce_colours),
    ):
        change_share(pictures, share, draw)
    return pictures


def put_together(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Show two pictures in one: side by side, one above the other, as halves, or one over the other."""
    height, width = first.shape[-2:]
    seam = random.uniform(0.4, 0.6)
    kind = random.random()
    if kind < 0.5:
        return squash(first, second, max(1, round(seam * width)), 3)
    if kind < 0.65:
        return squash(first, second, max(1, round(seam * height)), 2)
    if kind < 0.85:
        is_first = torch.arange(width, device=first.device) < seam * width
        return torch.where(is_first, first, second)
    return torch.lerp(first, second, seam)


def squash(first: torch.Tensor, second: torch.Tensor, length: int, axis: int) -> torch.Tensor:
    """Show two pictures in one, (n, 3, height, width) like both: the first has `length` pixels of an axis, 2 or 3."""
    parts = []
    for part, side in ((first, length), (second, second.shape[axis] - length)):
        shape = [side if number == axis else part.shape[number] for number in (2, 3)]
        parts.append(F.interpolate(part, shape, mode="bilinear", antialias=True))
    return torch.cat(parts, axis)


def pair_labels(targets: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two lists of `count` row numbers; where they can, the rows of a pair have different labels.

    Args:
        targets: probabilities (n, labels).
        count: at most n // 2.
    """
    place = torch.rand(targets.shape[1], device=targets.device)[targets.argmax(1)]  # labels in random order
    order = (place + 1e-3 * torch.rand(len(targets), device=targets.device)).argsort()
    return order[:count], order.flip(0)[:count]


def mix(
    pictures: torch.Tensor, targets: torch.Tensor, *others: torch.Tensor, share: float = MIXED
) -> tuple[torch.Tensor, ...]:
    """Replace a share of the pictures by two pictures in one; their targets become the mean of both.

    Args:
        pictures: changed in place, as are the targets.
        targets: probabilities of the labels, (n, labels).
        others: more probabilities, (n, any).
        share: share of the pictures.
    """
    count = min(int(share * len(pictures) + random.random()), len(pictures) // 2)
    if count:
        first, second = pair_labels(targets, count)
        halves = [slice(0, count // 2), slice(count // 2, count)]
        made = [put_together(*random.sample((pictures[first[half]], pictures[second[half]]), 2)) for half in halves]
        kept = torch.cat([first[halves[0]], second[halves[1]]])  # so that no label loses more than the other
        pictures[kept] = torch.cat(made)
        for rows in (targets, *others):
            rows[kept] = (rows[first] + rows[second]) / 2
    return pictures, targets, *others
