"""CSV files as people have them, and CSV files that are safe to open."""

import csv
import tracemalloc
import unicodedata

import pytest

from shared import BadInput
from shared.tables import answer_table, quotes, read_csv, read_lines, write_csv
from tests.conftest import set_limits


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
    assert [row.cells for row in read_csv(file(content), ["name", "n"])] == [{"name": "José", "n": "1"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("a,b\n", "no rows"),
        ("a,c\n1,2\n", "lacks the column b"),
        ("c,d\n1,2\n", "lacks the columns a, b"),
        ("a,b,a\n1,2,3\n", "the column 'a' twice"),
        (",".join(f"c{i}" for i in range(5000)) + "\n1\n", "5,000 columns; keep at most 200"),
        (b"PK\x03\x04 whatever", "This is an Excel or zip file"),
        (b"PK\x03\x04 ... xl/workbook.xml", "This is an Excel file"),
        (b"PK\x03\x04mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "This is an OpenDocument file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\1" * 300, "This is an old Excel file"),
        (b"%PDF-1.7\n", "This is a PDF"),
        (b"\x1f\x8b\x08", "This is a gzip archive"),
        (b"PAR1\x15\4", "This is a Parquet file"),
        (b"SQLite format 3\0\x10", "This is an SQLite database"),
        (b"\x89PNG\r\n", "This is a picture"),
        (b"\xff\xd8\xff\xe0", "This is a picture"),
        ("\n<!DOCTYPE html>\n<html><table><tr><td>a</td></tr></table></html>", "This is an HTML or XML file"),
        ("<html><table><tr><td>a</td></tr></table></html>", "This is an HTML or XML file"),
        ('[{"a": 1, "b": 2}]', "This is JSON"),
        (b"a,b\n\x00\x01,2\n", "line 2 contains binary data"),
        ("a,b\n" + "1,2\n" * 4, "more than 3 rows"),
        ('a,b\n1,"' + "x" * 6_200_000 + '"\n', "Line 2 of the CSV cannot be read"),
        ("a,b\n" + "," * 7_000_000, "Line 2 of the CSV cannot be read: it belongs to a row of more than 6,500,000"),
        ('a,b\n1,"' + '","\n' * 1_700_000, "cannot be read: it belongs to a row of more than 6,500,000 characters"),
        ("," * 7_000_000, "Line 1 of the CSV cannot be read"),
        ('a,b\n1,"' + "xyz\n" * 1_700_000, "begins on line 2; a quotation mark there may not be closed"),
    ],
)
def test_unusable_files_get_one_message(file, content, message):
    with pytest.raises(BadInput, match=message):
        read_csv(file(content), ["a", "b"], max_rows=3)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf\xef\xbb\xbfname,n\nJos\xc3\xa9,1\n",
        "\u200bname,n\nJosé,1\n",
        "na\u200bme\u00a0,\u2060n\u00ad\nJosé,1\n",
        "\r\n \r\nname,n\r\nJosé,1\r\n",
        ",,\nname,n\nJosé,1\n",
        "sep=;\r\nname;n\r\nJosé;1\r\n",
        '"sep=|"\nname|n\nJosé|1\n',
        "sep=\t\nname\tn\nJosé\t1\n",
        "name|n\nJosé|1\n",
        "NAME,N\nJosé,1\n",
        " Name ,n.\nJosé,1\n",
        "name,n,,,\nJosé,1,,,\n",
        "name,n\nJosé,1,\n",
        "name,n\rJosé,1\r",
        'name, n\nJosé, "1"\n',
        '"name";"n, or; what; it; is; called"\nJosé;1\n',
        "name\tn\r\nJosé\t1\r\n".encode("utf-16-le"),
        "name\tn\r\nJosé\t1\r\n".encode("utf-16-be"),
        "name,n\nJosé,1\n".encode("utf-32"),
    ],
)
def test_headers_as_people_have_them(file, content):
    (row,) = read_csv(file(content), ["name"] if b"called" in file(content).read_bytes() else ["name", "n"])
    assert list(row.cells.values()) == ["José", "1"]
    assert row.cells["name"] == "José"


