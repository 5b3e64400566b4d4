"""The rating predictor: known users, new visitors, and answers that hang together."""

import csv
import json
import shutil
from difflib import get_close_matches

import numpy as np
import pytest
from pydantic import ValidationError

from shared import BadInput, CheckpointError, Recommender
from shared.config import sha256
from shared.movies import CANDIDATES, Movie, TitleIndex
from shared.recommender import RecommenderConfig
from shared.session import Session
from tests.conftest import DATA, ROOT, sign_folder

STAR_WARS, EMPIRE, PRETTY_WOMAN = 260, 1196, 597


def test_ratings_stay_on_the_scale(rating):
    pairs = [(user, movie) for user in rating.config.users[:50] for movie in list(rating.movies)[::90]]
    values = [answer.rating for answer in rating.predict_batch(pairs)]
    assert min(values) >= 0.5
    assert max(values) <= 5
    assert np.std(values) > 0.3


def test_batch_equals_a_loop_and_names_the_bad_item(rating):
    pairs = [(15, 1), ("15", "260"), (15.0, 1196)]
    batch = rating.predict_batch(pairs)
    assert [answer.rating for answer in batch] == pytest.approx([rating.predict(*pair).rating for pair in pairs])
    with pytest.raises(BadInput, match="Item 1: There is no user"):
        rating.predict_batch([(15, 1), (0, 1)])
    assert rating.predict_batch([]) == []
    table = pytest.importorskip("pandas").DataFrame(pairs, columns=["user_id", "movie_id"])
    assert rating.predict_batch(table.assign(rating=5)) == batch


@pytest.mark.parametrize("user", [0, -1, 672, 1.5, "me", float("nan"), True, "9" * 50, 10**400, "<b>"])
def test_unknown_user(rating, user):
    for ask in (rating.predict, rating.explain):
        with pytest.raises(BadInput, match=r"There is no user .*; users are 1 to 671"):
            ask(user, 1)
    with pytest.raises(BadInput, match="There is no user"):
        rating.recommend(user)


@pytest.mark.parametrize("user", [None, ""])
def test_no_user(rating, user):
    with pytest.raises(BadInput, match=r"^Give a user, such as 1\.$"):
        rating.predict(user, 1)


@pytest.mark.parametrize("movie", [0, -1, 10**12, 1.5, "qqqq", None, float("inf"), True, 10**400])
def test_unknown_movie(rating, movie):
    for ask in (lambda m: rating.predict(15, m), rating.similar, lambda m: rating.fold_in({m: 4})):
        with pytest.raises(BadInput, match=r"There is no movie .* such as 1 for Toy Story"):
            ask(movie)


@pytest.mark.parametrize("stars", [0, 6, -1, 5.5, "many", None, float("nan"), True, 10**400])
def test_stars_outside_the_scale(rating, stars):
    with pytest.raises(BadInput, match=r"A rating must be 0\.5 to 5 stars, not"):
        rating.fold_in({1: stars})


@pytest.mark.parametrize("k", [0, -3, 101, 1.5, "ten", None, 10**400])
def test_number_of_movies(rating, k):
    for ask in (lambda: rating.recommend(15, k), lambda: rating.similar(1, k)):
        with pytest.raises(BadInput, match="must be 1 to 100"):
            ask()


def test_ids_may_be_text_and_a_movie_is_rated_once(rating):
    assert rating.fold_in({"260.0": 5}).ratings == {260: 5.0}
    assert rating.recommend("15.0", 3) == rating.recommend(15, 3)
    with pytest.raises(BadInput, match="'1' is rated twice"):
        rating.fold_in({1: 5, "1": 1})


@pytest.mark.parametrize(
    ("named", "title"),
    [
        ("300", "300 (2007)"),
        ("2012", "2012 (2009)"),
        ("21", "21 (2008)"),
        ("10", "10 (1979)"),
        (" 300\u200b", "300 (2007)"),
        (300, "Quiz Show (1994)"),
        (300.0, "Quiz Show (1994)"),
        ("260", "Star Wars: Episode IV - A New Hope (1977)"),
        ("260.0", "Star Wars: Episode IV - A New Hope (1977)"),
        ("9 (2009)", "9 (2009)"),
        ("1984 (1984)", "1984 (Nineteen Eighty-Four) (1984)"),
        ("MATRIX", "The Matrix (1999)"),
        ("matrix, the (1999)", "The Matrix (1999)"),
        ("the matrix", "The Matrix (1999)"),
        ("les misérables (2012)", "Les Misérables (2012)"),
        ("LES MISERABLES (2012)", "Les Misérables (2012)"),
        ("se7en", "Seven (a.k.a. Se7en) (1995)"),
        ("heat", "Heat (1995)"),
        ("Stranger Things", "Stranger Things"),
        ("wall-e", "WALL·E (2008)"),
        ("spider\u2013man", "Spider-Man (2002)"),
    ],
)
def test_a_movie_is_found_by_title_first(rating, named, title):
    assert rating.movies[rating.find(named)].title == title


