"""What the pages of salary and rating say of their models, beside the figures it comes from."""

import json
import re
from dataclasses import replace
from functools import partial

import gradio as gr
import numpy as np
import pytest

from shared.errors import BadInput
from shared.ui import movies
from shared.ui.explanations import add_up
from shared.ui.languages import translate_page
from tests.conftest import ROOT, load_app
from tests.shared.test_tabular_kinds import imitate, load_imitated, make_kind


def test_the_salary_page_warns_about_amounts_with_embeddings(salary):
    fields = [block for block in load_app("salary").demo.blocks.values() if isinstance(block, gr.Number)]
    warned = {str(field.label).split(",")[0]: str(field.info) for field in fields if field.info}
    names = {"Capital gain in the year": "capital-gain", "Capital loss in the year": "capital-loss"}
    assert set(warned) == set(names)
    for label, name in names.items():
        assert f"between the {len(salary.config.amounts[name])} amounts" in warned[label]


@pytest.mark.parametrize("digits", [0, 1, 2, 3])
def test_rounded_parts_add_up(digits):
    rng = np.random.default_rng(3)
    for count in [0, 1, 2, 3, 12, 40] * 200:
        values = rng.normal(0, rng.choice([0.001, 0.1, 30]), count)
        base = float(rng.normal())
        parts = {str(number): float(value) for number, value in enumerate(values)}
        total = base + sum(parts.values())
        shown = add_up(parts, base, total, digits)
        assert list(shown) == list(parts)
        if count:
            assert round(base, digits) + sum(shown.values()) == pytest.approx(round(total, digits), abs=1e-9)
            most = 10**-digits * (1 if count > 1 else 1.5)  # both ends of a sum are rounded, too
            assert max(abs(shown[label] - parts[label]) for label in parts) <= most + 1e-12


def find_numbers(shown, pattern):
    return [float(found.replace("\u2212", "-")) for found in re.findall(pattern, shown)]


def test_the_contributions_on_the_salary_page_add_up(salary):
    """As it is printed: so many tenths of percentage points."""
    explain = load_app("salary").explain
    rng = np.random.default_rng(4)
    for _ in range(40):
        row = {name: str(rng.choice(values)) for name, values in salary.config.categories.items()}
        row |= {name: rng.integers(int(span.minimum), int(span.maximum) + 1) for name, span in find_spans(salary)}
        person = [row[name] if isinstance(row[name], str) else int(row[name]) for name in salary.config.columns]
        _, bars = explain(*person)
        base, total = find_numbers(bars.split("What makes")[0], r"([\d.]+)%")
        parts = find_numbers(bars, r'bars-value">([-+][\d.]+)<')
        assert len(parts) == len(salary.config.groups)
        assert base + sum(parts) == pytest.approx(total, abs=1e-6)


def load_kind(folder, columns, **fields):
    """Load the salary app with a model of another kind of target, whose network computes sums of numbers."""
    make_kind(folder, **fields)
    app = load_imitated(folder)
    imitate(app.model, columns)
    return app


def test_the_page_of_a_number_shows_its_interval_and_a_curve_with_a_band(tmp_path):
    app = load_kind(
        tmp_path / "m", [{"age": 2.0, "hours-per-week": -0.5}, {"age": 0.2}], task="tabular-regression", target="price",
        unit="€",
    )  # fmt: skip
    typical = app.config.typical | {"age": 40, "hours-per-week": 20}
    row = [typical[name] for name in app.config.columns]
    found, shown = app.predict(*row)
    assert found == {"value": 70.0, "low": 62.0, "high": 78.0}
    assert shown == "## 70.0 €\nPrice. For nine of ten rows like this one, it is between 62.0 and 78.0 €."
    why, bars = app.explain(*row)
    base, total = find_numbers(bars.split("What makes")[0], r"([\d.]+)(?=,|\. )")
    assert base + sum(find_numbers(bars, r'bars-value">([-+][\d.]+)<')) == pytest.approx(total, abs=1e-6)
    assert why["value"] == total == 70
    found, curve = app.what_if(*row, "age")
    assert set(found) == {"column", "values", "predictions", "low", "high"}
    assert curve["line"].value_counts().to_dict() == dict.fromkeys(("prediction", "low", "high"), len(found["values"]))
    path = tmp_path / "rows.csv"
    path.write_text(f"{','.join(app.config.columns)}\n{','.join(map(str, row))}\n")
    assert app.batch(str(path))[1].loc[0, ["prediction", "low", "high"]].tolist() == [70, 62, 78]


