"""What holds for every table, archive and text; every run tries the same examples."""

import csv
import unicodedata
import zipfile
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import BadInput
from shared.archives import read_zip, write_zip
from shared.tables import read_csv, write_csv
from shared.tables.rows import BLANK
from shared.text_parts import MAX_PARTS, split_text

repeatable = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example writes its files anew
)
characters = st.characters(exclude_categories=["Cs", "Cc"])


@st.composite
def tables(draw):
    columns = draw(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
    cell = st.text(characters | st.sampled_from("\",;\t|=+-@' 1"), max_size=12)
    return draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, cell)), min_size=1, max_size=5))


@repeatable
@given(tables(), st.sampled_from(",;\t|"))
def test_a_table_that_is_written_is_read_as_it_was(tmp_path, rows, delimiter):
    """Except for empty rows, spaces around a cell, and an apostrophe before it, which keeps it from being a formula."""

    def bare(cell):
        return cell.strip().removeprefix("'").strip()

    columns = list(rows[0])
    expected = [
        [bare(row[name]) for name in columns] for row in rows if any(cell.strip(BLANK) for cell in row.values())
    ]
    path = write_csv(tmp_path / "table.csv", rows, delimiter)
    if not expected:
        with pytest.raises(BadInput, match="no rows"):
            read_csv(path, columns)
        return
    assert [[bare(row.cells[name]) for name in columns] for row in read_csv(path, columns)] == expected


@repeatable
@given(st.text(characters | st.sampled_from("=+-@\u2212\uff1d\ufe62\t\r\n \u200b\u3000"), min_size=1, max_size=8))
def test_no_cell_that_is_written_is_a_formula(tmp_path, text):
    path = write_csv(tmp_path / "table.csv", [{"column": text}])
    with path.open(encoding="utf-8-sig", newline="") as file:
        _, (cell,) = csv.reader(file)
    shown = unicodedata.normalize("NFKC", cell).lstrip(" \t\r\n\u200b\xad")
    assert cell in (text, f"'{text}")
    assert shown[:1] not in ("=", "+", "-", "@", "\u2212") or set(shown) <= set("+-\u2212.,0123456789eE% ")


@repeatable
@given(st.binary(max_size=200) | st.binary(max_size=200).map(b"a,b\n1,2\n".__add__))
def test_any_file_is_a_table_or_an_error_for_a_person(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with suppress(BadInput):
        rows = list(read_csv(path, ["a"]))
        assert rows
        assert all(row.error or "a" in row.cells for row in rows)


parts = st.sampled_from(["..", ".", "", "C:", "con", "a", "A", "a.png", "\u00e9", "e\u0301"]) | st.text(max_size=4)
filenames = st.lists(parts, min_size=1, max_size=4).flatmap(
    lambda names: st.sampled_from("/\\").map(lambda s: s.join(names))
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@repeatable
@given(st.lists(filenames, min_size=1, max_size=5))
def test_no_label_of_a_zip_leads_anywhere(tmp_path, names):
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            member = zipfile.ZipInfo("name")
            member.filename = name.encode(errors="replace").decode()  # whatever a program may write
            archive.writestr(member, b"content")
    labels = []
    with suppress(BadInput):  # all of them are clutter or folders
        labels += [label for label, _ in read_zip(path)]
    assert len(labels) == len(set(labels))
    for label in labels:
        assert not {"..", ".", ""} & set(label.split("/"))
        assert label.isprintable()


@repeatable
@given(st.lists(filenames, min_size=1, max_size=5))
def test_a_zip_that_is_written_has_every_file_under_a_name_of_its_own(tmp_path, labels):
    files = []
    for number, label in enumerate(labels):
        file = tmp_path / f"{number}.png"
        file.write_bytes(b"%d" % number)
        files.append((label, file))
    path = write_zip(tmp_path / "files.zip", files)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert [archive.read(name) for name in names] == [b"%d" % number for number in range(len(labels))]
    assert len({unicodedata.normalize("NFC", name).lower() for name in names}) == len(names)
    for name in names:
        assert not PurePosixPath(name).is_absolute()
        assert ".." not in name.split("/")


@repeatable
@given(st.text(characters | st.sampled_from(" \n.,!?;:)\"'"), min_size=1, max_size=300), st.data())
def test_parts_of_a_text_join_to_the_text(text, data):
    first = data.draw(st.integers(1, len(text)))
    last = data.draw(st.integers(first, len(text)))
    read = [(0, first), (last, len(text))] if last < len(text) else [(0, len(text))]
    spans = split_text(text, read)
    assert "".join(text[start:end] for (start, end), _ in spans) == text
    assert all(start < end for (start, end), _ in spans)
    assert 1 <= sum(is_read for _, is_read in spans) <= MAX_PARTS
    assert sum(end - start for (start, end), is_read in spans if is_read) == sum(end - start for start, end in read)
