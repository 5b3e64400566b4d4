"""The rating script from made-up stars to a folder that serves, and training against serving arithmetic."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.rating_peers import bias_model, ridge_als

from shared import load_model
from training import rating as script
from training.learner import command

pytestmark = pytest.mark.training


def train(*options):
    return command(script.run, script.command_line(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("rating") / "model"
    assert train("--smoke", "--out", out) == 0
    return out


def test_the_folder_is_complete_and_says_how_good_it_is(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "movies.csv", "ratings.csv",
        "model.safetensors", "config.json",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    ours = {item["name"]: item["value"] for item in metrics["figures"]}
    theirs = {item["peer"]: item["value"] for item in metrics["peers"]}
    assert len(theirs) == 6
    assert ours["mse"] < theirs["bias model, all other ratings"]  # it learned more than means
    assert metrics["parity"]["rows"] == 5000


def test_folding_in_a_known_user_gives_that_users_vector(folder):
    model = load_model(folder)
    ratings, _ = script.made_up(42)
    own = ratings[ratings["userId"] == 5]
    visitor = model.fold_in(dict(zip(own["movieId"], own["rating"], strict=True)))
    for movie_id in list(model.movies)[::10]:
        assert model.predict(visitor, movie_id).rating == pytest.approx(model.predict(5, movie_id).rating, abs=0.01)


def test_held_out_ratings_are_never_known(monkeypatch, tmp_path):
    import argparse

    seen = []
    monkeypatch.setattr(script, "progress_bar", list)
    for name in ("bias_model", "ridge_als"):
        monkeypatch.setattr(
            script, name, lambda known, asked, **_: seen.append((known, asked)) or np.full(len(asked), 3.0)
        )
    monkeypatch.setattr(script, "book_model", lambda _, asked, *__, **___: np.full(len(asked), 3.0))
    monkeypatch.setattr(
        script, "predict", lambda known, _, asked, *__: seen.append((known, asked)) or np.full(len(asked), 3.0)
    )
    options = argparse.Namespace(smoke=True, seed=1, data=None, resume=False)
    ratings, movies, _ = script.load(options)
    stars, found = script.cross_validate(ratings, movies, options, tmp_path)
    assert len(seen) >= 2 * 5 * 3
    for known, asked in seen:
        pairs = [set(zip(table["user"], table["movie"], strict=True)) for table in (known, asked)]
        assert not pairs[0] & pairs[1]
    assert len(stars) == ratings["in_sample"].sum()
    assert (found["all"]["ours"] == 3).all()  # every rating of the sample was asked for


def test_newcomers_are_kept_out_and_judged_on_the_same_ratings(monkeypatch, tmp_path):
    import argparse

    known_users = []

    def fake(known, movies, *_):
        known_users.append(set(known["user"]))
        count = len(movies)
        tables = torch.full((count,), 3.0), torch.zeros(count, 3), torch.zeros(count, 1), torch.ones(count)
        return script.Tables(tables, torch.zeros(1, 3))

    monkeypatch.setattr(script, "train", fake)
    monkeypatch.setattr(script, "progress_bar", list)
    options = argparse.Namespace(smoke=True, seed=1, data=None, resume=False)
    ratings, movies, _ = script.load(options)
    errors = script.newcomer_errors(ratings, movies, options, tmp_path)
    everybody = set(ratings["user"])
    assert len(known_users) == script.FOLDS
    assert sorted(user for known in known_users for user in everybody - known) == sorted(everybody)
    for most, group in errors.groupby("most"):
        assert set(group["given"]) == {n for n in script.GIVEN if n <= most}
        assert (group.groupby("user")["count"].nunique() == 1).all()  # the same ratings, however many are given
        assert (group["count"] + most == group["user"].map(ratings["user"].value_counts())).all()
        assert (group.groupby("user")["taste"].nunique() == 1).all()  # always 3 stars


def test_newcomers_get_popularity_until_taste_is_better():
    rows = [
        (most, user, n, 20, taste + user / 10, popularity + user / 10)
        for most in (10, 50)
        for n, taste, popularity in ((0, 1.2, 1.0), (1, 1.1, 1.0), (2, 0.8, 0.9), (10, 0.5, 0.7))
        for user in range(3)
    ]
    errors = pd.DataFrame(rows, columns=["most", "user", "given", "count", "taste", "popularity"])
    below, found = script.newcomer_curves(errors, "made-up ratings")
    assert below == found["popularity_below"] == 2
    assert [group["users"] for group in found["groups"]] == [3, 3]
    curve = found["groups"][0]["curve"]
    assert [point["value"] for point in curve] == pytest.approx([1.1, 1.1, 0.9, 0.6])
    assert [point["served_by"] for point in curve] == ["popularity", "popularity", "taste", "taste"]
    assert curve[0]["difference_value"] == pytest.approx(0.2)
    assert curve[0]["difference_interval"] == pytest.approx([0.2, 0.2])
    assert curve[0]["interval"][0] < 1.1 < curve[0]["interval"][1]


def test_newcomers_are_placed_as_the_predictor_places_them(folder):
    from safetensors.torch import load_file

    model = load_model(folder)
    stored = load_file(folder / "model.safetensors")
    tables = script.Tables(tuple(stored[name] for name in ("means", "factors", "variances", "noise")), stored["users"])
    ratings, movies = script.made_up(42)
    own = ratings[ratings["userId"] == 5]
    rows = movies.index.get_indexer(own["movieId"])
    averages = np.array([movie.average for movie in model.movies.values()])
    predicted = script.newcomer_predictions(tables, averages, rows, own["rating"])
    for index, given in enumerate(script.GIVEN[:6]):
        visitor = model.fold_in(dict(list(zip(own["movieId"], own["rating"], strict=True))[:given]))
        for kind, below in enumerate((0, 99)):
            model.config = model.config.model_copy(update={"popularity_below": below})
            served = [model.predict(visitor, movie).rating for movie in own["movieId"]]
            assert served == pytest.approx(predicted[index, kind], abs=0.01)


def test_newcomers_of_a_folder_that_is_there_are_measured_alone(folder, tmp_path, capsys):
    again = shutil.copytree(folder, tmp_path / "again")
    whole = json.loads((folder / "metrics.json").read_text())
    bare = {name: value for name, value in whole.items() if name != "newcomers"}
    (again / "metrics.json").write_text(json.dumps(bare))
    assert train("--smoke", "--newcomers", again) == 2  # its hash is wrong
    assert "metrics.json is damaged" in capsys.readouterr().err
    (again / "metrics.json").write_bytes((folder / "metrics.json").read_bytes())
    (again / "model.safetensors").unlink()  # as in a Space
    assert train("--smoke", "--newcomers", again) == 0
    after = json.loads((again / "metrics.json").read_text())
    assert after["newcomers"].pop("measured")["command"].startswith("python -m training.rating --smoke --newcomers")
    assert after == whole
    contracts = [json.loads((path / "gallery.json").read_text()) for path in (folder, again)]
    assert contracts[0]["files"]["model.safetensors"] == contracts[1]["files"]["model.safetensors"]
    model = load_model(again)
    assert model.config.popularity_below == whole["newcomers"]["popularity_below"]
    assert "for a newcomer" in (again / "README.md").read_text()


def test_newcomers_of_a_folder_of_other_ratings_are_refused(folder, capsys):
    assert train("--smoke", "--seed", 1, "--newcomers", folder) == 2
    assert "was trained on other ratings" in capsys.readouterr().err


def test_posterior_of_padded_users_is_that_of_each_alone():
    torch.manual_seed(0)
    factors, variances = torch.randn(2, 6, 5), torch.rand(2, 6, 2)
    noise, surprise = torch.rand(2, 6) + 0.5, torch.randn(2, 6)
    mask = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2])
    together, *_ = script.posterior(factors, variances, noise, surprise * mask, mask)
    alone, *_ = script.posterior(factors[1:, :4], variances[1:, :4], noise[1:, :4], surprise[1:, :4], torch.ones(1, 4))
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
    assert script.reading_order(title) == said


def test_book_recipe_prints_its_figure_beside_the_books(capsys):
    assert train("--smoke", "--recipe", "book") == 0
    printed = capsys.readouterr().out
    assert "the book's: 0.648" in printed
    # fastai's own validation loss, in its table above, is the same figure.
    figure = float(printed.split("of the sample: ")[1].split()[0])
    losses = [float(line.split()[2]) for line in printed.splitlines() if re.match(r"\d+ +\d+\.\d+ +\d+\.\d+", line)]
    assert figure == pytest.approx(losses[-1], abs=1e-3)


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
def test_bad_data_is_one_sentence(tmp_path, capsys, change, message):
    ratings, movies = script.made_up(0)
    ratings, movies = change(ratings, movies.reset_index())
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    movies.to_csv(tmp_path / "movies.csv", index=False)
    assert train("--data", tmp_path, "--out", tmp_path / "model") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.data
def test_the_sample_is_fastais():
    import argparse

    from tests.conftest import DATA

    ratings, _, readme = script.load(argparse.Namespace(smoke=False, data=str(DATA / "movielens"), seed=0))
    sample = ratings[ratings["in_sample"]]
    theirs = pd.read_csv(DATA / "movielens/ratings_sample.csv")
    assert len(sample) == 6031
    assert set(zip(sample["user"], sample["movie"], strict=True)) == set(
        zip(theirs["userId"], theirs["movieId"], strict=True)
    )
    assert readme is not None
