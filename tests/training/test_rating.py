"""The rating demo: the sample of MovieLens, and the book's cell."""

import re

import pandas as pd
import pytest

pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from tests.conftest import DATA
from training import command
from training.rating import MovieRatings
from training.recipes.recommendation import RecommendationSettings

pytestmark = pytest.mark.training


@pytest.mark.data
def test_the_sample_equals_fastais_ml_sample():
    data = MovieRatings().load(str(DATA / "movielens"), RecommendationSettings()).train
    sample = data.table[data.table["in_sample"]]
    theirs = pd.read_csv(DATA / "movielens/ratings_sample.csv")
    assert len(sample) == 6031
    assert set(zip(sample["user"], sample["movie"], strict=True)) == set(
        zip(theirs["userId"], theirs["movieId"], strict=True)
    )
    assert data.readme == DATA / "movielens/README-GroupLens.txt"  # whose terms want it to travel along


def test_the_figure_of_the_books_cell_is_its_own_validation_loss(tmp_path, capsys):
    options = ["--recipe", "book", "--smoke", "--out", str(tmp_path / "model")]
    assert command.main(MovieRatings(), options) == 0
    printed = capsys.readouterr().out
    assert "the book's: 0.648" in printed
    figure = float(printed.split("of the sample: ")[1].split()[0])
    losses = [float(line.split()[2]) for line in printed.splitlines() if re.match(r"\d+ +\d+\.\d+ +\d+\.\d+", line)]
    assert figure == pytest.approx(losses[-1], abs=1e-3)
