"""Tables of rows: what is cleaned, what is refused in a sentence, and what a test row becomes."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training.data import DataError
from training.made_up import write_rows
from training.tables.rows import clean, clip_to_range

pytestmark = pytest.mark.training


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    return pd.read_csv(write_rows(tmp_path / "made-up", 0))[:300]


def test_numbers_that_are_too_large_are_refused(table):
    with pytest.raises(DataError, match="The column age has an infinite number, or one above 3e38"):
        clean(table.assign(age=np.inf))


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
