"""Whatever is given to a predictor or to a page, there is an answer or one sentence."""

import datetime
import math
from collections.abc import Hashable
from decimal import Decimal
from fractions import Fraction

import gradio as gr
import numpy as np
import pandas as pd
import pytest

from shared import BadInput
from shared.errors import quote
from shared.text import parse_number
from shared.ui.movies import add_rating, put_in_order, recommend_for
from tests.conftest import DEMOS, ROOT, load_app


class Stubborn:
    """Refuses whatever it is asked."""

    def refuse(self, *_):
        raise RuntimeError("no")

    __float__ = __str__ = __repr__ = __eq__ = __bool__ = __len__ = __iter__ = refuse
    __hash__ = object.__hash__


def nest(depth):
    inner = []
    for _ in range(depth):
        inner = [inner]
    return inner


VALUES = {
    "None": None,
    "True": True,
    "numpy True": np.True_,
    "0": 0,
    "-1": -1,
    "-0.0": -0.0,
    "0.5": 0.5,
    "5,000 digits": 10**5_000,
    "-5,000 digits": -(10**5_000),
    "400 digits": 10**400,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "1j": 1j,
    "numpy int": np.int64(5),
    "numpy float": np.float32(0.5),
    "numpy nan": np.float64("nan"),
    "NaT": np.datetime64("NaT"),
    "array": np.arange(3),
    "array of one": np.array([5]),
    "array of none": np.array(5),
    "array of nan": np.array([np.nan]),
    "pandas NA": pd.NA,
    "pandas NaT": pd.NaT,
    "series": pd.Series([1]),
    "frame": pd.DataFrame({"a": [1]}),
    "Decimal": Decimal(5),
    "Decimal nan": Decimal("nan"),
    "Decimal snan": Decimal("snan"),
    "Decimal 1e100000": Decimal("1e100000"),
    "Fraction": Fraction(10**400, 3),
    "date": datetime.date(2026, 1, 1),
    "empty text": "",
    "text of a number": "5",
    "1e5": "1e5",
    "1_0": "1_0",
    "²": "²",
    "a million letters": "x" * 1_000_000,
    "a million digits": "9" * 1_000_000,
    "a million spaces": " " * 1_000_000,
    "surrogate": "\ud800",
    "and text": "a\udfffb",
    "nul": "a\0b",
    "two lines": "a\nb",
    "markup": "<script>",
    "bytes": b"5",
    "no bytes": b"",
    "bad bytes": b"\xff\0",
    "list": [1, [2, [3]]],
    "empty list": [],
    "list of text": ["a"],
    "nested list": nest(50_000),
    "tuple": (1, 2),
    "set": {1},
    "dict": {"a": 1},
    "empty dict": {},
    "range": range(3),
    "function": print,
    "class": int,
    "stubborn": Stubborn(),
}
PICTURES = {
    "cat_dog": str(ROOT / "spaces/cat_dog/examples/cat.png"),
    "segmentation": str(ROOT / "spaces/segmentation/examples/street.jpg"),
}
REVIEW = "A good film, and I liked it."


def check_outcome(what, ask, *arguments):
    """Check that a call returns, or raises an error with one printable sentence."""
    try:
        ask(*arguments)
    except (BadInput, gr.Error) as error:
        sentence = str(error)
        assert sentence.encode().decode().splitlines() == [sentence], what
        assert 10 < len(sentence) < 2_000, what
    except Exception as error:
        pytest.fail(f"{what}: {error!r}"[:500])


@pytest.fixture(scope="module")
def models(cat_dog, segmentation, sentiment, salary, rating):
    return {
        "cat_dog": cat_dog,
        "segmentation": segmentation,
        "sentiment": sentiment,
        "salary": salary,
        "rating": rating,
    }


@pytest.fixture(scope="module")
def apps():
    return {name: load_app(name) for name in DEMOS}