def test_the_page_of_many_labels_explains_the_predicted_one(tmp_path):
    columns = [{"age": 0.05}, {"hours-per-week": 0.05}, {"age": 0.01}]
    app = load_kind(tmp_path / "m", columns, task="tabular-classification", labels=["a", "b", "c"])
    row = [(app.config.typical | {"age": 60, "hours-per-week": 20})[name] for name in app.config.columns]
    found, shown = app.predict(*row)
    assert (found["label"], shown) == ("a", found["probabilities"])
    why, bars = app.explain(*row)
    assert "<p>a: on average " in bars
    assert why["label"] == app.what_if(*row, "age")[0]["label"] == "a"


def test_dates_and_open_categories_have_fields_of_text(tmp_path):
    folder = tmp_path / "m"
    content = json.loads((ROOT / "spaces/salary/model/gallery.json").read_text())
    numbers = content["numbers"] | {"age": {"minimum": 17, "maximum": 90, "median": 40, "date_format": "%d.%m.%Y"}}
    app = load_kind(
        folder, [{"age": 1.0}, {"age": 0.1}], task="tabular-regression", target="price", numbers=numbers,
        typical=content["typical"] | {"age": "10.02.1970"}, open_categories=["workclass"],
    )  # fmt: skip
    fields = {str(block.label): block for block in app.demo.blocks.values() if hasattr(block, "label")}
    date = fields["Age in years (18.01.1970 to 01.04.1970)"]
    assert (type(date), date.value) == (gr.Textbox, "10.02.1970")
    custom = [label for label, field in fields.items() if getattr(field, "allow_custom_value", False)]
    assert len(custom) == 1
    row = [app.config.typical[name] for name in app.config.columns]
    assert app.predict(*row)[0]["value"] == 40
    found, curve = app.what_if(*row, "age")
    assert (found["values"][0], found["predictions"][0], found["values"][-1]) == ("18.01.1970", 17.0, "01.04.1970")
    assert str(curve["value"].iloc[0]) == "1970-01-18 00:00:00"


def find_spans(salary):
    return salary.config.numbers.items()


def test_the_contributions_on_the_rating_page_add_up(rating):
    app = load_app("rating")
    pairs = [(user, movie) for user in rating.config.users[::60] for movie in list(rating.movies)[::400]]
    pairs += [(user, rating.recommend(user, 1)[0][0]) for user in rating.config.users[::20]]  # some above 5 stars
    cut = 0
    for user, movie in pairs:
        found, bars = app.explain(user, movie)
        base, total, *left = find_numbers(bars.split("</p>")[0], r"([-\d.]+) ★")
        parts = find_numbers(bars, r'bars-value">([-+][\d.]+)<')
        assert base + sum(parts) == pytest.approx(total, abs=1e-6)
        _, words = app.predict(user, movie)
        assert find_numbers(words, r"<h2>([\d.]+) ★") == (left or [total])
        assert bool(left) == (found["rating"] in (0.5, 5))
        cut += bool(left)
    assert cut


def test_the_largest_contribution_is_not_zero(rating):
    visitor = rating.fold_in({6539: 4, 2571: 4, 260: 4, 51662: 4, 72378: 4})
    for best in (rating.recommend(visitor, 40)[start:] for start in range(40)):
        bars = movies.explain_first(rating, visitor, best)
        values = find_numbers(bars, r'bars-value">([-+][\d.]+)<')
        assert values
        assert all(values), bars


def test_the_axis_of_the_what_if_plot_is_named():
    (plot,) = [block for block in load_app("salary").demo.blocks.values() if isinstance(block, gr.LinePlot)]
    assert plot.x_title == "Age in years"


def test_the_rating_page_shows_the_error_for_newcomers(rating):
    group = rating.metrics.newcomers.groups[-1]
    blocks = load_app("rating").demo.blocks.values()
    tables = [block.value for block in blocks if isinstance(block, gr.Dataframe) and block.value]
    shown = next(table for table in tables if table["headers"][0] == "movies rated")
    assert [row[0] for row in shown["data"]] == [0, 1, 2, 3, 5, 10, 20, 50]
    assert [row[1] for row in shown["data"]] == [round(point.root, 2) for point in group.curve]
    assert [row[1] for row in shown["metadata"]["display_value"]] == [f"{point.root:.2f}" for point in group.curve]
    texts = [str(block.value) for block in blocks if isinstance(block, gr.Markdown)]
    assert any(f"Measured on {group.users} MovieLens users" in text for text in texts)


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_dot_of_the_map_has_a_colour_and_a_name_below(language):
    config = translate_page(json.loads(json.dumps(load_app("rating").demo.get_config_file())), language)
    plot = next(one["props"] for one in config["components"] if "color_map" in one["props"])
    column = plot["value"]["columns"].index(plot["color"])
    kinds = {row[column] for row in plot["value"]["data"]}
    legend = next(
        str(one["props"].get("value"))
        for one in config["components"]
        if one["props"].get("label") in ("Legend", "Legende")
    )
    assert kinds == set(plot["color_map"]) == set(re.findall(r'"dot"[^>]*>([^<]+)<', legend))
    assert ("Comedy" if language == "en" else "Komödie") in kinds
    for axis, side in (("x", "x_lim"), ("y", "y_lim")):
        values = [row[plot["value"]["columns"].index(axis)] for row in plot["value"]["data"]]
        assert plot[side][0] < min(values) < max(values) < plot[side][1]


