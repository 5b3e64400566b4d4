"""Measure how well a classifier rejects out-of-distribution inputs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.metrics import Figure
from training import evaluate

FEW = 10  # the note on a smaller group says that it is too small


def measure_group(inside: Sequence[Any], outside: Sequence[Any], group: str) -> list[Figure]:
    """Return the AUROC of the in-distribution score between test inputs and a group, and the share rejected.

    Args:
        inside: answers to the test inputs.
        outside: answers to the inputs of the group.
        group: name of the group.
    """
    scores = np.array([answer.in_distribution_score for answer in (*inside, *outside)])
    is_inside = np.arange(len(scores)) < len(inside)

    def auroc(rows: NDArray[np.intp]) -> float:
        higher, others = scores[rows][is_inside[rows]], np.sort(scores[rows][~is_inside[rows]])
        if not (len(higher) and len(others)):
            return math.nan
        below = np.searchsorted(others, higher) + np.searchsorted(others, higher, side="right")  # a tie counts half
        return float(below.mean() / 2 / len(others))

    label = "AUROC of the in-distribution score"
    where = {"data": group, "split": "not used for training"}
    rejected = np.array([not answer.in_distribution for answer in outside])
    interval = evaluate.bootstrap_interval(auroc, len(scores), draws=500)
    return [
        evaluate.make_figure(
            "auroc", auroc(np.arange(len(scores))), interval, **where, count=len(outside), label=label
        ),
        evaluate.measure_share("noticed", rejected, **where, label="rejected as out of distribution"),
    ]


def describe_accepted(group: str, sources: Sequence[Any], answers: Sequence[Any]) -> str:
    """Return a note that lists the files of a group that were accepted, and their labels."""
    accepted = [
        f"{Path(str(source)).stem} ({answer.label})"
        for source, answer in zip(sources, answers, strict=True)
        if answer.in_distribution
    ]
    names = ", ".join(Path(str(source)).name for source in sources)
    listed = f": {', '.join(accepted)}" if accepted else ""
    few = f" These are too few to say much: {names}." if len(sources) < FEW else ""
    return f"Not rejected: {len(accepted)} of the {len(sources)} {group}{listed}.{few}"
