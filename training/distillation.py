"""Knowledge distillation: the pooled predictions of several teachers label texts that have no labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from shared.session import softmax

SMOOTHING = 0.05
Answers = tuple[NDArray[np.float64], NDArray[np.float64]]  # log probabilities of validation and of unlabelled texts


@dataclass(frozen=True)
class Targets:
    """Rows of token indices, and their target probabilities, (rows, labels)."""

    ids: list[NDArray[np.int64]]
    targets: NDArray[np.float32]

    def join(self, other: "Targets") -> "Targets":
        """Return these rows followed by the others."""
        return Targets([*self.ids, *other.ids], np.concatenate([self.targets, other.targets]))


def smooth(y: NDArray[np.int64], labels: int) -> NDArray[np.float32]:
    """Return smoothed labels (Szegedy et al., CVPR 2016): target probabilities, (rows, labels)."""
    return (np.eye(labels) * (1 - SMOOTHING) + SMOOTHING / labels).astype(np.float32)[y]


def pool(answers: Sequence[Answers], y: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the logarithmic opinion pool (Genest and Zidek, 1986) of answers, (unlabelled texts, labels).

    Args:
        answers: those of each teacher.
        y: labels of the validation texts; the weights, 0 or more, maximise their likelihood.
    """
    valid, unlabelled = (np.stack(part) for part in zip(*answers, strict=True))

    def loss(weights: NDArray[np.float64]) -> float:
        return float(-log_softmax(np.tensordot(weights, valid, 1), 1)[np.arange(len(y)), y].mean())

    start = np.full(len(answers), 1 / len(answers))
    weights = minimize(loss, start, bounds=[(0, None)] * len(answers)).x
    right = np.tensordot(weights, valid, 1).argmax(1) == y
    print(f"Together, with weights {np.round(weights, 2).tolist()}, the teachers are right on {right.mean():.2%}.")
    return softmax(np.tensordot(weights, unlabelled, 1)).astype(np.float32)
