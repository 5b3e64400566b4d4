"""A user's own ratings: which columns and tables are read, what is wrong with them, and their model."""

import csv
import json
import re
import shutil
from dataclasses import replace

import gradio as gr
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import BadInput, load_model
from shared.metrics import Metrics
from shared.space import replace_model
from tests.conftest import load_app
from tests.spaces.test_own_models import OF_DEMOS, read_page
from training import command
from training.data import DataError
from training.made_up import write_ratings
from training.own_data import ratings as own_ratings
from training.own_data.options import DataOptions
from training.own_data.ratings import SPREAD, find_step, read_own_ratings
from training.ratings.movies import encode_movies
from training.recipes.recommendation import Recommendation, RecommendationSettings

pytestmark = pytest.mark.training


def make_books(count=60):
    """Return ratings of readers for books from 1 to 10, and the books."""
    rng = np.random.default_rng(0)
    quality, kindness = rng.normal(size=count), rng.normal(size=40)
    rows = [
        (f"Reader {user}", f"b-{book}", int(np.clip(round(6 + 2 * quality[book] + kindness[user]), 1, 10)))
        for user in range(40)
        for book in rng.choice(count, 20, replace=False)
    ]
    books = {"book": [f"b-{book}" for book in range(count)], "title": [f"Tale {book}" for book in range(count)]}
    extra = {"categories": ["crime|love", "crime"] * (count // 2), "year": range(1900, 1900 + count)}
    return pd.DataFrame(rows, columns=["reader", "book", "points"]), pd.DataFrame(books | extra)


@pytest.fixture
def books():
    return make_books()


@pytest.fixture
def read(tmp_path, capsys):
    """Write tables, read them, and return the ratings and what was printed."""

    def read(ratings, items=None, **options):
        ratings.to_csv(tmp_path / "ratings.csv", index=False)
        if items is not None:
            items.to_csv(tmp_path / "books.csv", index=False)
        data = tmp_path if items is not None else tmp_path / "ratings.csv"
        found = read_own_ratings(data, DataOptions(**options), 42, 5)
        return found, capsys.readouterr().out

    return read


def test_items_and_users_that_look_alike_are_named(read, books):
    ratings, _ = books
    ratings.loc[0, "book"], ratings.loc[1, "reader"] = ratings.loc[0, "book"].upper(), "reader 0"
    _, said = read(ratings)
    assert "Different values of reader, but perhaps meant as one: Reader 0 and reader 0.\n" in said
    assert f"meant as one: {ratings.loc[0, 'book']} and {ratings.loc[0, 'book'].lower()}.\n" in said


def test_a_title_that_ends_in_parentheses_gets_its_year(read, books):
    ratings, items = books
    items.loc[0, "title"], items.loc[1, "title"] = "Tale (The Cut)", "Tale (1812)"
    found, _ = read(ratings, items)
    assert found.movies.loc["b-0", "title"] == "Tale (The Cut) (1900)"
    assert found.movies.loc["b-1", "title"] == "Tale (1812)"


def test_columns_and_scale_are_found_and_said(read, books):
    found, printed = read(*books)
    assert "users are in the column reader, items in book, ratings in points" in printed
    assert "ids in book, titles in title, kinds in categories, years in year." in printed
    assert "800 ratings of 40 users for 60 items, from 1 to 10 in steps of 1 (as found" in printed
    assert found.table["rating"].std() == pytest.approx(SPREAD)
    assert (found.table["rating"] * found.unit).tolist() == pytest.approx(books[0]["points"].tolist())
    assert np.array([*found.scale, found.step]) * found.unit == pytest.approx([1, 10, 1])
    assert found.movies.loc["b-7"].tolist() == ["Tale 7 (1907)", "crime"]
    assert found.movies.loc["b-8"].tolist() == ["Tale 8 (1908)", "crime|love"]


def test_titles_may_be_in_the_table_of_ratings_and_ids_stand_in_for_missing_ones(read, books):
    ratings = books[0].merge(books[1][:50], on="book", how="left")
    found, printed = read(ratings)
    assert found.movies.loc["b-7", "title"] == "Tale 7 (1907)"
    assert found.movies.loc["b-55"].tolist() == ["b-55", ""]
    assert "10 items have no title; their ids stand in for it." in printed


def test_a_title_that_some_ratings_lack_is_that_of_the_others(read, books):
    ratings = books[0].merge(books[1], on="book")
    mine = ratings.index[ratings["book"] == "b-7"]
    ratings.loc[mine[0], ["title", "categories"]] = ""
    ratings.loc[mine[-1], "title"] = " "
    ratings.loc[ratings["book"] == "b-9", "title"] = ""
    found, printed = read(ratings)
    assert found.movies.loc["b-7"].tolist() == ["Tale 7 (1907)", "crime"]
    assert found.movies.loc["b-9", "title"] == "b-9 (1909)"
    assert found.movies.loc["b-8", "title"] == "Tale 8 (1908)"
    assert "differs between ratings" not in printed


def test_a_name_that_one_user_gave_is_not_that_of_the_item(read, books):
    ratings = books[0]
    is_first = ~ratings["book"].duplicated()
    found, printed = read(ratings.assign(name=("Mr " + ratings["reader"]).where(is_first, "")))
    assert found.movies["title"].tolist() == found.movies.index.tolist()
    assert "differs between ratings of the same item: name." in printed


def test_names_of_users_are_no_titles(read, books):
    ratings = books[0].rename(columns={"reader": "name"})
    found, printed = read(ratings.assign(year=2000 + ratings.index % 20), user_column="name")
    assert found.movies["title"].tolist() == found.movies.index.tolist()
    assert "differs between ratings of the same item: name, year." in printed
    ratings = books[0].merge(books[1].rename(columns={"title": "item_name"}), on="book")
    found, _ = read(ratings.assign(name="Mr " + ratings["reader"]))
    assert found.movies.loc["b-7", "title"] == "Tale 7 (1907)"


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (("ID", "Title", "Rating"), {"user_column": "ID"}),
        (("Book", "Name", "Rating"), {"user_column": "book"}),
        (("User", "Name", "Title"), {"rating_column": "Title"}),
    ],
)
def test_a_column_with_another_use_is_not_that_of_the_items_in_any_case(read, books, columns, options):
    found, printed = read(books[0][["reader", "book", "points"]].set_axis(columns, axis=1), **options)
    user, item, rating = columns
    assert f"users are in the column {user}, items in {item}, ratings in {rating}." in printed
    assert len(found.movies) == 60


