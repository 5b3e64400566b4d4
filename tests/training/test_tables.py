"""Tables of rows: what is read, what is refused in a sentence, and what a test row becomes."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training.data import DataError
from training.made_up import write_rows
from training.tables import clean, clip_to_range, divide, read_rows

pytestmark = pytest.mark.training


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    return pd.read_csv(write_rows(tmp_path / "made-up", 0))[:300]


def read(table, folder, target=None):
    table.to_csv(folder / "mine.csv", index=False)
    return read_rows(folder / "mine.csv", target)


def test_rows_and_labels_are_read(table, tmp_path):
    table.loc[0, "label"], table.loc[1, "age"], table.loc[2, "colour"] = np.nan, np.nan, np.nan
    rows, labels = read(table, tmp_path)
    assert labels == ("no", "yes")
    assert len(rows) == 299  # a row without a target is left out
    assert (rows.y == (table["label"][1:] == "yes")).all()
    assert np.isnan(rows.table["age"][0])
    assert rows.table["colour"][1] == "?"


@pytest.mark.parametrize(("first", "second"), [(True, False), (1, 0), (1.5, -1.5)])
def test_a_target_may_be_a_number_or_true_and_false(table, tmp_path, first, second):
    rows, labels = read(table.assign(label=np.where(table["label"] == "yes", first, second)), tmp_path)
    assert set(labels) == {str(first), str(second)}
    assert (rows.y == (table["label"] == (["yes", "no"][labels.index(str(first)) == 0]))).all()


def test_the_target_may_be_any_column(table, tmp_path):
    table["colour"] = np.where(table["hours"] > 50, "red", "green")
    rows, labels = read(table, tmp_path, "colour")
    assert labels == ("green", "red")
    assert list(rows.table.columns) == ["age", "hours", "label"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(label="yes"), "must have two values; it has 1"),
        (lambda table: table.assign(label=range(len(table))), "must have two values; it has 300"),
        (lambda table: table[:50], "has 50 rows with a target; at least 100"),
        (lambda table: table.rename(columns={"label": "other"}), "has no column 'label'; its columns are age"),
        (lambda table: table[["label"]], "has no column to predict the target label from"),
        (lambda table: table.assign(label=["yes"] * 9 + ["no"] * 291), "9 rows whose label is 'yes'; at least 10"),
        (
            lambda table: table.assign(age=np.inf),
            "The column age has an infinite number, or one above 3e38; leave its cell empty",
        ),
    ],
)
def test_tables_that_cannot_be_learned_are_refused_with_a_message(table, tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read(change(table), tmp_path, "label")


def test_a_fifth_with_the_same_share_of_each_label_is_for_the_test(table, tmp_path):
    rows, _ = read(table, tmp_path)
    train, test = divide(rows, 1)
    assert (len(train), len(test)) == (240, 60)
    assert test.y.mean() == pytest.approx(rows.y.mean(), abs=0.01)
    parts = pd.concat([train.table, test.table]).sort_values(list(rows.table)).reset_index(drop=True)
    pd.testing.assert_frame_equal(parts, rows.table.sort_values(list(rows.table)).reset_index(drop=True))
    assert not divide(rows, 2)[1].table.equals(test.table)


def test_text_is_stripped_and_what_is_missing_is_marked():
    table = clean(pd.DataFrame({"count": [1, 2], "is_new": [True, False], "town": [" Ulm", None]}))
    assert table["count"].tolist() == [1.0, 2.0]
    assert table["is_new"].tolist() == ["True", "False"]
    assert table["town"].tolist() == ["Ulm", "?"]


def test_test_rows_are_what_a_visitor_could_enter(table):
    table["colour"] = "red"
    held_out = clip_to_range(table, table.assign(colour="never seen", age=200.0))
    assert set(held_out["colour"]) == {"?"}
    assert set(held_out["age"]) == {table["age"].max()}
