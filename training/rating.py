"""Movie ratings of MovieLens: the collaborative filtering model of the book's chapter 1.

    python -m training.rating --smoke                        seconds, on made-up ratings
    python -m training.rating --data DIR                     ratings.csv and movies.csv; 40 minutes, peers included
    python -m training.rating --data DIR --newcomers FOLDER  measure newcomers for a folder that was written before
    python -m training.rating --recipe book                  the book's own cell, with its figure beside ours

The figures are of 5-fold cross-validation on "the sample": the ratings of the 100 busiest users for the 100 most
rated movies, which is fastai's ML_SAMPLE. It is done twice, training on the rest of the sample alone and on
all other ratings, too; never on a held-out one. The Space serves the second kind, trained on everything.
Newcomers are measured apart: every user is once kept out of training and placed by a few of their ratings.
Without --data, GroupLens' ml-latest-small is downloaded.
"""

import argparse
import json
import math
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.optimizer import Adam
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.manifold import TSNE
from sklearn.model_selection import KFold
from torch import nn

from shared.config import METRICS, MODEL, About, Dataset, FileEntry, fingerprint
from shared.errors import CheckpointError
from shared.recommender import PERSON, RecommenderConfig, generosity, place
from training import evaluate, export, processes
from training.card import agreement, write_card, write_json
from training.data import DataError, as_numbers, data_files, data_folder, read_table
from training.learner import (
    NoValidation,
    arguments,
    command,
    fit,
    seconds_trained,
    set_seed,
    start,
    state_folder,
    trained,
)
from training.rating_peers import bias_model, biases, book_model, ridge_als

GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
SAMPLE = 100  # users and movies
FOLDS = 5
GIVEN = (0, 1, 2, 3, 5, 10, 20, 50)  # ratings of a newcomer
LOWEST, HIGHEST = 0.5, 5.0
BOOK_MSE = 0.648
MAPPED = 400  # movies on the two-dimensional map
OUTPUTS = ("rating", "means", "factors", "variances", "noise", "users")
DECADES = np.arange(1930, 2017, 10)

ABOUT = About(
    title="Movie ratings",
    summary="How many stars would somebody give a movie? Rate a few, and get recommendations at once.",
    intended_use=(
        "Learning and teaching: how recommendations come out of ratings, how a newcomer is placed without training "
        "again, and what a prediction is the sum of. For research and demonstrations; not for commercial use."
    ),
    limits=(
        "It has learned from several hundred people who chose to use MovieLens, and knows no movie newer than their "
        "ratings.",
        "For movies that few people rated it relies on genre, year and who rates such movies at all.",
        "The mean squared errors of the cross-validated sample are for the busiest users and the most rated movies. "
        "It is further off for newcomers, whose figures stand apart, by how many movies they have rated.",
        "Recommendations repeat what people like you liked. They are not a judgement of a movie.",
    ),
    licence="other",
    licence_name="GroupLens' terms for MovieLens: research use, no commercial use, no endorsement implied",
    datasets=(
        Dataset(
            name="MovieLens ml-latest-small",
            url="https://grouplens.org/datasets/movielens/",
            licence="research use; redistribution under the same conditions; no commercial use without permission.",
            citation=(
                "F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), "
                "Article 19, 2015, https://doi.org/10.1145/2827872."
            ),
        ),
    ),
)
NOTES = [
    f"The sample: the {SAMPLE} busiest users on the {SAMPLE} most rated movies.",
    "No script here recorded which settings were tried. They were chosen on ratings that are among those measured "
    "here, so all figures may be slightly better than on ratings that had no part in the choice.",
    "From the sample alone, ours is the average of 4 models; each peer is a single one. The book's recipe is trained "
    "for 20 epochs here.",
    "Intervals are bootstrap intervals over users.",
    "The book trains on nothing but the sample: the second row compares like with like. In the first row all other "
    "ratings are known as well.",
    "The model in this folder was trained on every rating, with the settings of the first row.",
]
NOTICE = """# Notice

This model was trained on *MovieLens ml-latest-small* of GroupLens Research, University of Minnesota:
F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM Transactions on Interactive
Intelligent Systems 5(4), Article 19, 2015, https://doi.org/10.1145/2827872.

The folder contains transformations of that data set, under its own conditions, which README-GroupLens.txt states
in full where it lies in this folder: research use, acknowledgement, redistribution only under the same
conditions, no commercial or revenue-bearing use without permission, no endorsement by the University of Minnesota
or GroupLens Research implied.

- `movies.csv`: ids, titles (articles moved to the front), genres, how many ratings each movie has, what they
  average to (adjusted for who rated it), and for some movies a place on a map made by the model.
- `ratings.csv`: the ratings of the 100 users with the most ratings for the 100 movies with the most ratings.
- `onnx/model.onnx`: parameters learned from all ratings.
"""


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters."""

    factors: int
    corating: int  # singular vectors of who-rated-what among the features of a movie
    epochs: int
    latent_precision: float
    mean_precision: float
    feature_precision: float
    batch: int  # ratings in a batch, padding included
    models: int  # averaged
    learning_rate: float = 0.02


ON_SAMPLE = Settings(10, 6, 40, 60.0, 5.0, 20.0, batch=1200, models=4)
ON_ALL = Settings(20, 12, 30, 100.0, 8.0, 5.0, batch=6000, models=1)
ALS_RIDGE = {"sample": 6.0, "all": 15.0}  # the peer's
ON_SMOKE = Settings(2, 2, 3, 60.0, 5.0, 20.0, batch=1200, models=1)


# --- data ---


def load(options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame, Path | None]:
    """Ratings (user, movie, rating, in_sample), movies by id, and the data set's own README."""
    if options.smoke:
        ratings, movies = made_up(options.seed)
        readme = None
    else:
        folder = data_folder(options.data, GROUPLENS, "ratings.csv")
        ratings = read_table(folder / "ratings.csv", ["userId", "movieId", "rating"])
        for name in ("userId", "movieId", "rating"):
            ratings[name] = as_numbers(ratings, name, folder / "ratings.csv", whole=name != "rating")
        movies = read_table(folder / "movies.csv", ["movieId", "title", "genres"])
        movies["movieId"] = as_numbers(movies, "movieId", folder / "movies.csv", whole=True)
        movies = movies.fillna({"title": "?", "genres": "(no genres listed)"}).set_index("movieId")
        readme = next((path for path in sorted(folder.glob("README*"))), None)
    ratings = ratings.rename(columns={"userId": "user", "movieId": "movie"})
    if not ratings["rating"].between(LOWEST, HIGHEST).all():
        raise DataError(f"ratings.csv: a rating lies outside {LOWEST} to {HIGHEST} stars.")
    if ratings.duplicated(["user", "movie"]).any():  # one copy could be held out and the other known
        raise DataError("ratings.csv: a user has rated the same movie twice.")
    if movies.index.has_duplicates:
        raise DataError("movies.csv has the same movieId twice.")
    unknown = set(ratings["movie"]) - set(movies.index)
    if unknown:
        raise DataError(f"ratings.csv rates the movie {min(unknown)}, which movies.csv does not have.")
    busiest, best_known = (ratings[name].value_counts().index[:SAMPLE] for name in ("user", "movie"))
    ratings["in_sample"] = ratings["user"].isin(busiest) & ratings["movie"].isin(best_known)
    return ratings, movies.loc[sorted(set(ratings["movie"]))], readme


