"""Measure what each trick of two recipes buys: train them again without it, at small size.

    python -m benchmarks.ablation [--data DIR] [--seeds 3] [--smoke] [--out FILE]

DIR is a folder with adult/ and movielens/; without it, the data is downloaded. For each seed, salary draws 10,000
people of adult.csv to train on and as many others to measure on, and rating holds a fifth of its sample out; the
official test file of Adult is not read. All variants of a seed have the same split, so their scores can be subtracted.
Figures differ from those of the model cards, whose models are trained on all rows. docs/book.md shows the tables.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from benchmarks.chapter import ONE, Ablation
from benchmarks.serving import describe_conditions
from shared.console import guard_output
from training.data import find_data
from training.learner import Run
from training.rating import GROUPLENS, MovieRatings
from training.ratings.baselines import predict_with_biases, predict_with_book
from training.ratings.movies import Ratings
from training.recipes.recommendation import Factors, RecommendationSettings, predict
from training.recipes.tabular import compute_outputs
from training.salary import BOOK_COLUMNS, Salary, SalarySettings
from training.tables.adult import COLUMNS, make_book_table, read_people
from training.tables.baselines import score_book_cell
from training.tables.rows import Rows
from training.tables.targets import TwoLabels

PEOPLE = 10_000  # to train on, and as many to measure on
WITHOUT_GENRES = {"title": "?", "genres": "(no genres listed)"}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", type=Path, help="with adult/ and movielens/ in it")
    parser.add_argument("--seeds", metavar="N", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="take seconds, on made-up data; the figures mean nothing")
    parser.add_argument("--out", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    tables = [ablate(options, range(options.seeds)) for ablate in (ablate_salary, ablate_rating)]
    for table in tables:
        print(f"\n{table.format()}")
    if options.out:
        given = sys.argv[1:] if arguments is None else arguments
        found = {
            "command": " ".join(["python -m benchmarks.ablation", *describe_options(given)]),
            **describe_conditions(),
            "seeds": list(range(options.seeds)),
            "seconds": round(time.monotonic() - began),
            "tables": [asdict(table) for table in tables],
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n")


def describe_options(given: Sequence[str]) -> list[str]:
    """Return the options of the command, with DIR for the folder of the data, which may be private."""
    return ["DIR" if before == "--data" else word for before, word in zip(["", *given], given, strict=False)]


def find_people(options: argparse.Namespace, folder: Path) -> Rows:
    """Read adult.csv; with --smoke, make people up, in a folder."""
    if options.smoke:
        return read_people(Path(Salary().make_up(folder, 0)))
    found = find_data(options.data and str(options.data / "adult"), "ADULT_SAMPLE", "adult.csv")
    return read_people(found / "adult.csv")


def ablate_salary(options: argparse.Namespace, seeds: Sequence[int]) -> Ablation:
    """Train salary without one trick at a time; score the accuracy."""
    settings = SalarySettings.smoke() if options.smoke else SalarySettings()
    with tempfile.TemporaryDirectory() as folder:
        people = find_people(options, Path(folder))
        size = min(PEOPLE, len(people) // 2)
        scores: dict[str, list[float]] = {}
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(len(people))
            train, test = people.take(order[:size]), people.take(order[size : 2 * size])
            for what, score in score_salary(train, test, settings, Path(folder), seed).items():
                scores.setdefault(what, []).append(score)
                print(f"seed {seed}: {what}: {score:.4f}", file=sys.stderr, flush=True)
    return Ablation("salary", "accuracy, higher is better", "adult.csv of UCI Adult", size, size, scores)


def score_salary(train: Rows, test: Rows, settings: SalarySettings, folder: Path, seed: int) -> dict[str, float]:
    """Return the accuracy of each variant of salary for one seed."""
    recipe, target = Salary(), TwoLabels()
    splits = recipe.describe(train, test, ("UCI Adult", "held out"))
    rows = pd.DataFrame(splits.tests[0].inputs)

    def train_networks(count: int, **changes: Any) -> list[NDArray[np.float64]]:
        """Train networks with other settings; return where the first one is right, and where their average is."""
        chosen = replace(settings, **changes)
        config = recipe.describe_columns(splits, chosen)
        run = Run(folder / "states", seed, resume=False)
        fit = partial(recipe.fit_network, train, target, config, chosen, run)
        networks = [fit(f"net-{index}", 1000 * seed + index) for index in range(count)]
        return [(compute_outputs(target.average(networks[:some]), config, rows) >= 0) == test.y for some in (1, count)]

    count = max(2, settings.networks)
    one, several = train_networks(count)
    few = tuple(set(COLUMNS) - set(BOOK_COLUMNS))
    variants = {
        f"{count} networks, averaged: the gallery's recipe": several,
        ONE: one,
        "with one member instead of an ensemble of members": train_networks(1, members=1)[0],
        "without an embedding for each capital gain and loss": train_networks(1, exact=())[0],
        "without weight decay": train_networks(1, weight_decay=0.0)[0],
        "with the level of education as a name, not in order": train_networks(1, ordered=())[0],
        "with the book's inputs alone": train_networks(1, ignored=(*settings.ignored, *few))[0],
    }
    ours = [name for name in COLUMNS if name not in settings.ignored]
    for what, columns in (("the book's cell, on our 12 columns", ours), ("the book's cell", BOOK_COLUMNS)):
        cell = score_book_cell(make_book_table(train), splits.tests[0], columns, [seed], settings.book_epochs)
        variants[what] = cell[0]
    return {what: float(np.mean(right)) for what, right in variants.items()}


def ablate_rating(options: argparse.Namespace, seeds: Sequence[int]) -> Ablation:
    """Train rating on its sample alone without one trick at a time; score the mean squared error."""
    settings = RecommendationSettings.smoke() if options.smoke else RecommendationSettings()
    recipe = MovieRatings()
    with tempfile.TemporaryDirectory() as folder:
        if options.smoke:
            place = Path(recipe.make_up(Path(folder), 0))
        else:
            place = find_data(options.data and str(options.data / "movielens"), GROUPLENS, "ratings.csv")
        data = recipe.read(place, settings)
        sample = data.table[data.table["in_sample"]].reset_index(drop=True)
        scores: dict[str, list[float]] = {}
        for seed in seeds:
            inside, outside = next(iter(KFold(5, shuffle=True, random_state=seed).split(sample)))
            parts = sample.iloc[inside], sample.iloc[outside]
            for what, score in score_rating(*parts, data, settings, Path(folder), seed).items():
                scores.setdefault(what, []).append(score)
                print(f"seed {seed}: {what}: {score:.4f}", file=sys.stderr, flush=True)
    where = "the sample of MovieLens ml-latest-small"
    return Ablation("rating", "mean squared error, lower is better", where, len(inside), len(outside), scores)


def score_rating(
    train: pd.DataFrame,
    test: pd.DataFrame,
    data: Ratings,
    settings: RecommendationSettings,
    folder: Path,
    seed: int,
) -> dict[str, float]:
    """Return the mean squared error of each variant of rating for one seed."""
    movies = data.movies.loc[sorted(set(data.table.loc[data.table["in_sample"], "movie"]))]
    run, full = Run(folder / "states", seed, resume=False), settings.on_sample
    single = replace(full, models=1)

    def train_models(factors: Factors, features: pd.DataFrame = movies) -> NDArray[np.float64]:
        return predict(train, features, test, factors, settings.epochs, run, "model", seed)

    several, plain = replace(full, models=max(2, full.models)), movies.assign(**WITHOUT_GENRES)
    variants = {
        f"{several.models} networks, averaged: the gallery's recipe": train_models(several),
        ONE: train_models(single),
        "without learned tastes": train_models(replace(single, factors=0)),
        "without features of who rated what": train_models(replace(single, corating=0)),
        "without genres and years": train_models(single, plain),
        "without any features of movies": train_models(replace(single, corating=0), plain),
        "with priors a tenth as strong": train_models(
            replace(single, precisions=tuple(precision / 10 for precision in full.precisions))
        ),
        "the book's cell": predict_with_book(train, test, seed, settings.book_epochs),
        "no network: the means of users and movies": predict_with_biases(train, test),
    }
    stars = test["rating"].to_numpy()
    return {what: float(np.mean((given.clip(*data.scale) - stars) ** 2)) for what, given in variants.items()}


if __name__ == "__main__":
    guard_output()
    main()
