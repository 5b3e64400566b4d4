"""Tables with many labels, and with a number to predict: answers, explanations and curves have the right values."""

import json
import shutil

import numpy as np
import pytest

from shared import BadInput, CheckpointError, load_model
from shared.session import Session
from shared.space import replace_model
from shared.tabular_regressor import TabularRegressorPrediction
from tests.conftest import ROOT, load_app

WEIGHTS = {"age": 2.0, "hours-per-week": -0.5}


def make_kind(folder, **fields):
    """Copy the salary model as one for another target; its network is replaced by `imitate`."""
    shutil.copytree(ROOT / "spaces/salary/model", folder)
    content = json.loads((folder / "gallery.json").read_text())
    kept = {name: value for name, value in content.items() if name not in ("labels", "temperature", "bias")}
    (folder / "gallery.json").write_text(json.dumps(kept | fields))
    return load_model(folder)


def load_imitated(folder):
    """Load the salary app with a model from `make_kind`, whose network is not the one that its config describes."""
    with pytest.MonkeyPatch.context() as patch, replace_model(folder):
        patch.setattr(Session, "_check_shapes", lambda *_: None)
        return load_app("salary")


def imitate(model, columns):
    """Let the network compute sums of two numbers with these weights, one column of outputs for each."""

    def run(names, _, numbers):
        order = list(model.config.numbers)
        parts = [sum(weight * numbers[:, order.index(name)] for name, weight in one.items()) for one in columns]
        return [np.stack(parts, 1)] if names == ["logits"] else [parts[0], np.abs(parts[1])]

    model._run = run
    return model


@pytest.fixture
def prices(tmp_path):
    """A model whose prediction is 2 × age - hours / 2, give or take a fifth of the age."""
    model = make_kind(tmp_path / "prices", task="tabular-regression", target="price", unit="€")
    return imitate(model, [WEIGHTS, {"age": 0.2}])


@pytest.fixture
def kinds(tmp_path):
    """A model of three labels whose logits are age / 20, hours / 20 and 1 / 100 of the age."""
    model = make_kind(tmp_path / "kinds", task="tabular-classification", labels=["a", "b", "c"], temperature=2.0)
    return imitate(model, [{"age": 0.05}, {"hours-per-week": 0.05}, {"age": 0.01}])


def test_a_number_has_an_interval(prices):
    row = prices.config.typical | {"age": 40, "hours-per-week": 20}
    answer = prices.predict(row)
    assert answer.as_dict() == {"value": 70.0, "low": 62.0, "high": 78.0}
    assert answer.as_row() == {"prediction": 70.0, "low": 62.0, "high": 78.0}
    assert prices.predict_batch([row, row]) == [answer, answer]
    with pytest.raises(BadInput, match="Age in years must be"):
        prices.predict(row | {"age": "old"})


def test_an_explanation_of_a_number_has_its_weights(prices):
    row = prices.config.typical | {"age": 40, "hours-per-week": 20}
    why = prices.explain(row)
    means = dict(zip(prices.config.numbers, prices._background[1].mean(axis=0), strict=True))
    for name, weight in WEIGHTS.items():
        assert why.contributions[name] == pytest.approx(weight * (float(row[name]) - means[name]), rel=1e-5)
    assert why.contributions["race"] == pytest.approx(0, abs=1e-9)
    assert why.base + sum(why.contributions.values()) == pytest.approx(why.value)
    assert why.as_dict() == {"value": 70.0, "base": why.base, "contributions": why.contributions}


def test_the_curve_of_a_number_has_its_interval(prices):
    curve = prices.what_if(prices.config.typical | {"hours-per-week": 20}, "age", points=74)
    assert curve[0] == pytest.approx((17, 24, 20.6, 27.4))
    assert curve[-1] == pytest.approx((90, 170, 152, 188))


def test_many_labels_share_the_probability(kinds):
    row = kinds.config.typical | {"age": 60, "hours-per-week": 20}
    answer = kinds.predict(row)
    odds = np.exp(np.array([3.0, 1.0, 0.6]) / 2)
    assert answer.label == "a"
    assert list(answer.probabilities.values()) == pytest.approx((odds / odds.sum()).tolist(), abs=1e-6)
    assert set(answer.as_row()) == {"prediction", "probability a", "probability b", "probability c"}
    why = kinds.explain(row)
    assert (why.label, why.probability) == ("a", answer.probabilities["a"])
    assert why.base + sum(why.contributions.values()) == pytest.approx(why.probability)
    assert kinds.explain(row | {"age": 17, "hours-per-week": 90}).as_dict()["label"] == "b"
    curve = dict(kinds.what_if(row, "age", points=74))
    assert curve[60] == pytest.approx(answer.probabilities["a"])
    assert curve[17] < curve[90]  # of the label that is predicted for the row, also where another is likelier


