"""Recommendation: what is known when a rating is predicted, newcomers, peers, and bad data."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")
from safetensors.torch import load_file

from shared import load_model
from tests.conftest import DATA
from training import command, newcomers
from training import rating as demo
from training.learner import Run
from training.made_up import write_ratings
from training.movies import reading_order
from training.networks.factor_analysis import Tables, posterior
from training.rating_baselines import bias_model, ridge_als
from training.recipes import recommendation as recipe

pytestmark = pytest.mark.training
SMOKE = recipe.RecommendationSettings.smoke()


def train(kind, *options) -> int:
    return command.main(kind(), [str(option) for option in options])


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A folder of made-up ratings, and what is read from it."""
    data = write_ratings(tmp_path_factory.mktemp("made-up") / "ratings", 42)
    return SimpleNamespace(path=data, ratings=recipe.Recommendation().load_own(str(data), SMOKE).train)


@pytest.fixture(scope="module")
def folder(made_up, tmp_path_factory):
    """A model of them."""
    out = tmp_path_factory.mktemp("rating") / "model"
    assert train(recipe.Recommendation, "--smoke", "--data", made_up.path, "--out", out) == 0
    return out


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "states", 1, resume=False)


def test_the_folder_is_complete_and_says_how_good_it_is(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "movies.csv", "ratings.csv",
        "model.safetensors", "config.json",
    }  # fmt: skip
    metrics = load_model(folder).metrics
    ours = {item.name: item.value for item in metrics.figures}
    theirs = {item.peer: item.value for item in metrics.peers}
    assert len(theirs) == 6
    assert ours["mse"] < theirs["bias model, all other ratings"]  # it learned more than means
    assert metrics.parity.rows == 5000


def own_ratings(made_up, user=5):
    table = made_up.ratings.table
    return table[table["user"] == user]


def test_folding_in_a_known_user_gives_that_users_vector(folder, made_up):
    model = load_model(folder)
    own = own_ratings(made_up)
    visitor = model.fold_in(dict(zip(own["movie"], own["rating"], strict=True)))
    for movie_id in list(model.movies)[::10]:
        assert model.predict(visitor, movie_id).rating == pytest.approx(model.predict(5, movie_id).rating, abs=0.01)


def test_held_out_ratings_are_never_known(made_up, run, monkeypatch):
    seen = []
    monkeypatch.setattr(recipe, "progress_bar", list)

    def spy(known, asked, **_):
        seen.append((known, asked))
        return np.full(len(asked), 3.0)

    for name in ("bias_model", "ridge_als"):
        monkeypatch.setattr(recipe, name, spy)
    monkeypatch.setattr(recipe, "book_model", lambda known, asked, *_: spy(known, asked))
    monkeypatch.setattr(recipe, "predict", lambda known, _, asked, *__: spy(known, asked))
    stars, found = recipe.cross_validate(made_up.ratings, SMOKE, run)
    assert len(seen) == 2 * SMOKE.folds * 4
    for known, asked in seen:
        pairs = [set(zip(table["user"], table["movie"], strict=True)) for table in (known, asked)]
        assert not pairs[0] & pairs[1]
    assert len(stars) == made_up.ratings.table["in_sample"].sum()
    assert (found["all"]["ours"] == 3).all()  # every rating of the sample was asked for


def test_newcomers_are_kept_out_and_predicted_on_the_same_ratings(made_up, run, monkeypatch):
    known_users = []

    def fake(known, movies, *_):
        known_users.append(set(known["user"]))
        count = len(movies)
        tables = torch.full((count,), 3.0), torch.zeros(count, 3), torch.zeros(count, 1), torch.ones(count)
        return Tables(tables, torch.zeros(1, 3))

    monkeypatch.setattr(recipe, "train_model", fake)
    monkeypatch.setattr(recipe, "progress_bar", list)
    errors = recipe.newcomer_errors(made_up.ratings, SMOKE, run)
    users = made_up.ratings.table["user"]
    assert len(known_users) == SMOKE.folds
    assert sorted(user for known in known_users for user in set(users) - known) == sorted(set(users))
    for least, group in errors.groupby("least"):
        assert set(group["given"]) == {n for n in newcomers.GIVEN if n <= least}
        assert (group.groupby("user")["count"].nunique() == 1).all()  # the same ratings, however many are given
        assert (group["count"] + least == group["user"].map(users.value_counts())).all()
        assert (group.groupby("user")["taste"].nunique() == 1).all()  # always 3 stars


def test_newcomers_get_popularity_until_taste_is_better():
    rows = [
        (least, user, n, 20, taste + user / 10, popularity + user / 10)
        for least in (10, 50)
        for n, taste, popularity in ((0, 1.2, 1.0), (1, 1.1, 1.0), (2, 0.8, 0.9), (10, 0.5, 0.7))
        for user in range(3)
    ]
    errors = newcomers.as_table(rows)
    below = newcomers.popularity_below(errors)
    found = newcomers.summarise(errors, "made-up ratings", below, 5)
    assert below == found.popularity_below == 2
    assert [group.users for group in found.groups] == [3, 3]
    curve = found.groups[0].curve
    assert [point.value for point in curve] == pytest.approx([1.1, 1.1, 0.9, 0.6])
    assert [point.served_by for point in curve] == ["popularity", "popularity", "taste", "taste"]
    assert curve[0].difference_value == pytest.approx(0.2)
    assert curve[0].difference_interval == pytest.approx((0.2, 0.2))
    assert curve[0].interval[0] < 1.1 < curve[0].interval[1]