@pytest.mark.parametrize("other", ["Sterne", "My Review", "Title", "Datum"])
def test_a_column_with_another_use_is_not_proposed_as_that_of_the_users(read, books, other):
    ratings = books[0].rename(columns={"reader": "who", "points": "rating" if other != "Sterne" else other})
    ratings = ratings.assign(**{other: "3"}) if other not in ratings else ratings
    with pytest.raises(DataError) as caught:
        read(ratings)
    assert "no column called userid or user_id" in str(caught.value)
    assert "did you mean" not in str(caught.value)


def test_a_misspelt_usual_name_is_proposed(read, books):
    with pytest.raises(DataError, match="There is a column 'raeder'; did you mean it"):
        read(books[0].rename(columns={"reader": "raeder"}))


@pytest.mark.parametrize(
    ("names", "given", "missing"),
    [
        (("who", "thing", "amount"), {}, ["--user-column", "--rating-column", "--item-column"]),
        (("who", "thing", "amount"), {"rating_column": "amount"}, ["--user-column", "--item-column"]),
        (("id", "thing", "amount"), {"user_column": "id"}, ["--rating-column", "--item-column"]),
        (("raeder", "thing", "pionts"), {}, ["'raeder'; did", "--rating-column", "'pionts'; did", "--item-column"]),
    ],
)
def test_all_unknown_columns_are_asked_for_at_once(read, books, names, given, missing):
    ratings = books[0][["reader", "book", "points"]].set_axis(names, axis=1)
    with pytest.raises(DataError, match=f"{'.*'.join(missing)}.*Its columns are: {', '.join(names)}\\.") as caught:
        read(ratings, **given)
    assert str(caught.value).count("Its columns are") == 1
    assert ("Without users" in str(caught.value)) == ("user_column" not in given)


