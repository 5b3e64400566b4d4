"""Shapley values by permutation sampling: how much each part of an input changed the output.

Strumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
contributions", Knowledge and Information Systems 41, 2014; antithetic pairs of permutations as in
Mitchell et al., "Sampling Permutations for Shapley Value Estimation", JMLR 23, 2022.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def compute_shapley_values(
    value: Callable[[NDArray[np.bool_], NDArray[np.intp]], NDArray[np.float64]],
    players: int,
    backgrounds: int,
    seed: int = 0,
) -> tuple[float, NDArray[np.float64]]:
    """Return a base and a contribution for each part of an input; together they add up exactly to the prediction.

    For each background example, the parts (players) are switched from the background to the input in a random order,
    and in the reverse of this order. A player's contribution is the mean change when it is switched.

    Args:
        value: function of present, bool (n, players), True for parts taken from the input, and background (n,), the
            index of the background example of each row; returns the model's n outputs.
        players: number of parts, at least 1.
        backgrounds: number of background examples, at least 1. The model is evaluated
            2 * backgrounds * (players + 1) times.
        seed: seed of the random orders; the same seed gives the same values.

    Returns:
        The base (the mean output over the background examples), and the contributions, (players,) float64.
    """
    if players < 1 or backgrounds < 1:
        raise ValueError("An explanation needs at least one part to explain and one example to compare with.")
    rng = np.random.default_rng(seed)
    orders = np.stack([rng.permutation(players) for _ in range(backgrounds)])
    orders = np.concatenate([orders, orders[:, ::-1]])
    background = np.tile(np.arange(backgrounds), 2)

    # present[o, s] is the set after s switches in order o.
    rank = np.argsort(orders, axis=1)
    present = rank[:, None, :] < np.arange(players + 1)[None, :, None]
    outputs = value(present.reshape(-1, players), np.repeat(background, players + 1))
    outputs = np.asarray(outputs, dtype=np.float64).reshape(len(orders), players + 1)

    steps = np.diff(outputs, axis=1)
    contributions = np.take_along_axis(steps, rank, axis=1).mean(axis=0)
    return float(outputs[:, 0].mean()), contributions
