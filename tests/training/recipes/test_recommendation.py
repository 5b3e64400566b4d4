"""Recommendation: what is known when a rating is predicted, newcomers, peers, measuring again, and bad data."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")
from safetensors.torch import load_file

from shared import load_model
from shared.config import fingerprint
from training import command
from training.learner import KeepState, Run
from training.made_up import write_ratings
from training.networks.factor_analysis import Tables, compute_posterior
from training.rating import MovieRatings
from training.ratings import newcomers
from training.ratings.baselines import predict_with_als, predict_with_biases
from training.ratings.cross_validation import bootstrap_over_users, compare
from training.ratings.movies import move_article_first
from training.recipes import recommendation as recipe
from training.states import count_epochs

pytestmark = pytest.mark.training
SMOKE = recipe.RecommendationSettings.smoke()
ALL_FOLDS = replace(SMOKE, measured=SMOKE.folds)


def train(kind, *options) -> int:
    return command.main(kind(), [str(option) for option in options])


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A folder of made-up ratings, and the ratings read from it."""
    data = write_ratings(tmp_path_factory.mktemp("made-up") / "ratings", 42)
    (data / "README.txt").write_text("Terms of use")
    return SimpleNamespace(path=data, ratings=MovieRatings().load(str(data), SMOKE).train)


@pytest.fixture(scope="module")
def folder(made_up, tmp_path_factory):
    """A model trained on the made-up ratings."""
    out = tmp_path_factory.mktemp("rating") / "model"
    assert train(MovieRatings, "--smoke", "--data", made_up.path, "--out", out) == 0
    return out


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "states", 1, resume=False)


def test_the_folder_is_complete_and_says_how_good_it_is(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "movies.csv", "ratings.csv",
        "model.safetensors", "config.json", "README-GroupLens.txt",
    }  # fmt: skip
    assert (folder / "README-GroupLens.txt").read_text() == "Terms of use"  # which travel with the ratings
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


def test_no_model_trains_on_held_out_ratings(made_up, run, monkeypatch):
    seen = []
    monkeypatch.setattr(recipe, "show_progress", lambda _, steps: steps)

    def spy(train, test, **_):
        seen.append((train, test))
        return np.full(len(test), 3.0)

    for name in ("predict_with_biases", "predict_with_als"):
        monkeypatch.setattr(recipe, name, spy)
    monkeypatch.setattr(recipe, "predict_with_book", lambda train, test, *_: spy(train, test))
    monkeypatch.setattr(recipe, "predict", lambda train, _, test, *__: spy(train, test))
    stars, found = recipe.cross_validate(made_up.ratings, ALL_FOLDS, run)
    assert len(seen) == 2 * SMOKE.folds * 4
    for train, test in seen:
        pairs = [set(zip(table["user"], table["movie"], strict=True)) for table in (train, test)]
        assert not pairs[0] & pairs[1]
    assert len(stars) == made_up.ratings.table["in_sample"].sum()
    assert (found["all"]["ours"] == 3).all()  # every rating of the sample was predicted


def test_newcomers_are_held_out_and_predicted_on_the_same_ratings(made_up, run, monkeypatch):
    known_users = []

    def fake(known, movies, *_):
        known_users.append(set(known["user"]))
        count = len(movies)
        tables = torch.full((count,), 3.0), torch.zeros(count, 3), torch.zeros(count, 1), torch.ones(count)
        return Tables(tables, torch.zeros(1, 3))

    monkeypatch.setattr(recipe, "train_model", fake)
    monkeypatch.setattr(recipe, "show_progress", lambda _, parts, __: parts)
    errors = recipe.measure_newcomers(made_up.ratings, ALL_FOLDS, run)
    users = made_up.ratings.table["user"]
    assert len(known_users) == SMOKE.folds
    assert sorted(user for known in known_users for user in set(users) - known) == sorted(set(users))
    for least, group in errors.groupby("least"):
        assert set(group["given"]) == {n for n in newcomers.GIVEN if n <= least}
        assert (group.groupby("user")["count"].nunique() == 1).all()  # the same ratings, however many are given
        assert (group["count"] + least == group["user"].map(users.value_counts())).all()
        assert (group.groupby("user")["taste"].nunique() == 1).all()  # always 3 stars


def test_newcomers_are_served_by_popularity_until_taste_is_better():
    rows = [
        (least, user, n, 20, taste + user / 10, popularity + user / 10)
        for least in (10, 50)
        for n, taste, popularity in ((0, 1.2, 1.0), (1, 1.1, 1.0), (2, 0.8, 0.9), (10, 0.5, 0.7))
        for user in range(3)
    ]
    errors = newcomers.make_error_table(rows)
    below = newcomers.find_popularity_threshold(errors)
    found = newcomers.summarise(errors, "made-up ratings", below, 5, 5, "movies")
    assert below == found.popularity_below == 2
    assert [group.users for group in found.groups] == [3, 3]
    curve = found.groups[0].curve
    assert [point.value for point in curve] == pytest.approx([1.1, 1.1, 0.9, 0.6])
    assert [point.served_by for point in curve] == ["popularity", "popularity", "taste", "taste"]
    assert curve[0].difference_value == pytest.approx(0.2)
    assert curve[0].difference_interval == pytest.approx((0.2, 0.2))
    assert curve[0].interval[0] < 1.1 < curve[0].interval[1]


