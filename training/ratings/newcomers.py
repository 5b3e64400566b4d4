"""Measure a recommender for newcomers: users who are held out of training and then give a few ratings."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from shared.metrics import NewcomerGroup, Newcomers, Point
from shared.text import raise_first
from shared.visitors import estimate_generosity, place_visitor
from training import evaluate
from training.data import DataError
from training.networks.factor_analysis import Tables
from training.ratings.baselines import fit_biases

GIVEN = (0, 1, 2, 3, 5, 10, 20, 50)  # numbers of ratings that a newcomer has given


def split(ratings: pd.DataFrame, folds: int, seed: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield, for each fold of the users, their ratings and the ratings of all other users.

    The former exclude movies that nobody else rated, since no catalogue has them.
    """
    users = np.unique(ratings["user"])
    for _, outside in KFold(folds, shuffle=True, random_state=seed).split(users):
        is_new = ratings["user"].isin(users[outside])
        new, known = ratings[is_new], ratings[~is_new]
        yield new[new["movie"].isin(known["movie"].unique())], known


def check_enough(ratings: pd.DataFrame, folds: int, seed: int, least: int, names: tuple[str, str]) -> None:
    """Check, before training, that newcomers can be measured; `names` are those of the file and of what is rated.

    Raises:
        DataError: there are too few users, or none with enough ratings.
    """
    enough = ratings["user"].nunique() >= folds and any(
        (new["user"].value_counts() > least).any() for new, _ in split(ratings, folds, seed)
    )
    if not enough:
        raise DataError(
            f"{names[0]} has too few ratings to measure the model: it needs at least {folds} users, one of whom must "
            f"have rated more than {least} {names[1]} that others have rated, too."
        )


def predict_newcomer(
    tables: Tables,
    averages: NDArray[np.float64],
    rows: NDArray[np.intp],
    ratings: pd.Series,
    scale: tuple[float, float],
) -> NDArray[np.float64]:
    """Predict a newcomer's ratings of all movies they rated, given the first n ratings, for each n in GIVEN.

    Args:
        tables: tables of a model that was trained without the newcomer.
        averages: average stars of the movies, (movies,).
        rows: rows of the movies they rated, (ratings,).
        ratings: their stars, (ratings,).
        scale: lowest and highest stars.

    Returns:
        Stars, (len(GIVEN), 2, ratings); axis 1 is by taste and by popularity.
    """
    stars = ratings.to_numpy()
    means, factors, variances, noise = (
        table[rows].double().numpy() for table in (tables.means, tables.factors, tables.variances, tables.noise)
    )
    found = []
    for n in GIVEN:
        vector, _ = place_visitor(means[:n], factors[:n], variances[:n], noise[:n], stars[:n])
        popular = averages[rows] + estimate_generosity(averages[rows[:n]], stars[:n])
        found.append([(means + factors @ vector).clip(*scale), popular.clip(*scale)])
    return np.array(found)


def average_movies(ratings: pd.DataFrame, movies: pd.DataFrame) -> NDArray[np.float64]:
    """Return each movie's stars from a user of average generosity, (movies,), shrunk for movies with few ratings."""
    mean, _, of_movie, _ = fit_biases(ratings)
    averages: NDArray[np.float64] = mean + of_movie.reindex(movies.index).to_numpy()
    return averages


def measure_errors(
    new: pd.DataFrame,
    tables: Tables,
    known: pd.DataFrame,
    catalogue: pd.DataFrame,
    seed: int,
    scale: tuple[float, float],
    leasts: tuple[int, ...],
) -> list[tuple[Any, ...]]:
    """Return the errors for users who were held out of training, as rows of make_error_table.

    A user's ratings are shuffled; the first n are given, and those after the first `least` are predicted, for every n.

    Args:
        new: the ratings of these users for movies in the catalogue.
        tables: tables of a model that was trained on the other users' ratings.
        known: the other users' ratings.
        catalogue: the movies that the other users rated.
        seed: seed of the shuffling.
        scale: lowest and highest stars.
        leasts: for users with more ratings than `least`, those after the first `least` are predicted.
    """
    averages = average_movies(known, catalogue)
    rows = []
    for user, own in new.sample(frac=1, random_state=seed).groupby("user"):
        places = catalogue.index.get_indexer(own["movie"])
        predicted = predict_newcomer(tables, averages, places, own["rating"], scale)
        squared = (predicted - own["rating"].to_numpy()) ** 2  # (given, kinds, ratings)
        for least in leasts:
            for index, given in enumerate(GIVEN):
                if given <= least < len(own):
                    means = squared[index, :, least:].mean(axis=1).tolist()
                    rows.append((least, user, given, len(own) - least, *means))
    return rows


