"""Fit the last layer of a picture classifier to features, and calibrate it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import nn

from shared.session import softmax
from training import evaluate

TEMPERATURE = 2.0  # softens the targets from ImageNet's classifier
TARGETS_C, LABELS_C = 0.1, 0.001  # inverse regularisation of the last layer: for ImageNet's targets, for labels
COVERED = 0.95  # share of the probability of training pictures that their ImageNet classes must cover

Classes = Sequence[Sequence[int]]  # ImageNet classes of each label, without a background class


def make_targets(
    imagenet: nn.Linear,
    logits: torch.Tensor,
    y: NDArray[np.int64],
    classes: Classes | None,
    taught: torch.Tensor | None = None,
) -> NDArray[np.float64] | None:
    """Return soft targets (n, labels) for training pictures; None if nothing but their labels is known.

    If the ImageNet classes of each label are known, they are the predictions of ImageNet's classifier, calibrated on
    the labels: it has also seen breeds that are not in the training pictures. A teacher's answers are averaged with
    them.

    Args:
        imagenet: the classifier that the backbone was pretrained with.
        logits: its logits for the pictures, (n, classes).
        y: the labels of the pictures, (n,).
        classes: ImageNet classes of each label; None if unknown.
        taught: a teacher's calibrated logits, (n, labels).
    """
    answers = [] if taught is None else [taught.numpy().astype(np.float64)]
    if classes is not None:
        grouped = torch.stack([logits[:, group].logsumexp(1) for group in index_classes(imagenet, classes)], 1).numpy()
        platt = LogisticRegression(C=100, max_iter=1000, class_weight="balanced").fit(grouped, y)
        answers.append(expand_binary_logits(platt.decision_function(grouped)))
    return softmax(np.mean(answers, axis=0) / TEMPERATURE) if answers else None


@torch.no_grad()
def fit_head(
    layer: nn.Linear,
    features: torch.Tensor,
    y: NDArray[np.int64],
    targets: NDArray[np.float64] | None,
) -> None:
    """Fit the last layer to features at the serving size, with equal weight for every label.

    The distribution of a network's features depends on the picture size (Touvron et al., "Fixing the train-test
    resolution discrepancy", NeurIPS 2019).

    Args:
        layer: the last layer, which is overwritten.
        features: features of the training pictures, (n, features).
        y: their labels, (n,).
        targets: soft targets (n, labels), see make_targets; None to fit to the labels alone.
    """
    centre, spread = features.mean(0).numpy(), features.std(0).numpy() + 1e-6
    count = len(layer.bias)
    if targets is None:
        fitted = make_label_head().fit((features.numpy() - centre) / spread, y)
    else:
        balance = len(y) / count / np.bincount(y, minlength=count)
        weights = targets * balance[y, None]
        x = (features.numpy() - centre) / spread
        fitted = LogisticRegression(C=TARGETS_C, max_iter=1000).fit(
            np.tile(x, (count, 1)), np.repeat(np.arange(count), len(x)), sample_weight=weights.T.flatten()
        )
    weight, bias = fitted.coef_ / spread, fitted.intercept_ - (fitted.coef_ / spread) @ centre
    if count == 2:  # scikit-learn then has one row, for the second label
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))


@torch.no_grad()
def calibrate(
    layer: nn.Linear, seen: torch.Tensor, unseen: torch.Tensor, y: NDArray[np.int64], has_targets: bool
) -> float:
    """Divide the last layer by a temperature (see evaluate.fit_temperature); return the temperature.

    The calibration is part of the weights, so it also holds in transformers. The temperature is fitted on training and
    validation pictures together: the former make it slightly too low, but the latter alone have too few errors. A last
    layer fitted to labels is far too confident on its training pictures, so its logits are predicted out of fold.

    Args:
        layer: the last layer, which is changed.
        seen: features of the training pictures, (n, features).
        unseen: features of the validation pictures, (m, features).
        y: the labels of both, (n + m,).
        has_targets: true if the layer was fitted to soft targets.
    """
    features = torch.cat([seen, unseen])
    logits = layer(features).numpy() if has_targets else predict_out_of_fold(features.numpy(), y)
    temperature = evaluate.fit_temperature(logits, y)
    layer.weight /= temperature
    layer.bias /= temperature
    return temperature


def make_label_head() -> LogisticRegression:
    """Return a logistic regression on labels, with equal weight for every label."""
    return LogisticRegression(C=LABELS_C, max_iter=1000, class_weight="balanced")


def predict_out_of_fold(features: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return out-of-fold logits (n, labels) for features (n, size)."""
    x = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    folds = StratifiedKFold(min(5, int(np.bincount(y).min())), shuffle=True, random_state=0)
    return expand_binary_logits(cross_val_predict(make_label_head(), x, y, cv=folds, method="decision_function"))


def expand_binary_logits(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits (n, labels); for two labels scikit-learn has only one column, (n,)."""
    return odds if odds.ndim == 2 else np.stack([-odds, odds], axis=1) / 2


def index_classes(imagenet: nn.Linear, classes: Classes) -> list[list[int]]:
    """Return the classes of each label as indices of the network, which may have a background class 0."""
    background = len(imagenet.bias) - 1000
    return [[index + background for index in group] for group in classes]


@torch.no_grad()
def find_training_classes(imagenet: nn.Linear, features: torch.Tensor, classes: Classes | None) -> list[int]:
    """Return the ImageNet classes of the labels, or else those that the training pictures are classified as."""
    if classes is not None:
        return sorted(index for group in index_classes(imagenet, classes) for index in group)
    mean = imagenet(features).softmax(1).mean(0).numpy()
    order = np.argsort(-mean)
    needed = int(np.searchsorted(np.cumsum(mean[order]), COVERED)) + 1
    return sorted(order[: min(needed, len(mean) - 1)].tolist())
