"""Measure a model: figures with their intervals, and calibration."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from fastai.learner import Learner
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logsumexp
from scipy.special import logit as special_logit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from shared.metrics import Calibration, CalibrationBin, Figure, Peer
from shared.session import softmax

Z95 = 1.959964  # 97.5 % quantile of the standard normal distribution
BINS = 10  # of confidence, in the plot of calibration
ERRORS = ("rmse", "mae")  # names of figures for which lower is better


def make_figure(
    name: str,
    value: float,
    interval: tuple[float, float] | None,
    data: str,
    split: str,
    count: int,
    **details: Any,
) -> Figure:
    """Return a figure for metrics.json, rounded; `interval` is a 95 % confidence interval."""
    return Figure(
        name=name,
        value=round(float(value), 6),
        interval=(round(float(interval[0]), 6), round(float(interval[1]), 6)) if interval else None,
        data=data,
        split=split,
        count=int(count),
        **details,
    )


def measure_share(name: str, right: NDArray[np.bool_], data: str, split: str, **details: Any) -> Figure:
    """Return the share of True in `right`, (n,), as a figure with its interval."""
    hits, details = int(right.sum()), {**details, "count": len(right)}
    return make_figure(name, hits / len(right), wilson_interval(hits, len(right)), data, split, **details)


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson, JASA 22, 1927)."""
    if count == 0:
        return 0.0, 1.0
    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(
    statistic: Callable[[NDArray[np.intp]], float], count: int, draws: int = 1000
) -> tuple[float, float]:
    """Return the 95 % percentile interval of statistic(indices) over samples with replacement of range(count).

    Samples in which the statistic is NaN, because they have nothing to compute it from, are left out.
    """
    rng = np.random.default_rng(0)
    values = [statistic(rng.integers(count, size=count)) for _ in range(draws)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of the mean of independent values (normal approximation)."""
    values = np.asarray(values, dtype=np.float64)
    spread = Z95 * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - spread), float(values.mean() + spread)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error over equal-width confidence bins (Guo et al., ICML 2017).

    Args:
        probabilities: shape (n, classes), rows that sum to 1.
        labels: shape (n,), class indices.
        bins: number of bins between 0 and 1.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == np.asarray(labels)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(which, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def stack_two_classes(positive: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities of shape (n, 2) from those of the second class, shape (n,)."""
    positive = np.asarray(positive, dtype=np.float64)
    return np.stack([1 - positive, positive], axis=1)


def log_losses(positive: ArrayLike, outcomes: ArrayLike) -> NDArray[np.float64]:
    """Return the negative log likelihood in nats of each binary outcome, (n,); the mean is the log loss."""
    positive = np.clip(np.asarray(positive, dtype=np.float64), 1e-12, 1 - 1e-12)
    outcomes = np.asarray(outcomes, dtype=np.float64)
    return -(outcomes * np.log(positive) + (1 - outcomes) * np.log1p(-positive))


def sigmoid(logits: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities from logits, of any shape."""
    return np.asarray(expit(np.asarray(logits, dtype=np.float64)))


def logit(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return logits from probabilities, of any shape."""
    return np.asarray(special_logit(np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1 - 1e-12)))


def fit_platt(logits: ArrayLike, outcomes: ArrayLike) -> tuple[float, float]:
    """Return the temperature and bias of sigmoid(logit / temperature + bias) that minimise the log loss.

    The outcomes count as (n + 1) / (n + 2) and 1 / (n + 2), with n the rows of each (Platt 1999), so that few rows that
    are all on their side do not give certainty.

    Args:
        logits: shape (n,).
        outcomes: 0 or 1, shape (n,).
    """
    x, y = np.reshape(logits, (-1, 1)), np.asarray(outcomes, dtype=np.int64)
    certainty = (np.bincount(y, minlength=2) + 1) / (np.bincount(y, minlength=2) + 2)
    weights = np.concatenate([certainty[y], 1 - certainty[y]])
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.concatenate([x, x]), np.concatenate([y, 1 - y]), sample_weight=weights
    )
    return float(1 / fitted.coef_[0, 0]), float(fitted.intercept_[0])


def apply_temperature(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return the probabilities, (n, classes), after dividing the logits by a temperature."""
    return softmax(np.log(np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1)) / temperature)


def measure_calibration(
    probabilities: ArrayLike, labels: ArrayLike, where: dict[str, Any], before: bool = False
) -> Figure:
    """Return the expected calibration error as a figure.

    Args:
        probabilities: shape (n, classes).
        labels: class indices, shape (n,).
        where: data, split and count; see TestSet.where.
        before: true for probabilities from before calibration.
    """
    value, interval = expected_calibration_error(probabilities, labels), calibration_interval(probabilities, labels)
    label = "expected calibration error" + " before calibration" * before
    return make_figure("ece_before" if before else "ece", value, interval, **where, label=label)


def calibration_interval(probabilities: ArrayLike, labels: ArrayLike, draws: int = 500) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the expected calibration error.

    Resampling adds noise to every bin and so biases the error upwards; the interval is shifted back by that bias. It
    does not tell whether the true error is 0: see simulate_calibration_error.
    """
    p, y = np.asarray(probabilities), np.asarray(labels)
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(y), size=len(y)) for _ in range(draws))
    values = [expected_calibration_error(p[rows], y[rows]) for rows in drawn]
    low, high = np.quantile(values, [0.025, 0.975]) - np.mean(values) + expected_calibration_error(p, y)
    return max(0.0, float(low)), float(high)


