"""A user's own texts: tables and folders, what is wrong with them, and their split."""

import gzip
import lzma
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training import command
from training.data import DataError
from training.own_data.labels import clean_label
from training.own_data.options import DataOptions
from training.own_data.texts import read_own_texts
from training.recipes.text_classification import TextClassification
from training.splitting import PARTS, TEST, TRAIN, VALID

pytestmark = pytest.mark.training


def make_rows(count=80):
    """Return German texts with two labels, with umlauts and semicolons."""
    good, bad = ("gut", "schön", "toll"), ("übel", "mäßig", "fad")
    return [
        (f"Das Café war {(bad, good)[index % 2][index % 3]}, {index} Mal; wirklich", ("neg", "pos")[index % 2])
        for index in range(count)
    ]


def join_rows(separator=",", header=("text", "label"), rows=None):
    lines = [separator.join(f'"{cell}"' for cell in row) for row in [header, *(rows or make_rows())]]
    return "\r\n".join(lines) + "\r\n"


def read(data, **own):
    return read_own_texts(Path(data), DataOptions(**own), 42)


def sizes(found):
    return [len(found.parts[part]) for part in PARTS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolon.csv", join_rows(";").encode("cp1252")),
        ("bom.csv", join_rows(";").encode("utf-8-sig")),
        ("comma.csv", join_rows().encode("cp1252")),
        ("wide.csv", join_rows("\t").encode("utf-16")),
        ("sep.csv", ("sep=;\r\n" + join_rows(";")).encode("utf-8-sig")),
        ("tabs.tsv", join_rows("\t").encode()),
        ("kaggle.csv", join_rows(header=("review", "sentiment")).encode()),
        ("packed.csv.gz", gzip.compress(join_rows(";").encode("cp1252"))),
        ("packed.csv.xz", lzma.compress(join_rows("\t").encode("utf-16"))),
        ("other.csv", join_rows(header=("Label", "TEXT "), rows=[row[::-1] for row in make_rows()]).encode()),
    ],
)
def test_what_the_pages_read_can_be_trained_on(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    found = read(tmp_path / name)
    assert found.labels == ("neg", "pos")
    texts = {text for part in found.parts.values() for text in part.texts}
    assert texts == {text for text, _ in make_rows()}
    said = capsys.readouterr().out
    assert "80 texts with 2 labels: neg 40, pos 40." in said
    assert re.search(r"texts are in the column \w+, labels in \w+", said)
    assert re.search(r"Split: \d+ to train on, \d+ to validate on, 16 to test on", said)


def test_a_damaged_archive_is_named(tmp_path):
    for name, content in (("mine.csv.gz", gzip.compress(b"text,label\n" * 9)[:-9]), ("mine.csv.xz", b"text,label\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be decompressed \(.*\); save it as CSV"):
            read(tmp_path / name)


def test_parquet_is_read(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = pd.DataFrame({"content": [text for text, _ in make_rows()], "stars": [1.0, 5.0] * 40, "id": range(80)})
    table.loc[3, "stars"] = None
    table.to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(DataError, match="row 4: The row has no label"):
        read(tmp_path / "mine.parquet")
    assert read(tmp_path / "mine.parquet", skip_bad=True).labels == ("1", "5")


def test_an_excel_file_is_named(tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"PK\x03\x04\x14\0\x06\0xl/" + bytes(500))
    with pytest.raises(DataError, match=r"This is an Excel file \(.xlsx\), not a CSV"):
        read(tmp_path / "mine.csv")


def test_columns_are_named_in_errors_and_by_options(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(join_rows(header=("Ticket", "Queue")), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"no column called text or review; name another with --text-column.*Ticket, Queue"
    ):
        read(path)
    with pytest.raises(DataError, match=r"no column 'Tiket'. There is a column 'Ticket'; did you mean it"):
        read(path, text_column="Tiket")
    with pytest.raises(DataError, match="no column called label or labels"):
        read(path, text_column="ticket")
    with pytest.raises(DataError, match="cannot have both the texts and the labels"):
        read(path, text_column="Ticket", label_column="Ticket")
    with pytest.raises(DataError, match=r"the column of labels, Ticket, .* --text-column and --label-column swapped"):
        read(path, text_column="Queue", label_column="Ticket")
    assert read(path, text_column="ticket", label_column="QUEUE").labels == ("neg", "pos")


def test_all_bad_rows_are_named_at_once(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    rows = [*make_rows(), ("", "pos"), ("ein Satz", " "), ("doppelt", "pos"), ("doppelt", "neg"), *make_rows(3)]
    path.write_text(join_rows(rows=rows) + "a,b,c\r\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).splitlines() == [
        f"4 problems with the texts of {path}:",
        "  line 89: The row has 3 cells; the header has 2. Put quotation marks around a cell with a comma in it.",
        "  line 82: There is no text.",
        "  line 83: The row has no label.",
        "  line 84: It is the same text as line 85 (neg), but labelled pos.",
        "Repair or delete them, or go on without them with --skip-bad.",
    ]
    assert sum(sizes(read(path, skip_bad=True))) == 80
    said = capsys.readouterr().out
    assert "Left out: 4 problems" in said
    assert "Equal texts count once: 3 left out." in said


def test_texts_that_differ_only_in_case_and_spaces_are_in_one_part(tmp_path):
    rows = [(text, label) for text, label in make_rows() for text in (text, text.upper(), text.replace(" ", "  "))]
    path = tmp_path / "mine.csv"
    path.write_text(join_rows(rows=rows), encoding="utf-8")
    found = read(path)
    keys = [{" ".join(text.casefold().split()) for text in part.texts} for part in found.parts.values()]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 80


def test_rare_labels_are_in_every_part(tmp_path):
    rows = [(f"text {label} number {index}", f"label {label}") for label in range(30) for index in range(20)]
    path = tmp_path / "mine.csv"
    path.write_text(join_rows(rows=rows), encoding="utf-8")
    found = read(path)
    assert all(set(part.y.tolist()) == set(range(30)) for part in found.parts.values())
    assert sizes(found) == [450, 30, 120]


def test_groups_stay_together(tmp_path):
    rows = [(text, label, index // 5) for index, (text, label) in enumerate(make_rows(200))]
    path = tmp_path / "mine.csv"
    path.write_text(join_rows(header=("text", "label", "author"), rows=rows), encoding="utf-8")
    found = read(path, group="author")
    authors = {text: author for text, _, author in rows}
    groups = [{authors[text] for text in part.texts} for part in found.parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40
    rows = [(text, label, "n/a" if index % 2 else author) for index, (text, label, author) in enumerate(rows)]
    path.write_text(join_rows(header=("text", "label", "author"), rows=rows), encoding="utf-8")
    unknown = {text for text, _, author in rows if author == "n/a"}  # they are no group
    assert all(unknown & set(part.texts) for part in read(path, group="author").parts.values())
    with pytest.raises(DataError, match="There is a column 'author'; did you mean it"):
        read(path, group="autor")
    with pytest.raises(DataError, match="--group label leaves too few groups of a label"):
        read(path, group="label")


def test_groups_with_texts_that_differ_only_in_case_stay_apart(tmp_path, capsys):
    rows = [(text, label, index // 5) for index, (text, label) in enumerate(make_rows(200))]
    rows += [(f"{rows[1][0][:number].upper()}{rows[1][0][number:]}", "pos", number) for number in range(1, 30)]
    path = tmp_path / "mine.csv"
    path.write_text(join_rows(header=("text", "label", "author"), rows=rows), encoding="utf-8")
    found = read(path, group="author")
    assert sum(sizes(found)) == 200
    assert "Equal texts count once: 29 left out." in capsys.readouterr().out


@pytest.mark.parametrize("form", ["2026-01-{day:02}", "{day}", "{day:02}.01.2026 10:00"])
def test_the_last_texts_are_the_test_if_asked_for(tmp_path, form):
    rows = [(text, label, form.format(day=index // 4 + 1)) for index, (text, label) in enumerate(make_rows(100))]
    path = tmp_path / "mine.csv"
    path.write_text(join_rows(header=("text", "label", "date"), rows=rows[::-1]), encoding="utf-8")
    found = read(path, time="date")
    number = {text: index for index, (text, _, _) in enumerate(rows)}
    order = {part: sorted(number[text] for text in found.parts[part].texts) for part in PARTS}
    assert order[TRAIN][-1] < order[VALID][0]
    assert order[VALID][-1] < order[TEST][0] == 80
    with pytest.raises(DataError, match="--time and --group exclude each other"):
        read(path, time="date", group="label")
    with pytest.raises(DataError, match=r"line 2: text is neither a number nor a date"):
        read(path, time="text")


@pytest.mark.parametrize("form", ["2026-01-{day:02}", "{day}"])
def test_texts_without_a_time_are_named_and_can_be_left_out(tmp_path, capsys, form):
    rows = [(text, label, form.format(day=index // 4 + 1)) for index, (text, label) in enumerate(make_rows(100))]
    rows[0], rows[90] = (*rows[0][:2], ""), (*rows[90][:2], "soon")
    rows[5] = ("", *rows[5][1:])
    path = tmp_path / "mine.csv"
    path.write_text(join_rows(header=("text", "label", "date"), rows=rows), encoding="utf-8")
    with pytest.raises(DataError, match="3 problems with the texts of") as caught:
        read(path, time="date")
    assert "line 2: date is missing." in str(caught.value)
    assert "line 92: date is neither a number nor a date such as 2026-05-31: 'soon'." in str(caught.value)
    assert "line 7: " in str(caught.value)
    found = read(path, time="date", skip_bad=True)
    assert "Left out: 3 problems with the texts" in capsys.readouterr().out
    texts = [text for index, (text, _, _) in enumerate(rows) if index not in (0, 5, 90)]
    assert [text for part in (TRAIN, VALID, TEST) for text in found.parts[part].texts] == texts
    with pytest.raises(DataError, match=r"Without them: line 2: text is neither a number nor a date"):
        read(path, time="text")
    write_parts(tmp_path, ("text", "label", "date"), train=rows[6:80], test=[(*row[:2], "") for row in rows[80:]])
    assert len(read(tmp_path, time="date").parts[TEST]) == 20  # what is not divided needs no time


def test_days_and_months_that_cannot_be_told_apart_are_refused(tmp_path):
    for form, is_clear in (("{:02}/{:02}/2026", False), ("{:02}.{:02}.2026", True)):
        rows = [(text, label, form.format(i % 12 + 1, i // 12 + 1)) for i, (text, label) in enumerate(make_rows(100))]
        path = tmp_path / "mine.csv"
        path.write_text(join_rows(header=("text", "label", "date"), rows=rows), encoding="utf-8")
        if is_clear:
            assert sum(sizes(read(path, time="date"))) == 100
        else:
            with pytest.raises(DataError, match="Is 01/01/2026 in date a day and a month, or a month and a day"):
                read(path, time="date")


def write_files(folder, labels=("neg", "pos"), count=24, encoding="utf-8"):
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            text = f"Schöner Text {folder.name} {number} {index}"
            (folder / label / f"{index}.txt").write_bytes(text.encode(encoding))
    return folder


def test_a_folder_of_files_for_each_label(tmp_path):
    folder = write_files(tmp_path / "mine", encoding="latin-1")
    (folder / "__MACOSX/neg").mkdir(parents=True)
    (folder / "__MACOSX/neg/._1.txt").write_bytes(b"\0\5")
    (folder / "readme.txt").write_text("no label", encoding="utf-8")
    found = read(folder)
    assert (found.labels, sum(sizes(found))) == (("neg", "pos"), 48)
    assert found.parts[TRAIN].texts[0].startswith("Schöner Text")
    (folder / "pos/30.txt").write_bytes(b"\x89PNG" + bytes(50))
    (folder / "pos/31.txt").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"(?s)2 problems .*pos/30.txt: This is a picture.*pos/31.txt: There is no text"
    ):
        read(folder)
    with pytest.raises(DataError, match="folder of text files, which have no columns"):
        read(folder, group="author")


def test_files_that_are_not_read_are_named(tmp_path, capsys):
    folder = write_files(tmp_path / "mine")
    for index in range(5):
        (folder / f"pos/{index}.TXT").write_text(f"In upper case {index}", encoding="utf-8")
    for name in ("neg/x.md", "neg/y.eml", "neg/z.eml", "loose.txt"):
        (folder / name).write_text("something else", encoding="utf-8")
    assert sum(sizes(read(folder))) == 53
    said = capsys.readouterr().out
    assert "Not used, since they are not .txt files: 2 .eml, 1 .md." in said
    assert "Not used, since they are in no label's folder: 1 texts, such as loose.txt." in said


def test_folders_beside_parts_and_folders_in_one_are_pointed_out(tmp_path):
    for part in ("train", "test", "extra"):
        write_files(tmp_path / "mine" / part)
    with pytest.raises(DataError, match=r"has parts of a data set \(test, train\) and other folders of texts"):
        read(tmp_path / "mine")
    for name in ("neg", "pos"):
        shutil.rmtree(tmp_path / "mine/extra" / name)
    (tmp_path / "mine/extra/notes.txt").write_text("no label", encoding="utf-8")
    assert sum(sizes(read(tmp_path / "mine"))) == 96
    write_files(tmp_path / "zip/inner/inner")
    with pytest.raises(DataError, match=r"zip has only the subfolder inner; did you mean --data .*inner/inner\?$"):
        read(tmp_path / "zip")
    for part in ("train_a", "test_a"):
        write_files(tmp_path / "sets" / part)
    with pytest.raises(DataError, match=r"The folders test_a, train_a of .* have the same subfolders"):
        read(tmp_path / "sets")


def test_a_column_called_split_divides_the_texts(tmp_path, capsys):
    rows = [(*row, ("train", "validation")[index % 5 == 0]) for index, row in enumerate(make_rows(120))]
    path = tmp_path / "texts.csv"
    path.write_text(join_rows(header=("text", "label", "set"), rows=rows), encoding="utf-8")
    found = read(path)
    assert set(found.parts[TEST].texts) == {text for text, _, part in rows if part == "validation"}
    assert (
        "The column set divides the rows, valid is the test; delete it for a random split." in capsys.readouterr().out
    )
    bad = [*rows[:-1], (*rows[-1][:2], "")]
    path.write_text(join_rows(header=("text", "label", "set"), rows=bad), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 121: set is empty; write train, valid or test, or rename the column\."):
        read(path)
    assert sum(sizes(read(path, skip_bad=True))) == 119
    rows = [(*row[:2], "train") for row in rows]  # no part but one
    path.write_text(join_rows(header=("text", "label", "set"), rows=rows), encoding="utf-8")
    assert not read(path).given


def test_folders_of_parts(tmp_path):
    write_files(tmp_path / "mine/train")
    write_files(tmp_path / "mine/test", count=5)
    (tmp_path / "mine/train/unsup").mkdir()
    for index in range(7):
        (tmp_path / f"mine/train/unsup/{index}.txt").write_text(f"without a label {index}", encoding="utf-8")
    found = read(tmp_path / "mine")
    assert found.labels == ("neg", "pos")
    assert found.given == {TRAIN, TEST}
    assert sizes(found)[2] == 10
    assert len(found.parts[TRAIN].unlabelled) == 7
    (tmp_path / "mine/train/unsup/0.txt").write_bytes("für später".encode("cp1252"))
    (tmp_path / "mine/train/unsup/1.txt").write_text("SCHÖNER Text  test 0 1", encoding="utf-8")  # as in the test
    unlabelled = read(tmp_path / "mine").parts[TRAIN].unlabelled
    assert unlabelled == ("für später", *(f"without a label {index}" for index in range(2, 7)))
    (tmp_path / "mine/train/unsup/2.txt").write_bytes(b"\x89PNG" + bytes(50))
    with pytest.raises(DataError, match=r"train/unsup/2\.txt: This is a picture"):
        read(tmp_path / "mine")
    (tmp_path / "mine/train/unsup/2.txt").unlink()
    (tmp_path / "mine/test/pos").rename(tmp_path / "mine/test/good")
    with pytest.raises(DataError, match=r"At least 20 .* good has 5"):
        read(tmp_path / "mine")


def test_tables_of_parts(tmp_path, capsys):
    rows = make_rows(100)
    (tmp_path / "train.csv").write_text(join_rows(rows=rows[:80]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(join_rows(rows=rows[78:]), encoding="utf-8")
    found = read(tmp_path)
    assert sum(sizes(found)) == 100
    assert set(found.parts[TEST].texts) == {text for text, _ in rows[78:]}
    (tmp_path / "test.csv").write_text(join_rows(rows=[row for row in rows[80:] if row[1] == "pos"]), encoding="utf-8")
    with pytest.raises(DataError, match="The test lacks neg: add texts of it there, or leave this part out"):
        read(tmp_path)
    alone = read(tmp_path / "train.csv")
    for test in ("text\r\nWie war es?\r\n", join_rows(rows=[(text, " ") for text, _ in rows[80:]])):  # as on Kaggle
        (tmp_path / "test.csv").write_text(test, encoding="utf-8")
        found = read(tmp_path)
        assert TEST not in found.given
        assert found.parts[TEST].texts == alone.parts[TEST].texts
        assert "test.csv is not used, since none of its rows has a label.\n" in capsys.readouterr().out
    (tmp_path / "test.csv").write_text("text,Urteil\r\nWie war es?,gut\r\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.csv has no column called label or .*; name another with --label"):
        read(tmp_path)


def test_a_table_without_labels_keeps_nothing_from_dividing_the_texts(tmp_path, capsys):
    rows = [(text, label, "test" if index % 5 == 0 else "train") for index, (text, label) in enumerate(make_rows(80))]
    (tmp_path / "train.csv").write_text(join_rows(header=("text", "label", "split"), rows=rows), encoding="utf-8")
    (tmp_path / "test.csv").write_text("text\r\nWie war es?\r\n", encoding="utf-8")
    found = read(tmp_path)
    assert set(found.parts[TEST].texts) == {text for text, _, part in rows if part == "test"}
    assert "The column split divides the rows" in capsys.readouterr().out


def test_fast_ais_column_divides_the_texts(tmp_path, capsys):
    rows = [(label, text, index % 5 == 1 or index % 10 == 0) for index, (text, label) in enumerate(make_rows(80))]
    path = tmp_path / "texts.csv"
    path.write_text(join_rows(header=("label", "text", "is_valid"), rows=rows), encoding="utf-8")
    found = read(path)
    assert found.given == {TRAIN, TEST}
    assert set(found.parts[TEST].texts) == {text for _, text, is_valid in rows if is_valid}
    assert "The column is_valid divides the rows, true is the test; delete it for a random" in capsys.readouterr().out
    path.write_text(join_rows(header=("label", "text", "is_valid"), rows=[(*row[:2], True) for row in rows]), "utf-8")
    assert not read(path).given
    said = capsys.readouterr().out
    assert "The column is_valid is not used for the split and is no input: it must have both true and false" in said
    rows = [(*row, index) for index, row in enumerate(rows)]
    path.write_text(join_rows(header=("label", "text", "is_valid", "day"), rows=rows), encoding="utf-8")
    assert not read(path, time="day").given
    assert "is no input: --time day divides the rows." in capsys.readouterr().out


def write_parts(folder, header=("text", "label"), **parts):
    for part, rows in parts.items():
        (folder / f"{part}.csv").write_text(join_rows(header=header, rows=rows), encoding="utf-8")


def test_texts_of_two_parts_are_copies_whatever_their_case_width_and_spaces(tmp_path, capsys):
    rows = make_rows(100)
    wide = [("".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in text), label) for text, label in rows[82:84]]
    train = [*rows[:80], (rows[80][0].upper(), rows[80][1]), (rows[81][0].replace(" ", "  "), rows[81][1]), *wide]
    train.append((rows[0][0].upper(), rows[0][1]))  # differs only from a text of its own part
    write_parts(tmp_path, train=train, test=rows[80:])
    found = read(tmp_path)
    assert set(found.parts[TEST].texts) == {text for text, _ in rows[80:]}
    assert set(found.parts[TRAIN].texts + found.parts[VALID].texts) == {text for text, _ in [*rows[:80], train[-1]]}
    assert "Equal texts count once: 4 left out." in capsys.readouterr().out


def test_groups_of_a_given_part_are_not_trained_on(tmp_path, capsys):
    rows = [(text, label, index // 4) for index, (text, label) in enumerate(make_rows(160))]
    header = ("text", "label", "author")
    given = [(f"{text} Ende", label, group) for text, label, group in rows]
    write_parts(tmp_path, header, train=rows[:120], test=given[100:160], valid=given[80:90])
    found = read(tmp_path, group="author")  # 20 to 22 are in the validation part, and 25 to 39 in the test
    assert found.parts[TRAIN].texts == [text for text, _, _ in [*rows[:80], *rows[92:100]]]
    assert sizes(found) == [88, 10, 60]
    said = capsys.readouterr().out
    assert "32 training texts left out: their author is also in a given test or validation part." in said
    assert "Split (valid, test as given): 88 to train on, 10 to validate on, 60 to test on." in said


def test_only_whole_parts_are_said_to_be_as_given(tmp_path, capsys):
    rows = [(text, label, index) for index, (text, label) in enumerate(make_rows(160))]
    header = ("text", "label", "day")
    write_parts(tmp_path, header, train=rows[:100])
    read(tmp_path)
    assert "Split: " in capsys.readouterr().out
    write_parts(tmp_path, header, test=rows[100:140])
    found = read(tmp_path, time="day")
    said = capsys.readouterr().out
    assert "Split by day (test as given): " in said
    assert found.parts[TEST].texts == [text for text, _, _ in rows[100:140]]
    assert found.parts[TRAIN].texts + found.parts[VALID].texts == [text for text, _, _ in rows[:100]]
    assert "has no effect" not in said
    write_parts(tmp_path, header, valid=rows[140:])
    plain, *timed = (read(tmp_path, time=time).parts for time in (None, "day", "no column"))
    for found in timed:
        assert {part: one.texts for part, one in found.items()} == {part: one.texts for part, one in plain.items()}
    said = capsys.readouterr().out
    assert said.count("Split (train, valid, test as given): 100 to train on, 20 to validate on, 40") == 3
    assert "--time day has no effect, since the data has a validation and a test part of its own.\n" in said


def test_what_is_given_as_the_test_needs_neither_times_nor_fast_ais_column(tmp_path, capsys):
    rows = [(text, label, index, index % 5 == 0) for index, (text, label) in enumerate(make_rows(100))]
    write_parts(tmp_path, ("text", "label", "day", "is_valid"), train=rows)
    write_parts(tmp_path, ("text", "label"), test=[(f"{text} Ende", label) for text, label, *_ in rows[:40]])
    found = read(tmp_path, time="day")
    assert "The column is_valid is not used for the split and is no input: files divide" in capsys.readouterr().out
    assert found.given == {TRAIN, TEST}
    assert len(found.parts[TEST]) == 40
    assert found.parts[TRAIN].texts + found.parts[VALID].texts == [text for text, *_ in rows]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "x")], "All texts of mine have the label x; at least two labels are needed"),
        ([*make_rows(), ("a", "x"), ("b", "x"), ("c", "y")], "of each label, but in mine, x has 2, y has 1; add more"),
        ([("", "a")], "No texts of mine are left that can be read and have a label|There is no text"),
    ],
)
def test_texts_that_cannot_work_are_refused(tmp_path, rows, message):
    (tmp_path / "mine.csv").write_text(join_rows(rows=rows), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "mine.csv")


def test_a_missing_or_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"There are no texts in .* of \.txt files for each label\.$"):
        read(tmp_path)
    (tmp_path / "mails.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"or a subfolder of \.txt files for each label\. It has mails\.xlsx\.$"):
        read(tmp_path)
    with pytest.raises(DataError, match="There is no file or folder"):
        read(tmp_path / "nowhere.csv")


def test_labels_that_look_alike_are_mentioned(tmp_path, capsys):
    rows = [(f"text {index} {label}", label) for label in ("Spam", "spam", "a|b <i>") for index in range(20)]
    (tmp_path / "mine.csv").write_text(join_rows(rows=rows), encoding="utf-8")
    assert read(tmp_path / "mine.csv").labels == ("Spam", "a|b <i>", "spam")
    assert clean_label(" two\n lines ") == "two lines"
    assert "perhaps meant as one: Spam and spam." in capsys.readouterr().out


def test_the_recipe_takes_the_options_and_says_nothing_of_a_language(tmp_path):
    recipe = TextClassification()
    (tmp_path / "post.csv").write_text(join_rows(";", ("Brief", "Art")), encoding="cp1252")
    words = ["--data", "x", "--text-column", "Brief", "--label-column", "Art", "--time", "t", "--skip-bad"]
    own = recipe.read_settings(command.make_parser(recipe).parse_args(words)).own
    assert own == DataOptions(skip_bad=True, text_column="Brief", label_column="Art", time="t")
    splits = recipe.load_own(str(tmp_path / "post.csv"), replace(recipe.settings.smoke(), own=replace(own, time=None)))
    assert splits.description.about.language is None
    assert (splits.tests[0].data, splits.tests[0].split) == ("post", "held-out fifth")
    assert "English" not in str(splits.description)
    rows = [(*row, 2000 + index) for index, row in enumerate(make_rows())]
    (tmp_path / "post.csv").write_text(join_rows(header=("Brief", "Art", "t"), rows=rows), encoding="utf-8")
    splits = recipe.load_own(str(tmp_path / "post.csv"), replace(recipe.settings.smoke(), own=own))
    assert splits.tests[0].split == "last fifth by t"