def test_a_peer_is_compared_on_the_same_ratings():
    stars, users = np.array([4.0, 3.0, 5.0, 1.0]), np.array([1, 1, 2, 2])
    ours, theirs = stars + np.array([0.5, -0.5, 1.0, 0.0]), stars + 1.0
    figures, peers = compare(stars, {kind: {"ours": ours, "peer": theirs} for kind in ("all", "sample")}, users, "x", 5)
    assert [figure.name for figure in figures] == ["mse", "mse_sample_only"]
    assert [peer.name for peer in peers] == ["mse", "mse_sample_only"]
    for figure, peer in zip(figures, peers, strict=True):
        assert (figure.value, figure.count, figure.root) == (0.375, 4, round(0.375**0.5, 6))
        assert (peer.value, peer.difference) == (1.0, -0.625)
        for low, high in (peer.difference_interval, peer.difference_interval_over_users):
            assert low < -0.625 < high
            assert (low, high) == (round(low, 6), round(high, 6))


def test_an_interval_over_users_draws_whole_users():
    users = np.repeat(np.arange(50), 20)
    of_user = np.random.default_rng(0).normal(size=50)
    low, high = bootstrap_over_users(of_user[users], users)
    assert high - low == pytest.approx(2 * 1.96 * of_user.std() / 50**0.5, rel=0.15)  # 50 values, not 1,000


def test_newcomers_are_placed_as_the_predictor_places_them(folder, made_up):
    model = load_model(folder)
    stored = load_file(folder / "model.safetensors")
    tables = Tables(tuple(stored[name] for name in ("means", "factors", "variances", "noise")), stored["users"])
    own = own_ratings(made_up)
    rows = made_up.ratings.movies.index.get_indexer(own["movie"])
    averages = np.array([movie.average for movie in model.movies.values()])
    predicted = newcomers.predict_newcomer(tables, averages, rows, own["rating"], made_up.ratings.scale)
    for index, given in enumerate(newcomers.GIVEN[:6]):
        visitor = model.fold_in(dict(list(zip(own["movie"], own["rating"], strict=True))[:given]))
        for kind, below in enumerate((0, 99)):
            model.config = model.config.model_copy(update={"popularity_below": below})
            served = [model.predict(visitor, movie).rating for movie in own["movie"]]
            assert served == pytest.approx(predicted[index, kind], abs=0.01)


def test_measuring_again_gives_the_same_figures_and_the_averages_for_newcomers(folder, made_up, tmp_path, capsys):
    again = shutil.copytree(folder, tmp_path / "model")
    options = ("--smoke", "--data", made_up.path, "--out", again, "--measure", again)
    whole = load_model(folder)
    (again / "metrics.json").write_text("{}")
    assert train(MovieRatings, *options) == 2  # its hash is wrong
    assert "metrics.json is damaged" in capsys.readouterr().err
    (again / "metrics.json").unlink()  # from here on a folder of before newcomers were measured
    config = json.loads((again / "gallery.json").read_text())
    table = pd.read_csv(again / "movies.csv")
    table.drop(columns="average").to_csv(again / "movies.csv", index=False, lineterminator="\n")
    config["files"]["movies.csv"] |= fingerprint(again / "movies.csv")
    del config["files"]["metrics.json"], config["popularity_below"]
    (again / "gallery.json").write_text(json.dumps(config))
    (again / "model.safetensors").unlink()  # as in a Space
    assert train(MovieRatings, *options) == 0
    after = load_model(again)
    for name in ("figures", "peers", "newcomers", "headline"):
        assert getattr(after.metrics, name) == getattr(whole.metrics, name)
    for name in ("movies.csv", "onnx/model.onnx", "README-GroupLens.txt"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert after.config.popularity_below == whole.config.popularity_below
    assert after.config.files["model.safetensors"] == whole.config.files["model.safetensors"]
    assert "get predictions by taste" in (again / "README.md").read_text()


def test_a_folder_made_from_other_ratings_is_not_measured(folder, tmp_path, capsys):
    other = write_ratings(tmp_path / "other", 1)
    before = (folder / "metrics.json").read_bytes()
    options = ("--smoke", "--data", other, "--out", tmp_path / "model", "--measure", folder)
    assert train(MovieRatings, *options) == 2
    assert "was not trained on the ratings" in capsys.readouterr().err
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(("more", "epochs"), [(("--epochs", 3), 3), (("--smoke",), SMOKE.epochs)])
def test_an_own_model_is_measured_again_with_the_settings_of_its_training(made_up, tmp_path, monkeypatch, more, epochs):
    seen, measure_all = [], recipe.Recommendation.measure_all

    def measure_quickly(self, data, settings, run):
        seen.append(settings)
        return measure_all(self, data, SMOKE, run)

    monkeypatch.setattr(recipe.Recommendation, "measure_all", measure_quickly)
    given = ("--data", made_up.path, "--out", tmp_path / "model", *more)
    assert train(recipe.Recommendation, *given) == 0
    assert train(recipe.Recommendation, *given, "--measure", tmp_path / "model") == 0
    assert seen[0] == seen[1]
    assert seen[0].epochs == epochs


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(made_up, tmp_path, monkeypatch):
    data = made_up.ratings

    def trained(state, resume):
        run = Run(tmp_path / state, 1, resume)
        return recipe.train_model(data.table, data.movies, SMOKE.on_all, SMOKE.epochs, run, "served", 1).state_dict()

    seed_epoch = KeepState.before_epoch

    def stop_in_the_second_epoch(self):
        if self.epoch == 1:
            raise KeyboardInterrupt
        seed_epoch(self)

    whole = trained("whole", resume=False)
    with monkeypatch.context() as patch:
        patch.setattr(KeepState, "before_epoch", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            trained("cut", resume=False)
    assert count_epochs(tmp_path / "cut/served") == 1
    resumed = trained("cut", resume=True)
    assert all(torch.equal(resumed[name], table) for name, table in whole.items())


def test_posterior_of_padded_users_is_that_of_each_alone():
    torch.manual_seed(0)
    factors, variances = torch.randn(2, 6, 5), torch.rand(2, 6, 2)
    noise, surprise = torch.rand(2, 6) + 0.5, torch.randn(2, 6)
    mask = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2])
    together, *_ = compute_posterior(factors, variances, noise, surprise * mask, mask)
    alone, *_ = compute_posterior(factors[1:, :4], variances[1:, :4], noise[1:, :4], surprise[1:, :4], torch.ones(1, 4))
    torch.testing.assert_close(together[1], alone[0])


