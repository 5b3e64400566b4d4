"""Train a recommender on ratings: factor analysis with features of the items.

    python -m training.recipes.recommendation --data FILE      CSV, TSV or Parquet with users, items and ratings
    python -m training.recipes.recommendation --data FOLDER    ratings.csv, and perhaps items.csv or movies.csv
    python -m training.recipes.recommendation --smoke          seconds, on made-up ratings

Titles, kinds (separated by |) and years of the items may be in the same table, or in that of --items. Users' ids and
ratings are not stored with the model, unless --users asks for it: its page recommends to visitors who rate a few items.
A fifth of the ratings is held out for the test; of few ratings, each fifth in turn. Newcomers are measured separately:
users are held out of training, and their vector is inferred from a few of their ratings.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.manifold import TSNE
from sklearn.model_selection import KFold

from shared.metrics import Figure
from shared.movies import ITEMS, MOVIES
from shared.recommender import PERSON_FACTORS, RATINGS, Recommender
from training import command, processes
from training.data import DataError, TestSet
from training.description import describe
from training.export import store_float, store_half
from training.learner import NoValidation, Run, set_seed
from training.made_up import write_ratings
from training.networks.factor_analysis import (
    FactorAnalysis,
    Tables,
    UserLoader,
    group_by_user,
    negative_bound,
    place_users,
)
from training.own_data.ratings import read_own_ratings
from training.parity import Shown
from training.progress import show_progress
from training.ratings import newcomers
from training.ratings.baselines import predict_with_als, predict_with_biases, predict_with_book
from training.ratings.cross_validation import OURS, Predicted, compare, compare_own
from training.ratings.movies import Ratings, compute_corating_features, encode_movies, move_article_first
from training.recipe import Answered, Recipe, Settings, Splits
from training.storing import Export

MAPPED, LEAST_MAPPED = 400, 8  # movies on the two-dimensional map
POINTS = "points"  # what ratings are counted in, without --unit
LARGEST_HALF = 8  # standard units; float16 would round larger ratings too much
OUTPUTS = ("rating", "means", "factors", "variances", "noise", "users")
PARITY_RATINGS = 5000
RECOMMENDED = 50  # movies at least that have enough ratings to be recommended
FEW, MANY = 20_000, 200_000  # ratings of a user's own data: fewer need less of a model, more need fewer epochs
MANY_USERS = 500  # with enough ratings: a fifth of them measures newcomers


@dataclass(frozen=True)
class Factors:
    """Hyper-parameters of one model. It takes `length` times the epochs of the settings.

    `corating` is the number of singular vectors of who rated what among the features of a movie; `precisions` are those
    of the priors (see FactorAnalysis); a batch has about `batch` ratings with padding; `models` models are averaged.
    """

    factors: int
    corating: int
    length: float
    precisions: tuple[float, float, float]
    batch: int
    models: int
    learning_rate: float = 0.02


@dataclass(frozen=True)
class RecommendationSettings(Settings):
    """Hyper-parameters of the models on the sample and on all ratings, and of the baselines."""

    epochs: int = 30
    on_sample: Factors = Factors(10, 6, 4 / 3, (60.0, 5.0, 20.0), batch=1200, models=4)
    on_all: Factors = Factors(20, 12, 1, (100.0, 8.0, 5.0), batch=6000, models=1)
    als_ridge: Mapping[str, float] = field(default_factory=lambda: {"sample": 6.0, "all": 15.0})
    folds: int = 5
    measured: int = 5  # of these folds; of many ratings of a user's own, one is enough
    book_epochs: int = 10

    @classmethod
    def smoke(cls) -> "RecommendationSettings":
        """Return settings for a training run of seconds."""
        small = Factors(2, 2, 1, (60.0, 5.0, 20.0), batch=1200, models=1)
        return cls(epochs=3, on_sample=small, on_all=small, measured=2, book_epochs=1)


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
    data_options = (
        "time", "user_column", "item_column", "rating_column", "items", "scale", "users", "item_name", "unit",
    )  # fmt: skip
    measuring = ("users", "item_name", "unit")
    readme_name: ClassVar[str] = "README-data.txt"

    # --- data ---

    def load_own(self, data: str, settings: RecommendationSettings) -> Splits[Ratings]:
        """Read a table of ratings, or a folder with one and with another of the items."""
        found = read_own_ratings(Path(data), settings.own, settings.seed, settings.folds)
        one, many = name_items(settings)
        limit = f"For {many} that few people rated it relies on kind, year and who rates such {many} at all."
        summary = f"Which {one} would somebody like? Rate a few {many}, and get recommendations at once."
        return Splits(found, found, (), describe(found.data, summary, (limit,)))

    def adapt(self, settings: RecommendationSettings, splits: Splits[Ratings]) -> RecommendationSettings:
        """Return settings that suit the number of ratings, and measure one fold if that is enough."""
        data, count = splits.train, len(splits.train)
        able = int((data.table["user"].value_counts() > data.least[0]).sum())
        if data.held_out is not None or (count > FEW and able >= MANY_USERS):
            settings = replace(settings, measured=1)
        if count > FEW:
            return replace(settings, epochs=max(10, round(settings.epochs * min(1, MANY / count))))
        factors = replace(settings.on_sample, length=1, models=1, batch=max(200, min(1200, count // 5)))
        return replace(settings, epochs=40, on_all=factors, als_ridge={"all": settings.als_ridge["sample"]})

    def make_up(self, folder: Path, seed: int) -> str:
        """Write ratings of people with two tastes."""
        return str(write_ratings(folder, seed))

    # --- training ---

    def fit(self, splits: Splits[Ratings], settings: RecommendationSettings, run: Run) -> Fitted:
        """Cross-validate both kinds of model, then train the stored model on all ratings."""
        processes.end_other_processes()  # batches of whole users cannot be divided evenly
        data = splits.train
        if not data.is_own:
            users = data.table["user"].nunique()
            print(f"{len(data):,} ratings of {users:,} users for {len(data.movies):,} movies.")
        measured = self.measure_all(data, settings, run)
        tables = train_model(data.table, data.movies, settings.on_all, settings.epochs, run, "served", settings.seed)
        return Fitted(tables, measured)

    # --- measuring ---

    def measure(self, found: Answered[Ratings, RecommendationSettings]) -> dict[str, Any]:
        """Return the figures of cross-validation from training, or cross-validate if there was none."""
        measured = found.exported.measured if found.exported else self.measure_stored(found)
        for peer in measured["peers"] if found.splits.train.is_own else ():
            low, high = peer.difference_interval
            paired = f"ours minus it, paired: {peer.difference:+.4f} [{low:+.4f}, {high:+.4f}]"
            print(f"{peer.peer}: {peer.label} {peer.value:.4f}; {paired}")
        for note in measured.get("notes", ()):
            print(note)
        newcomers.print_newcomers(measured["newcomers"])
        notes = [*found.splits.description.notes, *measured.get("notes", ())]
        return {**measured, "figures": [] if found.exported else measured["figures"], "notes": notes}

    def measure_stored(self, found: Answered[Ratings, RecommendationSettings]) -> dict[str, Any]:
        """Cross-validate again.

        Raises:
            DataError: the model was trained on other ratings.
        """
        data, movies = found.splits.train, found.model.movies.values()
        counts = data.table["movie"].value_counts().reindex(data.movies.index)
        if [(movie.movie_id, movie.ratings) for movie in movies] != list(counts.items()):
            raise DataError(f"{found.model.folder} was not trained on the ratings in --data.")
        processes.end_other_processes()
        return self.measure_all(data, found.settings, found.run)

    def measure_all(self, data: Ratings, settings: RecommendationSettings, run: Run) -> dict[str, Any]:
        """Cross-validate, and measure newcomers; the run saves the states of each model."""
        held_out, predicted = cross_validate(data, settings, run)
        errors = measure_newcomers(data, settings, run)
        below, noun = newcomers.find_popularity_threshold(errors), name_items(settings, data)[1]
        table = newcomers.summarise(errors, data.data, below, settings.folds, settings.measured, noun)
        if data.is_own:
            unit = settings.own.unit or POINTS
            return compare_own(held_out, predicted, data, unit, settings.measured) | {"newcomers": table}
        stars, users = held_out["rating"].to_numpy(), held_out["user"].to_numpy()
        figures, peers = compare(stars, predicted, users, data.data, settings.folds)
        return {"figures": figures, "peers": peers, "headline": self.format_headline(figures[0]), "newcomers": table}

    def format_headline(self, figure: Figure) -> str:
        """Return the gallery's line about a demo."""
        return (
            f"off by {figure.root:.2f} stars (root mean square) on {figure.count:,} held-out ratings of its busiest "
            "users"
        )

    def update(
        self, folder: Path, found: Answered[Ratings, RecommendationSettings], measured: Mapping[str, Any]
    ) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Update the average ratings, and the number of ratings below which they are used for newcomers."""
        data = found.splits.train
        name = ITEMS if data.is_own else MOVIES
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        averages = (newcomers.average_movies(data.table, data.movies) * data.unit).round(3)
        table.assign(average=averages).to_csv(folder / name, index=False, lineterminator="\n")
        return [name], {"popularity_below": measured["newcomers"].popularity_below}

    def compute_figures(self, answers: Any, test: TestSet) -> list[Figure]:  # noqa: ARG002 - there are no test sets
        """Return no figures; see `measure`."""
        return []

    # --- storing ---

    def export(self, network: Fitted, splits: Splits[Ratings], settings: RecommendationSettings) -> Export:
        """Store the tables of the model, the movies, and the sample of ratings.

        Of a user's own data, users and ratings are stored only with --users; otherwise the only user is an average one.
        """
        tables, data = scale_tables(network.tables, splits.train.unit), splits.train
        users = np.unique(data.table["user"])
        asked = data.table.sample(min(PARITY_RATINGS, len(data)), random_state=settings.seed)
        rows = np.searchsorted(users, asked["user"])
        has_users = settings.own.users or not data.is_own
        if not has_users:
            tables.users, rows, users = torch.zeros_like(tables.users[:1]), np.zeros_like(rows), users[:0]
        inputs = {
            "user": rows.astype(np.int64),
            "movie": data.movies.index.get_indexer(asked["movie"]).astype(np.int64),
        }
        column = "item_id" if data.is_own else "movie_id"
        movies = make_movie_table(tables, data, settings.seed, column)
        lowest, highest, step = (round(value * data.unit, 6) for value in (*data.scale, data.step))
        words: dict[str, Any] = {}
        if data.is_own:
            unit = settings.own.unit or POINTS
            ordered = np.sort(movies["ratings"])[::-1]
            least = int(ordered[min(len(ordered) - 1, max(RECOMMENDED, len(ordered) // 10))])
            words = {"item": name_items(settings), "unit": unit, "step": step, "min_ratings": min(least, 20)}

        def save(folder: Path) -> None:
            movies.to_csv(folder / (ITEMS if data.is_own else MOVIES), index=False, lineterminator="\n")
            if has_users:
                sample = data.table.loc[data.table["in_sample"], ["user", "movie", "rating"]]
                sample = sample.assign(rating=(sample["rating"] * data.unit).round(6))
                sample.columns = pd.Index(["user_id", column, "rating"])
                sample.to_csv(folder / RATINGS, index=False, lineterminator="\n")
                if data.readme:
                    shutil.copyfile(data.readme, folder / self.readme_name)
            save_file(tables.state_dict(), folder / "model.safetensors")

        is_small = max(map(abs, data.scale)) <= LARGEST_HALF
        return Export(
            module=tables,
            inputs={name: torch.from_numpy(rows[:2]) for name, rows in inputs.items()},
            outputs=OUTPUTS,
            store=store_half if is_small else store_float,
            batches=[inputs],
            shown=Shown(
                f"rating in {words.get('unit', 'stars')}", np.asarray, "ratings", "ratings", typical=0.01 * data.unit
            ),
            tolerance=0.01 * max(1, data.unit),
            tolerance_float=1e-3 * max(1, data.unit),
            fields={
                "users": tuple(users.tolist()), "lowest": lowest, "highest": highest,
                "popularity_below": network.measured["newcomers"].popularity_below, **words,
            },
            free_axes={name: {0: "rows"} for name in ("user", "movie", "rating")},
            save=save,
            measured=network.measured,
        )  # fmt: skip


def name_items(settings: RecommendationSettings, data: Ratings | None = None) -> tuple[str, str]:
    """Return the noun for an item and its plural, from --item-name; of a demo's data, those are movies.

    Raises:
        DataError: it is empty.
    """
    if data is not None and not data.is_own:
        return "movie", "movies"
    one, _, many = (part.strip() for part in settings.own.item_name.partition(","))
    if not one:
        raise DataError("--item-name must be a word such as book, or two such as story,stories.")
    return one, many or f"{one}s"


def scale_tables(tables: Tables, unit: float) -> Tables:
    """Return the tables of a model for ratings in units of `unit`."""
    scaled = tables.means * unit, tables.factors * unit, tables.variances * unit**2, tables.noise * unit**2
    return Tables(scaled, tables.users)


def train_model(
    ratings: pd.DataFrame, movies: pd.DataFrame, factors: Factors, epochs: int, run: Run, name: str, seed: int
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
    epochs = max(1, round(epochs * factors.length))
    schedule = partial(learn.fit_one_cycle, epochs, factors.learning_rate, pct_start=0.15, moms=(0.9, 0.9, 0.9))
    with learn.no_bar(), learn.no_logging():
        run.fit(learn, name, schedule, seed=seed)
    return place_users(learn.model.cpu().eval(), users)


def predict(
    train: pd.DataFrame,
    movies: pd.DataFrame,
    test: pd.DataFrame,
    factors: Factors,
    epochs: int,
    run: Run,
    name: str,
    seed: int,
) -> NDArray[np.float64]:
    """Train `factors.models` models; return the mean of their predicted stars for the test ratings, (ratings,).

    A user without training ratings gets those of an average person.
    """
    users = pd.Index(np.unique(train["user"]))
    rows = users.get_indexer(test["user"])
    places = np.maximum(rows, 0), movies.index.get_indexer(test["movie"])
    found = []
    for number in range(factors.models):
        tables = train_model(train, movies, factors, epochs, run, f"{name}-{number}", seed + 1000 * number)
        with torch.inference_mode():
            stars, means, *_ = tables(*map(torch.from_numpy, places))
            stars = torch.where(torch.from_numpy(rows >= 0), stars, means[places[1]])
        found.append(stars.double().numpy())
    return np.mean(found, axis=0)


def split_folds(data: Ratings, sample: pd.DataFrame, settings: RecommendationSettings) -> list[NDArray[np.intp]]:
    """Return the rows of the sample that are held out in each measured fold."""
    if data.held_out is not None:
        return [np.flatnonzero(data.held_out)]
    folds = KFold(settings.folds, shuffle=True, random_state=settings.seed).split(sample)
    return [outside for _, outside in folds][: settings.measured]


def cross_validate(data: Ratings, settings: RecommendationSettings, run: Run) -> tuple[pd.DataFrame, Predicted]:
    """Predict ratings of the sample, or of a user's own data, with models that were not trained on them.

    Returns:
        The held-out ratings (user, movie, rating), and the predictions by kind and model, each (ratings,), in stars.
    """
    sample = data.table[data.table["in_sample"]].reset_index(drop=True)
    rest = data.table[~data.table["in_sample"]]
    folds = split_folds(data, sample, settings)
    factors = {"all": settings.on_all} if data.is_own else {"sample": settings.on_sample, "all": settings.on_all}
    found: dict[str, dict[str, NDArray[np.float64]]] = {kind: {} for kind in factors}
    steps = [(kind, fold) for kind in factors for fold in range(len(folds))]
    for kind, fold in show_progress("Cross-validation", steps):
        is_outside = np.isin(np.arange(len(sample)), folds[fold])
        inside, outside = sample[~is_outside], sample[is_outside]
        train = inside if kind == "sample" or rest.empty else pd.concat([rest, inside])
        catalogue = data.movies.loc[sorted({*train["movie"], *sample["movie"]})]
        seed = settings.seed + fold
        stars = {
            OURS: predict(train, catalogue, outside, factors[kind], settings.epochs, run, f"{kind}-{fold}", seed),
            "bias model": predict_with_biases(train, outside),
            "ridge ALS": predict_with_als(train, outside, ridge=settings.als_ridge[kind]),
        }
        if data.is_own:
            stars["mean of all ratings"] = np.full(len(outside), train["rating"].mean())
        else:
            stars["the book's cell"] = predict_with_book(train, outside, seed, settings.book_epochs)
        for name, values in stars.items():
            predicted = found[kind].setdefault(name, np.full(len(sample), np.nan))
            predicted[is_outside] = values.clip(*data.scale) * data.unit
    done = np.sort(np.concatenate(folds))
    held_out = sample.iloc[done]
    return held_out.assign(rating=held_out["rating"] * data.unit), {
        kind: {name: values[done] for name, values in of_kind.items()} for kind, of_kind in found.items()
    }


def measure_newcomers(data: Ratings, settings: RecommendationSettings, run: Run) -> pd.DataFrame:
    """Return the errors for users who are held out of training, each once; see newcomers.make_error_table."""
    rows = []
    parts = islice(newcomers.split(data.table, settings.folds, settings.seed), settings.measured)
    for fold, (new, known) in enumerate(show_progress("Held-out users", parts, settings.measured)):
        seed = settings.seed + fold
        catalogue = data.movies.loc[sorted(set(known["movie"]))]
        name = f"newcomers-{fold}"
        tables = train_model(known, catalogue, settings.on_all, settings.epochs, run, name, seed)
        rows += newcomers.measure_errors(new, tables, known, catalogue, seed, data.scale, data.least)
    errors = newcomers.make_error_table(rows)
    return errors.assign(**{name: errors[name] * data.unit**2 for name in ("taste", "popularity")})


def make_movie_table(tables: Tables, data: Ratings, seed: int, column: str) -> pd.DataFrame:
    """Return movies.csv or items.csv, with ids in this column, in the order of the model's rows."""
    movies = data.movies
    counts = data.table["movie"].value_counts().reindex(movies.index)
    mapped = np.argsort(-counts.to_numpy(), kind="stable")[:MAPPED]
    taste = tables.factors[mapped, PERSON_FACTORS:].numpy()
    taste = taste / (np.linalg.norm(taste, axis=1, keepdims=True) + 1e-12)
    places = np.full((len(movies), 2), np.nan)
    if len(mapped) >= LEAST_MAPPED:
        near = min(20, len(mapped) // 4)
        places[mapped] = TSNE(metric="cosine", perplexity=near, random_state=seed).fit_transform(taste)
    titles = pd.Series([move_article_first(title) for title in movies["title"]])
    distinct = [f"{title} [{movie}]" for title, movie in zip(titles, movies.index, strict=True)]
    return pd.DataFrame(
        {
            column: movies.index,
            "title": titles.where(~titles.duplicated(keep=False), distinct).to_numpy(),
            "genres": movies["genres"].to_numpy(),
            "ratings": counts.to_numpy(),
            "x": places[:, 0].round(1),
            "y": places[:, 1].round(1),
            "average": (newcomers.average_movies(data.table, movies) * data.unit).round(3),
        }
    )


main = partial(command.run, Recommendation())

if __name__ == "__main__":
    raise SystemExit(command.main(Recommendation()))