@pytest.fixture
def rescaled(tmp_path):
    """The salary model, whose logits are halved and raised by 0.5."""
    fields = {"labels": ["<50k", ">=50k"], "temperature": 2.0, "bias": 0.5}
    return make_kind(tmp_path / "rescaled", task="tabular-classification", **fields)


def test_the_logit_of_two_labels_is_calibrated(rescaled, salary, person):
    before = salary.predict(person).probabilities[">=50k"]
    answer = rescaled.predict(person)
    odds = np.exp(np.log(before / (1 - before)) / 2 + 0.5)
    assert answer.probabilities == pytest.approx({"<50k": 1 / (1 + odds), ">=50k": odds / (1 + odds)}, abs=1e-6)
    shown = round(answer.probabilities[">=50k"], 4)
    assert answer.as_row() == {"prediction": answer.label, "probability >=50k": shown}
    why = rescaled.explain(person)
    assert why.probability == answer.probabilities[">=50k"]  # also of somebody for whom the first is likelier
    assert why.as_dict().keys() == {"probability", "base", "contributions"}


def test_of_two_labels_that_are_as_likely_the_second_is_given(salary, monkeypatch):
    monkeypatch.setattr(salary, "_run", lambda *_: [np.zeros(1)])
    answer = salary.predict(salary.example())
    assert (answer.label, answer.probabilities) == (">=50k", {"<50k": 0.5, ">=50k": 0.5})


def test_a_number_has_six_digits_in_a_table():
    answer = TabularRegressorPrediction(1234.56789, 0.000123456789, 123456789.0)
    assert answer.as_row() == {"prediction": 1234.57, "low": 0.000123457, "high": 123457000.0}


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("categories", lambda found: found | {"race": ["White", "?"]}, r"categories must begin with '\?'"),
        ("numbers", lambda found: found | {"age": found["age"] | {"median": 91}}, "must have minimum <= median <="),
        ("amounts", lambda _: {"capital-gain": [3.0, 2.0]}, "amounts must .* be in ascending order"),
        ("amounts", lambda _: {"capital-gain": [2.0, 2.0]}, "amounts must .* be in ascending order"),
        ("amounts", lambda _: {"race": [2.0]}, "amounts must belong to columns in numbers"),
        ("open_categories", lambda _: ["age"], "open_categories must be in categories"),
        ("columns", lambda found: [*found, "age"], "must name each of the columns once"),
    ],
)
def test_a_wrong_config_is_refused(tmp_path, field, change, message):
    content = json.loads((ROOT / "spaces/salary/model/gallery.json").read_text())
    with pytest.raises(CheckpointError, match=message):
        make_kind(tmp_path / "wrong", **content | {field: change(content.get(field))})


def test_a_row_of_something_else_is_refused_as_such(salary, person):
    with pytest.raises(BadInput, match=r"^Item 1: A row must be given as \{column: value\}, not '5'\.$"):
        salary.predict_batch([person, 5])


def test_an_explanation_of_many_columns_compares_with_fewer_rows(prices, monkeypatch):
    monkeypatch.setattr("shared.tabular.EXPLAINED_ROWS", 30 * 26)  # 12 groups of columns: 30 of the 100 rows
    row = prices.config.typical | {"age": 40}
    mean = prices._background[1][:30, list(prices.config.numbers).index("age")].mean()
    assert prices.explain(row).contributions["age"] == pytest.approx(2 * (40 - mean), rel=1e-5)


def test_unknown_values_of_open_categories_count_as_missing(prices, monkeypatch):
    row = dict(prices.config.typical)
    with pytest.raises(BadInput, match=r"Employer \(workclass\) must be one of"):
        prices.predict(row | {"workclass": "Astronaut"})
    monkeypatch.setattr(prices, "config", prices.config.model_copy(update={"open_categories": ("workclass",)}))
    assert prices.predict(row | {"workclass": "Astronaut"}) == prices.predict(row | {"workclass": "?"})