def test_columns_are_found_however_their_names_are_joined_and_keep_their_own_names(file):
    table = read_csv(file("userId,movieId,rating\n1,2,4.0\n"), ["user_id", "movie_id"])
    assert [row.cells for row in table] == [{"user_id": "1", "movie_id": "2", "rating": "4.0"}]
    answered = answer_table(table, lambda rows: [rows[0]["movie_id"]], lambda value: {"answer": value})
    assert list(answered) == [{"userId": "1", "movieId": "2", "rating": "4.0", "answer": "2", "error": ""}]
    for name in ("education.num", "education_num", "Education Num", "EDUCATION-NUM", "educationNum"):
        (row,) = read_csv(file(f"{name}\n3\n"), ["education-num"])
        assert row.cells == {"education-num": "3"}


@pytest.mark.parametrize("header", ["x.1", "x_1", "X 1"])
def test_two_columns_are_never_read_from_one(file, header):
    required = ["x.1", "x_1"]
    missing = "x.1" if header == "x_1" else "x_1"
    with pytest.raises(BadInput, match=f"lacks the column {missing}; its first line has: {header}."):
        read_csv(file(f"{header}\n5\n"), required)
    (row,) = read_csv(file("X-1,x_1\n5,6\n"), required)
    assert row.cells == {"x.1": "5", "x_1": "6"}


def test_columns_without_a_name_get_one_that_is_free(file):
    (row,) = read_csv(file("column 2,,,text,,column 7\n1,2,3,4,5,6\n"), ["text"])
    assert [*row.cells] == ["column 2", "column 3", "column 4", "text", "column 5", "column 7"]
    many = ",".join(["", *(f"column {number}" for number in range(50_000)), *[""] * 50_000, "text"])
    with pytest.raises(BadInput, match="100,002 columns; keep at most 200"):
        read_csv(file(f"{many}\n"), ["text"])


def test_a_column_that_may_be_either_of_two_is_asked_for(file):
    with pytest.raises(BadInput, match="the column text more than once: 'Text' and 'TEXT'; rename all but one"):
        read_csv(file("Text,TEXT\na,b\n"), ["text"])
    (row,) = read_csv(file("Text,text\na,b\n"), ["text"])
    assert row.cells["text"] == "b"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "Reviews of 2026,\ntext,id\nfine,1\n",
            "lacks the column text; its first line has: Reviews of 2026. The first",
        ),
        ("review,sentiment\nfine,pos\n", "lacks the column text; its first line has: review, sentiment."),
        (",".join(f"c{n}" for n in range(20)) + "\n", "c10, c11, and 8 more."),
    ],
)
def test_what_the_first_line_has_is_reported(file, content, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_csv(file(content), ["text"])


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('id,text\n1,fine\n2,"Alien is great\n3,dull\n4,good\n', 3),
        ('text\nfine\n"Alien is great\ndull\n', 3),
        ('id,text\n1,fine\n2,"last', 3),
        ('id,text\n1,"legal\nlines","open\n3,dull\n', 3),
        ('"text,id\nfine,1\n', 1),
        ('id,text\n1,"a ""word"""\n2,"a ""word""\n3,x\n\n', 3),
    ],
)
def test_a_quotation_mark_that_is_never_closed_is_named(file, content, line):
    with pytest.raises(BadInput, match=f"The quotation mark on line {line} of the CSV is never closed"):
        read_csv(file(content), ["text"])