@pytest.mark.parametrize("name", VALUES)
def test_predictors(models, name):
    value = VALUES[name]
    for model in models.values():
        is_recommender = model.task == "recommendation"
        for ask in (model.fold_in, model.recommend) if is_recommender else (model.predict, model.explain):
            check_outcome(ask, ask, value)
        for items in (value, [value]):
            check_outcome(model.predict_batch, model.predict_batch, items)
    check_outcome("count_mask_pixels", models["segmentation"].count_mask_pixels, value)
    check_outcome("label", models["cat_dog"].explain, PICTURES["cat_dog"], value)
    check_outcome("label", models["sentiment"].explain, REVIEW, value)
    check_outcome("part", models["sentiment"].explain, REVIEW, None, value)

    salary, person = models["salary"], dict(models["salary"].example())
    rows = [{**person, column: value} for column in ("age", "fnlwgt", "workclass", "education")]
    if isinstance(value, Hashable) and name != "Decimal snan":
        rows.append({**person, value: 1})
        check_outcome("movie", models["rating"].fold_in, {value: 5})
    for row in rows:
        check_outcome("row", salary.predict, row)
    check_outcome("what_if", salary.what_if, rows[0], "age")
    check_outcome("column", salary.what_if, person, value)
    check_outcome("points", salary.what_if, person, "age", value)
    check_outcome("longest", models["segmentation"].predict, PICTURES["segmentation"], value)

    rating = models["rating"]
    for ask in (rating.predict, rating.explain, rating.find_rating, rating.recommend):
        check_outcome(("user", ask), ask, value, 5 if ask == rating.recommend else 260)
    for ask in (rating.predict, rating.explain, rating.find_rating, rating.recommend):
        check_outcome(("movie or number", ask), ask, 15, value)
    check_outcome("similar", rating.similar, value)
    check_outcome("stars", rating.fold_in, {260: value})
    check_outcome("pair", rating.predict_batch, [(value, value)])


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, lambda items: pd.Series(list(items)), lambda items: dict.fromkeys(items).keys()]
)
def test_many_may_come_in_any_collection(models, kind):
    texts = ["A good film.", "A dull film."]
    assert models["sentiment"].predict_batch(kind(texts)) == models["sentiment"].predict_batch(texts)
    pairs = [(15, 1), (15, 260)]
    assert models["rating"].predict_batch(kind(pairs)) == models["rating"].predict_batch(pairs)


@pytest.mark.parametrize("name", VALUES)
def test_pages(apps, name):
    value = VALUES[name]
    for app in apps.values():
        check_outcome("batch", app.batch, value)
        check_outcome("batch", app.batch, [value])
    for space in ("cat_dog", "segmentation", "sentiment"):
        check_outcome((space, "predict"), apps[space].predict, value)
        check_outcome((space, "explain"), apps[space].explain, value)
    check_outcome("part", apps["sentiment"].explain, REVIEW, value)
    person = list(apps["salary"].config.typical.values())
    for position in (0, 1):
        arguments = [*person[:position], value, *person[position + 1 :]]
        check_outcome("predict", apps["salary"].predict, *arguments)
        check_outcome("explain", apps["salary"].explain, *arguments)
    check_outcome("what_if", apps["salary"].what_if, *person, value)
    rating = apps["rating"]
    for ask, arguments in [
        (rating.predict, (value, 260)),
        (rating.predict, (15, value)),
        (rating.explain, (15, value)),
        (rating.recommend, (value, None, 5)),
        (rating.recommend, (None, value, 5)),
        (rating.recommend, (15, None, value)),
        (rating.similar, (value, 5)),
        (rating.similar, (260, value)),
        (add_rating, (rating.model, value, 260, 4)),
        (add_rating, (rating.model, {}, value, 4)),
        (add_rating, (rating.model, {}, 260, value)),
        (recommend_for, (rating.model, value)),
        (recommend_for, (rating.model, {"260": value})),
        (recommend_for, (rating.model, {"260": 4}, value)),
        (put_in_order, (value, ["260"])),
        (put_in_order, ({"260": 4}, [value])),
    ]:
        check_outcome(ask, ask, *arguments)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\n b\t c", "'a b c'"),
        ("<b>", "'‹b›'"),
        ("\ud800\u202ex\0", "'??x?'"),
        ("x" * 41, f"'{'x' * 37}...'"),
        (10**5_000, "'a number of thousands of digits'"),
        (nest(50_000), "'something of type list'"),
        (Stubborn(), "'something of type Stubborn'"),
        (None, "'None'"),
    ],
    ids=range(8),
)
def test_what_was_given_is_quoted_on_one_printable_line(value, expected):
    assert quote(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("5.5", 5.5),
        (np.float32(0.5), 0.5),
        (Decimal("1.5"), 1.5),
        (np.array(5), 5),
        ("inf", math.nan),
        ("1e5", 1e5),
    ]
    + [(value, math.nan) for value in (None, True, np.True_, b"5", np.array([5]), [5], 10**400, "x", "", 1j)],
    ids=range(17),
)
def test_what_is_a_number(value, expected):
    assert parse_number(value) == pytest.approx(expected, nan_ok=True)
