"""The last layer of a picture classifier: fitted anew to features, and calibrated."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import nn

from shared.session import softmax
from training import evaluate

TEMPERATURE = 2.0  # of what ImageNet's classifier says, when it is the target
TARGETS_C, LABELS_C = 0.1, 0.001  # inverse regularisation of the last layer: for ImageNet's targets, for labels
COVERED = 0.95  # share of the training pictures' probability that their ImageNet classes hold

Classes = Sequence[Sequence[int]]  # of ImageNet, for each label, counted without a background class


@torch.no_grad()
def fit_head(
    layer: nn.Linear, imagenet: nn.Linear, features: torch.Tensor, y: NDArray[np.int64], classes: Classes | None
) -> None:
    """Fit the last layer at the size at which it serves, every label weighing the same.

    At another size than it was trained at, a network's features are distributed otherwise (Touvron et al., "Fixing
    the train-test resolution discrepancy", NeurIPS 2019). Where the classes of ImageNet that belong to each label are
    known, the targets are what ImageNet's classifier says, calibrated by the labels: it has also seen breeds that the
    training pictures do not show.

    Args:
        layer: the last layer, which is set.
        imagenet: the classifier that the backbone was pretrained with.
        features: of the training pictures, (n, features).
        y: their labels, (n,).
        classes: of ImageNet, for each label; None to fit to the labels alone.
    """
    centre, spread = features.mean(0).numpy(), features.std(0).numpy() + 1e-6
    x, count = (features.numpy() - centre) / spread, len(layer.bias)
    if classes is None:
        fitted = label_head().fit(x, y)
    else:
        groups = class_groups(imagenet, classes)
        answers = torch.stack([imagenet(features)[:, group].logsumexp(1) for group in groups], 1).numpy()
        platt = LogisticRegression(C=100, max_iter=1000, class_weight="balanced").fit(answers, y)
        targets = softmax(both_columns(platt.decision_function(answers) / TEMPERATURE))
        balance = len(x) / count / np.bincount(y, minlength=count)[y]
        fitted = LogisticRegression(C=TARGETS_C, max_iter=1000).fit(
            np.tile(x, (count, 1)),
            np.repeat(np.arange(count), len(x)),
            sample_weight=(targets * balance[:, None]).T.flatten(),
        )
    weight, bias = fitted.coef_ / spread, fitted.intercept_ - (fitted.coef_ / spread) @ centre
    if count == 2:  # scikit-learn has one row then, for the second label
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))


@torch.no_grad()
def calibrate(
    layer: nn.Linear, seen: torch.Tensor, unseen: torch.Tensor, y: NDArray[np.int64], has_targets: bool
) -> float:
    """Divide the last layer by a temperature (Guo et al., ICML 2017); return the temperature.

    So the logits are calibrated wherever the weights go, with transformers, too. The temperature is fitted on the
    training and the validation pictures together. The network has seen the labels of the former, which makes it a
    little overconfident; but where hardly a picture is wrong, the validation pictures alone say too little. A last
    layer fitted to labels, which is far too confident, is fitted anew to four fifths at a time, and asked about the
    rest.

    Args:
        layer: the last layer, which is changed.
        seen: features of the training pictures, (n, features).
        unseen: features of the validation pictures, (m, features).
        y: the labels of both, (n + m,).
        has_targets: whether the layer was fitted to what ImageNet says.
    """
    features = torch.cat([seen, unseen])
    logits = layer(features).numpy() if has_targets else out_of_fold(features.numpy(), y)
    temperature = evaluate.fit_temperature(logits, y)
    layer.weight /= temperature
    layer.bias /= temperature
    return temperature


def label_head() -> LogisticRegression:
    """Return a last layer for labels alone, every one weighing the same."""
    return LogisticRegression(C=LABELS_C, max_iter=1000, class_weight="balanced")


def out_of_fold(features: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return logits (n, labels) for features (n, size), each by a last layer that was fitted to others."""
    x = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    folds = StratifiedKFold(min(5, int(np.bincount(y).min())), shuffle=True, random_state=0)
    return both_columns(cross_val_predict(label_head(), x, y, cv=folds, method="decision_function"))


def both_columns(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits of each label, (n, labels); of two labels scikit-learn gives one column, (n,)."""
    return odds if odds.ndim == 2 else np.stack([-odds, odds], axis=1) / 2


def class_groups(imagenet: nn.Linear, classes: Classes) -> list[list[int]]:
    """Return the classes of each label as the network counts them: some have a class 0 for background."""
    background = len(imagenet.bias) - 1000
    return [[index + background for index in group] for group in classes]


@torch.no_grad()
def classes_of(imagenet: nn.Linear, features: torch.Tensor, classes: Classes | None) -> list[int]:
    """Return the classes of the training pictures: those of the labels, or those that most pictures look like."""
    if classes is not None:
        return sorted(index for group in class_groups(imagenet, classes) for index in group)
    mean = imagenet(features).softmax(1).mean(0).numpy()
    order = np.argsort(-mean)
    needed = int(np.searchsorted(np.cumsum(mean[order]), COVERED)) + 1
    return sorted(order[: min(needed, len(mean) - 1)].tolist())
