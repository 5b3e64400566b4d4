"""CSV files as people have them, and CSV files that are safe to open."""

import csv

import pytest

from shared import BadInput
from shared.tables import answer_table, read_csv, read_lines, write_csv


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "name,n\nJosé,1\n",
        "name;n\nJosé;1\n",
        "name\tn\nJosé\t1\n",
        "name,n\r\nJosé,1\r\n",
        "\n".join(["name , n", " José , 1", ""]),
        "name,n\nJosé,1\n".encode("utf-8-sig"),
        "name,n\nJosé,1\n".encode("latin-1"),
        "name,n\nJosé,1\n".encode("utf-16"),
        '"name","n"\n"José","1"',
    ],
)
def test_encodings_delimiters_and_line_ends(file, content):
    assert read_csv(file(content), ["name", "n"]).rows == [{"name": "José", "n": "1"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("a,b\n", "no rows"),
        ("a,c\n1,2\n", "lacks the column b"),
        ("c,d\n1,2\n", "lacks the columns a, b"),
        ("a,b,a\n1,2,3\n", "the column 'a' twice"),
        (",".join(f"c{i}" for i in range(5000)) + "\n1\n", "5,000 columns; at most 200"),
        (b"PK\x03\x04 whatever", "Excel or zip"),
        (b"a,b\n\x00\x01,2\n", "binary"),
        ("a,b\n" + "1,2\n" * 4, "more than 3 rows"),
        ('a,b\n1,"' + "x" * 6_500_000 + '"\n', "cannot be read"),
    ],
)
def test_unusable_files_get_one_sentence(file, content, message):
    with pytest.raises(BadInput, match=message):
        read_csv(file(content), ["a", "b"], max_rows=3)


def test_too_large(file, monkeypatch):
    monkeypatch.setattr("shared.tables.MAX_BYTES", 10)
    with pytest.raises(BadInput, match="larger than"):
        read_csv(file("a,b\n1234567,2\n"), ["a"])


def test_no_such_file(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_csv(tmp_path / "nothing.csv", ["a"])


def test_errors_name_the_line_of_the_file(file):
    table = read_csv(file('a,note\n1,"two\nlines"\n\nx,\n3\n'), ["a"])

    def answer(rows):
        return [int(row["a"]) if row["a"].isdigit() else BadInput("a must be a number.") for row in rows]

    rows = answer_table(table, answer, lambda value: {"double": 2 * value})
    assert [row["error"] for row in rows] == [
        "",
        "Line 5: a must be a number.",
        "Line 6: The row has 1 cells; the header has 2.",
    ]
    assert rows[0] == {"a": "1", "note": "two\nlines", "double": 2, "error": ""}


def test_a_cell_may_be_a_long_review(file):
    assert len(read_csv(file('a,b\n1,"' + "x" * 200_000 + '"\n'), ["b"]).rows[0]["b"]) == 200_000


def test_a_text_file_has_a_row_for_each_line(file):
    table = read_lines(file("one\n\n  two \u2028 lines\r\nthree\x0cfour"), "text")
    assert table.rows == [{"text": "one"}, {"text": "two \u2028 lines"}, {"text": "three\x0cfour"}]
    assert table.lines == [1, 3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("\ufeff", "empty"),
        ("a\x00b", "binary data"),
        ("a\nb\nc\n", "more than 2 lines"),
    ],
)
def test_a_text_file_of_no_use_is_refused(file, content, message):
    with pytest.raises(BadInput, match=message):
        read_lines(file(content), "text", max_rows=2)


def test_progress_reaches_the_end_in_chunks(file):
    shares, sizes = [], []

    def answer(rows):
        sizes.append(len(rows))
        return [0] * len(rows)

    table = read_csv(file("a\n1\n2\n3\n4\n5\n"), ["a"])
    answer_table(table, answer, lambda _: {}, shares.append, chunk=2)
    assert sizes == [2, 2, 1]
    assert shares == [0.4, 0.8, 1.0]


def test_no_cell_becomes_a_formula(tmp_path):
    cells = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "-3.5", "+4", "fine", "a=b"]
    path = write_csv(tmp_path / "out.csv", [{"=header": cell, "number": -1.5} for cell in cells])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # or Excel reads José as JosÃ©
    with path.open(newline="", encoding="utf-8-sig") as opened:
        rows = list(csv.reader(opened))
    assert rows[0] == ["'=header", "number"]
    assert [row[0] for row in rows[1:]] == [
        "'=1+1", "'+cmd|' /C calc'!A0", "'-2+3", "'@SUM(A1)", "'\t=1", "-3.5", "+4", "fine", "a=b",
    ]  # fmt: skip
    assert {row[1] for row in rows[1:]} == {"-1.5"}


def test_columns_of_all_rows_are_written(tmp_path):
    path = write_csv(tmp_path / "out.csv", [{"a": 1, "error": "x"}, {"a": 2, "p": 0.5, "error": ""}])
    assert path.read_text(encoding="utf-8-sig").splitlines() == ['"a","error","p"', '1,"x",""', '2,"",0.5']
    path = write_csv(tmp_path / "out.csv", [{"a": "1;=2"}], delimiter=";")
    assert path.read_text(encoding="utf-8-sig").splitlines() == ['"a"', '"1;=2"']


def test_a_column_of_ones_own_is_kept_beside_ours(file):
    table = read_csv(file("a;error\n1;mine\n"), ["a"])
    assert table.delimiter == ";"
    rows = answer_table(table, lambda _: [5], lambda value: {"a": value})
    assert rows == [{"a (yours)": "1", "error (yours)": "mine", "a": 5, "error": ""}]


def test_names_in_sentences_carry_no_markup(file):
    with pytest.raises(BadInput, match="‹img src=x›"):
        read_csv(file("<img src=x>,<img src=x>,a\n1,2,3\n"), ["a"])
