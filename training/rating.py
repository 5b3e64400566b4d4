"""Movie ratings of MovieLens: the collaborative filtering model of the book's chapter 1.

    python -m training.rating --smoke            seconds, on made-up ratings
    python -m training.rating --data DIR         ratings.csv and movies.csv; half an hour with cross-validation
    python -m training.rating --recipe book      the book's own cell, beside the book's figure

Without --data, GroupLens' ml-latest-small is downloaded. Cross-validation is on a sample, the ratings of the 100 most
active users for the 100 most rated movies, which is fastai's ML_SAMPLE.
"""

from functools import partial
from pathlib import Path

import pandas as pd
from fastai.learner import Learner

from training import book, command, evaluate
from training.data import DataError, find_data, parse_numbers, read_table
from training.description import read_description
from training.ratings import newcomers
from training.ratings.movies import Ratings
from training.recipe import Splits
from training.recipes.recommendation import Recommendation, RecommendationSettings

GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
BOOK_MSE = 0.648
SAMPLE = 100  # users and movies


class MovieRatings(Recommendation):
    """The recommendation recipe on MovieLens. Cross-validation takes the place of a test set.

    One model is trained on the other folds of the sample only, another on all ratings outside the fold. The stored
    model is like the second, but trained on all ratings.
    """

    module = "training.rating"
    readme_name = "README-GroupLens.txt"

    def load(self, data: str | None, settings: RecommendationSettings) -> Splits[Ratings]:
        """Read MovieLens."""
        found = self.read(find_data(data, GROUPLENS, "ratings.csv"), settings)
        return Splits(found, found, (), read_description("rating"))

    def load_own(self, data: str, settings: RecommendationSettings) -> Splits[Ratings]:
        """Read made-up ratings in MovieLens' layout."""
        return self.load(data, settings)

    def read(self, folder: Path, settings: RecommendationSettings) -> Ratings:
        """Read and check ratings and movies."""
        path, movies_path = folder / "ratings.csv", find_data(str(folder), "", "movies.csv") / "movies.csv"
        ratings = read_table(path, ["userId", "movieId", "rating"])
        for column in ("userId", "movieId", "rating"):
            ratings[column] = parse_numbers(ratings, column, path, whole=column != "rating")
        movies = read_table(movies_path, ["movieId", "title", "genres"])
        movies["movieId"] = parse_numbers(movies, "movieId", movies_path, whole=True)
        movies = movies.fillna({"title": "?", "genres": "(no genres listed)"}).set_index("movieId")
        ratings = ratings.rename(columns={"userId": "user", "movieId": "movie"})
        low, high = Ratings.lowest, Ratings.highest
        if not ratings["rating"].between(low, high).all():
            raise DataError(f"ratings.csv: a rating lies outside {low} to {high} stars.")
        if ratings.duplicated(["user", "movie"]).any():  # one copy could be held out and the other trained on
            raise DataError("ratings.csv: a user has rated the same movie twice.")
        if movies.index.has_duplicates:
            raise DataError("movies.csv has the same movieId twice.")
        if unknown := set(ratings["movie"]) - set(movies.index):
            raise DataError(f"ratings.csv rates the movie {min(unknown)}, which is not in movies.csv.")
        newcomers.check_enough(ratings, settings.folds, settings.seed, Ratings.least[0], (path.name, "movies"))
        busiest, best_known = (ratings[column].value_counts().index[:SAMPLE] for column in ("user", "movie"))
        ratings["in_sample"] = ratings["user"].isin(busiest) & ratings["movie"].isin(best_known)
        readme = next((path for path in sorted(folder.glob("README*"))), None)
        return Ratings(ratings, movies.loc[sorted(set(ratings["movie"]))], "MovieLens ml-latest-small", readme)

    def read_book_sample(self, data: str | None, settings: RecommendationSettings) -> pd.DataFrame:
        """Read ML_SAMPLE, or the sample of the ratings in `data`: the columns user, movie and rating."""
        if data is None:
            path = find_data(None, "ML_SAMPLE", "ratings.csv") / "ratings.csv"
            columns = {"userId": "user", "movieId": "movie"}
            return read_table(path, ["userId", "movieId", "rating"]).rename(columns=columns)
        ratings = self.load(data, settings).train.table
        return ratings[ratings["in_sample"]]

    def run_book(self, data: str | None, settings: RecommendationSettings) -> Learner:
        """Run the book's cell on ML_SAMPLE, or on the sample of the ratings in --data."""
        dls = book.load_rating(self.read_book_sample(data, settings), seed=settings.seed)
        learn = book.train_rating(dls, settings.book_epochs)
        predicted, stars = learn.get_preds()
        errors = ((predicted.flatten() - stars.flatten()) ** 2).double().numpy()
        low, high = evaluate.mean_interval(errors)
        what = "mean squared error on a random fifth of the sample"
        print(f"{what}: {errors.mean():.4f} [{low:.4f}, {high:.4f}]; the book's: {BOOK_MSE}")
        return learn


main = partial(command.run, MovieRatings())

if __name__ == "__main__":
    raise SystemExit(command.main(MovieRatings()))
