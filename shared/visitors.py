"""Somebody new to a recommender, placed among its users by what they rated; recommender.py has the formulas."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
GENEROSITY_RIDGE = 5  # so many ratings with no surprise are added to a visitor's, when their generosity is estimated


@dataclass(frozen=True)
class Visitor:
    """Somebody new, described by what they rated: the posterior mean of their vector w, shape (factors,)."""

    ratings: Mapping[int, float]
    vector: Vector = field(repr=False)
    weights: Vector = field(repr=False)  # (ratings, factors): w = sum of weight * (stars - mean)


def place_visitor(
    means: Vector, factors: Vector, variances: Vector, noise: Vector, stars: Vector
) -> tuple[Vector, Vector]:
    """Place somebody new by what they rated, in closed form.

    Args:
        means: of the movies they rated, (ratings,).
        factors: (ratings, factors).
        variances: of the last of these factors, (ratings, uncertain factors).
        noise: (ratings,).
        stars: what they gave, (ratings,).

    Returns:
        The posterior mean of their vector, (factors,), and its weights, (ratings, factors): it is the sum of
        weight * (stars - mean).
    """
    scaled = factors / noise[:, None]
    precision = np.eye(factors.shape[1]) + scaled.T @ factors
    doubt = (variances / noise[:, None]).sum(axis=0)
    precision[np.diag_indices(len(precision))] += np.concatenate([np.zeros(len(precision) - len(doubt)), doubt])
    weights = np.asarray(np.linalg.solve(precision, scaled.T).T, dtype=np.float64)
    return (stars - means) @ weights, weights


def estimate_generosity(averages: Vector, stars: Vector) -> float:
    """Return how many more stars than others somebody gives: the mean of what they gave above the averages, shrunk."""
    return float((stars - averages).sum() / (len(stars) + GENEROSITY_RIDGE))