@pytest.mark.parametrize(
    "swallowing",
    [
        'id,text\n1,"Alien is great\n2,dull\n3,"good",\n4,last\n',
        'id,text\n1,"Alien is great\n2,dull\n3,"Good\n4,last\n',
        'id,text\n1,"Alien, the film\n2,dull\n3,great movie"\n4,last\n',
        'text,id\n"Alien is great,1\ndull,2\ngreat movie",3\nlast,4\n',
        'text\n"Alien is great\ndull\n"good"\nlast\n',  # closed where a line begins
        'text\n"Alien is\u2028great\ndull\ngood "movie"\nlast\n',  # U+2028 ends no line of a CSV
    ],
)
def test_rows_that_an_open_quotation_mark_has_swallowed_are_named(file, swallowing):
    first, last = read_csv(file(swallowing), ["text"])
    assert first.error.startswith("Lines 2 to 4 are one cell, since the quotation mark on line 2 is not closed before")
    assert (last.line, last.cells["text"], last.error) == (5, "last", "")


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "Good, but\nslow, dull\nand so on", 'a "word"\nand, more', "a\r\n\r\nb", "1,2\n3 and, 4"],
)
def test_quoted_cells_may_have_several_lines(tmp_path, text):
    for columns in (["text", "id"], ["id", "text"], ["text"]):
        path = tmp_path / "table.csv"
        with path.open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerows([columns, *([text if name == "text" else n for name in columns] for n in (1, 2))])
        assert [(row.cells["text"], row.error) for row in read_csv(path, ["text"])] == [(text, "")] * 2


@pytest.mark.parametrize("cell", ["Alien\n\n", *(f"Alien{sign}\nis\ngood" for sign in "\u2028\x85\x0b\x0c\x1e")])
def test_only_ends_of_lines_count_in_a_quoted_cell(file, cell):
    """str.splitlines counts other characters, too, but not an end of a line at the end."""
    with pytest.raises(BadInput, match="on line 4 of the CSV is never closed"):
        read_csv(file(f'text,id\n"{cell}","never closed\n'), ["text"])


def test_delimiters_in_quoted_names_do_not_count(file):
    (row,) = read_csv(file('id;"Price, EUR";"Size, m2, net"\n1;2;3\n'), [])
    assert row.cells == {"id": "1", "Price, EUR": "2", "Size, m2, net": "3"}


def test_a_file_of_very_many_lines_is_refused(file, monkeypatch):
    """Each line of a quoted cell takes time: 50 MB of them would take minutes."""
    set_limits(monkeypatch, rows=4)
    rows = "text,id\n" + '"\n\n\n\n\n\n\n\n\n",1\n' * 4
    assert len(list(read_csv(file(rows), ["text"], max_rows=4))) == 4
    with pytest.raises(BadInput, match="The file has more than 80 lines; split it into smaller files"):
        list(read_csv(file("text,id\n" + '"' + "\n" * 80 + '",1\n'), ["text"], max_rows=4))


def test_a_row_of_far_more_cells_than_columns_is_not_searched_for_quotation_marks(file, monkeypatch):
    searched = []
    monkeypatch.setattr(quotes, "find_quoted_cells", lambda raw, *_: searched.append(len(raw)) or iter(()))
    (row,) = read_csv(file("text,id\n" + '"\n",' * 1000 + "x\n"), ["text"])
    assert row.error.startswith("The row has 1,001 cells; the header has 2.")
    assert searched == []


def test_a_row_of_very_many_quoted_cells_takes_no_time(file):
    """Compared with all other cells, each of 100,000 would take hours."""
    (row,) = read_csv(file("text,id\n" + '"a\nb",' * 100_000 + "\n"), ["text"])
    assert row.error.startswith("The row has 100,001 cells; the header has 2.")


def test_a_header_of_accents_is_refused_at_once(file):
    with pytest.raises(BadInput, match="The CSV lacks the column text"):
        read_csv(file("a" + "\u0301\u0316" * 1_000_000 + ",id\n1,2\n"), ["text"])