def test_newcomers_are_placed_as_the_predictor_places_them(folder, made_up):
    model = load_model(folder)
    stored = load_file(folder / "model.safetensors")
    tables = Tables(tuple(stored[name] for name in ("means", "factors", "variances", "noise")), stored["users"])
    own = own_ratings(made_up)
    rows = made_up.ratings.movies.index.get_indexer(own["movie"])
    averages = np.array([movie.average for movie in model.movies.values()])
    predicted = newcomers.predict_newcomer(tables, averages, rows, own["rating"], SMOKE.scale)
    for index, given in enumerate(newcomers.GIVEN[:6]):
        visitor = model.fold_in(dict(list(zip(own["movie"], own["rating"], strict=True))[:given]))
        for kind, below in enumerate((0, 99)):
            model.config = model.config.model_copy(update={"popularity_below": below})
            served = [model.predict(visitor, movie).rating for movie in own["movie"]]
            assert served == pytest.approx(predicted[index, kind], abs=0.01)


def test_posterior_of_padded_users_is_that_of_each_alone():
    torch.manual_seed(0)
    factors, variances = torch.randn(2, 6, 5), torch.rand(2, 6, 2)
    noise, surprise = torch.rand(2, 6) + 0.5, torch.randn(2, 6)
    mask = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2])
    together, *_ = posterior(factors, variances, noise, surprise * mask, mask)
    alone, *_ = posterior(factors[1:, :4], variances[1:, :4], noise[1:, :4], surprise[1:, :4], torch.ones(1, 4))
    torch.testing.assert_close(together[1], alone[0])


def test_peers_on_ratings_they_can_explain():
    rng = np.random.default_rng(0)
    users, movies = (grid.ravel() for grid in np.meshgrid(np.arange(40), np.arange(30)))
    additive = 3 + 0.5 * np.sin(users) + 0.5 * np.cos(movies)
    bilinear = additive + np.cos(users * 1.3) * np.sin(movies * 0.7)
    for stars, peer, limit in ((additive, bias_model, 0.02), (bilinear, ridge_als, 0.05)):
        table = pd.DataFrame({"user": users, "movie": movies, "rating": stars})
        held_out = rng.random(len(table)) < 0.2
        options = {"ridge": 0.05, "factors": 3} if peer is ridge_als else {}
        predicted = peer(table[~held_out], table[held_out], **options)
        assert ((predicted - table["rating"][held_out]) ** 2).mean() < limit


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Matrix, The (1999)", "The Matrix (1999)"),
        ("Bug's Life, A (1998)", "A Bug's Life (1998)"),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura (Adventure, The) (1960)"),
        ("Big Sleep, The (1946) ", "The Big Sleep (1946)"),
        ("Good, the Bad and the Ugly, The (1966)", "The Good, the Bad and the Ugly (1966)"),
        ("Me, Myself & Irene (2000)", "Me, Myself & Irene (2000)"),
        ("Toy Story (1995)", "Toy Story (1995)"),
        ("No Year", "No Year"),
    ],
)
def test_titles_in_reading_order(title, said):
    assert reading_order(title) == said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ratings, movies: (ratings.drop(columns="rating"), movies), "lacks the column rating"),
        (lambda ratings, movies: (ratings[:0], movies), "no rows"),
        (lambda ratings, movies: (ratings.assign(rating=6), movies), "outside 0.5 to 5.0 stars"),
        (lambda ratings, movies: (ratings.assign(rating="good"), movies), "row 2: rating is no number: 'good'"),
        (lambda ratings, movies: (ratings.assign(userId="me"), movies), "row 2: userId is no whole number"),
        (lambda ratings, movies: (pd.concat([ratings, ratings[:1]]), movies), "rated the same movie twice"),
        (lambda ratings, movies: (ratings, pd.concat([movies, movies[:1]])), "the same movieId twice"),
        (lambda ratings, movies: (ratings, movies[1:]), "rates the movie 1, which movies.csv does not have"),
        (lambda ratings, movies: (ratings, movies.drop(columns="title")), "lacks the column title"),
    ],
)
def test_bad_data_is_one_sentence(made_up, tmp_path, capsys, change, message):
    ratings, movies = change(*(pd.read_csv(made_up.path / f"{name}.csv") for name in ("ratings", "movies")))
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    movies.to_csv(tmp_path / "movies.csv", index=False)
    assert train(recipe.Recommendation, "--data", tmp_path, "--out", tmp_path / "model") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.data
def test_the_sample_is_fastais():
    data = demo.MovieRatings().load(str(DATA / "movielens"), recipe.RecommendationSettings()).train
    sample = data.table[data.table["in_sample"]]
    theirs = pd.read_csv(DATA / "movielens/ratings_sample.csv")
    assert len(sample) == 6031
    assert set(zip(sample["user"], sample["movie"], strict=True)) == set(
        zip(theirs["userId"], theirs["movieId"], strict=True)
    )
    assert data.readme is not None