@pytest.mark.parametrize("change", [str, str.upper, str.lower, str.casefold])
def test_every_title_names_its_movie_in_any_case(rating, change):
    assert [movie.title for movie in rating.movies.values() if rating.find(change(movie.title)) != movie.movie_id] == []


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("9", r"Several movies are called '9': 9 \(2009\), 9 \(2005\). Give the full title"),
        ("1984", r"1984 \(Nineteen Eighty-Four\) \(1984\), 1984 \(1956\)"),
        ("hamlet", r"Hamlet \(1996\).*, Hamlet \(1990\) and 1 more. Give the full title"),
        ("psycho", r"Psycho \(1960\), Psycho \(1998\)"),
        ("the matrixx", r"No movie is called 'the matrixx'. Did you mean The Matrix \(1999\)"),
        ("matri", r"Did you mean The Matrix \(1999\) or The Matrix Reloaded \(2003\) or The Matrix Revolutions"),
        ("", "No movie is called ''"),
        ("99999999", "There is no movie '99999999'"),
        ("1,196", "There is no movie '1,196'.* Write 1196 if the comma separates thousands"),
        (None, "There is no movie 'None'"),
        ([300], "There is no movie"),
        (True, "There is no movie 'True'"),
    ],
)
def test_what_names_no_movie_or_several_gets_a_message(rating, named, sentence):
    with pytest.raises(BadInput, match=sentence):
        rating.find(named)


@pytest.mark.parametrize(
    ("typed", "title"),
    [
        ("the godfahter", "The Godfather (1972)"),
        ("jurasic prak", "Jurassic Park (1993)"),
        ("shawshenk redemtion", "The Shawshank Redemption (1994)"),
        ("AMELEI", "Amelia (2009)"),
        ("teh matrix (1999", "The Matrix (1999)"),
        ("hluk", "Hulk (2003)"),
        ("msak", "Mask (1985)"),
    ],
)
def test_a_misspelled_title_is_compared_letter_by_letter_with_few_others(rating, monkeypatch, typed, title):
    """difflib takes 0.4 s for all 9,700, in which nobody else is answered."""
    compared = []

    def find_matches(word, candidates, **options):
        compared.extend(candidates)
        return get_close_matches(word, candidates, **options)

    monkeypatch.setattr("shared.movies.difflib.get_close_matches", find_matches)
    assert rating.titles.suggest(typed)[0] == title
    assert len(compared) == CANDIDATES


def test_a_text_without_a_similar_title_has_no_suggestion(rating):
    assert rating.titles.suggest("zzzzzz") == rating.titles.suggest("") == []


TITLES = ["バリ", "パリ", "東京", "कल", "कुल", "Amélie (2001)", "Йога", "Ὀδύσσεια", "شَمس", ")", "\u0301", "(())"]


@pytest.fixture
def books():
    return TitleIndex({title: Movie(title, title, ("?",), 1, 0, 0) for title in TITLES}, "books")


@pytest.mark.parametrize("title", TITLES[:9])
def test_titles_in_any_script_name_their_item(books, title):
    assert books.find(title) == title


def test_a_long_title_names_its_item():
    title = "word " * 60 + "end"
    assert TitleIndex({1: Movie(1, title, ("?",), 1, 0, 0)}).find(title) == 1


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("amelie", "Amélie (2001)"),
        ("Иога", "Йога"),
        ("οδυσσεια", "Ὀδύσσεια"),
        ("شمس", "شَمس"),
        ("ハリ", None),
        ("कील", None),
    ],
)
def test_accents_may_be_left_out_but_no_part_of_a_letter(books, named, found):
    assert books.find(named) == found


