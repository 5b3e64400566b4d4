"""Compute the factors of a new visitor from their ratings; recommender.py has the formulas."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
GENEROSITY_RIDGE = 5  # number of average ratings added to the visitor's own, to shrink the estimate


@dataclass(frozen=True)
class Visitor:
    """A new visitor: their ratings, and the posterior mean of their vector w, shape (factors,)."""

    ratings: Mapping[int | str, float]
    vector: Vector = field(repr=False, compare=False)
    weights: Vector = field(repr=False, compare=False)  # (ratings, factors): w = sum of weight * (stars - mean)


def place_visitor(
    means: Vector, factors: Vector, variances: Vector, noise: Vector, stars: Vector
) -> tuple[Vector, Vector]:
    """Compute a visitor's vector from their ratings, in closed form.

    Args:
        means: means of the rated movies, (ratings,).
        factors: factors of these movies, (ratings, factors).
        variances: variances of the last of these factors, (ratings, uncertain factors).
        noise: noise variances of these movies, (ratings,).
        stars: the visitor's ratings, (ratings,).

    Returns:
        The posterior mean of the vector, (factors,), and the weights, (ratings, factors): the mean is the sum of
        weight * (stars - mean).
    """
    scaled = factors / noise[:, None]
    precision = np.eye(factors.shape[1]) + scaled.T @ factors
    doubt = (variances / noise[:, None]).sum(axis=0)
    precision[np.diag_indices(len(precision))] += np.concatenate([np.zeros(len(precision) - len(doubt)), doubt])
    weights = np.asarray(np.linalg.solve(precision, scaled.T).T, dtype=np.float64)
    return (stars - means) @ weights, weights


def estimate_generosity(averages: Vector, stars: Vector) -> float:
    """Return how many stars a visitor gives above the movies' averages: the mean difference, shrunk towards 0."""
    return float((stars - averages).sum() / (len(stars) + GENEROSITY_RIDGE))
