"""Fit how much less certain a picture classifier is where parts of a picture show different labels."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from training.networks.image_classification import ExportWrapper, compute_divisor, measure_conflict
from training.pictures.obstructions import squash
from training.pictures.outputs import compute_outputs

SINGLES, PAIRS = 1000, 400  # pictures that it is fitted to
SHARE = 0.01  # assumed share of pictures that show two labels
LEAST = 100  # pictures; from fewer one cannot tell how often single pictures seem to show two labels


def fit_conflict(
    module: ExportWrapper,
    pictures: torch.Tensor,
    y: NDArray[np.int64],
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
) -> None:
    """Fit the slope and the start of `module.conflict` to single pictures and to pairs of different labels.

    Both labels of a pair shall be equally probable. Of a grid of values, those with the smallest mean loss are taken,
    where pairs count as SHARE of all pictures. With fewer than LEAST pictures, or one label, nothing is fitted.

    Args:
        module: the module to export, calibrated; its conflict is changed.
        pictures: pictures that its last layer is not more certain of than of others, uint8 (n, 3, size, size).
        y: their labels, (n,).
        mean: mean of each channel, from 0 to 1.
        std: standard deviation of each channel.
        seed: seed of the choice of pictures.
    """
    if len(y) < LEAST or len(np.unique(y)) < 2:
        return
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))[:SINGLES]
    pairs, labels = draw_pairs(pictures, y, rng)
    outputs = compute_outputs(module, pictures[rows], pairs, mean=mean, std=std)
    shown = [torch.from_numpy(y[rows, None]), torch.from_numpy(labels)]
    parts = [(logits, measure_conflict(maps), right) for (logits, _, maps), right in zip(outputs, shown, strict=True)]

    def compute_loss(slope: float, start: float) -> float:
        single, pair = (
            float(-(logits / compute_divisor(conflict, slope, start)[:, None]).log_softmax(1).gather(1, right).mean())
            for logits, conflict, right in parts
        )
        return single + SHARE * pair

    starts = parts[0][1].quantile(torch.linspace(0.5, 1, 26)).clamp(min=0).tolist()
    choices = [(0.0, 0.0), *((slope, start) for slope in np.geomspace(0.05, 5, 21).tolist() for start in starts)]
    slope, start = min(choices, key=lambda choice: compute_loss(*choice))
    module.conflict.slope.fill_(slope)
    module.conflict.start.fill_(start)


def draw_pairs(
    pictures: torch.Tensor, y: NDArray[np.int64], rng: np.random.Generator
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Return pairs of pictures of different labels, as one picture each, and their labels, (PAIRS, 2).

    Half of them are side by side, and half one above the other.
    """
    first = rng.integers(len(y), size=PAIRS)
    second = np.array([rng.choice(np.flatnonzero(y != y[row])) for row in first])
    drawn = torch.empty(PAIRS, *pictures.shape[1:], dtype=torch.uint8)
    for number, rows in enumerate(zip(first, second, strict=True)):
        one, other = (pictures[row][None].float() for row in rows)
        drawn[number] = squash(one, other, pictures.shape[2] // 2, 2 + number % 2)[0].round()
    return drawn, np.stack([y[first], y[second]], 1)