def test_addresses_of_mails_are_users(read, books):
    _, printed = read(books[0].rename(columns={"reader": "E-Mail"}))
    assert "users are in the column E-Mail" in printed


def test_items_of_one_title_are_told_apart_by_their_years(read, books):
    ratings = books[0].merge(books[1], on="book").drop(columns=["book", "categories"])
    ratings["title"] = ratings["title"].replace({"Tale 7": "Tale 8 "})
    found, printed = read(ratings.sample(frac=1, random_state=0))
    assert "1 titles in title have several years in year, so each of these years is an item, such as " in printed
    assert "such as Tale 8 (1907) and Tale 8 (1908).\n" in printed
    assert "Rated again" not in printed
    assert "Not of the items" not in printed
    assert (len(found.table), len(found.movies)) == (800, 60)
    assert {"Tale 8 (1907)", "Tale 8 (1908)", "Tale 9"} <= set(found.movies.index)
    assert {"Tale 8 (1907)", "Tale 8 (1908)", "Tale 9 (1909)"} <= set(found.movies["title"])


def test_a_title_without_a_year_in_some_rows_stays_one_item(read, books):
    ratings = books[0].merge(books[1], on="book").drop(columns=["book", "categories"])
    ratings["title"] = ratings["title"].replace({"Tale 7": "Tale 8"})
    ratings["year"] = ratings["year"].astype(object).where(ratings.index % 7 > 0, "")
    found, _ = read(ratings)
    assert sorted(id for id in found.movies.index if id.startswith("Tale 8")) == [
        "Tale 8", "Tale 8 (1907)", "Tale 8 (1908)",
    ]  # fmt: skip
    assert len(found.movies) == 61


def test_titles_of_one_year_or_with_years_of_the_ratings_stay(read, books):
    ratings = books[0].merge(books[1], on="book").drop(columns=["book", "categories"])
    found, printed = read(ratings)
    assert found.movies.loc["Tale 7", "title"] == "Tale 7 (1907)"
    assert "several years" not in printed
    found, printed = read(ratings.assign(year=2000 + ratings.index % 20))
    assert found.movies.loc["Tale 7", "title"] == "Tale 7"
    assert "differs between ratings of the same item: year." in printed


def test_rows_of_the_items_that_do_not_fit_are_counted(read, books):
    ratings, items = books
    items = pd.concat([items[5:], items[5:7].assign(title="Other"), items[:1].assign(book="unread")])
    found, printed = read(ratings, items)
    assert "2 rows repeat an item; the first counts." in printed
    assert "1 items that nobody rated are left out." in printed
    assert "5 rated items are not in it; their ids stand in for titles." in printed
    assert found.movies.loc["b-5", "title"] == "Tale 5 (1905)"
    with pytest.raises(DataError, match="No item of the ratings is in the column book of"):
        read(ratings, items.assign(book="x" + items["book"]))


def test_the_last_rating_counts_or_the_latest(read, books):
    ratings, _ = books
    again = ratings[:2].assign(points=[1, 10])
    both = pd.concat([ratings, again])
    found, printed = read(both)
    assert "2 ratings left out, the last in the file counts." in printed
    stars = (found.table["rating"] * found.unit).round().astype(int)
    kept = dict(zip(zip(found.table["user"], found.table["movie"], strict=True), stars, strict=True))
    assert [kept[row.reader, row.book] for row in again.itertuples()] == [1, 10]
    both["day"] = pd.date_range("2020-01-01", periods=len(both))[::-1].astype(str)
    found, printed = read(both, time="day")
    assert "2 ratings left out, the latest by day counts." in printed
    first = (found.table["user"] == again["reader"].iloc[0]) & (found.table["movie"] == again["book"].iloc[0])
    assert found.table["rating"][first].item() * found.unit == pytest.approx(ratings["points"].iloc[0])
    assert found.held_out.sum() == pytest.approx(len(found) / 5, abs=1)
    assert found.held_out[-1]