def find_bins(confidence: NDArray[Any], labels: int) -> NDArray[np.intp]:
    """Return the bin of each confidence, of BINS bins of equal width from the least possible one, 1 / labels, to 1."""
    least = 1 / max(labels, 2)
    return np.clip((confidence - least) / (1 - least) * BINS, 0, BINS - 1).astype(np.intp)


def count_bins(confidence: NDArray[Any], right: NDArray[np.bool_], labels: int) -> NDArray[np.float64]:
    """Return the answers, the right answers and the sum of the confidences of each bin, (3, BINS).

    Args:
        confidence: the probability of the label that was given, (n,).
        right: whether it is right, (n,).
        labels: the number of labels.
    """
    which = find_bins(confidence, labels)
    return np.stack([np.bincount(which, weights, BINS) for weights in (np.ones(len(right)), right, confidence)])


def describe_bins(
    counts: NDArray[np.float64], where: Mapping[str, Any], unit: str, is_of_pixels: bool = False
) -> Calibration:
    """Return how often answers are right by their confidence, without the empty bins.

    Args:
        counts: what count_bins returned for each of n groups of answers, (n, 3, BINS).
        where: data and split; see TestSet.where.
        unit: what is counted, such as "pixels".
        is_of_pixels: the groups are the pixels of a picture, so intervals are over pictures drawn with replacement;
            otherwise all answers are independent.
    """
    total, right, confidence = counts.sum(0)
    bins = []
    for index in np.flatnonzero(total):
        interval = wilson_interval(round(right[index]), round(total[index]))
        if is_of_pixels:
            shares = counts[:, 1, index], counts[:, 0, index]
            interval = bootstrap_interval(partial(divide_sums, *shares), len(counts))
        bins.append(
            CalibrationBin(
                confidence=round(confidence[index] / total[index], 6),
                accuracy=round(right[index] / total[index], 6),
                interval=(round(interval[0], 6), round(interval[1], 6)),
                count=round(total[index]),
            )
        )
    return Calibration(data=where["data"], split=where["split"], unit=unit, bins=tuple(bins))


def divide_sums(part: NDArray[np.float64], whole: NDArray[np.float64], rows: NDArray[np.intp]) -> float:
    """Return the sum of some rows of one array, divided by that of another; NaN if that is 0."""
    total = whole[rows].sum()
    return float(part[rows].sum() / total) if total else math.nan


def measure_bins(probabilities: ArrayLike, labels: ArrayLike, where: Mapping[str, Any], unit: str) -> Calibration:
    """Return how often the likeliest label is right, by its probability.

    Args:
        probabilities: shape (n, classes).
        labels: class indices, shape (n,).
        where: data and split; see TestSet.where.
        unit: what is counted, such as "texts".
    """
    p = np.asarray(probabilities, dtype=np.float64)
    counts = count_bins(p.max(axis=1), p.argmax(axis=1) == np.asarray(labels), p.shape[1])
    return describe_bins(counts[None], where, unit)