@pytest.mark.parametrize(
    ("content", "guessed"),
    [
        ("text\nfine\n", ""),
        ("text\nnaïve\n", ""),
        ("text\nnaïve\n".encode("utf-16"), ""),
        ("text\nÇa c’est déjà été “vu” — très bon\n".encode("cp1252"), "Windows-1252"),
    ],
)
def test_an_encoding_that_was_guessed_is_named(file, content, guessed):
    assert read_csv(file(content), ["text"]).guessed == read_lines(file(content), "text").guessed == guessed


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("text,id\n这部电影很好看,1\n".encode("gbk"), 2),
        ("text,id\n映画はとても良い,1\n".encode("shift-jis"), 2),
        ("text,id\nfine,1\nочень хороший фильм,1\n".encode("cp1251"), 3),
        ("text,id\nété où,1\n".encode() + b"\xff\n", 3),
        (b"text\n\x81\n", 2),
    ],
)
def test_other_encodings_are_not_taken_for_western_letters(file, content, line):
    for read in (lambda path: read_csv(path, ["text"]), lambda path: read_lines(path, "text")):
        with pytest.raises(BadInput, match=f"Line {line} is not in the encoding UTF-8; save"):
            read(file(content))


def test_unquoted_commas_are_explained(file):
    (row, _) = read_csv(file("text\nGood, bad, ugly\nfine\n"), ["text"])
    assert row.error == ("The row has 3 cells; the header has 1. Put quotation marks around a cell with a comma in it.")


def test_too_large(file, monkeypatch):
    set_limits(monkeypatch, table_bytes=10)
    with pytest.raises(BadInput, match="larger than"):
        read_csv(file("a,b\n1234567,2\n"), ["a"])


def test_no_such_file(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_csv(tmp_path / "nothing.csv", ["a"])


@pytest.mark.parametrize("path", [None, 3, [], "a\0b", "\ud800", "x" * 1_000_000])
def test_a_value_that_is_no_path(path):
    for read in (lambda: read_csv(path, ["a"]), lambda: read_lines(path, "a")):
        with pytest.raises(BadInput, match=r"Choose a file first|There is no such file|cannot be read"):
            read()


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ('1,"' + "x" * 6_200_000 + '"\n', "Line 90002 of the CSV cannot be read: field larger than field limit"),
        ("1,2\n" * 10_001, "more than 100,000 rows"),
        (b"1,\x00\n", "binary data"),
    ],
)
def test_a_file_that_turns_bad_late_is_refused_before_anything_is_answered(file, last, sentence):
    start = b"a,b\n" + b"1,2\n" * 90_000
    with pytest.raises(BadInput, match=sentence):
        read_csv(file(start + (last if isinstance(last, bytes) else last.encode())), ["a"])


@pytest.mark.parametrize(
    ("end", "encoding", "expected"),
    [
        ("é".encode(), "utf-8", "é"),
        (b"\xe9", "cp1252", "é"),
        (b"\x80", "cp1252", "€"),
        (b"\xc3", "cp1252", "Ã"),  # UTF-8 that is cut off at the end of the file
    ],
)
def test_the_encoding_is_that_of_the_whole_file(file, monkeypatch, end, encoding, expected):
    monkeypatch.setattr("shared.tables.encoding.BLOCK", 7)  # so that characters lie across blocks
    content = b"a\n" + "\n".join(["é€x"] * 50).encode(encoding, "replace") + b"\n_" + end
    rows = [row.cells["a"] for row in read_csv(file(content), ["a"])]
    assert rows[-1] == f"_{expected}"
    assert rows[:50] == ["é€x".encode(encoding, "replace").decode(encoding)] * 50


def test_utf_16_that_is_damaged(file):
    with pytest.raises(BadInput, match="Line 3 cannot be read as text; save the file as UTF-8"):
        read_csv(file("a\nb\n".encode("utf-16") + b"\x00\xd8"), ["a"])


def test_empty_rows_are_skipped_and_bounded(file, monkeypatch):
    monkeypatch.setattr("shared.tables.rows.MAX_EMPTY_ROWS", 3)
    table = read_csv(file("a,b\n,\n\n1,2\n ,\n"), ["a"])
    assert [(row.line, row.cells) for row in table] == [(4, {"a": "1", "b": "2"})]
    with pytest.raises(BadInput, match="more than 3 empty rows"):
        read_csv(file("a,b\n,\n\n1,2\n ,\n,\n"), ["a"])


