"""Measure answers for rows of tables: labels and numbers, by group, and beside other models."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.metrics import Figure, Peer
from training import evaluate
from training.data import TestSet
from training.recipe import Splits
from training.tables.baselines import name_peer, predict_with_boosted_trees
from training.tables.rows import Rows

FEW_LABELS = 10  # the recall of each is a figure
GROUPS_SHOWN = 20  # values of a column, the most frequent ones
ROOT = "root mean squared error (lower is better)"
ABSOLUTE = "mean absolute error (lower is better)"


def measure_labels(answers: Sequence[Any], test: TestSet) -> list[Figure]:
    """Return accuracy, log loss, expected calibration error, balanced accuracy, and the recall of few labels."""
    p, y = evaluate.stack_probabilities(answers), test.targets
    labels = list(answers[0].probabilities)
    right = find_right(answers, test)
    losses = evaluate.log_losses(p[np.arange(len(y)), y], np.ones(len(y)))

    def balance(rows: NDArray[np.intp]) -> float:
        hits, counts = np.bincount(y[rows], right[rows], len(labels)), np.bincount(y[rows], minlength=len(labels))
        return float(np.mean(hits[counts > 0] / counts[counts > 0]))

    figures = [
        evaluate.measure_share("accuracy", right, test.data, test.split, label="accuracy"),
        evaluate.make_figure(
            "log_loss", losses.mean(), evaluate.mean_interval(losses), **test.where, label="log loss (nats)"
        ),
        evaluate.measure_calibration(p, y, test.where),
        evaluate.make_figure(
            "balanced_accuracy", balance(np.arange(len(y))), evaluate.bootstrap_interval(balance, len(y)), **test.where,
            label="balanced accuracy, the mean recall of the labels",
        ),
    ]  # fmt: skip
    if len(labels) <= FEW_LABELS:
        figures += [
            evaluate.measure_share(f"recall_{name}", right[y == label], test.data, test.split, label=f"recall, {name}")
            for label, name in enumerate(labels)
            if (y == label).any()
        ]
    return figures


def measure_numbers(answers: Sequence[Any], test: TestSet) -> list[Figure]:
    """Return the root mean squared error, mean absolute error and R², and coverage and width of the intervals."""
    y, errors = test.targets, find_errors(answers, test)
    squares, widths = errors**2, np.array([answer.high - answer.low for answer in answers])
    inside = np.array([answer.low <= value <= answer.high for answer, value in zip(answers, y, strict=True)])
    low, high = np.sqrt(np.maximum(evaluate.mean_interval(squares), 0))

    def explain(rows: NDArray[np.intp]) -> float:
        return float(1 - squares[rows].mean() / max(y[rows].var(), 1e-300))

    everything = np.arange(len(y))
    make = evaluate.make_figure
    return [
        make("rmse", np.sqrt(squares.mean()), (low, high), **test.where, label=ROOT),
        make("mae", errors.mean(), evaluate.mean_interval(errors), **test.where, label=ABSOLUTE),
        make("r2", explain(everything), evaluate.bootstrap_interval(explain, len(y)), **test.where, label="R²"),
        evaluate.measure_share(
            "coverage", inside, test.data, test.split, label="true values inside their interval (0.9 is intended)"
        ),
        make(
            "width", widths.mean(), evaluate.mean_interval(widths), **test.where,
            label="mean width of the intervals (lower is better)",
        ),
    ]  # fmt: skip


def measure_by_group(answers: Sequence[Any], test: TestSet, groups: Mapping[str, Sequence[str]]) -> list[Figure]:
    """Return the accuracy, or the mean absolute error, of the rows with each frequent value of some columns."""
    is_label = test.targets.dtype.kind == "i"
    scores = find_right(answers, test) if is_label else find_errors(answers, test)
    name, what = ("accuracy", "accuracy") if is_label else ("mae", ABSOLUTE)
    figures = []
    for column, given in groups.items():
        values, counts = np.unique(given, return_counts=True)
        for value in values[np.argsort(-counts, kind="stable")][:GROUPS_SHOWN]:
            inside = scores[np.asarray(given) == value]
            where = {"name": f"{name}_{column}_{value}", "data": test.data, "split": test.split}
            label = f"{what}, {column}: {value}"
            if is_label:
                figures.append(evaluate.measure_share(right=inside, **where, label=label))
            else:
                interval = evaluate.mean_interval(inside) if len(inside) > 1 else None
                figures.append(
                    evaluate.make_figure(
                        **where, value=inside.mean(), interval=interval, count=len(inside), label=label
                    )
                )
    return figures


def compare_with_peers(answers: Sequence[Any], splits: Splits[Rows], seeds: int) -> list[Peer]:
    """Compare with gradient-boosted trees and, for a user's own data, the most frequent label or the mean."""
    test, train = splits.tests[0], splits.train
    name = f"HistGradientBoosting on all {len(train.table.columns)} columns"
    trees = predict_with_boosted_trees(train, test, seeds)
    if not splits.labels:
        ours = find_errors(answers, test) ** 2
        theirs = np.mean((trees - test.targets) ** 2, axis=0)
        mean = (train.y.mean() - test.targets) ** 2
        return [
            evaluate.compare_roots(peer, squares, ours, name="rmse", label=ROOT)
            for peer, squares in (
                (name_peer(name, len(trees)), theirs),
                ("always answering the mean of the training rows", mean),
            )
        ]
    right = find_right(answers, test)
    peers = [compare(name, trees == test.targets, right)]
    if splits.description.is_own:
        peers.append(evaluate.compare_with_majority(test.targets, splits.labels, right))
    return peers


def compare(peer: str, hits: NDArray[np.bool_], ours: NDArray[np.bool_], **details: Any) -> Peer:
    """Print and return the mean accuracy of a peer and the paired difference from ours.

    Args:
        peer: its name.
        hits: where it is right, (seeds, test rows).
        ours: where the stored model is right, (test rows,).
        details: other fields of Peer.
    """
    per_seed = tuple(round(float(share), 6) for share in hits.mean(axis=1))
    name = name_peer(peer, len(hits))
    return evaluate.compare_with_peer(name, hits.mean(axis=0), ours, accuracy_per_seed=per_seed, **details)


def find_right(answers: Sequence[Any], test: TestSet) -> NDArray[np.bool_]:
    """Return where the predicted labels are right, (test rows,)."""
    labels = list(answers[0].probabilities)
    return np.array([answer.label == labels[y] for answer, y in zip(answers, test.targets, strict=True)])


def find_errors(answers: Sequence[Any], test: TestSet) -> NDArray[np.float64]:
    """Return the absolute errors of predicted numbers, (test rows,)."""
    return np.abs(np.array([answer.value for answer in answers]) - test.targets)
