"""The salary predictor: what it accepts, what it refuses, and that its answers hang together."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from shared import BadInput, load_model
from shared.tables import answer_table, read_csv
from shared.tabular_values import NumberColumn, index_categories, read_category
from tests.conftest import DATA, ROOT


def test_probabilities_sum_to_one_and_the_label_is_the_more_probable(salary, person):
    prediction = salary.predict(person)
    assert set(prediction.probabilities) == {"<50k", ">=50k"}
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)


def test_answers_follow_common_sense(salary, person):
    manager = salary.predict(person).probabilities[">=50k"]
    pupil = {
        **person,
        "age": 18,
        "education": "11th",
        "education-num": 7,
        "marital-status": "Never-married",
        "relationship": "Own-child",
        "occupation": "Other-service",
        "hours-per-week": 15,
    }
    assert manager > 0.5
    assert salary.predict(pupil).probabilities[">=50k"] < 0.02


@pytest.mark.parametrize(
    "missing",
    [
        "?", None, math.nan, "", " ? ", np.float32("nan"), "NA", "n/a", "#N/A", "NaN", "nan", "null", "None", "<NA>",
        "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!", "#BEZUG!", "#ZAHL!",
    ],
)  # fmt: skip
def test_missing_values(salary, person, missing):
    nothing = dict.fromkeys(person, missing)
    assert 0 < salary.predict(nothing).probabilities[">=50k"] < 1
    assert salary.predict({**person, "age": missing}) == salary.predict({**person, "age": "?"})


def test_text_numbers_and_spaces_are_fine(salary, person):
    as_text = {name: f" {value}" for name, value in person.items()}
    assert salary.predict(as_text) == salary.predict(person)


def test_categories_may_be_written_otherwise(salary, person):
    expected = salary.predict(person)
    for change in (
        {"workclass": "private", "sex": "MALE"},
        {"native-country": " united states ", "marital-status": "married_civ_spouse"},
        {"workclass": "Pri\u200bvate\ufeff", "sex": "Male\u00a0"},
    ):
        assert salary.predict({**person, **change}) == expected
    assert salary.predict({**person, "hours-per-week": "45,0", "age": "39.0 "}) == expected


def test_a_loose_name_that_fits_two_categories_is_none():
    codes = index_categories(("?", "a-b", "A B", "c d", "None"))
    assert codes["a-b"] == 1
    assert codes["A B"] == 2
    assert codes["c-d"] == 3
    assert codes["none"] == 4
    values = ("?", "A B", "A_B")
    with pytest.raises(BadInput, match=r"^x must be one of A B, A_B, or \? where it is unknown; not 'a-b'\.$"):
        read_category("x", "a-b", index_categories(values), values)


@pytest.mark.parametrize("value", [5, 5.0, np.float32(5), np.int64(5), "5", "5.0", " 5.00 ", Decimal("5.0")])
def test_a_code_may_have_been_a_float(value):
    """pandas makes the whole column floats where one value is missing."""
    values = ("?", "1", "5", "50")
    assert read_category("store", value, index_categories(values), values) == 2


@pytest.mark.parametrize("value", [5.5, "5.50", "5e0", 50.1, "5.", True])
def test_a_fraction_is_no_code(value):
    values = ("?", "1", "5", "50")
    with pytest.raises(BadInput, match="store must be one of 1, 5, 50"):
        read_category("store", value, index_categories(values), values)


def test_a_category_may_be_a_float_itself():
    values = ("?", "5.0", "5")
    assert [read_category("x", one, index_categories(values), values) for one in (5.0, 5, "5.0")] == [1, 2, 1]


@pytest.mark.parametrize(
    ("column", "description", "name"),
    [
        ("race", "Race, as the census of 1994 put it", "Race"),
        ("workclass", "Employer", "Employer (workclass)"),
        ("age", "Average hours", "Average hours (age)"),
        ("capital-gain", "Capital gain in the year, $", "Capital gain in the year"),
        ("capital_gain", None, "capital_gain"),
        ("größe_cm", "Größe (cm)", "Größe (cm)"),
    ],
)
def test_an_error_names_a_column_as_form_and_file_do(salary, column, description, name):
    descriptions = {column: description} if description else {}
    assert salary.config.model_copy(update={"descriptions": descriptions}).name_field(column) == name


def test_ignored_columns_change_nothing(salary, person):
    for name in salary.config.ignored:
        assert salary.predict({**person, name: 2}) == salary.predict(person)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capital-gain": "2,174"}, "not '2,174'. Write 2174 if the comma separates thousands, or 2.174 if"),
        ({"capital-gain": "$2174"}, r"not '\$2174'. Write it without a sign of currency: 2174"),
        ({"age": "3_9"}, "Age in years must be a number from 17 to 90"),
        ({"workclass": "Astronaut"}, r"Employer \(workclass\) must be one of Federal-gov, .*not 'Astronaut'"),
        ({"workclass": 3}, r"Employer \(workclass\) must be one of"),
        ({"age": -3}, "Age in years must be a number from 17 to 90.*not '-3'"),
        ({"age": 300}, "Age in years must be a number from 17 to 90.*not '300'"),
        ({"age": "forty"}, "Age in years must be a number.*not 'forty'"),
        ({"age": math.inf}, "Age in years must be a number.*not 'inf'"),
        ({"age": True}, "Age in years must be a number.*not 'True'"),
        ({"age": [40]}, "Age in years must be a number"),
        ({"age": 10**400}, "Age in years must be a number"),
        ({"age": 10**5000}, "Age in years must be a number.*thousands of digits"),
        ({"sex": "<b>x</b>"}, "not '‹b›x‹/b›'"),
        ({"fnlwgt": "inf"}, r"Sampling weight of the census \(fnlwgt\) must be a number"),
        (
            {"fnlwgt": "x"},
            r"census \(fnlwgt\) must be a number from 12285 to 1484705, the range of the training data, not 'x'.$",
        ),
        ({"capital-gain": 1234567890}, "from 0 to 99999, the range .* not '1234567890'.$"),
        ({"race": "Purple"}, "^Race must be one of"),
        ({"hours-per-week": 0}, r"Hours of work in a usual week \(hours-per-week\) must be a number from 1 to 99"),
        ({"agee": 3}, "There is no column 'agee'. Did you mean 'age'?"),
        ({"x" * 100: 3}, r"There is no column 'x+\.\.\.'. The columns are age, "),
    ],
)
def test_bad_values_get_one_message(salary, person, change, message):
    with pytest.raises(BadInput, match=message):
        salary.predict({**person, **change})


def test_missing_column_is_named(salary, person):
    del person["race"], person["sex"]
    with pytest.raises(BadInput, match="The value of race, sex is not given"):
        salary.predict(person)


def test_batch_equals_a_loop(salary, person):
    people = [{**person, "age": age} for age in range(17, 91)] * 20
    batch = salary.predict_batch(people)
    assert len(batch) == len(people)
    for index in (0, 17, 1400):
        assert batch[index].probabilities[">=50k"] == pytest.approx(
            salary.predict(people[index]).probabilities[">=50k"], abs=1e-6
        )


def test_batch_names_the_bad_item(salary, person):
    with pytest.raises(BadInput, match="Item 2: Age in years must be"):
        salary.predict_batch([person, person, {**person, "age": -1}])
    assert salary.predict_batch([]) == []


def test_batch_of_a_dataframe(salary, person):
    pandas = pytest.importorskip("pandas")
    assert salary.predict({**person, "age": pandas.NA}) == salary.predict({**person, "age": "?"})
    frame = pandas.DataFrame([person, {**person, "age": None, "workclass": None}])
    expected = salary.predict_batch([person, {**person, "age": "?", "workclass": "?"}])
    assert salary.predict_batch(frame) == salary.predict_batch(frame.assign(salary="<50k")) == expected
    with pytest.raises(BadInput, match="The table has no column 'age'"):
        salary.predict_batch(frame.drop(columns="age"))


def test_explanation_adds_up(salary, person):
    why = salary.explain(person)
    assert why.base + sum(why.contributions.values()) == pytest.approx(why.probability, abs=1e-12)
    assert why.probability == salary.predict(person).probabilities[">=50k"]
    assert set(why.contributions) == set(person) - set(salary.config.ignored)
    assert why.contributions["education"] > 0  # a bachelor, against people of all levels
    assert why == salary.explain(person)


def test_an_explanation_evaluates_different_rows_once(salary, person, monkeypatch):
    why, rows = salary.explain(person), []
    ask = salary._compute

    def count(categories, numbers):
        rows.extend(map(tuple, np.hstack([categories, numbers]).tolist()))
        return ask(categories, numbers)

    monkeypatch.setattr(salary, "_compute", count)
    assert salary.explain({**person, "fnlwgt": 1}) == why
    assert len(rows) == len(set(rows)) < 650  # of 1,301


def test_the_sharing_of_rows_changes_no_contribution(salary, person, monkeypatch):
    why = salary.explain(person)

    def ask_for_every_row(categories, numbers, which, known):
        assert (which, len(known)) == (1, 51)
        return salary._compute(categories, numbers)[:, which]

    monkeypatch.setattr(salary, "_compute_different", ask_for_every_row)
    assert salary.explain(person).contributions == pytest.approx(why.contributions, abs=1e-6)


def test_what_if_passes_through_the_prediction(salary, person):
    curve = dict(salary.what_if({**person, "age": 17}, "age", points=74))
    assert list(curve) == list(range(17, 91))
    assert curve[39] == pytest.approx(salary.predict(person).probabilities[">=50k"], abs=1e-6)
    assert curve[45] > curve[17]


def test_what_if_of_whole_numbers_whose_median_is_between_two(salary, person, monkeypatch):
    ages = {"age": NumberColumn(minimum=17, maximum=90, median=37.5)}
    config = salary.config.model_copy(update={"numbers": {**salary.config.numbers, **ages}})
    monkeypatch.setattr(salary, "config", config)
    assert [age for age, _ in salary.what_if(person, "age", points=8)] == [17, 27, 38, 48, 59, 69, 80, 90]


def test_what_if_of_fractions(salary, person, monkeypatch):
    ages = {"age": NumberColumn(minimum=17.5, maximum=18.5, median=18)}
    config = salary.config.model_copy(update={"numbers": {**salary.config.numbers, **ages}})
    monkeypatch.setattr(salary, "config", config)
    assert [age for age, _ in salary.what_if({**person, "age": 18}, "age", points=5)] == [17.5, 17.75, 18, 18.25, 18.5]


@pytest.mark.parametrize(("column", "amount", "near"), [("capital-gain", 3103, 3104), ("capital-loss", 1887, 1888)])
def test_an_amount_that_nobody_reported_is_read_as_in_between(salary, column, amount, near):
    """It had its own answer: a capital gain of 3,102, 3,103 and 3,104 got 0.23, 0.96 and 0.23."""
    seen = salary.config.amounts[column]
    assert amount in seen
    assert near not in seen
    high, next_to_it = (
        salary.predict({**salary.example(), column: value}).probabilities[">=50k"] for value in (amount, near)
    )
    assert next_to_it == pytest.approx(high, abs=0.05)


def test_what_if_shows_every_amount_that_was_learned(salary):
    curve = dict(salary.what_if(salary.example(), "capital-gain", points=50))
    seen = salary.config.amounts["capital-gain"]
    assert set(seen) < set(curve)
    assert len(curve) > len(seen) + 40  # steps between them, too
    assert list(curve) == sorted(curve)
    assert curve[3103] > 0.9  # equal steps would have passed over it and its neighbour
    assert curve[3137] < 0.1


@pytest.mark.parametrize("column", ["race", "fnlwgt", "nothing"])
def test_what_if_of_what_cannot_be_varied(salary, person, column):
    with pytest.raises(BadInput, match="choose one of age"):
        salary.what_if(person, column)


@pytest.mark.parametrize("points", [0, -1, 2.5, "x", True, None, 10**9])
def test_what_if_has_a_whole_number_of_points(salary, person, points):
    with pytest.raises(BadInput, match="The number of points must be a whole number from 1 to 10,000, not"):
        salary.what_if(person, "age", points=points)
    assert salary.what_if(person, "age", points="2") == salary.what_if(person, "age", points=2.0)


def test_bad_people_are_refused_everywhere(salary, person):
    person["age"] = -3
    for ask in (salary.predict, salary.explain, lambda row: salary.what_if(row, "age")):
        with pytest.raises(BadInput, match="Age in years must be"):
            ask(person)


def test_many_threads_get_the_same_answers(person):
    from concurrent.futures import ThreadPoolExecutor

    model = load_model(ROOT / "spaces/salary/model")  # fresh: the session is opened by a race
    people = [{**person, "age": 20 + i % 60} for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(model.predict, people)) == [model.predict(row) for row in people]


def test_many_rows(salary, person, tmp_path):
    line = ",".join(str(value) for value in person.values())
    bad = line.replace("39,", "-3,", 1)
    path = tmp_path / "people.csv"
    path.write_text("\n".join([",".join(person), *[line] * 19_999, bad]))
    table = read_csv(path, list(person))
    rows = list(answer_table(table, salary.predict_each, lambda answer: {"label": answer.label}))
    assert len(rows) == 20_000
    assert rows[0]["label"] == salary.predict(person).label
    assert rows[0]["error"] == ""
    assert rows[-1]["error"].startswith("Line 20001: Age in years must be")
    path.write_text("a\n" + "1\n" * 100_000)
    read_csv(path, ["a"])
    path.write_text("a\n" + "1\n" * 100_001)
    with pytest.raises(BadInput, match="more than 100,000 rows"):
        read_csv(path, ["a"])


@pytest.mark.data
def test_accuracy_and_calibration_can_be_measured_again(salary):
    import json

    rows = [row.cells for row in read_csv(DATA / "adult/adult_test.csv", salary.config.columns)]
    answers = salary.predict_batch([{k: row[k] for k in salary.config.columns} for row in rows])
    right = np.array([answer.label == row["salary"] for answer, row in zip(answers, rows, strict=True)])
    confidence = np.array([answer.probabilities[answer.label] for answer in answers])
    bins = np.minimum((confidence * 15).astype(int), 14)
    calibration_error = np.abs(np.bincount(bins, right - confidence)).sum() / len(answers)
    figures = json.loads((ROOT / "spaces/salary/model/metrics.json").read_text())["figures"]
    accuracy, ece = (next(item for item in figures if item["name"] == name) for name in ("accuracy", "ece"))
    assert accuracy["split"] == ece["split"] == "official test"
    assert right.mean() == pytest.approx(accuracy["value"], abs=2 / len(answers))
    assert calibration_error == pytest.approx(ece["value"], abs=1e-4)


def test_a_row_of_a_dataframe_is_answered_as_in_the_dataframe(salary, person):
    table = pd.DataFrame([{**person, "salary": ">=50k"}, {**person, "occupation": None, "age": 17}])
    expected = salary.predict_batch(table)
    assert [salary.predict(table.iloc[0]), salary.predict(table.iloc[1])] == expected
    assert salary.predict_batch([row for _, row in table.iterrows()]) == expected
    assert salary.explain(table.iloc[0]) == salary.explain(person)
    with pytest.raises(BadInput, match=r"The value of age, workclass, .* is not given"):
        salary.predict(pd.Series([1.0, 2.0]))


def test_of_two_columns_of_one_name_none_is_chosen(salary, person):
    table = pd.DataFrame([person])
    with pytest.raises(BadInput, match="The table has several columns 'age'; keep one"):
        salary.predict_batch(pd.concat([table, table[["age"]]], axis=1))


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_a_duration_is_no_number(salary, person, unit):
    with pytest.raises(BadInput, match="must be a number"):
        salary.predict({**person, "age": np.timedelta64(39, unit)})
