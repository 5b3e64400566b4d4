"""Compare a recommender with baselines on ratings that were held out of training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.metrics import Figure, Peer
from training import evaluate

OURS = "ours"
KINDS = {  # what a model is trained on, besides the other folds of the sample
    "all": ("mse", "all other ratings known", "all other ratings"),
    "sample": ("mse_sample_only", "no other ratings known", "sample only"),
}
Predicted = Mapping[str, Mapping[str, NDArray[np.float64]]]  # by kind, then "ours" or a baseline: stars, (ratings,)


def compare(
    stars: NDArray[np.float64], predicted: Predicted, users: NDArray[np.int_], data: str, folds: int
) -> tuple[list[Figure], list[Peer]]:
    """Return the figures and peers of a cross-validation, with intervals over ratings and over users.

    Args:
        stars: the held-out ratings, (ratings,).
        predicted: the predictions for them.
        users: the user of each rating, (ratings,).
        data: name of the data set.
        folds: number of folds.
    """
    figures, peers = [], []
    for kind, (name, known, short) in KINDS.items():
        errors = {model: (values - stars) ** 2 for model, values in predicted[kind].items()}
        ours = errors.pop(OURS)
        shared: dict[str, Any] = {"name": name, "label": "mean squared error (stars²)"}
        figures.append(
            evaluate.make_figure(
                value=ours.mean(),
                interval=evaluate.mean_interval(ours),
                data=data,
                split=f"{folds}-fold cross-validated sample, {known}",
                count=len(stars),
                interval_over_users=bootstrap_over_users(ours, users),
                root=round(float(ours.mean() ** 0.5), 6),
                **shared,
            )
        )
        for model, theirs in errors.items():
            interval = bootstrap_over_users(ours - theirs, users)
            peer = f"{model}, {short}"
            peers.append(
                evaluate.compare_with_peer(peer, theirs, ours, difference_interval_over_users=interval, **shared)
            )
    return figures, peers


def bootstrap_over_users(values: NDArray[np.float64], users: NDArray[np.int_]) -> tuple[float, float]:
    """Return the 95 % interval of a mean, bootstrapped over users, since the ratings of one user are correlated."""
    _, which = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    low, high = evaluate.bootstrap_interval(lambda drawn: sums[drawn].sum() / counts[drawn].sum(), len(sums))
    return round(low, 6), round(high, 6)