@pytest.mark.parametrize("nothing", [0, -1])
def test_a_rating_that_may_mean_none_is_warned_of(read, books, nothing):
    ratings, _ = books
    warning = f'of the ratings are {nothing}. If that means "not rated", --scale 1,10 with --skip-bad leaves them out.'
    assert "not rated" not in read(ratings)[1]
    ratings.loc[ratings["points"] <= 2, "points"] = 3
    ratings.loc[0, "points"] = 1
    ratings.loc[1:400, "points"] = nothing
    assert f"Warning: 50% {warning}\n" in read(ratings)[1]
    found, printed = read(ratings, scale="1,10", skip_bad=True)
    assert (len(found), "not rated" in printed) == (400, False)
    ratings.loc[1:300, "points"] = 1  # as common as others
    ratings.loc[301:400, "points"] = 0
    assert "not rated" not in read(ratings)[1]


@pytest.mark.parametrize(("name", "parts"), [("split", ("train", "test")), ("Is_Valid", ("False", "True"))])
def test_a_column_divides_the_ratings(read, books, name, parts):
    ratings = books[0].assign(**{name: np.where(np.arange(800) % 4 == 3, *parts[::-1])})
    found, printed = read(ratings)
    assert (found.held_out.sum(), len(found), found.split) == (200, 800, "own test")
    assert np.array_equal(found.table["user"][found.held_out], ratings["reader"][ratings[name] == parts[1]])
    assert f"The column {name} divides the rows, {parts[1].lower()} is the test" in printed
    assert "Split (test as given): 600 to train on, 200 to test on.\n" in printed
    ratings.loc[3, name] = ""
    with pytest.raises(DataError, match=f"line 5: {name} is empty; write "):
        read(ratings)
    assert len(read(ratings, skip_bad=True)[0]) == 799
    found, printed = read(ratings.assign(day=range(800)), time="day")
    assert f"The column {name} is not used for the split and is no input: --time day divides the rows.\n" in printed
    assert (found.held_out.sum(), found.split) == (160, "latest fifth")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t.drop(columns="reader"), {}, "no column called userid or user_id; .*Without users, ratings do not"),
        (
            lambda t: t.rename(columns={"points": "how good"}),
            {},
            "called rating or ratings; name another with",
        ),
        (lambda t: t, {"user_column": "raeder"}, "no column 'raeder'. There is a column 'reader'; did you mean it"),
        (
            lambda t: t,
            {"user_column": "book", "item_column": "book"},
            r"cannot be in one column \(book, book",
        ),
        (
            lambda t: t,
            {"scale": "1,5"},
            r"problems with .*: The rating \d+ is outside the scale of 1 to 5",
        ),
        (lambda t: t, {"scale": "10,1"}, "--scale must be two numbers, the lower one first, such as 1,10, not '10,1'"),
        (lambda t: t, {"scale": "5,5"}, "--scale must be two numbers, the lower one first, such as 1,10, not '5,5'"),
        (lambda t: t, {"scale": "five"}, "--scale must be two numbers"),
        (lambda t: t, {"group": "reader"}, "--group is not for ratings"),
        (
            lambda t: t.astype({"points": str}).replace({"points": {"7": "good"}}),
            {},
            "rating is not a number: 'good'",
        ),
        (lambda t: t.assign(points=t["points"].where(t.index > 3)), {}, "4 problems .*line 2: The rating is missing"),
        (lambda t: t.assign(reader=t["reader"].where(t.index > 0)), {}, "line 2: The user is missing"),
        (lambda t: t.assign(book=t["book"].where(t.index > 0, " ")), {}, "line 2: The item is missing"),
        (lambda t: t.assign(points=4), {}, "All ratings of .* are 4, so there is nothing to predict"),
        (lambda t: t[:1], {}, "has 1 rating that can be used; at least 100 are needed"),
        (lambda t: t[:99], {}, "has 99 ratings that can be used"),
        (lambda t: t.assign(reader=range(len(t))), {}, "one of whom must have rated more than 3 items that others"),
    ],
)
def test_bad_data_gets_an_error_message(read, books, change, options, message):
    with pytest.raises(DataError, match=re.compile(message, re.DOTALL)):
        read(change(books[0]), **options)