def simulate_calibration_error(probabilities: ArrayLike, draws: int = 200) -> float:
    """Return the mean expected calibration error of perfectly calibrated probabilities like these, (n, classes)."""
    p = np.asarray(probabilities, dtype=np.float64)
    rng = np.random.default_rng(0)
    labels = ((rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=p.shape[1] - 1) for _ in range(draws))
    return float(np.mean([expected_calibration_error(p, y) for y in labels]))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature at which the mean confidence of softmax(logits / temperature) equals the accuracy.

    "Expectation consistency" (Clarté, Loureiro, Krzakala and Zdeborová, UAI 2023). Where nearly all rows are right, a
    few confident errors make the temperature of least log loss (Guo et al., ICML 2017) too high. The accuracy is
    smoothed with one right and one wrong row (Laplace), so that a few right rows do not give certainty.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), class indices.
    """
    logits = np.asarray(logits, dtype=np.float64)
    right = (int((logits.argmax(axis=1) == np.asarray(labels)).sum()) + 1) / (len(logits) + 2)

    def excess_confidence(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        return float(np.exp(scaled.max(axis=1) - logsumexp(scaled, axis=1)).mean() - right)

    low, high = -3.0, 3.0
    if excess_confidence(low) <= 0 or excess_confidence(high) >= 0:
        return float(np.exp(low if excess_confidence(low) <= 0 else high))
    return float(np.exp(brentq(excess_confidence, low, high)))


def compare_with_peer(peer: str, theirs: ArrayLike, ours: ArrayLike, name: str = "accuracy", **details: Any) -> Peer:
    """Print and return the mean score of a peer and the paired difference from ours.

    Args:
        peer: its name.
        theirs: the peer's score on each test row, (n,): a squared error, or 1 where it is right, or a mean over seeds.
        ours: the stored model's score, (n,).
        name: what is compared.
        details: other fields of Peer.
    """
    scores = np.asarray(theirs, dtype=np.float64)
    differences = np.asarray(ours, dtype=np.float64) - scores
    return _make_peer(peer, scores.mean(), differences.mean(), mean_interval(differences), {"name": name, **details})


def compare_roots(peer: str, theirs: ArrayLike, ours: ArrayLike, **details: Any) -> Peer:
    """Print and return the root of the mean of a peer's scores, and the paired difference from ours.

    Args:
        peer: its name.
        theirs: the peer's squared error on each test row, or its mean over seeds, (n,).
        ours: the stored model's squared error, (n,).
        details: other fields of Peer, `name` among them.
    """
    scores, own = np.asarray(theirs, dtype=np.float64), np.asarray(ours, dtype=np.float64)

    def subtract(rows: NDArray[np.intp]) -> float:
        return float(np.sqrt(own[rows].mean()) - np.sqrt(scores[rows].mean()))

    interval = bootstrap_interval(subtract, len(own))
    return _make_peer(peer, np.sqrt(scores.mean()), subtract(np.arange(len(own))), interval, details)


def _make_peer(peer: str, value: float, difference: float, interval: tuple[float, float], details: Any) -> Peer:
    low, high = interval
    what = details.get("label") or details["name"]
    print(f"{peer}: {what} {value:.4f}; ours minus it, paired: {difference:+.4f} [{low:+.4f}, {high:+.4f}]")
    fields: dict[str, Any] = {
        "peer": peer,
        "value": round(float(value), 6),
        "difference": round(float(difference), 6),
        "difference_interval": (round(low, 6), round(high, 6)),
    }
    return Peer(**(fields | details))


def compare_with_majority(targets: NDArray[np.int64], labels: Sequence[str], ours: ArrayLike) -> Peer:
    """Print and return the accuracy of always giving the most frequent label of the test.

    Args:
        targets: indices of labels, (n,).
        labels: their names.
        ours: 1 where the stored model is right, (n,).
    """
    most = int(np.bincount(targets).argmax())
    return compare_with_peer(f"always answering {labels[most]}", targets == most, ours, label="accuracy")


def describe_better_peers(peers: Sequence[Peer]) -> list[str]:
    """Print and return a sentence on each peer that is right more often than the model, or has smaller errors."""
    sentences = []
    for peer in peers:
        is_error = peer.name in ERRORS
        if peer.difference is not None and (peer.difference > 0 if is_error else peer.difference < 0):
            what = f"Smaller {peer.label}" if is_error else "Right more often"
            ours = peer.value + peer.difference
            numbers = [f"{number:.4g}" if is_error else f"{number:.3f}" for number in (peer.value, ours)]
            sentences.append(f"{what} on the test: {peer.peer} ({numbers[0]}, against {numbers[1]}).")
    for sentence in sentences:
        print(sentence)
    return sentences


def print_figures(figures: Sequence[Figure]) -> None:
    """Print figures as a table."""
    rows = [
        (
            item.label or item.name,
            f"{item.value:.4f}",
            "[{:.4f}, {:.4f}]".format(*item.interval) if item.interval else "",
            f"{item.data}, {item.split} ({item.count:,})",
        )
        for item in figures
    ]
    rows.insert(0, ("figure", "value", "95 % interval", "measured on"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_book(what: str, learn: Learner, book: float) -> None:
    """Print the last metric of a Learner, a share of its validation rows, and the book's figure."""
    value, count = float(learn.recorder.values[-1][-1]), len(learn.dls.valid_ds)
    low, high = wilson_interval(round(value * count), count)
    print(f"{what}: {value:.4f} [{low:.4f}, {high:.4f}]; the book's: {book}")


def stack_probabilities(answers: Sequence[Any]) -> NDArray[np.float64]:
    """Return the probabilities of the answers as an array, (n, labels)."""
    return np.array([list(answer.probabilities.values()) for answer in answers])


def describe_counts(answers: Sequence[Any], targets: NDArray[np.int64], what: str) -> str:
    """Return a plain sentence with the numbers of right, wrong and rejected answers, by the likeliest label."""
    right, count = int((stack_probabilities(answers).argmax(1) == targets).sum()), len(answers)
    rejected = sum(not getattr(answer, "in_distribution", True) for answer in answers)
    tail = f"; {rejected:,} of the {count:,} {'is' if rejected == 1 else 'are'} rejected as unlike the training data"
    return f"Of {count:,} test {what}, {right:,} are labelled right and {count - right:,} wrong{tail * bool(rejected)}."
