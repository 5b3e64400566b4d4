"""The reader of a user's own tables: what it holds in memory, where rows are, and how many it takes."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="torch is not installed: make test-all")

from training.data import DataError
from training.own_data import tables
from training.own_data.problems import Problems
from training.own_data.tables import find_tables, list_tables, name_data, read_own_table

pytestmark = pytest.mark.training


def read(path, **options):
    return read_own_table(path, Problems(path, skip=True, unit="rows"), **options)


def test_rows_keep_their_lines(tmp_path):
    (tmp_path / "mine.csv").write_text('a,b\n1, x \n\n2\n"3","y\ny"\n1,x\n', encoding="utf-8")
    problems = Problems(tmp_path / "mine.csv", skip=True, unit="rows")
    found = read_own_table(tmp_path / "mine.csv", problems)
    assert list(found.iterate()) == [
        ("line 2", {"a": "1", "b": "x"}), ("line 5", {"a": "3", "b": "y\ny"}), ("line 7", {"a": "1", "b": "x"}),
    ]  # fmt: skip
    assert problems.found == ["line 4: The row has 1 cell; the header has 2."]
    assert (found.count, found.is_sample) == (4, False)


@pytest.mark.parametrize(("title", "cells"), [("Rents in Ulm;;", 1), ("Rents in Ulm", 1), ("Flat;Rent;", 2)])
def test_lines_above_the_header_are_to_be_deleted(tmp_path, title, cells):
    rows = "".join(f"{row};Ulm;{row * 10}\n" for row in range(9))
    path = tmp_path / "mine.csv"
    path.write_text(f"{title}\nMay 2026;;\n;;\nNr;Town;Rent\n{rows}", encoding="utf-8")
    message = rf"first line, which has {cells}\. The first line must name the columns; delete the lines above it\."
    with pytest.raises(DataError, match=message):
        read(path)


def test_cells_with_commas_are_named_row_by_row(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,label\n" + "".join(f"a{',b' * (row % 3 + 1)},yes\n" for row in range(9)), encoding="utf-8")
    problems = Problems(path, skip=True, unit="rows")
    read_own_table(path, problems)
    assert "Put quotation marks around a cell with a comma in it." in problems.found[0]


def test_a_file_without_a_row_that_can_be_read(tmp_path):
    (tmp_path / "mine.csv").write_text("a,b\n1\n2\n", encoding="utf-8")
    assert list(read(tmp_path / "mine.csv").iterate()) == []


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_only_the_columns_that_are_chosen_are_read(tmp_path, suffix):
    table, path = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None]}), tmp_path / f"mine.{suffix}"
    if suffix == "csv":
        table.to_csv(path, index=False)
    else:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        table.to_parquet(path)
    found = read(path, choose=lambda columns: [columns[2], columns[0]])
    assert found.columns == ["a", "b", "c"]
    assert [cells for _, cells in found.iterate()] == [{"c": "0.5", "a": "1"}, {"c": "", "a": "2"}]
    assert found.find("B", (), "--text-column") == "b"


def test_a_parquet_keeps_long_ids_beside_missing_ones_and_its_rows_in_a_sample(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    ids = [2**53 + 1, None, *range(70_000)]  # more than are decoded at once
    pd.DataFrame({"id": pd.array(ids, dtype="Int64")}).to_parquet(tmp_path / "mine.parquet")
    found = read(tmp_path / "mine.parquet")
    assert found.table["id"].tolist() == [str(2**53 + 1), "", *map(str, range(70_000))]
    assert found.name_place(70_001) == "row 70002"
    sample = read(tmp_path / "mine.parquet", most=1000)
    assert (sample.count, sample.is_sample, len(sample.table)) == (70_002, True, 1000)
    assert sample.table["id"].tolist() == found.table["id"].iloc[sample.numbers - 1].tolist()


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 1000)
    table = pd.DataFrame({"a": range(1001)})
    table.to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(DataError, match=r"mine\.csv: The CSV has more than 1,000 rows; split it into smaller files"):
        read(tmp_path / "mine.csv")
    table[:1000].to_csv(tmp_path / "mine.csv", index=False)
    assert len(read(tmp_path / "mine.csv").table) == 1000
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table.to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(DataError, match=r"mine\.parquet has more than 1,000 rows; split it into smaller files"):
        read(tmp_path / "mine.parquet")


def test_cells_that_repeat_take_a_few_bytes(tmp_path):
    count = 50_000
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 1000, count) for name in ("user", "item", "rating")}
    pd.DataFrame({**columns, "time": range(count)}).to_csv(tmp_path / "mine.csv", index=False)
    tracemalloc.start()
    found = read(tmp_path / "mine.csv", choose=lambda columns: columns[:3])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.table) == count
    assert peak < 100 * count  # as a dict of texts, each row took 350


def test_the_tables_of_a_folder(tmp_path):
    for name in ("Ratings.CSV", "items.csv.gz", "test.v2.parquet", "readme.md"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.csv").mkdir()
    found = {path.name: stem for path, stem in list_tables(Path(tmp_path)).items()}
    assert found == {"Ratings.CSV": "ratings", "items.csv.gz": "items", "test.v2.parquet": "test.v2"}


def test_a_part_that_is_there_twice_is_refused(tmp_path):
    for name in ("train.csv", "test.csv", "train_1.csv"):
        (tmp_path / name).write_text("a,b\n")
    assert [path.name for path in find_tables(tmp_path)] == ["test.csv", "train.csv"]
    (tmp_path / "Train.tsv").write_text("a\tb\n")
    with pytest.raises(DataError, match=r"has Train.tsv and train.csv, whose rows may be the same; keep one of them"):
        find_tables(tmp_path)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("churn.csv", "churn"), ("churn.v2.csv", "churn.v2"), ("churn.csv.gz", "churn"), ("churn.TSV.XZ", "churn"),
        ("churn.parquet", "churn"), ("churn", "churn"), ("churn.v2", "churn.v2"), (".", "data"), ("..", "mine"),
    ],
)  # fmt: skip
def test_data_has_the_name_of_its_folder_or_of_its_file_without_suffixes(tmp_path, monkeypatch, file, name):
    (tmp_path / "mine/data/churn.v2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine/data")
    assert name_data(Path(file)) == name