def made_up(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """150 people with two tastes rate 120 movies, for --smoke and the tests."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(150, 2)), rng.normal(size=(120, 2))
    stars = 3.2 + rng.normal(size=(150, 1)) / 3 + 0.6 * taste @ kind.T + rng.normal(size=(150, 120)) / 2
    seen = rng.random((150, 120)) < 0.3
    users, columns = np.nonzero(seen)
    ratings = pd.DataFrame(
        {
            "userId": users + 1,
            "movieId": columns * 3 + 1,
            "rating": (stars[seen] * 2).round().clip(1, 10) / 2,
        }
    )
    movies = pd.DataFrame(
        {
            "movieId": np.arange(120) * 3 + 1,
            "title": [f"Story {i}, The ({1950 + i // 2})" for i in range(120)],
            "genres": np.where(kind[:, 0] > 0, "Comedy|Drama", "Action"),
        }
    )
    return ratings, movies.set_index("movieId")


def movie_features(movies: pd.DataFrame) -> torch.Tensor:
    """Genres as 0 or 1, and the year as smooth bumps for the decades: (movies, features)."""
    genres = sorted({genre for text in movies["genres"] for genre in text.split("|")} - {"(no genres listed)"})
    flags = np.array([[genre in text.split("|") for genre in genres] for text in movies["genres"]], dtype=float)
    years = movies["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
    known = years.fillna(years.median()).fillna(2000).to_numpy()
    bumps = np.exp(-0.5 * ((known[:, None] - DECADES) / 8) ** 2)
    return torch.tensor(np.concatenate([flags, bumps], axis=1), dtype=torch.float32)


def corating_features(users: NDArray[np.intp], movies: NDArray[np.intp], count: int, size: int) -> torch.Tensor:
    """Leading singular vectors of who rated what, stars aside; rare movies are drawn to 0: (count, size)."""
    rows = np.unique(users, return_inverse=True)[1]
    rated = np.zeros((rows.max() + 1, count), np.float32)
    rated[rows, movies] = 1
    times = rated.sum(axis=0)
    normal = rated / np.sqrt(rated.sum(axis=1, keepdims=True) + 5) / np.sqrt(times + 5)
    _, values, vectors = np.linalg.svd(normal, full_matrices=False)
    chosen = vectors[1 : size + 1] * (values[1 : size + 1, None] > 1e-6)  # the first says how often, not by whom
    features = chosen.T * (times / (times + 5))[:, None]
    return torch.tensor((features / (features.std(axis=0) + 1e-6) * 0.4).clip(-2, 2), dtype=torch.float32)


User = tuple[torch.Tensor, torch.Tensor]  # the movies somebody rated, as rows, and the stars


def by_user(users: NDArray[np.intp], movies: NDArray[np.intp], stars: NDArray[np.float64]) -> dict[int, User]:
    """Each user's movies and stars."""
    order = np.argsort(users, kind="stable")
    names, starts = np.unique(users[order], return_index=True)
    parts = zip(
        torch.from_numpy(movies[order].astype(np.int64)).tensor_split(torch.from_numpy(starts[1:])),
        torch.from_numpy(stars[order].astype(np.float32)).tensor_split(torch.from_numpy(starts[1:])),
        strict=True,
    )
    return dict(zip(names.tolist(), parts, strict=True))


class UserLoader(DataLoader):
    """Batches of users with about equally many ratings, padded: movies, stars and mask, each (users, longest)."""

    def __init__(self, users: list[User], size: int) -> None:
        self.users = users
        self.groups: list[list[int]] = [[]]
        longest = 0
        for index in np.argsort([len(movies) for movies, _ in users]):
            longest = max(longest, len(users[index][0]))
            if self.groups[-1] and longest * (len(self.groups[-1]) + 1) > size:
                self.groups.append([])
                longest = len(users[index][0])
            self.groups[-1].append(int(index))
        super().__init__(users, bs=1, num_workers=0)
        self.n_inp = 3

    def __len__(self) -> int:
        return len(self.groups)

    def create_batches(self, samples: Any) -> Iterator[tuple[torch.Tensor, ...]]:  # noqa: ARG002 - fastai's name
        """The groups in a new order, padded."""
        for group in self.rng.sample(self.groups, len(self.groups)):
            movies, stars, mask = padded([self.users[index] for index in group])
            yield movies, stars, mask, stars


def padded(users: list[User]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Movies, stars and mask of several users as rectangles."""
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
    return (
        pad([movies for movies, _ in users]),
        pad([stars for _, stars in users]),
        pad([torch.ones_like(stars) for _, stars in users]),
    )


# --- the model ---


class TasteModel(nn.Module):
    """Factor analysis of ratings with what is known of a movie built in.

    User u rates movie i with r = m_i + A_i w_u + noise of variance n_i, where w_u ~ N(0, 1) is integrated out
    exactly and the mean m_i includes what an average person's vector adds, so that somebody who rated nothing is
    average, not blank. A_i holds, in this order: a constant (how generous somebody is), the movie's mean (how widely
    they use the scale), its features, and latent factors whose prior mean is linear in the features.
    Means and latent factors have Gaussian posteriors (mean and variance for each number), their precisions
    are learned: variational Bayes with automatic relevance determination (Bishop, "Variational Principal
    Components", ICANN 1999). The output is the negative evidence lower bound for each rating.
    """

    def __init__(self, features: torch.Tensor, counts: torch.Tensor, mean: float, settings: Settings) -> None:
        super().__init__()
        movies, width, k = len(features), features.shape[1] + 1, settings.factors
        popularity = torch.log1p(counts.float())
        popularity = (popularity - popularity.mean()) / (popularity.std() + 1e-6)
        self.register_buffer("features", torch.cat([features, popularity[:, None]], 1))
        self.ratings = int(counts.sum())
        self.feature_precision = settings.feature_precision
        self.overall = nn.Parameter(torch.tensor(float(mean)))
        self.mean_of_feature = nn.Parameter(torch.zeros(width))
        self.mean_of_movie = nn.Parameter(torch.zeros(movies))
        self.latent_of_feature = nn.Parameter(torch.zeros(width, k))
        self.latent_of_movie = nn.Parameter(torch.randn(movies, k) * 0.1)
        self.log_latent_sd = nn.Parameter(torch.full((movies, k), math.log(0.5 / settings.latent_precision**0.5)))
        self.log_mean_sd = nn.Parameter(torch.full((movies,), math.log(0.3 / settings.mean_precision**0.5)))
        self.log_latent_precision = nn.Parameter(torch.full((k,), math.log(settings.latent_precision)))
        self.log_mean_precision = nn.Parameter(torch.tensor(math.log(settings.mean_precision)))
        self.log_generosity = nn.Parameter(torch.tensor(math.log(0.4)))
        self.log_width = nn.Parameter(torch.tensor(math.log(0.3)))
        self.log_feature_scale = nn.Parameter(torch.full((width,), math.log(0.12)))
        self.average_person = nn.Parameter(torch.zeros(2 + width + k))
        self.log_noise = nn.Parameter(torch.tensor(math.log(0.75)))
        self.log_noise_of_movie = nn.Parameter(torch.zeros(movies))

    def tables(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What serving needs of each movie: mean, factors, variances of the latent factors, noise."""
        means = self.overall + self.features @ self.mean_of_feature + self.mean_of_movie
        factors = torch.cat(
            [
                self.log_generosity.exp().expand(len(means), 1),
                (means - self.overall)[:, None] * self.log_width.exp(),
                self.features * self.log_feature_scale.exp(),
                self.features @ self.latent_of_feature + self.latent_of_movie,
            ],
            1,
        )
        noise = (self.log_noise + self.log_noise_of_movie).exp()
        return means + factors @ self.average_person, factors, (2 * self.log_latent_sd).exp(), noise

    def forward(self, movies: torch.Tensor, stars: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        means, factors, variances, noise = (table[movies] for table in self.tables())
        surprise = (stars - means) * mask
        vector, weighted, root = posterior(factors, variances, noise, surprise, mask)
        expected = surprise**2 + (2 * self.log_mean_sd).exp()[movies] * mask
        loss = 0.5 * ((expected / noise + noise.log()) * mask).sum()
        loss = loss - 0.5 * (weighted * vector).sum() + root.diagonal(dim1=1, dim2=2).log().sum()
        return loss / mask.sum() + self.divergence() / self.ratings

    def divergence(self) -> torch.Tensor:
        """Kullback-Leibler divergence of the posteriors, and the priors of what has a point estimate."""
        points = self.feature_precision * (10 * (self.latent_of_feature**2).sum() + (self.mean_of_feature**2).sum())
        points = points + 20 * (self.log_noise_of_movie**2).sum() + (self.average_person**2).sum()
        points = points + 2 * ((self.log_feature_scale - math.log(0.12)) ** 2).sum()
        return (
            gaussian_divergence(self.latent_of_movie, self.log_latent_sd, self.log_latent_precision)
            + gaussian_divergence(self.mean_of_movie, self.log_mean_sd, self.log_mean_precision)
            + 0.5 * points
        )


def gaussian_divergence(mean: torch.Tensor, log_sd: torch.Tensor, log_precision: torch.Tensor) -> torch.Tensor:
    """KL of N(mean, sd^2) from N(0, 1/precision), summed, up to a constant."""
    return 0.5 * (log_precision.exp() * (mean**2 + (2 * log_sd).exp()) - log_precision - 2 * log_sd).sum()


def posterior(
    factors: torch.Tensor, variances: torch.Tensor, noise: torch.Tensor, surprise: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Posterior means of users' vectors, in closed form, as shared.recommender.Recommender.fold_in for one visitor.

    Args:
        factors: (users, ratings, factors).
        variances: of the last of these factors, (users, ratings, latent).
        noise: (users, ratings).
        surprise: stars minus the movies' means, 0 where padded, (users, ratings).
        mask: 1 where there is a rating, (users, ratings).

    Returns:
        Vectors and weighted sums of surprises, both (users, factors), and the Cholesky factors of the
        posterior precisions, (users, factors, factors).
    """
    scaled = factors * (mask / noise)[..., None]
    extra = torch.ones(len(factors), factors.shape[-1], device=factors.device)
    latent = variances.shape[-1]
    doubt = (variances * (mask / noise)[..., None]).sum(1)
    extra = torch.cat([extra[:, : factors.shape[-1] - latent], 1 + doubt], 1)
    root = torch.linalg.cholesky(factors.transpose(1, 2) @ scaled + torch.diag_embed(extra))
    weighted = (scaled * surprise[..., None]).sum(1)
    return torch.cholesky_solve(weighted[..., None], root)[..., 0], weighted, root


def negative_bound(bound: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """The model's output is its loss."""
    return bound


class Tables(nn.Module):
    """A trained model as it is served: stars of known users, and the tables that place new ones."""

    def __init__(self, tables: tuple[torch.Tensor, ...], users: torch.Tensor) -> None:
        super().__init__()
        for name, table in zip(("means", "factors", "variances", "noise", "users"), (*tables, users), strict=True):
            self.register_buffer(name, table.detach().clone())

    def forward(self, user: torch.Tensor, movie: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rating = self.means[movie] + (self.users[user] * self.factors[movie]).sum(-1)
        return rating, self.means, self.factors, self.variances, self.noise, self.users


# --- training ---


def train(
    ratings: pd.DataFrame, movies: pd.DataFrame, settings: Settings, state: Path, seed: int, resume: bool
) -> Tables:
    """Train one model on known ratings, and place the users it knows."""
    set_seed(seed)
    rows = movies.index.get_indexer(ratings["movie"])
    people, stars = ratings["user"].to_numpy(), ratings["rating"].to_numpy()
    features = torch.cat([movie_features(movies), corating_features(people, rows, len(movies), settings.corating)], 1)
    users = by_user(people, rows, stars)
    counts = torch.from_numpy(np.bincount(rows, minlength=len(movies)))
    loader = UserLoader(list(users.values()), settings.batch)
    learn = Learner(
        DataLoaders(loader, loader),
        TasteModel(features, counts, stars.mean(), settings),
        loss_func=negative_bound,
        opt_func=partial(Adam, mom=0.9, sqr_mom=0.98, eps=1e-8),
        wd=0.0,
        cbs=NoValidation(),
    )
    schedule = partial(
        learn.fit_one_cycle, settings.epochs, settings.learning_rate, pct_start=0.15, moms=(0.9, 0.9, 0.9)
    )
    with learn.no_bar(), learn.no_logging():
        fit(learn, schedule, state, seed, resume)
    return place_users(learn.model.cpu().eval(), users)


@torch.inference_mode()
def place_users(model: TasteModel, users: dict[int, User]) -> Tables:
    """The served tables: each user's vector is the posterior given all their ratings."""
    means, factors, variances, noise = model.tables()
    vectors = []
    for movies, stars in users.values():
        known, mask = movies[None], torch.ones(1, len(movies))
        vector, _, _ = posterior(factors[known], variances[known], noise[known], (stars - means[movies])[None], mask)
        vectors.append(vector[0])
    return Tables((means, factors, variances, noise), torch.stack(vectors))


# --- measuring ---


def cross_validate(
    ratings: pd.DataFrame, movies: pd.DataFrame, options: argparse.Namespace, state: Path
) -> tuple[NDArray[np.float64], dict[str, dict[str, NDArray[np.float64]]]]:
    """Predictions for every rating of the sample by models that were not trained on it.

    Returns:
        The true stars, and predictions as {"sample" or "all": {"ours" or a peer: stars}}, all of the same order.
    """
    sample = ratings[ratings["in_sample"]].reset_index(drop=True)
    rest = ratings[~ratings["in_sample"]]
    folds = list(KFold(FOLDS, shuffle=True, random_state=options.seed).split(sample))
    kinds = {"sample": ON_SAMPLE, "all": ON_ALL}
    names = ("ours", "bias model", "ridge ALS", "the book's recipe")
    found = {kind: {name: np.zeros(len(sample)) for name in names} for kind in kinds}
    jobs = [(kind, fold, name) for kind in kinds for fold in range(FOLDS) for name in names]
    for kind, fold, name in progress_bar(jobs):
        inside, outside = sample.iloc[folds[fold][0]], sample.iloc[folds[fold][1]]
        known = inside if kind == "sample" else pd.concat([rest, inside])
        seed = options.seed + fold
        if name == "ours":
            settings = ON_SMOKE if options.smoke else kinds[kind]
            catalogue = movies.loc[sorted({*known["movie"], *sample["movie"]})]
            parts = [
                predict(
                    known,
                    catalogue,
                    outside,
                    settings,
                    state / f"{kind}-{fold}-{number}",
                    seed + 1000 * number,
                    options,
                )
                for number in range(settings.models)
            ]
            stars = np.mean(parts, axis=0)
        elif name == "ridge ALS":
            stars = ridge_als(known, outside, ridge=ALS_RIDGE[kind])
        elif name == "the book's recipe":
            stars = book_model(known, outside, seed, epochs=1 if options.smoke else 20)
        else:
            stars = bias_model(known, outside)
        found[kind][name][folds[fold][1]] = stars.clip(LOWEST, HIGHEST)
    return sample["rating"].to_numpy(), found


def predict(
    known: pd.DataFrame,
    movies: pd.DataFrame,
    asked: pd.DataFrame,
    settings: Settings,
    state: Path,
    seed: int,
    options: argparse.Namespace,
) -> NDArray[np.float64]:
    """Train on what is known and predict the stars of what is asked."""
    tables = train(known, movies, settings, state, seed, options.resume)
    users = np.unique(known["user"])
    if not np.isin(asked["user"], users).all():
        raise DataError("A user has no rating outside the held-out fold; there are too few ratings to cross-validate.")
    with torch.inference_mode():
        stars, *_ = tables(
            torch.from_numpy(np.searchsorted(users, asked["user"])),
            torch.from_numpy(movies.index.get_indexer(asked["movie"])),
        )
    return stars.double().numpy()


def newcomer_errors(
    ratings: pd.DataFrame, movies: pd.DataFrame, options: argparse.Namespace, state: Path
) -> pd.DataFrame:
    """How far off predictions are for users who are kept out of training, each once, and then give a few ratings.

    A user's ratings are shuffled; the first n are given, and those after the first `most` are predicted, whatever n.
    Left out are ratings of movies that nobody else rated, which are in no catalogue.

    Returns:
        A row for each `most` (10 or 50), user with more ratings than that, and n (`given`), with how many ratings were
        predicted (`count`) and the mean squared errors by `taste` (the model) and by `popularity` (the bias model).
    """
    users = np.unique(ratings["user"])
    rows = []
    folds = KFold(FOLDS, shuffle=True, random_state=options.seed).split(users)
    for fold, (_, outside) in enumerate(progress_bar(list(folds))):
        new = ratings["user"].isin(users[outside])
        known = ratings[~new]
        catalogue = movies.loc[sorted(set(known["movie"]))]
        settings = ON_SMOKE if options.smoke else ON_ALL
        state_of_fold = state / f"newcomers-{fold}"
        tables = train(known, catalogue, settings, state_of_fold, options.seed + fold, options.resume)
        averages = movie_averages(known, catalogue)
        asked = ratings[new & ratings["movie"].isin(catalogue.index)]
        for user, own in asked.sample(frac=1, random_state=options.seed + fold).groupby("user"):
            predicted = newcomer_predictions(tables, averages, catalogue.index.get_indexer(own["movie"]), own["rating"])
            squared = (predicted - own["rating"].to_numpy()) ** 2  # (given, kinds, ratings)
            for most in (10, 50):
                for index, given in enumerate(GIVEN):
                    if given <= most < len(own):
                        errors = squared[index, :, most:].mean(axis=1).tolist()
                        rows.append((most, user, given, len(own) - most, *errors))
    return pd.DataFrame(rows, columns=["most", "user", "given", "count", "taste", "popularity"])


def newcomer_predictions(
    tables: Tables, averages: NDArray[np.float64], rows: NDArray[np.intp], ratings: pd.Series
) -> NDArray[np.float64]:
    """A newcomer's stars for all movies they rated, given the first n: (n of GIVEN, taste and popularity, ratings)."""
    stars = ratings.to_numpy()
    means, factors, variances, noise = (
        table[rows].double().numpy() for table in (tables.means, tables.factors, tables.variances, tables.noise)
    )
    found = []
    for n in GIVEN:
        vector, _ = place(means[:n], factors[:n], variances[:n], noise[:n], stars[:n])
        popular = averages[rows] + generosity(averages[rows[:n]], stars[:n])
        found.append([(means + factors @ vector).clip(LOWEST, HIGHEST), popular.clip(LOWEST, HIGHEST)])
    return np.array(found)


def movie_averages(ratings: pd.DataFrame, movies: pd.DataFrame) -> NDArray[np.float64]:
    """Stars that each movie gets from a person of average generosity, shrunk where few rated it: (movies,)."""
    mean, _, of_movie, _ = biases(ratings)
    averages: NDArray[np.float64] = mean + of_movie.reindex(movies.index).to_numpy()
    return averages


def newcomer_curves(errors: pd.DataFrame, data: str) -> tuple[int, dict[str, Any]]:
    """How few ratings are better answered by popularity, and what metrics.json says of newcomers.

    Every user counts the same, however many ratings of theirs were predicted; intervals are over users.
    """
    means = errors[errors["most"] == errors["most"].min()].groupby("given")[["taste", "popularity"]].mean()
    better = means.index[means["taste"] <= means["popularity"]]
    below = int(better[0]) if len(better) else int(means.index[-1]) + 1
    groups = []
    for most, group in errors.groupby("most"):
        users = group[group["given"] == 0]
        curve = []
        for given, rows in group.groupby("given"):
            served = rows["popularity" if given < below else "taste"].to_numpy()
            point = {"given": int(given), "served_by": "popularity" if given < below else "taste"}
            point |= mean_over_users("", served) | {"root": round(float(served.mean() ** 0.5), 4)}
            for name in ("taste", "popularity"):
                point |= mean_over_users(f"{name}_", rows[name].to_numpy())
            point |= mean_over_users("difference_", (rows["taste"] - rows["popularity"]).to_numpy())
            curve.append(point)
        groups.append({"users": len(users), "ratings": int(users["count"].sum()), "most": int(most), "curve": curve})
    protocol = (
        f"{FOLDS} folds of the users: each user is kept out of training once. Their ratings are shuffled; the first n "
        "are given, and the rest, from a place that is the same for every n, are predicted. Movies that nobody else "
        "rated are left out. Every user counts the same; intervals are 95 % bootstrap intervals over users. The "
        "settings of the training were chosen on ratings that include these users'."
    )
    return below, {"data": data, "protocol": protocol, "popularity_below": below, "groups": groups}


def mean_over_users(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """A mean with its 95 % bootstrap interval, as entries of metrics.json."""
    low, high = evaluate.bootstrap_interval(lambda drawn: float(values[drawn].mean()), len(values))
    return {f"{name}value": round(float(values.mean()), 6), f"{name}interval": [round(low, 6), round(high, 6)]}


def print_newcomers(measured: dict[str, Any]) -> None:
    """Print what newcomers get."""
    for group in measured["groups"]:
        print(
            f"{group['users']} newcomers, {group['ratings']:,} ratings predicted (those beyond {group['most']} each):"
        )
        for point in group["curve"]:
            print(
                "{given:3d} given: {value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}] by {served_by}; taste "
                "{taste_value:.4f}, popularity {popularity_value:.4f}, difference {difference_value:+.4f} "
                "[{difference_interval[0]:+.4f}, {difference_interval[1]:+.4f}]".format(**point)
            )


def measure(
    stars: NDArray[np.float64], found: dict[str, dict[str, NDArray[np.float64]]], ratings: pd.DataFrame, data: str
) -> dict[str, Any]:
    """Figures and peers of metrics.json; intervals over ratings, and over users as a stricter reading."""
    users = ratings.loc[ratings["in_sample"], "user"].to_numpy()
    splits = {
        "all": f"{FOLDS}-fold cross-validated sample, all other ratings known",
        "sample": f"{FOLDS}-fold cross-validated sample, nothing else known",
    }
    figures, peers = [], []
    for kind, split in splits.items():
        errors = {name: (predicted - stars) ** 2 for name, predicted in found[kind].items()}
        ours = errors["ours"]
        figures.append(
            evaluate.figure(
                "mse" if kind == "all" else "mse_sample_only",
                ours.mean(),
                evaluate.mean_interval(ours),
                data,
                split,
                len(stars),
                label="mean squared error (stars²)",
                interval_over_users=over_users(ours, users),
                root=round(float(ours.mean() ** 0.5), 6),
            )
        )
        for name, theirs in errors.items():
            if name != "ours":
                low, high = evaluate.mean_interval(ours - theirs)
                peers.append(
                    {
                        "peer": f"{name}, {'all other ratings' if kind == 'all' else 'sample only'}",
                        "name": figures[-1]["name"],
                        "label": "mean squared error (stars²)",
                        "value": round(float(theirs.mean()), 6),
                        "difference": round(float((ours - theirs).mean()), 6),
                        "difference_interval": [round(low, 6), round(high, 6)],
                        "difference_interval_over_users": over_users(ours - theirs, users),
                    }
                )
    evaluate.print_figures(figures)
    for item in peers:
        print(
            "{peer}: {value:.4f}; ours minus it, paired: {difference:+.4f} [{0:+.4f}, {1:+.4f}]".format(
                *item["difference_interval"], **item
            )
        )
    return {
        "model": "rating",
        "headline": headline(figures),
        "figures": figures,
        "peers": peers,
        "notes": NOTES,
    }


def headline(figures: list[dict[str, Any]]) -> str:
    """The sentence of the gallery's home page."""
    root, count = figures[0]["root"], figures[0]["count"]
    return f"off by {root:.2f} stars (root mean square) on {count:,} held-out ratings of its {SAMPLE} busiest users"


def over_users(values: NDArray[np.float64], users: NDArray[np.int_]) -> list[float]:
    """95 % bootstrap interval of a mean when whole users are drawn, since one's ratings are alike."""
    _, which = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    low, high = evaluate.bootstrap_interval(lambda drawn: sums[drawn].sum() / counts[drawn].sum(), len(sums))
    return [round(low, 6), round(high, 6)]


# --- the folder ---


def gallery_recipe(options: argparse.Namespace) -> None:
    """Cross-validate in both ways, then train the served model on every rating."""
    started = time.monotonic()
    export.check_out(options.out)
    processes.only_first()  # its batches are whole users, padded; its loss is a sum: nothing to share evenly
    ratings, movies, readme = load(options)
    state = state_folder(options, "rating", data_files(options.data))
    started -= seconds_trained(state)  # of a run that is resumed
    data = "made-up ratings" if options.smoke else "MovieLens ml-latest-small"
    print(f"{len(ratings):,} ratings of {ratings['user'].nunique():,} users for {len(movies):,} movies.")
    stars, found = cross_validate(ratings, movies, options, state)
    measured = measure(stars, found, ratings, data)
    below, measured["newcomers"] = newcomer_curves(newcomer_errors(ratings, movies, options, state), data)
    print_newcomers(measured["newcomers"])
    settings = ON_SMOKE if options.smoke else ON_ALL
    tables = train(ratings, movies, settings, state / "served", options.seed, options.resume)
    measured["trained"] = trained(options, started)
    write(options, tables, ratings, movies, readme, measured, below)
    shutil.rmtree(state, ignore_errors=True)


def measure_newcomers(options: argparse.Namespace) -> None:
    """Measure newcomers with models like that of an existing folder, and write what was found into the folder.

    Its model, its other figures and when these were measured stay as they are. movies.csv gets the averages that
    visitors with hardly any rating are answered from.
    """
    try:
        checkpoint = RecommenderConfig.read(options.newcomers)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    processes.only_first()
    ratings, movies, _ = load(options)
    table = pd.read_csv(Path(options.newcomers) / "movies.csv")
    counts = ratings["movie"].value_counts().reindex(movies.index).to_list()
    if table["movie_id"].to_list() != movies.index.to_list() or table["ratings"].to_list() != counts:
        raise DataError(f"{options.newcomers} was trained on other ratings than those of --data.")
    state = state_folder(options, "rating", data_files(options.data))
    data = "made-up ratings" if options.smoke else "MovieLens ml-latest-small"
    below, found = newcomer_curves(newcomer_errors(ratings, movies, options, state), data)
    print_newcomers(found)
    with export.new_folder(options.newcomers) as folder:
        shutil.copytree(options.newcomers, folder, dirs_exist_ok=True)
        table.assign(average=movie_averages(ratings, movies).round(3)).to_csv(
            folder / "movies.csv", index=False, lineterminator="\n"
        )
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        metrics |= {"headline": headline(metrics["figures"]), "notes": NOTES}
        metrics["newcomers"] = found | {"measured": {"date": export.now(), "device": export.cpu()} | options.record}
        write_json(folder / METRICS, metrics)
        (folder / "LICENSE.md").write_text(NOTICE, encoding="utf-8", newline="\n")
        rewritten = {name: folder / name for name in (METRICS, "movies.csv")}
        entries = {name: FileEntry(**fingerprint(path)) for name, path in rewritten.items()}
        fields = dict(checkpoint) | {"about": ABOUT, "popularity_below": below, "files": checkpoint.files | entries}
        export.write_contract(folder, RecommenderConfig, **fields)
        write_card(folder)
    shutil.rmtree(state, ignore_errors=True)
    print(f"Wrote newcomers into {options.newcomers}.")


def write(
    options: argparse.Namespace,
    tables: Tables,
    ratings: pd.DataFrame,
    movies: pd.DataFrame,
    readme: Path | None,
    measured: dict[str, Any],
    below: int,
) -> None:
    """Export the checkpoint folder; nothing is written unless the stored model agrees with torch."""
    users = np.unique(ratings["user"])
    asked = ratings.sample(min(5000, len(ratings)), random_state=options.seed)
    inputs = {
        "user": np.searchsorted(users, asked["user"]).astype(np.int64),
        "movie": movies.index.get_indexer(asked["movie"]).astype(np.int64),
    }
    with export.new_folder(options.out) as folder:
        export.write_onnx(
            tables,
            folder / MODEL,
            {name: torch.from_numpy(rows[:2]) for name, rows in inputs.items()},
            OUTPUTS,
            free_axes={name: {0: "rows"} for name in ("user", "movie", "rating")},
        )
        export.store(folder / MODEL, export.store_half)
        shown = export.Shown("rating in stars", np.asarray, "ratings", "ratings", typical=0.01)
        measured["parity"] = export.parity(tables, folder / MODEL, [inputs], OUTPUTS, 0.02, shown)
        movie_table(tables, ratings, movies, options.seed).to_csv(
            folder / "movies.csv", index=False, lineterminator="\n"
        )
        sample = ratings.loc[ratings["in_sample"], ["user", "movie", "rating"]]
        sample.columns = pd.Index(["user_id", "movie_id", "rating"])
        sample.to_csv(folder / "ratings.csv", index=False, lineterminator="\n")
        (folder / "LICENSE.md").write_text(NOTICE, encoding="utf-8", newline="\n")
        if readme:
            shutil.copyfile(readme, folder / "README-GroupLens.txt")
        save_file(tables.state_dict(), folder / "model.safetensors")
        export.write_metrics(folder, measured)
        export.write_contract(
            folder,
            RecommenderConfig,
            model="rating",
            task="tabular-regression",
            about=ABOUT,
            users=tuple(users.tolist()),
            lowest=LOWEST,
            highest=HIGHEST,
            popularity_below=below,
        )
        write_card(folder)
    if options.embed:
        export.embed(options.out, "rating")
    print(f"Wrote {options.out}. {agreement(measured['parity'])}")


def movie_table(tables: Tables, ratings: pd.DataFrame, movies: pd.DataFrame, seed: int) -> pd.DataFrame:
    """movies.csv: what is shown of each movie, in the order of the model's rows."""
    counts = ratings["movie"].value_counts().reindex(movies.index)
    mapped = np.argsort(-counts.to_numpy(), kind="stable")[:MAPPED]
    taste = tables.factors[mapped, PERSON:].numpy()
    taste = taste / (np.linalg.norm(taste, axis=1, keepdims=True) + 1e-12)
    places = np.full((len(movies), 2), np.nan)
    places[mapped] = TSNE(metric="cosine", perplexity=min(20, len(mapped) // 4), random_state=seed).fit_transform(taste)
    titles = pd.Series([reading_order(title) for title in movies["title"]])
    titles = titles.where(
        ~titles.duplicated(keep=False),
        [f"{title} [{movie}]" for title, movie in zip(titles, movies.index, strict=True)],
    )
    return pd.DataFrame(
        {
            "movie_id": movies.index,
            "title": titles.to_numpy(),
            "genres": movies["genres"].to_numpy(),
            "ratings": counts.to_numpy(),
            "x": places[:, 0].round(1),
            "y": places[:, 1].round(1),
            "average": movie_averages(ratings, movies).round(3),
        }
    )


def reading_order(title: str) -> str:
    """A title as one says it: "Matrix, The (1999)" becomes "The Matrix (1999)"."""
    articles = "The|A|An|Les|Le|La|L'|Il|El|Los|Las|Der|Die|Das|Un|Une|Det|Den|De|En"
    moved = re.fullmatch(rf"(.*), ({articles})((?: \(.*)?)", title.strip())
    if moved is None:
        return title.strip()
    gap = "" if moved[2].endswith("'") else " "
    return f"{moved[2]}{gap}{moved[1]}{moved[3]}"


# --- the book's recipe ---


def book_recipe(options: argparse.Namespace) -> Learner:
    """The cell of the book's chapter 1: embeddings of 50, 20 epochs of fine_tune, on ML_SAMPLE or the same cut."""
    if options.data or options.smoke:
        ratings, _, _ = load(options)
        sample = ratings.loc[ratings["in_sample"], ["user", "movie", "rating"]]
    else:
        path = data_folder(None, "ML_SAMPLE", "ratings.csv") / "ratings.csv"
        sample = read_table(path, ["userId", "movieId", "rating"])
    dls = CollabDataLoaders.from_df(sample, seed=options.seed)
    learn = collab_learner(dls, y_range=(0.5, 5.5))
    learn.fine_tune(1 if options.smoke else 20)
    predicted, stars = learn.get_preds()
    errors = ((predicted.flatten() - stars.flatten()) ** 2).double().numpy()
    low, high = evaluate.mean_interval(errors)
    print(
        f"mean squared error on a random fifth of the sample: {errors.mean():.4f} [{low:.4f}, {high:.4f}]; "
        f"the book's: {BOOK_MSE}"
    )
    return learn


def run(options: argparse.Namespace) -> Learner | None:
    """Run the chosen recipe; the book's returns its Learner, for --push-learner."""
    if options.newcomers:
        measure_newcomers(options)
        return None
    return (book_recipe if options.recipe == "book" else gallery_recipe)(options)


def command_line() -> argparse.ArgumentParser:
    """The options every script has, and this one's own."""
    parser = arguments(__doc__, "rating")
    parser.add_argument(
        "--newcomers",
        metavar="FOLDER",
        help="only measure newcomers, and write the figures into this checkpoint folder",
    )
    return parser


def main(options: Sequence[str] = ()) -> Path | Learner:
    """Train from Python, with the options of the command line: main(["--smoke", "--out", "runs/x"]).

    Returns the checkpoint folder, or the book's Learner; see training.learner.start for what it raises.
    """
    return start(run, command_line(), options)


if __name__ == "__main__":
    raise SystemExit(command(run, command_line(), sys.argv[1:]))
