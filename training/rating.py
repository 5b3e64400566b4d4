"""Movie ratings of MovieLens: the collaborative filtering model of the book's chapter 1.

    python -m training.rating --smoke            seconds, on made-up ratings
    python -m training.rating --data DIR         ratings.csv and movies.csv; 40 minutes with cross-validation
    python -m training.rating --recipe book      the book's own cell, beside the book's figure

Without --data, GroupLens' ml-latest-small is downloaded. Cross-validation is on a sample, the ratings of the 100 most
active users for the 100 most rated movies, which is fastai's ML_SAMPLE.
"""

from functools import partial

from fastai.learner import Learner

from training import book, command, evaluate
from training.data import find_data, read_table
from training.description import read_description
from training.recipe import Splits
from training.recipes.recommendation import Ratings, Recommendation, RecommendationSettings

GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
BOOK_MSE = 0.648


class MovieRatings(Recommendation):
    """The recommendation recipe on MovieLens."""

    module = "training.rating"
    readme_name = "README-GroupLens.txt"

    def load(self, data: str | None, settings: RecommendationSettings) -> Splits[Ratings]:
        """Read MovieLens."""
        folder = find_data(data, GROUPLENS, "ratings.csv")
        return self.read(folder, "MovieLens ml-latest-small", settings, read_description("rating"))

    def run_book(self, data: str | None, settings: RecommendationSettings) -> Learner:
        """Run the book's cell on ML_SAMPLE, or on the sample of the ratings in --data."""
        if data is None:
            path = find_data(None, "ML_SAMPLE", "ratings.csv") / "ratings.csv"
            columns = {"userId": "user", "movieId": "movie"}
            sample = read_table(path, ["userId", "movieId", "rating"]).rename(columns=columns)
        else:
            ratings = self.load(data, settings).train.table
            sample = ratings[ratings["in_sample"]]
        learn = book.train_rating(sample, settings.book_epochs, seed=settings.seed)
        predicted, stars = learn.get_preds()
        errors = ((predicted.flatten() - stars.flatten()) ** 2).double().numpy()
        low, high = evaluate.mean_interval(errors)
        what = "mean squared error on a random fifth of the sample"
        print(f"{what}: {errors.mean():.4f} [{low:.4f}, {high:.4f}]; the book's: {BOOK_MSE}")
        return learn


main = partial(command.run, MovieRatings())

if __name__ == "__main__":
    raise SystemExit(command.main(MovieRatings()))