def test_titles_that_start_with_the_words_come_first(rating):
    def titles(words, k):
        return [rating.movies[movie_id].title for movie_id in rating.titles.search(words, k)]

    assert titles("matrix", 4)[0] == "The Matrix (1999)"
    assert titles("matrix", 4)[-1] == "The Animatrix (2003)"
    assert titles("9", 2) == ["9 (2009)", "9 (2005)"]
    assert all(title.startswith(("Dark", "The Dark")) for title in titles("dark", 5))
    assert titles("", 5) == []


def test_the_first_choice_that_holds_a_movies_name_is_that_movie(rating):
    choices = [title for title, _ in rating.titles.list_choices(1500)]
    names = {title: title.casefold().split(" (")[0].removeprefix("the ") for title in choices}

    def first(typed):
        return next(title for title in choices if typed in title.casefold())

    assert first("matrix") == "The Matrix (1999)"
    assert first("1984") == "1984 (Nineteen Eighty-Four) (1984)"  # better known than that of 1956
    for number in ("9", "10", "21", "300", "2012", "1984"):
        assert names[first(number)] == number
    others = [title for title in choices if names[title] and names[first(names[title])] != names[title]]
    assert len(others) <= 0.005 * len(choices)  # such as Hero (Ying xiong): Big Hero 6 is the shorter title


def test_ids_in_tables_are_ids(rating):
    assert rating.predict(15, "300") == rating.predict(15, 300) != rating.predict(15, rating.find("300"))
    assert rating.predict("15.0", "300.0") == rating.predict(15, 300)
    (answer,) = rating.predict_each([("1_5", "1")])
    assert str(answer) == "There is no user '1_5'; users are 1 to 671."


def test_a_visitor_without_ratings_is_average(rating):
    nobody = rating.fold_in({})
    assert not nobody.vector.any()
    typical = np.median([rating.predict(user, STAR_WARS).rating for user in rating.config.users])
    assert rating.predict(nobody, STAR_WARS).rating == pytest.approx(typical, abs=0.4)


def test_a_visitor_moves_towards_what_they_rated(rating):
    lover, hater = rating.fold_in({STAR_WARS: 5}), rating.fold_in({STAR_WARS: 0.5})
    for movie in (STAR_WARS, EMPIRE):
        assert rating.predict(lover, movie).rating > rating.predict(rating.fold_in({}), movie).rating
        assert rating.predict(lover, movie).rating > rating.predict(hater, movie).rating + 0.5


def test_visitors_with_few_ratings_are_answered_from_averages():
    model = Recommender(ROOT / "spaces/rating/model")
    model.config = model.config.model_copy(update={"popularity_below": 2})
    nobody, one, two = (model.fold_in(rated) for rated in ({}, {STAR_WARS: 0.5}, {STAR_WARS: 0.5, PRETTY_WOMAN: 5}))
    average = {movie: model.movies[movie].average for movie in (STAR_WARS, EMPIRE)}
    assert model.predict(nobody, EMPIRE).rating == pytest.approx(average[EMPIRE])
    generosity = (0.5 - average[STAR_WARS]) / 6  # of one rating and five that are as expected
    assert model.predict(one, EMPIRE).rating == pytest.approx(average[EMPIRE] + generosity)
    why = model.explain(one, EMPIRE)
    assert why.contributions[f"{model.movies[STAR_WARS].title}: 0.5 stars"] == pytest.approx(generosity)
    assert why.base + sum(why.contributions.values()) == pytest.approx(average[EMPIRE] + generosity)
    assert (
        f"{model.movies[STAR_WARS].title}: 1 star" in model.explain(model.fold_in({STAR_WARS: 1}), EMPIRE).contributions
    )
    best = model.recommend(nobody, 5)
    assert best[0][2] == max(movie.average for movie in model.movies.values() if movie.ratings >= 20)
    row = list(model.movies).index(EMPIRE)
    assert model.predict(two, EMPIRE).rating == pytest.approx(model._means[row] + model._factors[row] @ two.vector)


