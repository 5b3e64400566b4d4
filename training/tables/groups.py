"""Measure a binary classifier by group of people: rates with their intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.metrics import Group, Rate
from training import evaluate

BANDS = (0, 25, 35, 45, 55, 65, 200)  # edges of the bands of a number, such as an age in years


def measure_groups(
    people: pd.DataFrame, p: NDArray[np.float64], y: NDArray[np.int64], columns: Sequence[str]
) -> list[Group]:
    """Return the selection rate, true and false positive rates and calibration of each group.

    Args:
        people: the test rows.
        p: probability of the second label, (rows,).
        y: true label, 0 or 1, (rows,).
        columns: each value of a categorical column, and each band of a numeric one, is a group.
    """
    groups = []
    for column in columns:
        values = people[column]
        is_number = pd.api.types.is_numeric_dtype(values)
        bands = np.digitize(values, BANDS[1:-1]) if is_number else values
        for value in sorted(set(bands)):
            inside = np.asarray(bands == value)
            chosen, positive = p[inside] >= 0.5, y[inside] == 1
            groups.append(
                Group(
                    group=f"{column}: {name_band(value) if is_number else value}",
                    count=int(inside.sum()),
                    selection_rate=measure_rate(chosen),
                    true_positive_rate=measure_rate(chosen[positive]),
                    false_positive_rate=measure_rate(chosen[~positive]),
                    mean_probability=measure_mean(p[inside]),
                    base_rate=measure_rate(positive),
                )
            )
    return groups


def name_band(index: int) -> str:
    """Return the name of a band of BANDS."""
    low, high = BANDS[index : index + 2]
    if index == 0:
        return f"under {high}"
    return f"{low} and over" if index == len(BANDS) - 2 else f"{low} to {high - 1}"


def measure_mean(values: NDArray[np.float64]) -> Rate:
    """Return a mean with its 95 % interval; that of a single value has none."""
    return make_rate(float(values.mean()), evaluate.mean_interval(values) if len(values) > 1 else None)


def measure_rate(hits: NDArray[np.bool_]) -> Rate:
    """Return a share with its 95 % interval; both are None for an empty group."""
    if not len(hits):
        return Rate(value=None, interval=None)
    return make_rate(float(hits.mean()), evaluate.wilson_interval(int(hits.sum()), len(hits)))


def make_rate(value: float, interval: tuple[float, float] | None) -> Rate:
    """Return a value and its interval, rounded."""
    return Rate(value=round(value, 4), interval=interval and (round(interval[0], 4), round(interval[1], 4)))
