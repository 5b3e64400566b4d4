"""What the tabular recipe predicts: one of two labels, one of many, or a number with an interval."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from torch import nn

from shared.session import softmax
from shared.tabular import TabularPredictor
from shared.tabular_classifier import TabularClassifier
from shared.tabular_regressor import TabularRegressor
from training import evaluate
from training.networks.tabular import (
    Ensemble,
    LabelsEnsemble,
    NumberEnsemble,
    TableNet,
    labels_loss,
    member_loss,
    number_loss,
)
from training.parity import Shown
from training.tables.rows import Rows

COVERAGE = 0.9  # of the intervals
CHECKS = 5  # parts of the errors, of which each is compared with the quantile of the others
Array = NDArray[Any]


@dataclass(frozen=True)
class Calibrated:
    """The average of the stored networks after calibration; `notes` and `uncalibrated` are as in Export.

    `right` says for which training rows the prediction of a network that was not trained on them is right: its label,
    or its interval.
    """

    module: nn.Module
    right: NDArray[np.bool_]
    notes: tuple[str, ...]
    uncalibrated: Callable[[Array], Array] | None = None


class Target(ABC):
    """A kind of target.

    Attributes:
        predictor: the class that serves the model.
        graph_outputs: names of the outputs of the exported graph.
        outputs: numbers that each member of a network computes.
        cross_validated: name and label of the share of `Calibrated.right`.
    """

    predictor: ClassVar[type[TabularPredictor[Any, Any]]]
    graph_outputs: ClassVar[Sequence[str]]
    tolerance: ClassVar[float | Sequence[float]] = 0.001
    outputs: int
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    cross_validated: tuple[str, str] = ("accuracy_cv", "accuracy")

    @abstractmethod
    def encode(self, y: Array) -> torch.Tensor:
        """Return targets for the loss, (rows,), from Rows.y."""

    def split(self, rows: Rows, folds: int, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Return the indices of the rows inside and outside of each fold, with the same share of every label."""
        if rows.groups is None:
            return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows.table, rows.y))
        _, first, group = np.unique(rows.groups, return_index=True, return_inverse=True)
        if len(first) <= len(rows) / 2:
            kind = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
            return list(kind.split(rows.table, rows.y, rows.groups))
        # That takes minutes for 100,000 groups. Most of them are single rows here, so the first row stands for each.
        parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(first, rows.y[first])
        return [(np.flatnonzero(np.isin(group, inside)), np.flatnonzero(np.isin(group, out))) for inside, out in parts]

    @abstractmethod
    def average(self, networks: list[TableNet]) -> nn.Module:
        """Return the average of networks, uncalibrated; its first output has the shape (rows, …)."""

    @abstractmethod
    def calibrate(self, networks: list[TableNet], held_out: Array, y: Array) -> Calibrated:
        """Calibrate the average of networks on what `average` returned for rows that were not trained on."""

    def sort(self, held_out: Array) -> NDArray[np.intp]:
        """Return the indices of rows in the order of what `average` returned for them, (rows, …)."""
        return held_out.reshape(len(held_out), -1)[:, 0].argsort(kind="stable")

    @abstractmethod
    def show(self, unit: str) -> Shown:
        """Return how the stored model's answers are compared with torch's; `unit` names the rows."""


@dataclass(frozen=True)
class TwoLabels(Target):
    """One of two labels, by the logit of the second."""

    predictor = TabularClassifier
    graph_outputs = ("logit",)
    outputs: int = 1
    loss = staticmethod(member_loss)

    def encode(self, y: Array) -> torch.Tensor:
        return torch.from_numpy(y.astype(np.float32))

    def average(self, networks: list[TableNet]) -> nn.Module:
        return Ensemble(networks)

    def calibrate(self, networks: list[TableNet], held_out: Array, y: Array) -> Calibrated:
        temperature, bias = evaluate.fit_platt(held_out, y)
        return Calibrated(
            Ensemble(networks, temperature, bias),
            (evaluate.sigmoid(held_out / temperature + bias) >= 0.5) == y,
            (
                f"Its logit was divided by {temperature:.3f} and increased by {bias:.3f} (Platt scaling), fitted on "
                "predictions of single networks for rows that they were not trained on.",
            ),
            lambda p: evaluate.stack_two_classes(evaluate.sigmoid((evaluate.logit(p[:, 1]) - bias) * temperature)),
        )

    def show(self, unit: str) -> Shown:
        return Shown("probability", compute_probabilities, unit, unit, typical=0.0005, relabelled=0.001)