def test_peers_predict_ratings_that_follow_their_model():
    rng = np.random.default_rng(0)
    users, movies = (grid.ravel() for grid in np.meshgrid(np.arange(40), np.arange(30)))
    additive = 3 + 0.5 * np.sin(users) + 0.5 * np.cos(movies)
    bilinear = additive + np.cos(users * 1.3) * np.sin(movies * 0.7)
    for stars, peer, limit in ((additive, predict_with_biases, 0.02), (bilinear, predict_with_als, 0.05)):
        table = pd.DataFrame({"user": users, "movie": movies, "rating": stars})
        held_out = rng.random(len(table)) < 0.2
        options = {"ridge": 0.05, "factors": 3} if peer is predict_with_als else {}
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
def test_articles_of_titles_move_to_the_front(title, said):
    assert move_article_first(title) == said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ratings, movies: (ratings.drop(columns="rating"), movies), "lacks the column rating"),
        (lambda ratings, movies: (ratings[:0], movies), "no rows"),
        (lambda ratings, movies: (ratings.assign(rating=6), movies), "outside 0.5 to 5.0 stars"),
        (lambda ratings, movies: (ratings.assign(rating="good"), movies), "row 2: rating is not a number: 'good'"),
        (lambda ratings, movies: (ratings.assign(userId="me"), movies), "row 2: userId is not a whole number"),
        (lambda ratings, movies: (pd.concat([ratings, ratings[:1]]), movies), "rated the same movie twice"),
        (lambda ratings, movies: (ratings, pd.concat([movies, movies[:1]])), "the same movieId twice"),
        (lambda ratings, movies: (ratings, movies[1:]), "rates the movie 1, which is not in movies.csv"),
        (lambda ratings, movies: (ratings, movies.drop(columns="title")), "lacks the column title"),
        (lambda ratings, movies: (ratings[ratings["userId"] < 5], movies), "at least 5 users"),
        (lambda ratings, movies: (ratings[ratings["movieId"] < 28], movies), "rated more than 10 movies that others"),
    ],
)
def test_bad_data_gets_an_error_message(made_up, tmp_path, capsys, change, message):
    ratings, movies = change(*(pd.read_csv(made_up.path / f"{name}.csv") for name in ("ratings", "movies")))
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    movies.to_csv(tmp_path / "movies.csv", index=False)
    assert train(MovieRatings, "--data", tmp_path, "--out", tmp_path / "model") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_folder_without_ratings_gets_an_error_message(made_up, tmp_path, capsys):
    shutil.copy(made_up.path / "ratings.csv", tmp_path)
    for data, message in (
        (made_up.path / "ratings.csv", "There is no ratings.csv in"),
        (tmp_path, "There is no movies.csv in"),
    ):
        assert train(MovieRatings, "--data", data, "--out", tmp_path / "model") == 2
        assert message in capsys.readouterr().err