def make_error_table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Return a table of mean squared errors by user, by taste (the model) and by popularity (averages)."""
    return pd.DataFrame(rows, columns=["least", "user", "given", "count", "taste", "popularity"])


def find_popularity_threshold(errors: pd.DataFrame) -> int:
    """Return the least number of given ratings from which taste predicts better than popularity."""
    means = errors[errors["least"] == errors["least"].min()].groupby("given")[["taste", "popularity"]].mean()
    better = means.index[means["taste"] <= means["popularity"]]
    return int(better[0]) if len(better) else int(means.index[-1]) + 1


def summarise(errors: pd.DataFrame, data: str, below: int, folds: int, measured: int, noun: str) -> Newcomers:
    """Return the results for newcomers for metrics.json; every user has equal weight, and intervals are over users.

    Args:
        errors: see make_error_table.
        data: name of the data set.
        below: newcomers with fewer ratings are served by popularity.
        folds: number of folds of the users.
        measured: number of folds that were measured.
        noun: the plural for movies.
    """
    groups = []
    for least, group in errors.groupby("least"):
        users = group[group["given"] == 0]
        curve = []
        for given, rows in group.groupby("given"):
            served_by = "popularity" if given < below else "taste"
            served = rows[served_by].to_numpy()
            fields = average_over_users("", served)
            for name in ("taste", "popularity"):
                fields |= average_over_users(f"{name}_", rows[name].to_numpy())
            fields |= average_over_users("difference_", (rows["taste"] - rows["popularity"]).to_numpy())
            root = round(float(served.mean() ** 0.5), 4)
            curve.append(Point(given=int(given), served_by=served_by, root=root, **fields))
        counted = int(users["count"].sum())
        groups.append(NewcomerGroup(users=len(users), ratings=counted, most=int(least), curve=tuple(curve)))
    kept_out = f"{folds} folds of the users: each user is kept out of training once."
    if measured < folds:
        kept_out = f"{measured} of {folds} folds of the users is kept out of training."
    protocol = (
        f"{kept_out} Their ratings are shuffled; the first n are given, and the rest, from a place that is the same "
        f"for every n, are predicted. {raise_first(noun)} that nobody else rated are left out. Every user counts the "
        "same; intervals are 95 % bootstrap intervals over users. The settings of the training were chosen on ratings "
        "that include these users'."
    )
    return Newcomers(data=data, protocol=protocol, popularity_below=below, groups=tuple(groups))


def average_over_users(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """Return a mean with its 95 % bootstrap interval, as fields of Point."""
    low, high = evaluate.bootstrap_interval(lambda drawn: float(values[drawn].mean()), len(values))
    return {f"{name}value": round(float(values.mean()), 6), f"{name}interval": (round(low, 6), round(high, 6))}


def print_newcomers(measured: Newcomers) -> None:
    """Print the results for newcomers."""
    for group in measured.groups:
        print(
            f"Mean squared errors for {group.users} newcomers, {group.ratings:,} ratings predicted (those beyond "
            f"{group.most} each):"
        )
        for point in group.curve:
            low, high = point.interval
            print(
                f"{point.given:3d} given: {point.value:.4f} [{low:.4f}, {high:.4f}] by {point.served_by}; taste "
                f"{point.taste_value:.4f}, popularity {point.popularity_value:.4f}, difference "
                "{:+.4f} [{:+.4f}, {:+.4f}]".format(point.difference_value, *point.difference_interval)
            )