@dataclass(frozen=True)
class ManyLabels(Target):
    """One of more than two labels, by their logits; `outputs` is the number of labels."""

    outputs: int
    predictor = TabularClassifier
    graph_outputs = ("logits",)
    loss = staticmethod(labels_loss)

    def encode(self, y: Array) -> torch.Tensor:
        return torch.from_numpy(y)

    def average(self, networks: list[TableNet]) -> nn.Module:
        return LabelsEnsemble(networks)

    def calibrate(self, networks: list[TableNet], held_out: Array, y: Array) -> Calibrated:
        temperature = evaluate.fit_temperature(held_out, y)
        return Calibrated(
            LabelsEnsemble(networks, temperature),
            held_out.argmax(1) == y,
            (
                f"Its logits were divided by the temperature {temperature:.3f}, fitted on predictions of single "
                "networks for rows that they were not trained on.",
            ),
            partial(evaluate.apply_temperature, temperature=1 / temperature),
        )

    def sort(self, held_out: Array) -> NDArray[np.intp]:
        """Return the indices of rows by label, and within a label by its logit."""
        return np.lexsort((held_out.max(axis=1), held_out.argmax(axis=1)))

    def show(self, unit: str) -> Shown:
        return Shown("probability", softmax, unit, unit, typical=0.002, relabelled=0.001)


@dataclass(frozen=True)
class Number(Target):
    """A number, which is learned in standard deviations from the mean of the training rows.

    The intervals are conformal: half their width is the quantile of the errors for rows that were not trained on (of a
    fifth of the rows at a time; Barber et al., "Predictive inference with the jackknife+", 2021). Where that makes
    them narrower, it is in proportion to the size of the error that the networks expect (Papadopoulos et al.,
    "Normalized nonconformity measures for regression conformal prediction", 2008).
    """

    mean: float
    deviation: float
    predictor = TabularRegressor
    graph_outputs = ("value", "half_width")
    outputs: int = 2
    loss = staticmethod(number_loss)
    cross_validated: tuple[str, str] = ("coverage_cv", "true values inside their interval")

    def encode(self, y: Array) -> torch.Tensor:
        return torch.from_numpy(((y - self.mean) / self.deviation).astype(np.float32))

    def split(self, rows: Rows, folds: int, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        kind = KFold if rows.groups is None else GroupKFold
        return list(kind(folds, shuffle=True, random_state=seed).split(rows.table, groups=rows.groups))

    def average(self, networks: list[TableNet]) -> nn.Module:
        return StackedOutputs(NumberEnsemble(networks))

    def calibrate(self, networks: list[TableNet], held_out: Array, y: Array) -> Calibrated:
        value, expected = held_out.T
        error = np.abs((y - self.mean) / self.deviation - value)
        base, factor = fit_half_width(error, expected)
        how = "in proportion to the error that the networks expect" if factor else "of the same width"
        right = np.zeros(len(error), np.bool_)
        for others, rows in KFold(min(CHECKS, len(error)), shuffle=True, random_state=0).split(error):
            # A quantile always covers its share of the errors that it was taken from.
            fixed, share = fit_half_width(error[others], expected[others])
            right[rows] = error[rows] <= fixed + share * expected[rows]
        return Calibrated(
            NumberEnsemble(networks, self.mean, self.deviation, base, factor),
            right,
            (
                f"Its intervals, {how}, hold {COVERAGE:.0%} of the true values of rows that single networks were not "
                "trained on (conformal prediction).",
            ),
        )

    def show(self, unit: str) -> Shown:
        return Shown("value, in standard deviations,", lambda value: value / self.deviation, unit, unit, typical=0.01)


class StackedOutputs(nn.Module):
    """Return the outputs of a module, each (n,), as one tensor, (n, outputs)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.module(*inputs), 1)


def choose_target(labels: Sequence[str], y: Array) -> Target:
    """Return the kind of target with these labels; without any, it is the number `y` in the training rows."""
    if not labels:
        return Number(float(y.mean()), float(y.std()) or 1.0)
    return TwoLabels() if len(labels) == 2 else ManyLabels(len(labels))


def fit_half_width(error: NDArray[np.float64], expected: NDArray[np.float64]) -> tuple[float, float]:
    """Return the half width of the intervals as base + factor * expected, one of which is 0: the narrower, on average.

    Args:
        error: the errors, (n,).
        expected: the size that the network expects of each.
    """
    base, factor = compute_conformal_quantile(error), compute_conformal_quantile(error / expected)
    return (0.0, factor) if factor * expected.mean() < base else (base, 0.0)


def compute_conformal_quantile(scores: NDArray[np.float64]) -> float:
    """Return the smallest score that at least COVERAGE of n + 1 exchangeable scores do not exceed, given n of them."""
    rank = int(np.ceil(COVERAGE * (len(scores) + 1)))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def compute_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities of both labels, (n, 2), from logits of the second, (n,)."""
    return evaluate.stack_two_classes(evaluate.sigmoid(logits))