def test_averages_that_are_needed_must_be_there(tmp_path):
    folder = shutil.copytree(ROOT / "spaces/rating/model", tmp_path / "model")
    path = folder / "movies.csv"
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    position = header.index("average")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row[:position] + row[position + 1 :] for row in (header, *rows))
    contract = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    contract["files"]["movies.csv"] |= {"sha256": sha256(path), "bytes": path.stat().st_size}
    for below in (0, 1):
        (folder / "gallery.json").write_text(json.dumps(contract | {"popularity_below": below}), encoding="utf-8")
        if below:
            with pytest.raises(CheckpointError, match="has no 'average'"):
                Recommender(folder)
        else:  # as folders were before there were averages
            assert Recommender(folder).predict(15, STAR_WARS).rating > 0


@pytest.mark.parametrize(("lowest", "highest"), [(5.0, 5.0), (5.0, 0.5)])
def test_a_scale_must_rise(rating, lowest, highest):
    fields = rating.config.model_dump(mode="json") | {"lowest": lowest, "highest": highest}
    with pytest.raises(ValidationError, match="lowest must be below highest"):
        RecommenderConfig.model_validate(fields)


def test_recommendations_are_sorted_new_and_personal(rating):
    fan = rating.fold_in({STAR_WARS: 5, EMPIRE: 5, PRETTY_WOMAN: 1})
    best = rating.recommend(fan, 20)
    assert [score for *_, score in best] == sorted((score for *_, score in best), reverse=True)
    assert not {movie_id for movie_id, *_ in best} & {STAR_WARS, EMPIRE, PRETTY_WOMAN}
    assert all(rating.movies[movie_id].ratings >= 20 for movie_id, *_ in best)
    romantic = rating.fold_in({STAR_WARS: 1, EMPIRE: 1, PRETTY_WOMAN: 5})
    assert {m for m, *_ in best} != {m for m, *_ in rating.recommend(romantic, 20)}
    for movie_id, title, score in best[:3]:
        assert score == pytest.approx(rating.predict(fan, movie_id).rating)
        assert title == rating.movies[movie_id].title


