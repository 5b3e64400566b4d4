"""Knowledge distillation: the pooled predictions of several teachers label texts that have no labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from shared.session import softmax

SMOOTHING = 0.01  # more would keep the logits of certain texts as low as those of doubtful ones
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


def compute_loss(logits: NDArray[Any], y: NDArray[np.int64]) -> float:
    """Return the mean cross-entropy of logits, (texts, labels), with y smoothed as by one text of each label (Laplace).

    So texts without errors do not give certainty.
    """
    labels = logits.shape[1]
    targets = (np.eye(labels)[y] * len(y) + 1) / (len(y) + labels)
    return float(-(targets * log_softmax(logits, 1)).sum(1).mean())


def fit_weights(answers: Sequence[NDArray[np.float64]], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weights, 0 or more, of log probabilities, each (texts, labels), with the smallest loss on y."""
    stacked = np.stack(answers)

    def loss(weights: NDArray[np.float64]) -> float:
        return compute_loss(np.tensordot(weights, stacked, 1), y)

    start = np.full(len(stacked), 1 / len(stacked))
    return np.asarray(minimize(loss, start, bounds=[(0, None)] * len(stacked)).x)


def pool(answers: Sequence[Answers], y: NDArray[np.int64], what: str = "texts") -> NDArray[np.float32]:
    """Return the logarithmic opinion pool (Genest and Zidek, 1986) of answers, (unlabelled texts, labels).

    Args:
        answers: those of each teacher.
        y: labels of the validation texts; the weights, 0 or more, maximise their likelihood.
        what: a word for the validation texts.
    """
    valid, unlabelled = zip(*answers, strict=True)
    weights = fit_weights(valid, y)
    right = np.tensordot(weights, np.stack(valid), 1).argmax(1) == y
    shown = np.round(weights, 2).tolist()
    print(f"Together, with weights {shown}, the teachers are right on {right.mean():.2%} of {len(y):,} {what}.")
    return softmax(np.tensordot(weights, np.stack(unlabelled), 1)).astype(np.float32)
