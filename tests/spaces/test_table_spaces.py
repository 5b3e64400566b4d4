"""What the pages of salary and rating say of their models, beside the figures it comes from."""

import re
from functools import partial

import gradio as gr
import numpy as np
import pytest

from shared.ui import movies
from shared.ui.explanations import add_up
from tests.conftest import load_app


def test_the_salary_page_warns_about_amounts_with_embeddings(salary):
    fields = [block for block in load_app("salary").demo.blocks.values() if isinstance(block, gr.Number)]
    warned = {str(field.label).split(",")[0]: str(field.info) for field in fields if field.info}
    names = {"Capital gain in the year": "capital-gain", "Capital loss in the year": "capital-loss"}
    assert set(warned) == set(names)
    for label, name in names.items():
        assert f"each of the {len(salary.config.amounts[name])} amounts" in warned[label]


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
        base, total = find_numbers(bars.split("Effect of each")[0], r"([\d.]+)%")
        parts = find_numbers(bars, r'bars-value">([-+][\d.]+)<')
        assert len(parts) == len(salary.config.groups)
        assert base + sum(parts) == pytest.approx(total, abs=1e-6)


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
    assert plot.x_title == "age"


def test_the_rating_page_shows_the_error_for_newcomers(rating):
    group = rating.metrics.newcomers.groups[-1]
    blocks = load_app("rating").demo.blocks.values()
    tables = [block.value for block in blocks if isinstance(block, gr.Dataframe) and block.value]
    shown = next(table for table in tables if table["headers"][0] == "movies rated")
    assert [row[0] for row in shown["data"]] == [0, 1, 2, 3, 5, 10, 20, 50]
    assert [row[1] for row in shown["data"]] == [f"{point.root:.2f}" for point in group.curve]
    texts = [str(block.value) for block in blocks if isinstance(block, gr.Markdown)]
    assert any(f"Measured on {group.users} MovieLens users" in text for text in texts)


def test_a_new_rating_comes_first_and_replaces_an_older_one_of_the_movie(rating):
    rate = partial(movies.add_rating, rating)
    assert list(rate({"260": 5, "1": 3}, "Pretty Woman (1990)", 2).items()) == [("597", 2), ("260", 5), ("1", 3)]
    assert list(rate({"260": 5, "1": 3}, 1, 4).items()) == [("1", 4), ("260", 5)]
    assert rate(None, "1", 4.5) == rate({}, 1.0, 4.5) == {"1": 4.5}