def test_a_hundred_ratings_are_enough(tmp_path):
    own_ratings.check_ratings(pd.DataFrame({"rating": [1, 2] * 50}), tmp_path)
    with pytest.raises(DataError, match="has 99 ratings that can be used; at least 100"):
        own_ratings.check_ratings(pd.DataFrame({"rating": [1, 2, 3] * 33}), tmp_path)


def test_all_problems_are_named_at_once_and_can_be_skipped(read, books):
    table = books[0].astype({"points": object})
    table.loc[0, "points"], table.loc[1, "reader"], table.loc[2, "book"] = "?", "", ""
    with pytest.raises(DataError, match=r"3 problems(.|\n)*line 2(.|\n)*line 3(.|\n)*line 4"):
        read(table)
    found, printed = read(table, skip_bad=True)
    assert len(found) == 797
    assert "Left out: 3 problems" in printed


def test_of_many_problems_the_first_are_named_and_all_counted(read, books):
    with pytest.raises(DataError, match="800 problems with the ratings of") as caught:
        read(books[0].assign(points="good"))
    _, *lines, last, _ = str(caught.value).splitlines()
    assert lines == [f"  line {line}: The rating is not a number: 'good'." for line in range(2, 22)]
    assert last == "  … and 780 more"


def test_ids_and_titles_may_differ_in_spaces(read, books):
    ratings = books[0].merge(books[1][["book", "title"]], on="book")
    ratings["book"] = ratings["book"].str.replace("-", " ")
    odd = ratings.copy()
    odd.loc[::2, "reader"] = odd["reader"].str.replace(" ", "  ")
    odd.loc[::3, "book"] = odd["book"].str.replace(" ", " \n ")
    found, _ = read(odd)
    assert found.table.equals(read(ratings)[0].table)
    assert found.table["user"].nunique() == 40
    assert found.movies["title"].tolist() == [f"Tale {name.removeprefix('b ')}" for name in found.movies.index]


def test_times_that_cannot_be_read_are_named_with_their_line_and_can_be_left_out(read, books):
    table = books[0].assign(day="2026-01-01")
    table.loc[0, "points"], table.loc[[0, 5], "day"] = np.nan, ["?", "soon"]  # of a bad row, no time is read
    table.loc[7, "day"] = ""
    with pytest.raises(DataError, match="3 problems with the ratings of") as caught:
        read(table, time="day")
    assert "line 7: day is neither a number nor a date such as 2026-05-31: 'soon'." in str(caught.value)
    assert "line 9: day is missing." in str(caught.value)
    table["day"] = table["day"].where(table.index < 10, "2026-01-02").where(table.index < 700, "2026-01-03")
    found, printed = read(table, time="day", skip_bad=True)
    assert "Left out: 3 problems with the ratings" in printed
    assert found.table["user"].tolist() == table["reader"].drop([0, 5, 7]).tolist()
    with pytest.raises(DataError, match=r"^line 2: book is neither a number nor a date such as 2026-05-31: 'b-\d+'\.$"):
        read(books[0], time="book")
    with pytest.raises(DataError, match="Is 02/01/2026 in day a day and a month, or a month and a day"):
        read(table.assign(points=1, day="02/01/2026"), time="day")
    table["day"] = [f"{1 + row % 28:02}.{1 + row % 12:02}.2026" for row in table.index]
    found, _ = read(table, time="day", skip_bad=True)
    expected = (
        table[1:].assign(day=pd.to_datetime(table["day"][1:], format="%d.%m.%Y")).sort_values("day", kind="stable")
    )
    assert found.table["user"].tolist() == expected["reader"].tolist()