def test_a_map_without_positions_is_empty(rating, monkeypatch):
    unplaced = {movie_id: replace(movie, x=float("nan")) for movie_id, movie in rating.movies.items()}
    monkeypatch.setattr(rating, "movies", unplaced)
    with gr.Blocks():
        plot = movies.add_map(rating)
    assert (plot.x_lim, plot.y_lim, plot.color) == (None, None, None)


def test_a_new_rating_comes_first_and_replaces_an_older_one_of_the_movie(rating):
    rate = partial(movies.add_rating, rating)
    assert list(rate({"260": 5, "1": 3}, "Pretty Woman (1990)", 2).items()) == [("597", 2), ("260", 5), ("1", 3)]
    assert list(rate({"260": 5, "1": 3}, 1, 4).items()) == [("1", 4), ("260", 5)]
    assert rate(None, "1", 4.5) == rate({}, 1.0, 4.5) == {"1": 4.5}


def test_a_rating_can_be_removed(rating):
    assert movies.remove_rating(rating, {"260": 5, "1": 3}, 1) == {"260": 5}
    with pytest.raises(BadInput, match=r"You have not rated Toy Story \(1995\); choose one that you have rated."):
        movies.remove_rating(rating, {"260": 5}, 1)
    with pytest.raises(BadInput, match="You have not rated"):
        movies.remove_rating(rating, None, 1)


def test_what_the_newest_rating_changed_is_marked(rating):
    lists = ["abcd", "bace"]
    before, after = ([(letter, letter.upper(), 4.0) for letter in letters] for letters in lists)
    assert [title for _, title, _ in movies.mark_changes(before, after)] == ["B ▲1", "A ▼1", "C", "E · new"]
    _, first, _ = movies.recommend_for(rating, {}, [])
    assert not first.data["movie"].str.contains("[▲▼·]").any()
    given = {"593": 1, "296": 5, "260": 2, "1": 4, "318": 3}
    _, shown, _ = movies.recommend_for(rating, given, [*given])
    pattern = r"(?: ▲\d| ▼\d| · new)$"
    assert shown.data["movie"].str.contains(pattern).any()
    plain = [title for _, title, _ in rating.recommend(rating.fold_in(given), 10)]
    assert shown.data["movie"].str.replace(pattern, "", regex=True).tolist() == plain
    for unknown in ([], None, "593", {"593": 0}, ["9"], [593]):  # as for the ratings of a link
        assert movies.recommend_for(rating, given, unknown)[1].data["movie"].tolist() == plain


def send(ratings):
    """Ratings after JavaScript, which sorts the keys of an object that are whole numbers."""
    return {key: ratings[key] for key in sorted(ratings, key=int)}


@pytest.mark.parametrize("rated", [["1", "318", "2571"], ["2571", "318", "1"], ["318", "2571", "1"]])
def test_the_newest_rating_is_known_whatever_its_id_is(rating, rated):
    ratings, order = {}, []
    for number, movie_id in enumerate(rated):
        ratings = movies.add_rating(rating, movies.put_in_order(send(ratings), order), movie_id, 1 + 2 * number)
        order = list(ratings)
    assert order == rated[::-1]
    mine, best, _ = movies.recommend_for(rating, send(ratings), order)
    assert mine.data["movie"].tolist() == [rating.movies[int(movie_id)].title for movie_id in order]
    after, older = rating.recommend(rating.fold_in(ratings), 10), {each: ratings[each] for each in order[1:]}
    marked = movies.mark_changes(rating.recommend(rating.fold_in(older), 10), after)
    assert best.data["movie"].tolist() == [title for _, title, _ in marked]


def test_only_ratings_of_this_page_are_the_newest(rating):
    """Those of a link came earlier, in an unknown order."""
    with gr.Blocks() as page:
        movies.add_visitor(rating)
    rate, forget = (next(each.fn for each in page.fns.values() if each.name == name) for name in ("rate", "forget"))
    linked = {"1": 3.0, "260": 4.0, "296": 5.0}
    order, given = rate(linked, [], 318, 2.0)
    assert (order, given) == (["318"], {"318": 2.0, **linked})
    assert forget(send(given), order, 318) == ([], linked)
    order, given = rate(send(given), order, 1, 1.0)
    assert order == ["1", "318"]
    order, given = forget(send(given), order, 1)
    assert order == ["318"]
    mine, _, _ = movies.recommend_for(rating, send(given), order)
    assert mine.data["movie"].tolist()[0] == rating.movies[318].title
