"""Compare the recipe for anyone's ratings with the demo's, on MovieLens renamed as books with text ids from 1 to 10.

python -m benchmarks.own_ratings --data ../shared/data/movielens           about an hour on two cores; --resume goes on
python -m benchmarks.own_ratings --data ../shared/data/movielens --quick   few epochs of both

The recipe holds out a fifth of the ratings and measures its error. The demo's settings are then trained without these
ratings, and both errors are printed in stars.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from shared.metrics import Metrics
from training import command, evaluate
from training.learner import Run
from training.rating import MovieRatings
from training.recipes.recommendation import (
    Recommendation,
    RecommendationSettings,
    predict,
    split_folds,
)

QUICK = 3  # epochs


def rename(data: Path, folder: Path) -> Path:
    """Write the ratings as reader, book and points, and the movies as items.csv; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ratings, movies = (pd.read_csv(data / f"{name}.csv") for name in ("ratings", "movies"))
    books = {
        "reader": [f"reader {user}" for user in ratings["userId"]],
        "book": [f"b{movie}" for movie in ratings["movieId"]],
        "points": (ratings["rating"] * 2).astype(int),
    }
    pd.DataFrame(books).to_csv(folder / "ratings.csv", index=False)
    items = {"book": [f"b{movie}" for movie in movies["movieId"]], "title": movies["title"], "kinds": movies["genres"]}
    pd.DataFrame(items).to_csv(folder / "items.csv", index=False)
    return folder


def train_own(books: Path, out: Path, options: list[str]) -> float:
    """Train through the recipe; return its root mean squared error on the held-out ratings, in points."""
    command.run(Recommendation(), ["--data", str(books), "--out", str(out), "--item-name", "book", *options])
    figure = Metrics.read(out).figures[0]
    print(f"The recipe: {figure.label} {figure.value:.4f} on {figure.count:,} ratings ({figure.split}).")
    return figure.value


def main() -> None:
    """Train both, and print their errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/own-ratings"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} epochs")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    books = rename(options.data, options.out / "books")
    more = ["--epochs", str(QUICK)] * options.quick + ["--resume"] * options.resume
    points = train_own(books, options.out / "model", more)

    settings = RecommendationSettings()
    settings = replace(settings, epochs=QUICK) if options.quick else settings
    own = Recommendation().load_own(str(books), settings).train
    data = MovieRatings().load(str(options.data), settings).train
    (held_out, *_) = split_folds(own, own.table, settings)
    is_outside = np.isin(np.arange(len(data)), held_out)
    train, test = data.table[~is_outside], data.table[is_outside]
    run = Run(options.out / "demo", settings.seed, options.resume)
    stars = predict(train, data.movies, test, settings.on_all, settings.epochs, run, "all-0", settings.seed)
    errors = (stars.clip(*data.scale) - test["rating"].to_numpy()) ** 2
    low, high = evaluate.mean_interval(errors)
    print(f"The demo: mean squared error {errors.mean():.4f} stars² [{low:.4f}, {high:.4f}] on the same ratings.")
    print(f"The recipe, in stars: {(points / 2) ** 2:.4f}, which is {(points / 2) ** 2 / errors.mean() - 1:+.2%}.")


if __name__ == "__main__":
    main()