def test_the_ends_of_a_scale_are_ratings(read, books):
    found, printed = read(books[0], scale="1,10")
    assert len(found) == 800
    assert "from 1 to 10 in steps of 1 (as given)." in printed
    found, _ = read(books[0], scale="0,20")
    assert np.array(found.scale) * found.unit == pytest.approx([0, 20])


def test_ratings_may_be_parquet(tmp_path, books, capsys):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    books[0].to_csv(tmp_path / "ratings.csv", index=False)
    books[0].to_parquet(tmp_path / "ratings.parquet")
    text, binary = (
        read_own_ratings(tmp_path / f"ratings.{suffix}", DataOptions(), 42, 5) for suffix in ("csv", "parquet")
    )
    assert text.table.equals(binary.table)
    assert text.movies.equals(binary.movies)
    books[0].assign(points="x").to_parquet(tmp_path / "ratings.parquet")
    with pytest.raises(DataError, match="row 1: The rating is not a number: 'x'"):
        read_own_ratings(tmp_path / "ratings.parquet", DataOptions(), 42, 5)


def test_of_too_many_ratings_a_sample_of_users_is_read(read, books, monkeypatch):
    monkeypatch.setattr(own_ratings, "MAX_RATINGS", 450)
    found, printed = read(books[0])
    assert len(found) == 440
    assert found.table["user"].nunique() == 22
    assert "Of 800 ratings, those of 22 users drawn at random are used, out of 40" in printed
    assert found.table["user"].value_counts().eq(20).all()
    monkeypatch.setattr(own_ratings, "MAX_RATINGS", 440)
    assert len(read(books[0])[0]) == 440


@pytest.mark.parametrize(
    ("values", "step"),
    [([1, 2, 5], 1), ([0.5, 1, 4.5], 0.5), ([0, 10, 30, 100], 10), ([1, 1.5, 4.123, 5], 0.04), ([-1, 1], 2)],
)
def test_the_step_of_a_scale(values, step):
    assert find_step(pd.Series(values, dtype=float), min(values), max(values)) == pytest.approx(step)


def test_a_hundred_thousand_items_and_their_tags_take_bounded_memory():
    movies = pd.DataFrame({"title": ["A"] * 100_000, "genres": [f"tag {i}|common" for i in range(100_000)]})
    assert encode_movies(movies).shape == (100_000, 50 + 9)


# --- models ---