def test_ids_of_own_data_may_have_any_number_of_digits(rating, tmp_path):
    folder = shutil.copytree(ROOT / "spaces/rating/model", tmp_path / "model")
    lines = (folder / "movies.csv").read_text(encoding="utf-8").splitlines()
    rows = [lines[0].replace("movie_id", "item_id")]
    first = 2**53
    rows += [f"{first + row},{line.partition(',')[2]}" for row, line in enumerate(lines[1:])]
    (folder / "items.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "ratings.csv").write_text("user_id,item_id,rating\n", encoding="utf-8")
    files = {name: {"sha256": "0" * 64, "bytes": 0} for name in ("onnx/model.onnx", "items.csv", "ratings.csv")}
    sign_folder(folder, files=files, users=[str(user) for user in rating.config.users])
    model = Recommender(folder)
    for row in (0, 1, 2):
        for movie in (first + row, np.int64(first + row), str(first + row)):
            assert model.find(movie) == str(first + row)
    for movie in (10**5000, True, np.True_, -1):
        with pytest.raises(BadInput, match="There is no movie"):
            model.find(movie)
    assert model.predict(15.0, first) == model.predict("15", str(first))


def test_a_known_users_rated_movies_are_left_out(rating):
    known = {movie for movie in rating.movies if rating.find_rating(15, movie) is not None}
    assert known
    assert not known & {movie_id for movie_id, *_ in rating.recommend(15, 100)}


def test_similar_movies(rating):
    near = rating.similar(STAR_WARS, 5)
    assert EMPIRE in {movie_id for movie_id, *_ in near}
    assert STAR_WARS not in {movie_id for movie_id, *_ in near}
    assert all(-1 <= score <= 1 for *_, score in near)


def test_explanations_add_up(rating):
    visitor = rating.fold_in({STAR_WARS: 5, PRETTY_WOMAN: 2})
    for person in (15, visitor):
        why = rating.explain(person, EMPIRE)
        total = why.base + sum(why.contributions.values())
        assert min(max(total, 0.5), 5) == pytest.approx(why.rating)
        assert why.rating == pytest.approx(rating.predict(person, EMPIRE).rating, abs=1e-3)
    parts = rating.explain(visitor, EMPIRE).contributions
    assert parts[f"{rating.movies[STAR_WARS].title}: 5 stars"] > 0


def test_the_true_rating_where_there_is_one(rating):
    with (ROOT / "spaces/rating/model/ratings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6031
    assert rating.find_rating(int(rows[0]["user_id"]), int(rows[0]["movie_id"])) == float(rows[0]["rating"])
    assert rating.find_rating(1, 1) is None


def test_the_folder_keeps_to_grouplens_terms():
    folder = ROOT / "spaces/rating/model"
    assert "may not use this information for any commercial" in (folder / "README-GroupLens.txt").read_text()
    assert "license: other" in (folder / "README.md").read_text()
    assert "no endorsement" in (folder / "LICENSE.md").read_text()


@pytest.mark.data
def test_a_newcomer_is_predicted_better_than_by_the_movies_mean(rating):
    """People the model knows, as if they were new: half their ratings folded in, the other half predicted."""
    with (DATA / "movielens/ratings_sample.csv").open() as file:
        rows = [(int(r["userId"]), int(r["movieId"]), float(r["rating"])) for r in csv.DictReader(file)]
    errors, plain = [], []
    for user in sorted({user for user, *_ in rows})[:40]:
        own = [(movie, stars) for who, movie, stars in rows if who == user]
        visitor = rating.fold_in(dict(own[::2]))
        for movie, stars in own[1::2]:
            errors.append((rating.predict(visitor, movie).rating - stars) ** 2)
            plain.append((rating.predict(rating.fold_in({}), movie).rating - stars) ** 2)
    assert np.mean(errors) < 0.8 * np.mean(plain)


def test_newcomers_are_measured_and_get_what_was_better(rating):
    newcomers = rating.metrics.newcomers
    assert rating.config.popularity_below == newcomers.popularity_below
    few, many = newcomers.groups
    assert [point.given for point in few.curve] == [0, 1, 2, 3, 5, 10]
    assert [point.given for point in many.curve] == [0, 1, 2, 3, 5, 10, 20, 50]
    for point in few.curve:
        if point.given <= newcomers.popularity_below:
            assert point.value == min(point.taste_value, point.popularity_value)
    for group in (few, many):
        values = [point.value for point in group.curve]
        assert values == sorted(values, reverse=True)  # with each rating it is less far off


def test_the_served_model_reaches_its_targets():
    metrics = json.loads((ROOT / "spaces/rating/model/metrics.json").read_text())
    values = {item["name"]: item["value"] for item in metrics["figures"]}
    assert values["mse"] <= 0.570
    assert values["mse_sample_only"] <= 0.630
    for peer in metrics["peers"]:
        assert peer["difference_interval"][1] < 0, peer["peer"]


def test_a_title_names_its_movie_and_a_number_never_does(rating):
    title = "Star Wars: Episode IV - A New Hope (1977)"
    assert rating.predict(15, title) == rating.predict(15, 260)
    assert rating.similar(title) == rating.similar(260)
    assert rating.fold_in({title: 5, "1": 4}) == rating.fold_in({260: 5, 1: 4})
    with pytest.raises(BadInput, match="is rated twice"):
        rating.fold_in({title: 5, 260: 5})
    with pytest.raises(BadInput, match="There is no movie 'toy stor'; movie ids are those of MovieLens, such as 1 for"):
        rating.predict(15, "toy stor")
    assert rating.predict(15, "2046") == rating.predict(15, 2046) != rating.predict(15, "2046 (2004)")


@pytest.mark.parametrize("items", [["15"], ["15", "27"], [b"\x0f\x01"]])
def test_a_text_is_no_pair(rating, items):
    with pytest.raises(BadInput, match=r"Item 0: Give a user and a movie as \(user_id, movie_id\), not"):
        rating.predict_batch(items)


def test_a_batch_may_have_visitors_beside_users(rating):
    me = rating.fold_in({260: 5})
    found = rating.predict_batch([(15, 1), (me, 1), (17, 260)])
    assert found == [rating.predict(15, 1), rating.predict(me, 1), rating.predict(17, 260)]


@pytest.mark.parametrize(("place", "name"), [(0, "means"), (1, "factors"), (3, "noise")])
def test_a_model_whose_tables_are_not_finite_is_refused(monkeypatch, place, name):
    run = Session.run_once

    def run_badly(self, outputs, inputs=None):
        tables = [table.copy() for table in run(self, outputs, inputs)]
        tables[place].flat[-1] = np.nan
        return tables

    monkeypatch.setattr(Session, "run_once", run_badly)
    with pytest.raises(CheckpointError, match=f"The output '{name}' of .* has numbers that are not finite"):
        Recommender(ROOT / "spaces/rating/model")
