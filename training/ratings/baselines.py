"""Baselines for ratings. Each takes train and test ratings and returns stars for the test ratings, (ratings,).

Both tables have the columns user, movie and rating; the test ratings themselves are not read.
"""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.visitors import GENEROSITY_RIDGE
from training import book
from training.learner import set_seed

Stars = NDArray[np.float64]
MOVIE_RIDGE, ROUNDS = 3, 15


def predict_with_biases(train: pd.DataFrame, test: pd.DataFrame) -> Stars:
    """Predict the global mean plus shrunk user and movie biases (Koren, Bell and Volinsky, IEEE Computer 2009)."""
    mean, users, movies, _ = fit_biases(train)
    return mean + test["user"].map(users).fillna(0).to_numpy() + test["movie"].map(movies).fillna(0).to_numpy()


def fit_biases(train: pd.DataFrame) -> tuple[float, pd.Series, pd.Series, Stars]:
    """Return the global mean, user biases, movie biases, and the residual of each rating, (ratings,)."""
    mean = float(train["rating"].mean())
    rest, user, movie = train["rating"] - mean, train["user"], train["movie"]
    of_user = pd.Series(0.0, index=user.unique())
    of_movie = pd.Series(0.0, index=movie.unique())
    for _ in range(ROUNDS):
        left = (rest - user.map(of_user)).groupby(movie)
        of_movie = left.sum() / (left.count() + MOVIE_RIDGE)
        left = (rest - movie.map(of_movie)).groupby(user)
        of_user = left.sum() / (left.count() + GENEROSITY_RIDGE)
    return mean, of_user, of_movie, (rest - user.map(of_user) - movie.map(of_movie)).to_numpy()


def predict_with_als(train: pd.DataFrame, test: pd.DataFrame, ridge: float, factors: int = 20) -> Stars:
    """Predict by matrix factorisation with biases, fitted by alternating ridge regressions (Zhou et al., AAIM 2008)."""
    mean, of_user, of_movie, _ = fit_biases(train)
    users, movies = pd.Index(of_user.index), pd.Index(of_movie.index)
    rows = (users.get_indexer(train["user"]), movies.get_indexer(train["movie"]))
    stars = train["rating"].to_numpy() - mean
    bias = [of_user.to_numpy().copy(), of_movie.to_numpy().copy()]
    rng = np.random.default_rng(0)
    vectors = [np.zeros((len(users), factors)), rng.normal(0, 0.1, (len(movies), factors))]
    penalty = np.diag([MOVIE_RIDGE, *[ridge] * factors])
    groups = [np.split(np.argsort(side, kind="stable"), np.cumsum(np.bincount(side))[:-1]) for side in rows]
    for _ in range(ROUNDS):
        for side in (0, 1):
            other = rows[1 - side]
            for index, mine in enumerate(groups[side]):
                design = np.column_stack([np.ones(len(mine)), vectors[1 - side][other[mine]]])
                target = stars[mine] - bias[1 - side][other[mine]]
                solution = np.linalg.solve(design.T @ design + penalty, design.T @ target)
                bias[side][index], vectors[side][index] = solution[0], solution[1:]
    user, movie = users.get_indexer(test["user"]), movies.get_indexer(test["movie"])
    predicted = mean + bias[0][user] * (user >= 0) + bias[1][movie] * (movie >= 0)
    return predicted + (vectors[0][user] * vectors[1][movie]).sum(axis=1) * ((user >= 0) & (movie >= 0))


def predict_with_book(train: pd.DataFrame, test: pd.DataFrame, seed: int, epochs: int = 10) -> Stars:
    """Predict with the book's cell, which validates on one training rating in a hundred."""
    set_seed(seed)
    with redirect_stdout(StringIO()):
        learn = book.train_rating(book.load_rating(train, valid_pct=0.01, seed=seed), epochs)
        predicted, _ = learn.get_preds(dl=learn.dls.test_dl(test[["user", "movie"]]))
    return predicted.flatten().double().numpy()