def train(folder, *options):
    assert command.main(Recommendation(), [str(option) for option in ("--smoke", "--out", folder, *options)]) == 0
    return load_model(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of books on a scale of 1 to 10, with text ids and without users."""
    folder = tmp_path_factory.mktemp("books")
    ratings, books = make_books()
    ratings.to_csv(folder / "loans.csv", index=False)
    books.to_csv(folder / "list.csv", index=False)
    words = ("--item-name", "story,stories", "--title", "Library")
    return train(folder / "model", "--data", folder / "loans.csv", "--items", folder / "list.csv", *words)


def test_no_user_and_no_rating_is_stored_unless_asked_for(model):
    names = {path.relative_to(model.folder).as_posix() for path in model.folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "items.csv", "model.safetensors",
        "config.json",
    }  # fmt: skip
    assert model.config.users == ()
    texts = [(model.folder / name).read_text() for name in sorted(names) if name.endswith((".csv", ".json", ".md"))]
    assert not any(re.search(r"Reader \d", text) for text in texts)


def test_a_visitor_of_a_model_without_users(model):
    config = model.config
    assert (config.lowest, config.highest, config.step, config.unit) == (1, 10, 1, "points")
    assert config.item == ("story", "stories")
    first, second = list(model.movies)[:2]
    nobody = model.predict(None, first)
    assert nobody == model.predict({}, first) == model.predict(model.fold_in({}), first)
    assert model.predict_batch([(None, first), ({second: 10}, first)]) == [nobody, model.predict({second: 10}, first)]
    assert model.predict({second: 10}, first).rating != nobody.rating
    assert model.find(model.movies[first].title) == model.find(first) == first
    assert model.example() == (None, first)
    assert model.columns == ("item_id",)
    assert model.from_row({"item_id": first}) == (None, first)
    assert nobody.as_row() == {"predicted points": round(nobody.rating, 3)}
    assert len(model.recommend({second: 10}, 5)) == 5
    assert second not in [item for item, *_ in model.recommend({second: 10}, 60)]
    assert model.find_rating(None, first) is None
    for wrong, message in (
        (({"b-x": 1}, first), "There is no story 'b-x'; ids are those of the ratings, such as b-0 for Tale 0"),
        (({"B-0": 1}, first), r"There is no story 'B-0'\. Did you mean b-0\?"),
        (({second: 11}, first), "A rating must be 1 to 10 points, not '11'"),
        (("Reader 1", first), "Ratings must be {story id: points}, not 'Reader 1'"),
        ((None, 3), "There is no story '3'"),
    ):
        with pytest.raises(BadInput, match=message):
            model.predict(*wrong)


def test_an_id_that_is_a_title_is_named_once(model, monkeypatch):
    first, movie = next(iter(model.movies.items()))
    monkeypatch.setitem(model.movies, first, replace(movie, title=first))
    with pytest.raises(BadInput, match=f"ids are those of the ratings, such as {first}\\."):
        model.predict(None, "b-x")


def test_the_figures_are_in_the_units_of_the_data(model):
    metrics = Metrics.read(model.folder)
    rmse, mae = metrics.figures
    assert (rmse.name, mae.name, rmse.count) == ("rmse", "mae", 320)
    assert rmse.label == "root mean squared error (points, lower is better)"
    assert mae.label == "mean absolute error (points, lower is better)"
    values = make_books()[0]["points"]
    peers = {peer.peer: peer for peer in metrics.peers}
    assert set(peers) == {"bias model", "ridge ALS", "mean of all ratings"}
    assert peers["mean of all ratings"].value == pytest.approx(values.std(), rel=0.02)
    assert peers["bias model"].value < 0.7  # the ratings follow it, but for rounding
    for peer in peers.values():
        assert peer.difference == pytest.approx(rmse.value - peer.value, abs=2e-6)
        assert peer.difference_interval[0] < peer.difference < peer.difference_interval[1]
    assert rmse.interval[0] < rmse.value < rmse.interval[1]
    assert mae.value < rmse.value
    assert metrics.headline == f"off by {rmse.value:.2f} points (root mean square) on 320 held-out ratings"


def test_the_page_of_a_model_without_users_speaks_of_its_items(model):
    with replace_model(model.folder):
        app = load_app("rating")
    page = read_page(app.demo)
    assert re.findall(OF_DEMOS, page, re.IGNORECASE) == []
    assert "Stories similar to" in page
    assert not re.search(r"Reader \d", page)
    endpoints = app.demo.get_api_info()["named_endpoints"]
    arguments = {name: [item["parameter_name"] for item in found["parameters"]] for name, found in endpoints.items()}
    assert arguments == {
        "/predict": ["ratings", "item_id"], "/explain": ["ratings", "item_id"], "/recommend": ["ratings", "k"],
        "/similar": ["item_id", "k"], "/batch": ["file"],
    }  # fmt: skip
    answer, words = app.predict({"b-1": 9}, "Tale 0 (1900)")
    assert answer["rating"] == model.predict({"b-1": 9}, "b-0").rating
    assert words == f"<h2>{answer['rating']:.2f} points</h2><p>With your ratings: Tale 0 (1900).</p>"
    assert app.advise(None, 3)[0]["items"][0]["item_id"] == model.recommend(None, 1)[0][0]
    assert list(app.similar("b-0", 3)[1].columns) == ["story", "similarity"]


def test_the_name_of_an_item_is_shown_as_it_is(model, tmp_path):
    folder = shutil.copytree(model.folder, tmp_path / "model")
    content = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    content["item"] = ["<b>tale", "[tales](https://example.com)"]
    (folder / "gallery.json").write_text(json.dumps(content), encoding="utf-8")
    with replace_model(folder):
        app = load_app("rating")
    shown = [str(block.value) for block in app.demo.blocks.values() if isinstance(block, gr.Markdown)]
    assert sum("[tales]\\(https://example.com)" in text for text in shown) >= 2
    assert not any("[tales](" in text or "<b>tale" in text for text in shown)


def test_users_are_stored_if_asked_for(tmp_path, books):
    ratings, _ = books
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    model = train(tmp_path / "model", "--data", tmp_path / "ratings.csv", "--users", "--unit", "stars")
    assert model.config.users == tuple(sorted(set(ratings["reader"])))
    row = ratings.iloc[0]
    assert model.find_rating(row["reader"], row["book"]) == row["points"]
    assert row["book"] not in [item for item, *_ in model.recommend(row["reader"], 100)]
    assert model.columns == ("user_id", "item_id")
    own = ratings[ratings["reader"] == row["reader"]]
    visitor = model.fold_in(dict(zip(own["book"], own["points"], strict=True)))
    for book in list(model.movies)[::10]:
        assert model.predict(visitor, book).rating == pytest.approx(model.predict(row["reader"], book).rating, abs=0.03)
    with pytest.raises(BadInput, match="There is no user 'me'; users are such as Reader 0"):
        model.predict("me", row["book"])
    with replace_model(model.folder):
        app = load_app("rating")
    assert re.findall(OF_DEMOS, read_page(app.demo), re.IGNORECASE) == []
    assert app.predict(row["reader"], row["book"])[0]["actual"] == row["points"]
    with (model.folder / "ratings.csv").open() as file:
        assert next(csv.reader(file)) == ["user_id", "item_id", "rating"]


@pytest.mark.parametrize(
    ("cells", "cleaned"),
    [
        (["1.0", "12.0", "", "12"], ["1", "12", "", "12"]),
        (["1.0", "12.5"], ["1.0", "12.5"]),
        (["1.0", "2.0 (film)"], ["1.0", "2.0 (film)"]),
    ],
)
def test_ids_beside_missing_ones_are_whole(cells, cleaned):
    assert [*own_ratings.clean_cells(pd.Series(cells, dtype="category"))] == cleaned


def test_another_scale_gives_the_same_model(tmp_path, books):
    folders = []
    for name, factor, shift in (("ten", 1, 0), ("hundred", 10, 0)):
        table = books[0].assign(points=books[0]["points"] * factor + shift)
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        folders.append(train(tmp_path / name, "--data", tmp_path / f"{name}.csv"))
    ten, hundred = folders
    first, second, *_ = ten.movies
    assert hundred.predict({first: 90}, second).rating == pytest.approx(
        10 * ten.predict({first: 9}, second).rating, abs=0.3
    )
    assert hundred.metrics.figures[0].value == pytest.approx(10 * ten.metrics.figures[0].value, rel=0.01)


@pytest.mark.parametrize("word", ["", " , tales"])
def test_an_item_needs_a_name(tmp_path, word):
    settings = RecommendationSettings(own=DataOptions(item_name=word))
    with pytest.raises(DataError, match="--item-name must be a word such as book, or two such as story,stories"):
        Recommendation().load_own(str(write_ratings(tmp_path, 42)), settings)


def test_settings_suit_the_number_of_ratings(tmp_path):
    recipe, settings = Recommendation(), RecommendationSettings()
    splits = recipe.load_own(str(write_ratings(tmp_path, 42)), settings)
    few = recipe.adapt(settings, splits)
    assert (few.on_all.factors, few.on_all.batch, few.measured, few.epochs) == (10, 1077, 5, 40)
    assert few.als_ridge == {"all": 6.0}


def test_the_card_has_the_words_of_the_data(model):
    card = (model.folder / "README.md").read_text()
    assert re.findall(OF_DEMOS, card, re.IGNORECASE) == []
    assert "root mean squared error (points, lower is better)" in card
    assert "the average rating of a story" in card
    assert json.loads((model.folder / "gallery.json").read_text())["about"]["title"] == "Library"
