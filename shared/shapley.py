"""Shapley values: how much each part of an input changed the output.

Strumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
contributions", Knowledge and Information Systems 41, 2014; antithetic pairs of permutations as in
Mitchell et al., "Sampling Permutations for Shapley Value Estimation", JMLR 23, 2022. Balanced sets from
Hadamard matrices: Plackett and Burman, "The Design of Optimum Multifactorial Experiments", Biometrika 33, 1946.
"""

from collections.abc import Callable
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

MOST_PLAYERS = 16  # of choose_sets: columns of the Hadamard matrix
EXACT_PLAYERS = 5  # with so few, all sets are no more than the balanced ones
# With the first six columns, the 32 sets are all different, and do not confuse effects of pairs with each other either.
COLUMNS = [0, 1, 2, 4, 8, 15, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14]
LEAST = 1e-9  # smallest probability, for a finite logit


def compute_shapley_values(
    value: Callable[[NDArray[np.bool_], NDArray[np.intp]], NDArray[np.float64]],
    players: int,
    backgrounds: int,
) -> tuple[float, NDArray[np.float64]]:
    """Return a base and a contribution for each part of an input; together they add up exactly to the prediction.

    For each background example, the parts (players) are switched from the background to the input in a random order,
    and in the reverse of this order. A player's contribution is the mean change when it is switched.

    Args:
        value: function of present, bool (n, players), True for parts taken from the input, and background (n,), the
            index of the background example of each row; returns the model's n outputs.
        players: number of parts, at least 1.
        backgrounds: number of background examples, at least 1. `value` gets 2 * backgrounds * (players + 1) rows.

    Returns:
        The base (the mean output over the background examples), and the contributions, (players,) float64.

    Raises:
        ValueError: there are no players or no background examples.
    """
    if players < 1 or backgrounds < 1:
        raise ValueError("An explanation needs at least one part to explain and one example to compare with.")
    orders = shuffle_players(players, backgrounds)
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


def shuffle_players(players: int, orders: int) -> NDArray[np.intp]:
    """Return orders of the players that look random, (orders, players); spaces/browser/js/tabular.js has the same.

    Players are sorted by hashes of their places, which are all different: the finalizer of MurmurHash3.
    """
    keys = np.arange(1, orders * players + 1, dtype=np.uint32).reshape(orders, players) * np.uint32(0x9E3779B9)
    keys = (keys ^ keys >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    keys = (keys ^ keys >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return np.argsort(keys ^ keys >> np.uint32(16), axis=1)


def choose_sets(players: int) -> NDArray[np.bool_]:
    """Return the sets of parts (players) to evaluate for fit_shapley_values, bool (sets, players).

    These are all sets of at most 5 parts, or else at most 32 sets, balanced: each part, and each pair of parts, is in
    the same share of them as any other. The first is the set without parts, and the last the set of all parts.

    Raises:
        ValueError: there are no players, or more than 16.
    """
    if not 1 <= players <= MOST_PLAYERS:
        raise ValueError(f"An explanation needs 1 to {MOST_PLAYERS} parts to explain, not {players}.")
    return list_sets(players) if players <= EXACT_PLAYERS else balance_sets(players)


def fit_shapley_values(outputs: NDArray[np.float64], players: int) -> tuple[float, NDArray[np.float64]]:
    """Return a base and a contribution for each part of an input; together they add up to the output with all parts.

    With at most 5 parts (players), the Shapley values are exact. With more, a sum of the parts' effects on the logit is
    fitted to the probabilities, and the values are those of this fit.

    Args:
        outputs: the probability with each of the sets of choose_sets(players).
        players: number of parts, 1 to 16.

    Returns:
        The base (the probability without any part), and the contributions, (players,) float64.

    Raises:
        ValueError: there are no players, or more than 16.
    """
    sets = choose_sets(players)
    base, whole = float(outputs[0]), float(outputs[-1])
    if players > EXACT_PLAYERS:
        outputs = fit_logit_sum(sets, outputs, base, whole)
    contributions = average_changes(outputs)
    # The fit is not exact at both ends.
    return base, contributions + (whole - base - contributions.sum()) / players


@cache
def list_sets(players: int) -> NDArray[np.bool_]:
    """Return all sets of players, bool (2 ** players, players); player k is in set i if bit k of i is 1."""
    return np.asarray((np.arange(2**players)[:, None] >> np.arange(players)) % 2 == 1)


@cache
def balance_sets(players: int) -> NDArray[np.bool_]:
    """Return at most 32 different sets of at most 16 players, bool (n, players), with all complements.

    They include the empty set and the set of all players. The columns are those of a Hadamard matrix and its negative:
    effects of single players are not confused with each other, nor with those of pairs.
    """
    matrix = np.ones((1, 1), dtype=np.int64)
    while len(matrix) < MOST_PLAYERS:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.unique(np.concatenate([matrix, -matrix])[:, COLUMNS[:players]] > 0, axis=0)


def fit_logit_sum(
    sets: NDArray[np.bool_], outputs: NDArray[np.float64], base: float, whole: float
) -> NDArray[np.float64]:
    """Return probabilities of all sets, (2 ** players,) in the order of list_sets, whose logits are sums of effects.

    The effects are fitted by least squares to `outputs`, the probabilities of `sets`. The logits of the empty set and
    of the set of all players remain those of `base` and `whole`.
    """
    players = sets.shape[1]
    first, last, logits = (
        np.log(p) - np.log1p(-p) for p in (np.clip(given, LEAST, 1 - LEAST) for given in (base, whole, outputs))
    )
    sizes = sets.mean(axis=1, keepdims=True)
    line = first + (last - first) * sizes[:, 0]
    # The rows of sets - sizes add up to 0, so the solution of least norm does too.
    effects = np.linalg.lstsq(sets - sizes, logits - line, rcond=None)[0] + (last - first) / players
    return np.asarray(1 / (1 + np.exp(-first - sum_effects(effects))))


def sum_effects(effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of effects of the players in each set, (2 ** players,) in the order of list_sets."""
    total = np.zeros(1)
    for effect in effects:
        total = np.concatenate([total, total + effect])
    return total


def average_changes(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exact Shapley values, (players,), for the outputs of all sets, (2 ** players,) as in list_sets."""
    players = len(outputs).bit_length() - 1
    sizes = sum_effects(np.ones(players)).astype(np.int64)
    weights = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    found = []
    for player in range(players):
        # [:, 0] has the sets without this player, [:, 1] the same sets with it.
        pairs, size = (array.reshape(-1, 2, 2**player) for array in (outputs, sizes))
        found.append(((pairs[:, 1] - pairs[:, 0]) * weights[size[:, 0]]).sum())
    return np.array(found)
