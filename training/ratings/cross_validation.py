"""Compare a recommender with baselines on ratings that were held out of training."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.metrics import Figure, Peer
from training import evaluate
from training.ratings.movies import Ratings

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


def compare_own(
    held_out: pd.DataFrame, predicted: Predicted, data: Ratings, unit: str, measured: int
) -> dict[str, Any]:
    """Return the figures and peers of a user's own data, the headline, and notes on peers that are not worse.

    Args:
        held_out: the held-out ratings (user, rating).
        predicted: the predictions for them.
        data: all ratings.
        unit: what ratings are counted in.
        measured: number of folds that were held out.
    """
    split = f"{measured}-fold cross-validation" if measured > 1 else "held-out fifth"
    where: dict[str, Any] = {
        "data": data.data,
        "split": data.split or split,
        "count": len(held_out),
    }
    stars, users = held_out["rating"].to_numpy(), np.unique(held_out["user"], return_inverse=True)[1]
    counts, label = np.bincount(users), f"root mean squared error ({unit}, lower is better)"
    gaps = {model: np.abs(values - stars) for model, values in predicted["all"].items()}
    sums = {model: np.bincount(users, values**2) for model, values in gaps.items()}

    def root(model: str, drawn: Any = slice(None)) -> float:
        return float((sums[model][drawn].sum() / counts[drawn].sum()) ** 0.5)

    def compare_root(model: str) -> Peer:
        value, difference = root(model), root(OURS) - root(model)
        low, high = evaluate.bootstrap_interval(lambda drawn: root(OURS, drawn) - root(model, drawn), len(counts))
        interval, difference = (round(low, 6), round(high, 6)), round(difference, 6)
        fields: dict[str, Any] = {"difference": difference, "difference_interval": interval, "label": label}
        return Peer(peer=model, name="rmse", value=round(value, 6), **fields)

    interval = evaluate.bootstrap_interval(partial(root, OURS), len(counts))
    figure = evaluate.make_figure("rmse", root(OURS), interval, label=label, **where)
    interval = bootstrap_over_users(gaps[OURS], users)
    absolute = f"mean absolute error ({unit}, lower is better)"
    figures = [figure, evaluate.make_figure("mae", gaps[OURS].mean(), interval, label=absolute, **where)]
    peers = [compare_root(model) for model in gaps if model != OURS]
    notes = [
        f"{'Worse' if peer.difference_interval[0] > 0 else 'Not clearly better'} on the test than the {peer.peer} "
        f"({figure.value:.3f}, against {peer.value:.3f})."
        for peer in peers
        if peer.difference_interval and peer.difference_interval[1] >= 0
    ]
    headline = f"off by {figure.value:.2f} {unit} (root mean square) on {figure.count:,} held-out ratings"
    return {"figures": figures, "peers": peers, "headline": headline, "notes": notes}


def bootstrap_over_users(values: NDArray[np.float64], users: NDArray[np.int_]) -> tuple[float, float]:
    """Return the 95 % interval of a mean, bootstrapped over users, since the ratings of one user are correlated."""
    _, which = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    low, high = evaluate.bootstrap_interval(lambda drawn: sums[drawn].sum() / counts[drawn].sum(), len(sums))
    return round(low, 6), round(high, 6)