def test_a_table_can_be_read_again_and_knows_its_length(file):
    table = read_csv(file("a\n1\n2\n"), ["a"])
    assert len(table) == 2
    assert [row.cells for row in table] == [row.cells for row in table] == [{"a": "1"}, {"a": "2"}]


def test_a_large_csv_takes_little_memory(file, tmp_path):
    """Whatever the size of the file: less than half of what its rows take as dictionaries."""
    columns = ["a", *(f"c{number}" for number in range(199))]
    path = file(",".join(columns) + "\n" + ("7," + ",".join(["ab"] * 199) + "\n") * 5_000)
    tracemalloc.start()
    try:
        table = read_csv(path, ["a"])
        answered = answer_table(table, lambda rows: [0] * len(rows), lambda answer: {"answer": answer})
        write_csv(tmp_path / "out.csv", answered, columns=[*columns, "answer", "error"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        held = [row.cells for row in table]
        whole = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out.csv").stat().st_size > 4e6
    assert len(held) == 5_000
    assert peak < 40e6 < whole / 2


def test_a_row_of_very_many_cells_takes_bounded_memory(file):
    path = file("a,b\n1,2\n" + "," * 6_000_000 + "x\n")
    tracemalloc.start()
    try:
        rows = list(answer_table(read_csv(path, ["a"]), lambda rows: [0] * len(rows), lambda _: {}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows[1]["error"] == (
        "Line 3: The row has 6,000,001 cells; the header has 2. Put quotation marks around a cell with a comma in it."
    )
    assert peak < 150e6


def test_errors_name_the_line_of_the_file(file):
    table = read_csv(file('a,note\n1,"two\nlines"\n\nx,\n3\n'), ["a"])

    def answer(rows):
        return [int(row["a"]) if row["a"].isdigit() else BadInput("a must be a number.") for row in rows]

    assert list(answer_table(table, answer, lambda value: {"double": 2 * value})) == [
        {"a": "1", "note": "two\nlines", "double": 2, "error": ""},
        {"a": "x", "note": "", "double": "", "error": "Line 5: a must be a number."},
        {"a": "3", "double": "", "error": "Line 6: The row has 1 cell; the header has 2."},
    ]


def test_errors_are_reported_in_bounded_length(file):
    table = read_csv(file("a\n1\n"), ["a"])
    (row,) = answer_table(table, lambda _: [BadInput("a must be one of " + "very many, " * 1000)], lambda _: {})
    assert row["error"].startswith("Line 2: a must be one of very many, ")
    assert row["error"].endswith("...")
    assert len(row["error"]) == 500


@pytest.mark.parametrize("good", [0, 3, 7, None])
def test_all_rows_have_the_same_columns_wherever_the_first_answer_is(file, good):
    table = read_csv(file("a,mine\n" + "".join(f"{number},x\n" for number in range(8))), ["a"])

    def answer(rows):
        return [5 if row["a"] == str(good) else BadInput("No.") for row in rows]

    rows = list(answer_table(table, answer, lambda value: {"mine": value}, chunk=2))
    columns = ["a", "mine", "error"] if good is None else ["a", "mine (yours)", "mine", "error"]
    assert [list(row) for row in rows] == [columns] * 8
    assert [number for number, row in enumerate(rows) if not row["error"]] == ([] if good is None else [good])


def test_a_cell_may_be_a_long_review(file):
    (row,) = read_csv(file('a,b\n1,"' + "x" * 200_000 + '"\n'), ["b"])
    assert row.cells["b"] == "x" * 200_000


def test_a_text_file_has_a_row_for_each_line(file):
    table = read_lines(file("one\n\n  two \u2028 lines\r\nthree\x0cfour"), "text")
    assert [row.cells for row in table] == [{"text": "one"}, {"text": "two \u2028 lines"}, {"text": "three\x0cfour"}]
    assert [row.line for row in table] == [1, 3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("\ufeff", "empty"),
        ("a\x00b", "binary data"),
        ("a\nb\nc\n", "more than 2 lines"),
        ("a\n" + "b" * 6_600_000, "Line 2 of the file cannot be read"),
    ],
)
def test_a_text_file_of_no_use_is_refused(file, content, message):
    with pytest.raises(BadInput, match=message):
        read_lines(file(content), "text", max_rows=2)


def test_the_empty_lines_of_a_text_file_are_bounded(file, monkeypatch):
    monkeypatch.setattr("shared.tables.rows.MAX_EMPTY_ROWS", 3)
    assert len(read_lines(file("a\n\n \n\nb\n"), "text")) == 2
    with pytest.raises(BadInput, match="more than 3 empty lines"):
        read_lines(file("a\n\n \n\nb\n\n"), "text")


def test_progress_reaches_the_end_in_chunks(file):
    shares, sizes = [], []

    def answer(rows):
        sizes.append(len(rows))
        return [0] * len(rows)

    table = read_csv(file("a\n1\n2\n3\n4\n5\n"), ["a"])
    assert len(list(answer_table(table, answer, lambda _: {}, shares.append, chunk=2))) == 5
    assert sizes == [2, 2, 1]
    assert shares == [0.4, 0.8, 1.0]


def test_long_rows_are_answered_a_few_at_once(file):
    sizes = []

    def answer(rows):
        sizes.append(len(rows))
        return [0] * len(rows)

    table = read_csv(file("a\n" + ("x" * 300_000 + "\n") * 5), ["a"])
    assert len(list(answer_table(table, answer, lambda _: {}))) == 5
    assert sizes == [2, 2, 1]


UNSEEN = [
    "\t",
    "\r",
    "\n",
    " ",
    "\xa0",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\u2060",
    "\xad",
    "\u202e",
    "\0",
    "\u115f",
    "\ufe0f",
    "\u2028",
    "\u2029",
    "\u1160",
    "\u2800",
    "\u3164",
    "\uffa0",
]


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\tfine", "\rfine", "\nfine", "-inf", "+nan", "-1_0",
        "-", "-.", "\u22121+1", "\u200b" * 101, "-" + "1" * 100_000 + "x",
        *(f"{unseen}=A1" for unseen in UNSEEN), "".join(UNSEEN) + "\uff1dA1",
    ],
)  # fmt: skip
def test_no_cell_becomes_a_formula(tmp_path, cell):
    path = write_csv(tmp_path / "out.csv", [{cell: cell}])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # or Excel reads José as JosÃ©
    with path.open(newline="", encoding="utf-8-sig") as opened:
        assert list(csv.reader(opened)) == [[f"'{cell}"]] * 2


def test_no_sign_that_spreadsheets_may_take_for_one_of_a_formula_begins_a_cell(tmp_path):
    signs = [chr(code) for code in range(0x110000) if unicodedata.normalize("NFKC", chr(code))[0] in "=+-@"]
    assert len(signs) > 10
    path = write_csv(tmp_path / "out.csv", [{"a": f"{sign}A1"} for sign in signs])
    with path.open(newline="", encoding="utf-8-sig") as opened:
        assert list(csv.reader(opened))[1:] == [[f"'{sign}A1"] for sign in signs]


@pytest.mark.parametrize(
    "cell",
    ["-3.5", "+4", "-1.234,5", "-1e-7", " -12 %", "\u22125", "fine", "a=b", "é=1", "(=1)", "“=1”", " ", "", -1.5],
)
def test_other_cells_are_written_as_they_are(tmp_path, cell):
    path = write_csv(tmp_path / "out.csv", [{"a": cell, "b": ""}])
    with path.open(newline="", encoding="utf-8-sig") as opened:
        assert list(csv.reader(opened))[1] == [str(cell), ""]


def test_columns_of_all_rows_are_written(tmp_path):
    path = write_csv(tmp_path / "out.csv", [{"a": 1, "error": "x"}, {"a": 2, "p": 0.5, "error": ""}])
    assert path.read_text(encoding="utf-8-sig").splitlines() == ['"a","error","p"', '1,"x",""', '2,"",0.5']
    path = write_csv(tmp_path / "out.csv", [{"a": "1;=2"}], delimiter=";")
    assert path.read_text(encoding="utf-8-sig").splitlines() == ['"a"', '"1;=2"']


def test_a_column_of_a_user_is_kept_beside_ours(file):
    table = read_csv(file("a;error\n1;mine\n"), ["a"])
    assert table.delimiter == ";"
    rows = list(answer_table(table, lambda _: [5], lambda value: {"a": value}))
    assert rows == [{"a (yours)": "1", "error (yours)": "mine", "a": 5, "error": ""}]


@pytest.mark.parametrize("header", ["\u200e", "\xad;\u200e", "\u200e,\u200f"])
def test_a_header_of_invisible_characters_gets_a_sentence(file, header):
    for required in ((), ("a",)):
        with pytest.raises(BadInput, match="The first line has no names of columns"):
            read_csv(file(f"{header}\n1\n"), required)


@pytest.mark.parametrize("text", ['{"id": 0, "text": "a"}\n{"id": 1}\n', '[\n{"a": 1}\n]\n', '[{"a": 1}, {"a": 2}]'])
def test_json_is_refused_where_no_column_is_needed(file, text):
    with pytest.raises(BadInput, match="This is JSON, not a CSV"):
        read_csv(file(text), ())


def test_lines_of_texts_stay_as_they_are(file):
    assert [row.cells["text"] for row in read_lines(file("'@home' is great\n"), "text")] == ["'@home' is great"]


def test_a_file_of_answers_can_be_uploaded_again_and_again(file):
    text = "a;mine\n1;2\n"
    for _ in range(4):
        rows = list(answer_table(read_csv(file(text), ["a"]), lambda _: [5], lambda value: {"mine": value}))
        text = "".join(";".join(map(str, line)) + "\n" for line in (rows[0], rows[0].values()))
    assert list(rows[0].values()) == ["1", "2", "5", "", "5", "", "5", "", 5, ""]
    assert len(set(rows[0])) == 10


@pytest.mark.parametrize("cell", ["=1+1", "+", "-", "@user", "'=1", "-5", "'a", "it's", "'", "''", "'-5"])
def test_a_written_cell_is_read_as_it_was(tmp_path, cell):
    path = write_csv(tmp_path / "out.csv", [{"a": cell, f"{cell} name": "x"}])
    table = read_csv(path, ["a", f"{cell} name"])
    assert [row.cells for row in table] == [{"a": cell, f"{cell} name": "x"}]


def test_names_in_messages_have_no_markup(file):
    with pytest.raises(BadInput, match="‹img src=x›"):
        read_csv(file("<img src=x>,<img src=x>,a\n1,2,3\n"), ["a"])


def test_curly_quotes_beside_a_damaged_byte_are_not_taken_for_western_letters(file):
    text = "a\nIt\u2019s good\nIt\u2019s bad\nIt\u2019s caf".encode() + b"\xe9\n"
    with pytest.raises(BadInput, match="Line 4 is not in the encoding UTF-8"):
        read_csv(file(text), ["a"])


@pytest.mark.parametrize("blank", ["\u2060", "\xa0", "\x0b", "\x0c", "\u200b"])
def test_a_row_of_blank_signs_is_empty(file, blank):
    assert [row.cells for row in read_csv(file(f"a,b\n{blank},{blank}\n1,2\n"), ["a"])] == [{"a": "1", "b": "2"}]
    assert [row.cells for row in read_lines(file(f"{blank}\none\n"), "text")] == [{"text": "one"}]
