"""Train a recommender on ratings: factor analysis with features of the movies.

    python -m training.recipes.recommendation --data FOLDER    ratings.csv and movies.csv, in MovieLens' layout
    python -m training.recipes.recommendation --smoke          seconds, on made-up ratings

The figures come from 5-fold cross-validation on "the sample": the ratings of the 100 most active users for the 100 most
rated movies. One model is trained on the other folds of the sample only, another on all ratings outside the fold. The
stored model is like the second, but trained on all ratings. Newcomers are measured separately: every user is held out
of training once, and their vector is inferred from a few of their ratings.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.manifold import TSNE
from sklearn.model_selection import KFold

from shared.metrics import Figure
from shared.recommender import PERSON_FACTORS, Recommender
from training import command, newcomers, processes
from training.cross_validation import KINDS, OURS, Predicted, compare
from training.data import DataError, find_data, parse_numbers, read_table
from training.description import Description, describe
from training.export import store_half
from training.learner import NoValidation, Run, set_seed
from training.made_up import write_ratings
from training.movies import compute_corating_features, encode_movies, move_article_first
from training.networks.factor_analysis import (
    FactorAnalysis,
    Tables,
    UserLoader,
    group_by_user,
    negative_bound,
    place_users,
)
from training.parity import Shown
from training.rating_baselines import predict_with_als, predict_with_biases, predict_with_book
from training.recipe import Answered, Export, Recipe, Settings, Splits, TestSet

SAMPLE = 100  # users and movies
MAPPED = 400  # movies on the two-dimensional map
OUTPUTS = ("rating", "means", "factors", "variances", "noise", "users")
PARITY_RATINGS = 5000
LIMITS = ("For movies that few people rated it relies on genre, year and who rates such movies at all.",)


@dataclass(frozen=True)
class Factors:
    """Hyper-parameters of one model.

    `corating` is the number of singular vectors of who rated what among the features of a movie; `precisions` are those
    of the priors (see FactorAnalysis); a batch has about `batch` ratings with padding; `models` models are averaged.
    """

    factors: int
    corating: int
    epochs: int
    precisions: tuple[float, float, float]
    batch: int
    models: int
    learning_rate: float = 0.02


@dataclass(frozen=True)
class RecommendationSettings(Settings):
    """Hyper-parameters of the models on the sample and on all ratings, and of the baselines."""

    on_sample: Factors = Factors(10, 6, 40, (60.0, 5.0, 20.0), batch=1200, models=4)
    on_all: Factors = Factors(20, 12, 30, (100.0, 8.0, 5.0), batch=6000, models=1)
    als_ridge: Mapping[str, float] = field(default_factory=lambda: {"sample": 6.0, "all": 15.0})
    folds: int = 5
    lowest: float = 0.5
    highest: float = 5.0
    book_epochs: int = 10

    @classmethod
    def smoke(cls) -> "RecommendationSettings":
        """Return settings for a training run of seconds."""
        small = Factors(2, 2, 3, (60.0, 5.0, 20.0), batch=1200, models=1)
        return cls(on_sample=small, on_all=small, book_epochs=1)

    @property
    def scale(self) -> tuple[float, float]:
        """The lowest and highest number of stars."""
        return self.lowest, self.highest


@dataclass(frozen=True)
class Ratings:
    """Ratings (user, movie, rating, in_sample), movies by id (title, genres), and the README of the data set."""

    table: pd.DataFrame
    movies: pd.DataFrame
    data: str
    readme: Path | None = None

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class Fitted:
    """The served model, and the figures from training."""

    tables: Tables
    measured: dict[str, Any]


class Recommendation(Recipe[Ratings, RecommendationSettings]):
    """Recommend movies, or other rated items. Cross-validation takes the place of a test set."""

    module = "training.recipes.recommendation"
    predictor = Recommender
    settings = RecommendationSettings
    readme_name: ClassVar[str] = "README-data.txt"

    # --- data ---

    def load_own(self, data: str, settings: RecommendationSettings) -> Splits[Ratings]:
        """Read a folder with ratings.csv and movies.csv."""
        name = Path(data).resolve().name
        return self.read(Path(data), name, settings, describe(name, "How many stars would somebody give?", LIMITS))

    def read(
        self, folder: Path, name: str, settings: RecommendationSettings, description: Description
    ) -> Splits[Ratings]:
        """Read and check ratings and movies."""
        path, movies_path = (find_data(str(folder), "", name) / name for name in ("ratings.csv", "movies.csv"))
        ratings = read_table(path, ["userId", "movieId", "rating"])
        for column in ("userId", "movieId", "rating"):
            ratings[column] = parse_numbers(ratings, column, path, whole=column != "rating")
        movies = read_table(movies_path, ["movieId", "title", "genres"])
        movies["movieId"] = parse_numbers(movies, "movieId", movies_path, whole=True)
        movies = movies.fillna({"title": "?", "genres": "(no genres listed)"}).set_index("movieId")
        ratings = ratings.rename(columns={"userId": "user", "movieId": "movie"})
        if not ratings["rating"].between(*settings.scale).all():
            raise DataError(f"ratings.csv: a rating lies outside {settings.lowest} to {settings.highest} stars.")
        if ratings.duplicated(["user", "movie"]).any():  # one copy could be held out and the other trained on
            raise DataError("ratings.csv: a user has rated the same movie twice.")
        if movies.index.has_duplicates:
            raise DataError("movies.csv has the same movieId twice.")
        if unknown := set(ratings["movie"]) - set(movies.index):
            raise DataError(f"ratings.csv rates the movie {min(unknown)}, which is not in movies.csv.")
        newcomers.check_enough(ratings, settings.folds, settings.seed)
        busiest, best_known = (ratings[column].value_counts().index[:SAMPLE] for column in ("user", "movie"))
        ratings["in_sample"] = ratings["user"].isin(busiest) & ratings["movie"].isin(best_known)
        readme = next((path for path in sorted(folder.glob("README*"))), None)
        part = Ratings(ratings, movies.loc[sorted(set(ratings["movie"]))], name, readme)
        return Splits(part, part, (), description)

    def make_up(self, folder: Path, seed: int) -> str:
        """Write ratings of people with two tastes."""
        return str(write_ratings(folder, seed))

    # --- training ---

    def fit(self, splits: Splits[Ratings], settings: RecommendationSettings, run: Run) -> Fitted:
        """Cross-validate both kinds of model, then train the stored model on all ratings."""
        processes.end_other_processes()  # batches of whole users cannot be divided evenly
        data = splits.train
        users = data.table["user"].nunique()
        print(f"{len(data):,} ratings of {users:,} users for {len(data.movies):,} movies.")
        measured = self.measure_all(data, settings, run)
        tables = train_model(data.table, data.movies, settings.on_all, run, "served", settings.seed)
        return Fitted(tables, measured)

    # --- measuring ---

    def measure(self, found: Answered[Ratings, RecommendationSettings]) -> dict[str, Any]:
        """Return the figures of cross-validation from training, or cross-validate if there was none.

        Raises:
            DataError: the model was trained on other ratings.
        """
        notes = list(found.splits.description.notes)
        if found.exported:
            return {**found.exported.measured, "figures": [], "notes": notes}
        data, movies = found.splits.train, found.model.movies.values()
        counts = data.table["movie"].value_counts().reindex(data.movies.index)
        if [(movie.movie_id, movie.ratings) for movie in movies] != list(counts.items()):
            raise DataError(f"{found.model.folder} was not trained on the ratings in --data.")
        processes.end_other_processes()
        return self.measure_all(data, found.settings, found.run) | {"notes": notes}

    def measure_all(self, data: Ratings, settings: RecommendationSettings, run: Run) -> dict[str, Any]:
        """Cross-validate on the sample, and measure newcomers; the run saves the states of each model."""
        stars, predicted = cross_validate(data, settings, run)
        users = data.table.loc[data.table["in_sample"], "user"].to_numpy()
        figures, peers = compare(stars, predicted, users, data.data, settings.folds)
        errors = measure_newcomers(data, settings, run)
        measured = newcomers.summarise(errors, data.data, newcomers.find_popularity_threshold(errors), settings.folds)
        newcomers.print_newcomers(measured)
        return {"figures": figures, "peers": peers, "headline": self.format_headline(figures[0]), "newcomers": measured}

    def format_headline(self, figure: Figure) -> str:
        """Return the gallery's line about the model."""
        return (
            f"off by {figure.root:.2f} stars (root mean square) on {figure.count:,} held-out ratings of its {SAMPLE} "
            "busiest users"
        )

    def update(
        self, folder: Path, found: Answered[Ratings, RecommendationSettings], measured: Mapping[str, Any]
    ) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Update the average ratings, and the number of ratings below which they are used for newcomers."""
        table = pd.read_csv(folder / "movies.csv", dtype=str, keep_default_na=False)
        data = found.splits.train
        averages = newcomers.average_movies(data.table, data.movies).round(3)
        table.assign(average=averages).to_csv(folder / "movies.csv", index=False, lineterminator="\n")
        return ["movies.csv"], {"popularity_below": measured["newcomers"].popularity_below}

    def compute_figures(self, answers: Any, test: TestSet) -> list[Figure]:  # noqa: ARG002 - there are no test sets
        """Return no figures; see `measure`."""
        return []

    # --- storing ---

    def export(self, network: Fitted, splits: Splits[Ratings], settings: RecommendationSettings) -> Export:
        """Store the tables of the model, the movies, and the sample of ratings."""
        tables, data = network.tables, splits.train
        users = np.unique(data.table["user"])
        asked = data.table.sample(min(PARITY_RATINGS, len(data)), random_state=settings.seed)
        inputs = {
            "user": np.searchsorted(users, asked["user"]).astype(np.int64),
            "movie": data.movies.index.get_indexer(asked["movie"]).astype(np.int64),
        }

        def save(folder: Path) -> None:
            movies = make_movie_table(tables, data, settings.seed)
            movies.to_csv(folder / "movies.csv", index=False, lineterminator="\n")
            sample = data.table.loc[data.table["in_sample"], ["user", "movie", "rating"]]
            sample.columns = pd.Index(["user_id", "movie_id", "rating"])
            sample.to_csv(folder / "ratings.csv", index=False, lineterminator="\n")
            save_file(tables.state_dict(), folder / "model.safetensors")
            if data.readme:
                shutil.copyfile(data.readme, folder / self.readme_name)

        return Export(
            module=tables,
            inputs={name: torch.from_numpy(rows[:2]) for name, rows in inputs.items()},
            outputs=OUTPUTS,
            store=store_half,
            batches=[inputs],
            shown=Shown("rating in stars", np.asarray, "ratings", "ratings", typical=0.01),
            tolerance=0.01,
            fields={
                "users": tuple(users.tolist()), "lowest": settings.lowest, "highest": settings.highest,
                "popularity_below": network.measured["newcomers"].popularity_below,
            },
            free_axes={name: {0: "rows"} for name in ("user", "movie", "rating")},
            save=save,
            measured=network.measured,
        )  # fmt: skip


def train_model(
    ratings: pd.DataFrame, movies: pd.DataFrame, factors: Factors, run: Run, name: str, seed: int
) -> Tables:
    """Train one model; return its served tables."""
    set_seed(seed)
    rows = movies.index.get_indexer(ratings["movie"])
    people, stars = ratings["user"].to_numpy(), ratings["rating"].to_numpy()
    features = torch.cat(
        [encode_movies(movies), compute_corating_features(people, rows, len(movies), factors.corating)], 1
    )
    users = group_by_user(people, rows, stars)
    counts = torch.from_numpy(np.bincount(rows, minlength=len(movies)))
    loader = UserLoader(list(users.values()), factors.batch)
    learn = Learner(
        DataLoaders(loader, loader),
        FactorAnalysis(features, counts, stars.mean(), factors.factors, factors.precisions),
        loss_func=negative_bound,
        opt_func=partial(Adam, mom=0.9, sqr_mom=0.98, eps=1e-8),
        wd=0.0,
        cbs=NoValidation(),
    )
    schedule = partial(learn.fit_one_cycle, factors.epochs, factors.learning_rate, pct_start=0.15, moms=(0.9, 0.9, 0.9))
    with learn.no_bar(), learn.no_logging():
        run.fit(learn, name, schedule, seed)
    return place_users(learn.model.cpu().eval(), users)


def predict(
    train: pd.DataFrame, movies: pd.DataFrame, test: pd.DataFrame, factors: Factors, run: Run, name: str, seed: int
) -> NDArray[np.float64]:
    """Train `factors.models` models; return the mean of their predicted stars for the test ratings, (ratings,)."""
    users = np.unique(train["user"])
    if not np.isin(test["user"], users).all():
        raise DataError("A user has no rating outside the held-out fold; there are too few ratings to cross-validate.")
    places = np.searchsorted(users, test["user"]), movies.index.get_indexer(test["movie"])
    found = []
    for number in range(factors.models):
        tables = train_model(train, movies, factors, run, f"{name}-{number}", seed + 1000 * number)
        with torch.inference_mode():
            stars, *_ = tables(*map(torch.from_numpy, places))
        found.append(stars.double().numpy())
    return np.mean(found, axis=0)


def cross_validate(data: Ratings, settings: RecommendationSettings, run: Run) -> tuple[NDArray[np.float64], Predicted]:
    """Predict every rating of the sample with models that were not trained on it.

    Returns:
        The true stars, (ratings,), and the predictions by kind and model, each (ratings,).
    """
    sample = data.table[data.table["in_sample"]].reset_index(drop=True)
    rest = data.table[~data.table["in_sample"]]
    folds = list(KFold(settings.folds, shuffle=True, random_state=settings.seed).split(sample))
    factors = {"sample": settings.on_sample, "all": settings.on_all}
    names = (OURS, "bias model", "ridge ALS", "the book's cell")
    found = {kind: {name: np.zeros(len(sample)) for name in names} for kind in KINDS}
    for kind, fold in progress_bar([(kind, fold) for kind in factors for fold in range(settings.folds)]):
        inside, outside = sample.iloc[folds[fold][0]], sample.iloc[folds[fold][1]]
        train = inside if kind == "sample" else pd.concat([rest, inside])
        catalogue = data.movies.loc[sorted({*train["movie"], *sample["movie"]})]
        seed = settings.seed + fold
        stars = {
            OURS: predict(train, catalogue, outside, factors[kind], run, f"{kind}-{fold}", seed),
            "bias model": predict_with_biases(train, outside),
            "ridge ALS": predict_with_als(train, outside, ridge=settings.als_ridge[kind]),
            "the book's cell": predict_with_book(train, outside, seed, settings.book_epochs),
        }
        for name, values in stars.items():
            found[kind][name][folds[fold][1]] = values.clip(*settings.scale)
    return sample["rating"].to_numpy(), found


def measure_newcomers(data: Ratings, settings: RecommendationSettings, run: Run) -> pd.DataFrame:
    """Return the errors for users who are held out of training, each once; see newcomers.make_error_table."""
    rows = []
    parts = newcomers.split(data.table, settings.folds, settings.seed)
    for fold, (new, known) in enumerate(progress_bar(parts, total=settings.folds)):
        seed = settings.seed + fold
        catalogue = data.movies.loc[sorted(set(known["movie"]))]
        tables = train_model(known, catalogue, settings.on_all, run, f"newcomers-{fold}", seed)
        rows += newcomers.measure_errors(new, tables, known, catalogue, seed, settings.scale)
    return newcomers.make_error_table(rows)


def make_movie_table(tables: Tables, data: Ratings, seed: int) -> pd.DataFrame:
    """Return movies.csv, in the order of the model's rows."""
    movies = data.movies
    counts = data.table["movie"].value_counts().reindex(movies.index)
    mapped = np.argsort(-counts.to_numpy(), kind="stable")[:MAPPED]
    taste = tables.factors[mapped, PERSON_FACTORS:].numpy()
    taste = taste / (np.linalg.norm(taste, axis=1, keepdims=True) + 1e-12)
    places = np.full((len(movies), 2), np.nan)
    places[mapped] = TSNE(metric="cosine", perplexity=min(20, len(mapped) // 4), random_state=seed).fit_transform(taste)
    titles = pd.Series([move_article_first(title) for title in movies["title"]])
    distinct = [f"{title} [{movie}]" for title, movie in zip(titles, movies.index, strict=True)]
    return pd.DataFrame(
        {
            "movie_id": movies.index,
            "title": titles.where(~titles.duplicated(keep=False), distinct).to_numpy(),
            "genres": movies["genres"].to_numpy(),
            "ratings": counts.to_numpy(),
            "x": places[:, 0].round(1),
            "y": places[:, 1].round(1),
            "average": newcomers.average_movies(data.table, movies).round(3),
        }
    )


main = partial(command.run, Recommendation())

if __name__ == "__main__":
    raise SystemExit(command.main(Recommendation()))
