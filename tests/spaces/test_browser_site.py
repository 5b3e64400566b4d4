"""The models answer in a browser as they do in Python: spaces/browser in headless Chromium."""

import base64
import contextlib
import csv
import importlib
import io
import json
import math
import re
import shutil
import struct
import threading
from datetime import datetime
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from gradio.media import get_image
from huggingface_hub import constants
from PIL import Image

from benchmarks.browser import FIRST_ANSWERS
from hub.live_static import ASK, OPEN, encode_file
from hub.static_site import Handler, build_site, serve, write_site
from hub.vendor import hash_bytes
from shared import load_model
from shared.dates import FORMATS, read_date
from shared.errors import BadInput, quote
from shared.tables import read_csv
from shared.tables.writing import escape_formulas
from shared.tabular_values import NumberColumn
from shared.text import normalise_name, suggest_number
from shared.ui.forms import format_range
from shared.ui.movies import mark_changes
from shared.ui.regions import find_outlines
from shared.ui.table_answers import show_answer
from tests.conftest import BROWSER, BROWSER_OPTIONS, DATA, ROOT, find_barriers

pytestmark = pytest.mark.browser

CLOSE = 1e-3
CAT = ROOT / "spaces/cat_dog/examples/cat.png"
STREET = ROOT / "spaces/segmentation/examples/street.jpg"


def start(server: ThreadingHTTPServer) -> str:
    """Serve in the background; return the address."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without optimising the WebAssembly, a page takes a quarter less.
        options = [*BROWSER_OPTIONS, "--js-flags=--liftoff-only", "--host-resolver-rules=MAP plain.test 127.0.0.1"]
        opened = playwright.chromium.launch(executable_path=BROWSER, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def ask(site, browser):
    """A function that asks a model in the browser: its name, a method, and arguments."""
    page = browser.new_page()
    page.goto(f"{site}collect.html")  # which runs no model of its own
    loaded = []

    def ask(name, method, *arguments):
        if loaded != [name]:
            page.evaluate(OPEN, [name])
            loaded[:] = [name]
        encoded = [encode_file(value) if isinstance(value, bytes) else value for value in arguments]
        return page.evaluate(ASK, [method, encoded])

    yield ask
    page.close()


@pytest.fixture(scope="module")
def run(site, browser):
    """A function that calls a function of a module in the browser."""
    page = browser.new_page()
    page.goto(f"{site}collect.html")
    yield lambda *call: page.evaluate("async ([file, name, ...args]) => (await import(file))[name](...args)", call)
    page.close()


def test_a_doubtful_answer_about_a_picture_says_so(run):
    config = {"labels": ["cat", "dog"], "label_names": {"cat": "a cat", "dog": "a dog"}}

    def describe(cat, in_distribution=True):
        probabilities = {"cat": cat, "dog": 1 - cat}
        found = {"likeliest": "cat", "probabilities": probabilities, "in_distribution": in_distribution}
        return run("./js/picture_page.js", "describe", config, found)

    assert describe(0.9) == "It is a cat."
    assert describe(0.89) == "It is probably a cat."
    assert describe(0.99, in_distribution=False) == "It is neither a cat nor a dog."


# --- the same answers ---


def save(image, kind, **options):
    """The bytes of a picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def find_pictures():
    """Pictures of all kinds, by name."""
    cat = Image.open(CAT).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side, as phones do
    shaded = cat.convert("RGBA")
    shaded.putalpha(Image.linear_gradient("L").resize(cat.size))
    paths = [get_image("lion.jpg"), get_image("cheetah1.jpg"), *sorted((DATA / "pets/images").glob("*.jpg"))[::900]]
    found = {str(path): Path(path).read_bytes() for path in [CAT, *paths]}
    found["turned"] = save(cat.rotate(90, expand=True), "JPEG", exif=exif, quality=95)
    found["transparent"] = save(shaded, "PNG")
    found["wide"] = save(cat.resize((1900, 150)), "PNG")
    found["grey"] = save(cat.convert("L"), "PNG")
    found["palette"] = save(cat.convert("P"), "GIF")
    found["progressive"] = save(cat, "JPEG", progressive=True, exif=exif, comment=b"\xff\xc0" * 999, quality=95)
    found["bmp"] = save(cat, "BMP")
    found["webp"] = save(cat, "WEBP", lossless=True)
    found["webp, lossy"] = save(cat, "WEBP", quality=95)
    found["webp with metadata"] = save(cat, "WEBP", lossless=True, xmp=b"<x/>")
    found["avif"] = save(cat, "AVIF", quality=95)
    return found


def find_barriers_in_both_schemes(page):
    """Return the barriers that axe-core finds on a page in light and in dark colours."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += find_barriers(page)
    return found


def test_pictures(ask, cat_dog):
    for name, content in find_pictures().items():
        found, ours = ask("cat_dog", "predict", content), cat_dog.predict(content)
        assert found["label"] == ours.label, name
        assert found["probabilities"] == pytest.approx(ours.probabilities, abs=CLOSE), name
        cells = [float(cell) if cell else None for cell in list(ask("cat_dog", "asCells", found).values())[1:]]
        assert cells == pytest.approx(list(ours.as_row().values())[1:-1], abs=CLOSE), name
        assert found["in_distribution_score"] == pytest.approx(ours.in_distribution_score, abs=0.01), name
        why = cat_dog.explain(content)
        evidence = np.array(found["evidence"]).reshape(found["height"], found["width"])
        assert np.abs(evidence - why.evidence).max() < 0.05, name
        assert found["region"] == pytest.approx(why.region)


def test_every_kind_of_picture_is_collected(site, browser, tmp_path):
    page, _, errors = visit(browser, f"{site}collect.html")
    page.get_by_label("A new label").fill("cat")
    page.get_by_role("button", name="Add the label").click()
    cat = Image.open(CAT)
    files = [tmp_path / f"{number}.jpg" for number in range(12)]  # of any kind: their names do not count
    pictures = [*find_pictures().values(), save(cat.convert("CMYK"), "JPEG")][-len(files) :]
    for file, content in zip(files, pictures, strict=True):
        file.write_bytes(content)
    page.get_by_label("Choose pictures").set_input_files(files)
    page.get_by_text(f"cat: {len(files)}").wait_for()
    assert errors == []
    page.close()


def test_a_cmyk_picture_has_the_same_label(ask, cat_dog):
    content = save(Image.open(CAT).convert("CMYK"), "JPEG", quality=95)
    found, ours = ask("cat_dog", "predict", content), cat_dog.predict(content)
    assert found["label"] == ours.label  # colours of print are converted by each browser in its own way


def test_a_large_photo_is_close(ask, cat_dog):
    content = save(Image.open(CAT).convert("RGB").resize((4000, 2667)), "JPEG", quality=92)
    found, ours = ask("cat_dog", "predict", content), cat_dog.predict(content)
    assert found["label"] == ours.label
    # Python decodes it at reduced size, which browsers do not offer.
    assert found["probabilities"] == pytest.approx(ours.probabilities, abs=0.01)


def test_streets(ask, segmentation):
    frames = sorted((DATA / "camvid/images").glob("*.png"))[::300]
    for path in [STREET, CAT, *frames]:
        found, ours = ask("segmentation", "predict", path.read_bytes()), segmentation.predict(path)
        mask = np.array(found["mask"]).reshape(found["height"], found["width"])
        assert (mask != ours.mask).mean() < 1e-4
        assert found["shares"] == pytest.approx(ours.share, abs=1e-4)
        assert found["mean_confidence"] == pytest.approx(ours.mean_confidence, abs=1e-4)


TEXTS = [
    "A slow start, but the ending is wonderful!",
    "A \ufb01ne \ufb01lm\u200b, na\u00efve caf\u00e9 \u2014 10/10<br />see it",
    "It was good. " * 300,
    "word " * 40 + "terrible ending, although I liked the start; however it was long.",
    "\U0001f600\U0001f44d\U0001f3fd great",
    "\uff37\uff4f\uff4e\uff44\uff45\uff52\uff46\uff55\uff4c, don't you think?  Well\u2026 I do",
    "I saw [MASK] with [MASK]. It was okay [SEP]",
]


def test_texts(ask, sentiment):
    for text in [*sentiment.config.examples[:3], *TEXTS]:
        found, ours = ask("sentiment", "predict", text), sentiment.predict(text).as_dict()
        assert found.pop("probabilities") == pytest.approx(ours.pop("probabilities"), abs=CLOSE), text
        assert found.pop("in_distribution_score") == pytest.approx(ours.pop("in_distribution_score"), abs=1e-5)
        assert found == ours


def test_explanations_of_texts(ask, sentiment):
    for text, part in [(TEXTS[0], None), (sentiment.config.examples[0], None), (sentiment.config.examples[0], 1)]:
        found, ours = ask("sentiment", "explain", text, part), sentiment.explain(text, part=part).as_dict()
        assert [one["text"] for one in found["parts"]] == [one["text"] for one in ours["parts"]]
        values = [[one["contribution"] for one in answer["parts"]] for answer in (found, ours)]
        # Of 32 versions of the text, a few differ: float32 differs in the last digit, and then int8 rounds otherwise.
        assert values[0] == pytest.approx(values[1], abs=0.01)
        assert found["base"] == pytest.approx(ours["base"], abs=0.01)
        total = found["base"] + sum(value for value in values[0] if value is not None)
        assert total == pytest.approx(found["probability"], abs=1e-6)


def test_parts_of_a_long_text_without_spaces_do_not_overlap(ask, sentiment):
    text = "\u597d\u7535\u5f71\uff0c" * 130
    found, ours = ask("sentiment", "explain", text, None), sentiment.explain(text).as_dict()
    assert [one["text"] for one in found["parts"]] == [one["text"] for one in ours["parts"]]
    assert "".join(one["text"] for one in found["parts"]) == text


def make_people(salary, count=40):
    """Rows with random values of the training data, and missing ones."""
    rng = np.random.default_rng(0)
    people = []
    for _ in range(count):
        row = {name: str(rng.choice(values)) for name, values in salary.config.categories.items()}
        row |= {
            name: str(round(rng.uniform(span.minimum, span.maximum))) for name, span in salary.config.numbers.items()
        }
        row[rng.choice(list(row))] = "?"
        people.append(row)
    return people


def test_rows(ask, salary):
    people = [{name: str(value) for name, value in salary.example().items()}, *make_people(salary)]
    found = ask("salary", "predictEach", [[row] for row in people])
    for answer, row in zip(found, people, strict=True):
        ours = salary.predict(row)
        assert answer["label"] == ours.label
        assert answer["probabilities"] == pytest.approx(ours.probabilities, abs=1e-5)
    loose = {**people[0], "workclass": " self emp INC ", "capital-gain": "1 000,5"}
    assert ask("salary", "predict", loose)["probabilities"] == pytest.approx(
        salary.predict(loose).probabilities, abs=1e-5
    )
    curve = dict(salary.what_if(people[0], "age"))
    found = ask("salary", "whatIf", people[0], "age")
    assert dict(zip(found["values"], found["lines"][0], strict=True)) == pytest.approx(curve, abs=1e-5)
    found, why = ask("salary", "explain", people[0]), salary.explain(people[0])
    assert found["total"] == pytest.approx(why.probability, abs=1e-5)
    assert found["base"] == pytest.approx(why.base, abs=1e-5)
    assert found["contributions"] == pytest.approx(why.contributions, abs=1e-5)


def test_ratings(ask, rating):
    for user, movie in [(15, 260), (15, 1), (668, 318)]:
        assert ask("rating", "predict", user, str(movie))["rating"] == pytest.approx(
            rating.predict(user, movie).rating, abs=1e-5
        )
        found, why = ask("rating", "explain", user, str(movie)), rating.explain(user, movie)
        assert list(found["contributions"].values()) == pytest.approx(list(why.contributions.values()), abs=1e-5)
    for given in [{}, {260: 5}, {260: 5, 1: 2, 50: 4}]:
        visitor = rating.fold_in(given)
        found = ask("rating", "recommend", [[str(movie), stars] for movie, stars in given.items()])
        check_lists(found, rating.recommend(visitor))
    for user in (15, "15.0"):
        check_lists(ask("rating", "recommend", user), rating.recommend(15))
    check_lists(ask("rating", "similar", "260"), rating.similar(260))
    for words in ("matrix", "alien", "psycho"):
        (_, title), *_ = ask("rating", "search", words)
        assert title == rating.movies[rating.titles.search(words)[0]].title


@pytest.mark.parametrize(
    "text",
    [
        "the matrix",
        "Matrix",
        "toy story",
        "Toy Story (1995)",
        "psycho",
        "Hamlet",
        "Amélie",
        "love",
        "zzz",
        "toy\u00ad story",
        "",
        "1984",
    ],
)
def test_a_title_names_the_same_movie_as_in_python(ask, rating, text):
    found = ask("rating", "find", text)
    with contextlib.suppress(BadInput):  # several
        movie = rating.titles.find(text)
        expected = [str(movie), rating.movies[movie].title] if movie else {"error": f"No movie is called '{text}'."}
        assert found == expected or found["error"].startswith(expected["error"])
        return
    with pytest.raises(BadInput) as error:
        rating.titles.find(text)
    assert found == {"error": str(error.value)}


def test_a_batch_takes_ids_and_titles_as_python_does(ask, rating):
    pairs = [
        ["15", "260"],
        ["15", "Toy Story (1995)"],
        ["15", "toy story"],
        ["15", "psycho"],
        ["15", "wall-e"],
        ["15", "spider\u2013man"],
        ["15", ""],
        ["15", "99999999"],
        ["15.0", "260.0"],
        ["672", "1"],
        ["", "1"],
        ["x", "1"],
    ]
    for found, ours in zip(ask("rating", "predictEach", pairs), rating.predict_each(pairs), strict=True):
        assert found == (
            {"error": str(ours)} if isinstance(ours, BadInput) else pytest.approx(ours.as_dict(), abs=1e-5)
        )


def check_lists(found, ours):
    """Check that two lists of (id, title, score) are equal."""
    assert [(int(movie), title) for movie, title, _ in found] == [(movie, title) for movie, title, _ in ours]
    assert [score for *_, score in found] == pytest.approx([score for *_, score in ours], abs=1e-5)


NUMBERS = (
    "1.234", "1,234", "1.234,5", "1,234.5", "12,5", "12.5 %", "$ 1 234", "\u20ac1'234,5", "-\xa3.5", "$", "", "1e3",
    "\u22125", "12.34.56", "1.234.567", "x", "5.", ".", "9" * 300, "3640,50 EUR", "EUR 3898,50", "CHF 2'966.50",
    "-$5.00", "+$ 5", "- \u20ac1.200", "-USD 5", "(5.00)", "($1,234.50)", "$(5)", "(5 EUR)", "(-5)", "(5", "()",
    "--5", "-",
    "5usd", "$ 5 gbp", "EUR", "EUR 5 EUR", "5 EURO", "5 U\u017fD",
    "1" * 900 + "x", "39\u200b", "\u200e1,5", "\uff11\uff12", "\u0663\u0669,5", "\U0001d7d9\U0001d7da", "\xb2",
)  # fmt: skip


@pytest.mark.parametrize("decimal", [None, ".", ","])
def test_numbers(run, decimal):
    column = NumberColumn(minimum=0, maximum=1, median=0, decimal=decimal)
    for text in NUMBERS:
        assert run("./js/tables.js", "parseNumber", text, decimal) == pytest.approx(column.read(text), nan_ok=True), (
            text
        )


def test_numbers_and_values_in_sentences(run):
    for text in (*NUMBERS, "3,471", "$3,471", "$3471", "2174,50 \u20ac", "\xa3 1 234 567"):
        assert run("./js/tables.js", "suggestNumber", text) == suggest_number(text), text
    for number in (0, 1, -2.5, 99999, 1234567, 1e9, 12345678901, 0.1 + 0.2, 0.0001, 1.25e-5, 3e22):
        assert run("./js/tables.js", "formatDigits", number) == f"{number:.10g}"
        assert run("./js/tables.js", "formatDigits", number, True) == f"{number:,.10g}"
    for low, high in ((0, 4356), (1900, 2020), (1000, 99999), (-5, 3), (0.5, 12345.5), (999, 9999), (1000, 1e10)):
        assert run("./js/tables.js", "formatRange", low, high) == format_range(low, high)
    for text in ("1e+09", "a\n b", "<b>", "x" * 41, "\U0001f600" * 40, "\u202ex\0", " 5 "):
        assert run("./js/tables.js", "quote", text) == quote(text), text


def test_names_without_case(run):
    for text in ("STRASSE", "Straße", "STRAẞE", "ΣΑΣ", "σας", "ı I İ", "ŉ ǰ", "ﬃ", "É", "a  b"):
        assert run("./js/tables.js", "normaliseName", text) == normalise_name(text), text


def test_a_table_of_the_model_has_commas_whatever_its_columns_are_called(site, browser):
    page = browser.new_page()
    page.goto(f"{site}collect.html")
    rows = page.evaluate(
        """async (table) => {
      const { Predictor } = await import("./js/predictor.js");
      return new Predictor({}, null, { "background.csv": new TextEncoder().encode(table) }).readTable("background.csv");
    }""",
        "age,rating (1|2|3|4|5)\n31,2\n",
    )
    assert rows == [{"age": "31", "rating (1|2|3|4|5)": "2"}]
    page.close()


@pytest.mark.parametrize("spelling", FORMATS)
def test_dates(run, spelling):
    moments = [datetime(1994, 6, 7, 12, 30), datetime(2026, 12, 31, 0, 5, 9), datetime(2068, 2, 29)]
    texts = [
        moment.strftime(form + time)
        for moment in moments
        for form in (spelling, "%Y-%m-%d")
        for time in ("", " %H:%M", " %I:%M %p", " %H:%M:%S", " %H:%M:%S +0230")
    ]
    years = ("00", "49", "50", "55", "68", "69", "1955", "0091")
    texts += [f"03{mark}02{mark}{year}" for mark in "./" for year in years]
    texts += [moments[0].strftime(f"{spelling} {time}") for time in ("13:14:10 AM", "39:40 AM", "00:10 AM", "12:10 AM")]
    texts += [moments[0].strftime(f"{spelling} {time}") for time in ("10:30:00 -0030", "10:30:00 +0030", "9:5", "9:60")]
    for text in [*texts, "31 Feb 2000", "1994-06-07T10:00:00.5Z", "soon", "07.13.1994", "1999-01-01 25:00"]:
        ours = read_date(text, spelling)
        if math.isnan(ours) and " " in text:  # Python takes only some spellings of the time after an ISO date
            continue
        assert run("./js/tables.js", "parseDate", text, spelling) == pytest.approx(ours, abs=1e-5, nan_ok=True), text
    for value in (20604, -719_162, -719_163, 2_932_896.9, 2_932_897, 1_577_836_800, 1e300, "2026-05-31", "soon"):
        days = read_date(value, spelling)
        assert run("./js/tables.js", "readDate", value, spelling) == pytest.approx(days, nan_ok=True), value


TABLES = {
    "short and long rows": "a,b\n1\n1,2\n1,2,3\n1,2,,\n",
    "names in another spelling": "B_;x;A\n1;2;3\n",
    "quoted names": '"a; b; c",b,A\n1,2,3\n',
    "a given delimiter": "sep=|\na|b\n1,5|2\n",
    "strange names": "constructor,2019,a,__proto__,b\n1,2,3,4,5\n",
    "spaces beside quotation marks": 'a, "b"\n1, "x, y"\n 2 ,"Tom" Hanks\n"3" ,"4" \n5,6"7\n',
    "quotation marks in cells": 'a,b\n"x ""y""",""\n"""",x""y\n',
    "cells of several lines": 'a,b\r\n"x\n\ny",2\r\n"3\r\n4",5',
    "ends of lines": "a,b\r1,2\r\r3,4",
    "a name of several lines": 'a;b;"c\n(d)"\n1;2;3\n',
    "invisible characters in names": "a\u200b,\u200eb\n1,2\n",
    "empty cells": "a,b\n,1\n2,\n,\n",
    "rows that an open quotation mark swallowed": 'a,b\n1,"Alien is great\n2,dull\n3,"good",\n4,last\n5,"x\n6,"y\n7,z',
    "swallowed rows whose last cell is closed": 'sep=;\na;b\n\n1;"Alien; the film\n2;dull\n3;great"\n4;last\n',
    "swallowed rows that begin with it": 'b,a\n"Alien is great,1\ndull,2\ngreat movie",3\r\n"fine\nfilm",4\nlast,5',
    "cells of several lines with delimiters": 'a,b\n1,"Good, but\nslow, dull\nand so on"\n2,"1,2\n3 and, 4"\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(run, tmp_path, name):
    (tmp_path / "table.csv").write_text(TABLES[name], encoding="utf-8", newline="")
    found = run("./js/tables.js", "readCsv", TABLES[name], ["a", "b"])
    for line, ours in zip(found, read_csv(tmp_path / "table.csv", ["a", "b"]), strict=True):
        assert (line["error"] or "") == ours.error
        assert line["names"] == list(ours.header)
        if not ours.error:
            assert [line["row"][column] for column in ("a", "b")] == [ours.cells[column] for column in ("a", "b")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,a,b\n1,2,3", "names the column 'a' twice"),
        ("a,c\n", "lacks the column b"),
        ("\xad,\u200b\na,1\n", "The first line has no names of columns; name them there."),
        ('a,b\n1,2\n3,"4\n5,6\n', "The quotation mark on line 3 of the CSV is never closed, so the rows after it"),
        ('sep=,\na,b\r1,"2\n', "The quotation mark on line 3 of the CSV is never closed"),
    ],
)
def test_wrong_headers_get_a_sentence(run, text, words):
    with pytest.raises(Exception, match=words):
        run("./js/tables.js", "readCsv", text, ["a", "b"])


ENCODINGS = {
    "a byte order mark": "text\nd\xe9j\xe0".encode("utf-8-sig"),
    "Windows-1252": "text\nd\xe9j\xe0 vu \u2026".encode("cp1252"),
    "UTF-16": "text\nd\xe9j\xe0".encode("utf-16"),
    "UTF-16 without a mark": "text\nd\xe9j\xe0".encode("utf-16-le"),
    "UTF-16, big end first": "text\nd\xe9j\xe0".encode("utf-16-be"),
    "Cyrillic": "text\n\u041e\u0442\u043b\u0438\u0447\u043d\u044b\u0439 \u0444\u0438\u043b\u044c\u043c".encode(
        "cp1251"
    ),
    "Japanese": "text\n\u7d20\u6674\u3089\u3057\u3044\u6620\u753b".encode("shift-jis"),
    "a damaged byte": "text\nd\xe9j\xe0 vu, caf\xe9".encode() + b"\xff",
    "a byte that is no letter": b"text\n\xe9\x81",
    "no text": b"PK\3\4\0\xe9\0\0",
    "half of UTF-16": b"\xff\xfet\0e\0x\0t\0\n\0g\0\0\xd8",
}


def test_encodings(site, browser, tmp_path):
    read = """async (bytes) => {
      const tables = await import("./js/tables.js");
      const text = await tables.readText(new File([Uint8Array.from(bytes)], "rows.csv")).catch(String);
      return text.includes("Error") ? text : tables.readCsv(text, ["text"])[0].row.text;
    }"""
    page = browser.new_page()
    page.goto(f"{site}collect.html")
    for name, content in ENCODINGS.items():
        (tmp_path / "rows.csv").write_bytes(content)
        found = page.evaluate(read, list(content))
        try:
            (row,) = read_csv(tmp_path / "rows.csv", ["text"])
        except BadInput:
            sentence = (
                "is not a text file" if name == "no text" else "is not in the encoding UTF-8; save the file as UTF-8"
            )
            assert sentence in found, name
        else:
            assert found == row.cells["text"], name
    page.close()


def test_values_of_a_table_are_read_with_invisible_characters_and_in_any_spelling(ask):
    model = load_model(ROOT / "spaces/salary/model")
    changes = [
        {"workclass": "Private\u200b"}, {"workclass": "\u200eprivate"}, {"age": "39\u200b"}, {"age": "\uff13\uff19"},
        {"marital-status": "married civ_spouse"}, {"workclass": "N/A\u200b"}, {"education": "bachelor"},
        {"sex": " male "},
    ]  # fmt: skip
    rows = [model.example() | change for change in changes]
    found = ask("salary", "predictEach", [[row] for row in rows])
    for answer, ours in zip(found, model.predict_each(rows), strict=True):
        if isinstance(ours, BadInput):
            assert answer == {"error": str(ours)}
        else:
            assert answer["probabilities"] == pytest.approx(ours.probabilities, abs=1e-5)


def test_no_cell_becomes_a_formula(run):
    cells = [
        "=1",
        "\uff1dcmd",
        "\u200b=1",
        "-5",
        "- 5",
        "\t5",
        "+1 %",
        "-1a",
        "@x",
        "\u221212",
        "fine",
        "",
        5,
        -5,
        "\u3164+1",
    ]
    found = run("./js/tables.js", "writeCsv", [[cell] for cell in cells])
    expected = [f'"{cell}"' if isinstance(cell, str) else str(cell) for cell in escape_formulas(cells)]
    assert found.split("\n") == expected
    assert run("./js/tables.js", "writeCsv", [[["=1"]]]) == '"\'=1"'  # whatever a model's labels are
    # A spreadsheet may split the cells at semicolons.
    assert run("./js/tables.js", "writeCsv", [["x;=1+1", 'a "b"', 0.5]]) == '"x;=1+1","a ""b""",0.5'
    assert run("./js/tables.js", "writeCsv", [["x;=1+1", 0.5]], ";") == '"x;=1+1";0.5'


def test_a_written_cell_is_read_as_it_was(run):
    cells = ["=1+1", "+", "-", "@user", "'=1", "-5", "'a", "it's", "'", "''", "'-5", "\u3164+1", "a"]
    text = run("./js/tables.js", "writeCsv", [["a"], *([cell] for cell in cells)])
    assert [found["row"]["a"] for found in run("./js/tables.js", "readCsv", text, ["a"])] == cells


def test_two_columns_are_never_read_from_one(run):
    for header, missing in (("x.1", "x_1"), ("x_1", "x.1"), ("X 1", "x_1")):
        with pytest.raises(Exception, match=f"lacks the column {missing}; its first line has: {header}."):
            run("./js/tables.js", "readCsv", f"{header}\n5\n", ["x.1", "x_1"])
    (found,) = run("./js/tables.js", "readCsv", "X-1,,,x_1\n5,,,6\n", ["x.1", "x_1"])
    assert (found["row"]["x.1"], found["row"]["x_1"]) == ("5", "6")


def test_a_table_of_many_columns_is_read(run):
    names = [f"c{number}" for number in range(100_000)]
    found = run("./js/tables.js", "readCsv", ",".join(names) + "\n" + ",".join("1" for _ in names), ["c5"])
    assert found[0]["row"]["c5"] == "1"
    with pytest.raises(Exception, match="names the column 'c7' twice"):
        run("./js/tables.js", "readCsv", ",".join([*names, "c7"]), ["c5"])


# --- models of one's own ---

NEW_NAMES = {
    "hours-per-week": "2018", "age": "2019", "race": "7", "workclass": "constructor", "education": "__proto__",
    "capital-gain": "10", "capital-loss": "toString", "relationship": "elements",
}  # fmt: skip


def copy_model(folder, target, change):
    """Copy a model's folder, with a changed config and background.csv."""
    shutil.copytree(folder, target)
    config = json.loads((target / "gallery.json").read_text())
    background = (target / "background.csv").read_text()
    config, background = change(config, background)
    (target / "background.csv").write_text(background)
    content = background.encode()
    config["files"]["background.csv"] |= {"sha256": hash_bytes(content), "bytes": len(content)}
    (target / "gallery.json").write_text(json.dumps(config))
    return target


FIELDS = ("columns", "categories", "numbers", "ignored", "groups", "typical", "amounts")


def rename(config, background):
    """Give columns and labels names that JavaScript treats in its own way, and numbers a decimal comma."""
    text = json.dumps({name: config[name] for name in FIELDS})
    for old, new in NEW_NAMES.items():
        text, background = text.replace(f'"{old}"', f'"{new}"'), background.replace(f'"{old}"', f'"{new}"', 1)
    config |= json.loads(text) | {"labels": ["2", "1"], "label_names": {"1": "rich"}, "descriptions": {}}
    config["numbers"]["10"]["decimal"] = ","
    return config, background


def test_names_that_are_numbers_or_belong_to_javascript(browser, tmp_path):
    model = load_model(copy_model(ROOT / "spaces/salary/model", tmp_path / "model", rename))
    write_site(build_site({"strange": model.folder}, "Strange"), tmp_path / "site")
    server = serve(tmp_path / "site", 0)
    page, _, errors = visit(browser, start(server))
    page.get_by_text("Why?").wait_for(timeout=120_000)
    page.evaluate(OPEN, ["strange"])
    people = [{**row, "10": "1.234" if number % 2 else "99,5"} for number, row in enumerate(make_people(model, 6))]
    call = """async ([method, text]) => {
      return JSON.stringify(await window.model.call(method, JSON.parse(text)).catch((error) => error.message));
    }"""

    def ask(method, *arguments):  # as JSON, since Playwright loses __proto__
        return json.loads(page.evaluate(call, [method, json.dumps(arguments)]))

    answers = ask("predictEach", [[row] for row in people])
    for found, ours in zip(answers, model.predict_batch(people), strict=True):
        assert found == {"label": ours.label, "probabilities": pytest.approx(ours.probabilities, abs=1e-5)}
    found = ask("explain", people[0])
    assert found["contributions"] == pytest.approx(model.explain(people[0]).contributions, abs=1e-5)
    absent = {name: value for name, value in people[0].items() if name != "constructor"}
    assert "The value of constructor is not given" in ask("predict", absent)
    expected = model.predict({**model.example(), "2018": 45}).probabilities["1"]
    page.get_by_role("textbox", name="2018").fill("45")
    page.get_by_text(f"{100 * expected:.0f} %").first.wait_for()
    page.get_by_role("textbox", name="2018").fill("forty")
    wrong = page.get_by_text("2018 must be a number from 1 to 99,")
    wrong.wait_for()
    assert page.locator("[aria-invalid=true]").get_attribute("name") == "2018"
    page.reload()
    wrong.wait_for(timeout=120_000)
    assert wrong.count() == 1
    assert page.get_by_role("textbox", name="2018 (1 to 99)").input_value() == "forty"
    assert page.get_by_text("Why?").is_hidden()
    page.get_by_role("textbox", name="2018").fill("40")
    page.get_by_text("Why?").wait_for()
    assert page.locator("[aria-invalid]").count() == 0
    lines = [["prediction", *model.columns], *(["\xe9", *(row[name] for name in model.columns)] for row in people)]
    (tmp_path / "rows.csv").write_bytes("\n".join(map(";".join, lines)).encode("cp1252"))
    page.locator("summary", has_text="Many rows").click()
    page.get_by_label("Choose files").set_input_files(tmp_path / "rows.csv")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    header, first, *_ = csv.reader(lines, delimiter=";")  # as in the table
    assert header == ["prediction (yours)", *model.columns, "prediction", "probability 1", "error"]
    assert first[0] == "\xe9"
    assert errors == []
    page.close()
    server.shutdown()
    server.server_close()


RECIPES = {
    "labels": ["tabular", "--target", "shift"],
    "number": ["tabular", "--target", "hours"],
    "tales": ["recommendation", "--item-name", "tale"],
}


@pytest.fixture(scope="module")
def own_models(tmp_path_factory):
    """Quickly trained models of made-up data, by name."""
    pytest.importorskip("fastai", reason="torch and fastai are not installed: make test-all")
    folder = tmp_path_factory.mktemp("runs")
    for name, (recipe, *options) in RECIPES.items():
        module = importlib.import_module(f"training.recipes.{recipe}")
        module.main(["--smoke", *options, "--out", str(folder / name)])
    return {name: load_model(folder / name) for name in RECIPES}


def test_own_models(browser, own_models, tmp_path):
    write_site(build_site({name: model.folder for name, model in own_models.items()}, "Mine"), tmp_path)
    server = serve(tmp_path, 0)
    address = start(server)
    page = browser.new_page()
    page.goto(f"{address}collect.html")
    for name in ("labels", "number"):
        page.evaluate(OPEN, [name])
        model = own_models[name]
        rows = [row.cells for row in read_csv(model.folder / "background.csv", model.columns)][:20]
        inputs = [[row] for row in rows]
        for found, ours in zip(page.evaluate(ASK, ["predictEach", [inputs]]), model.predict_batch(rows), strict=True):
            expected = ours.as_dict()
            assert found.pop("label", None) == expected.pop("label", None)
            assert found.pop("probabilities", {}) == pytest.approx(expected.pop("probabilities", {}), abs=1e-5)
            assert found == pytest.approx(expected, rel=1e-4)
        found, why = page.evaluate(ASK, ["explain", [rows[0]]]), model.explain(rows[0])
        assert found["total"] == pytest.approx(why.value if name == "number" else why.probability, rel=1e-4)
        scale = max(map(abs, why.contributions.values()))
        assert found["contributions"] == pytest.approx(why.contributions, abs=1e-4 * scale)
    page.evaluate(OPEN, ["tales"])
    model = own_models["tales"]
    (first, second, *_) = model.movies
    given = {first: model.config.lowest, second: model.config.highest}
    found, ours = page.evaluate(ASK, ["recommend", [list(given.items())]]), model.recommend(model.fold_in(given))
    assert [(item, title) for item, title, _ in found] == [(item, title) for item, title, _ in ours]
    assert [score for *_, score in found] == pytest.approx([score for *_, score in ours], abs=1e-4)
    found = page.evaluate(ASK, ["predictEach", [[[None, first], [None, "nothing"]]]])  # an average person's rating
    assert found[0] == pytest.approx(model.predict(None, first).as_dict(), abs=1e-5)
    with pytest.raises(BadInput) as error:
        model.predict(None, "nothing")
    assert found[1] == {"error": str(error.value)}
    page.close()
    for name, words in {"labels": "Why?", "number": "For nine of ten rows", "tales": "Rate a few tales"}.items():
        page, _, errors = visit(browser, f"{address}#{name}")
        page.get_by_text(words).first.wait_for(timeout=120_000)
        page.locator("#download").wait_for(state="detached")
        if name == "number":  # with as many digits as its interval has
            model = own_models[name]
            _, _, interval = show_answer(model, model.predict(model.example())).rpartition("it is between ")
            assert page.get_by_text(f"it is between {interval}").count() == 1
        assert errors == []
        page.close()
    server.shutdown()
    server.server_close()


def open_templates(browser, site):
    """Open a page that runs no model, and add the templates of those that do."""
    page = browser.new_page()
    page.goto(f"{site}collect.html")
    page.evaluate(
        """async () => {
          const page = await (await fetch("./index.html")).text();
          for (const one of new DOMParser().parseFromString(page, "text/html").querySelectorAll("template"))
            document.body.append(one);
        }"""
    )
    return page


def test_a_rating_has_the_stars_that_were_chosen_for_it(site, browser):
    """While the model is fetched, a visitor goes on to the next one."""
    page = open_templates(browser, site)
    page.evaluate(
        """async () => {
          const { show } = await import("./js/rating_page.js");
          const config = { lowest: 0.5, highest: 5, users: [], files: {} };
          const found = new Promise((resolve) => (window.find = () => resolve(["1", "Toy Story"])));
          const call = (method) => (method === "find" ? found : Promise.resolve([]));
          show(document.getElementById("main"), { config, call });
        }"""
    )
    pick, stars = page.locator("#pick"), page.locator("#stars")
    pick.fill("toy story")
    stars.fill("5")
    pick.press("Enter")
    pick.fill("Jaws")
    stars.fill("0.5")
    page.evaluate("window.find()")
    page.get_by_text("Toy Story: 5").wait_for()
    assert pick.input_value() == "Jaws"
    page.close()


def test_the_bar_of_a_batch_is_that_of_the_newest(site, browser, tmp_path):
    page = open_templates(browser, site)
    page.evaluate(
        """async () => {
          const { addBatch } = await import("./js/elements.js");
          window.calls = [];
          const keep = (file, report, end) => window.calls.push({ name: file.name, report, end });
          const call = (_, [[file]], report) => new Promise((end) => keep(file, report, end));
          addBatch(document.getElementById("main"), { call }, "Many", "A CSV.");
        }"""
    )
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text\n")
        page.locator("input[type=file]").set_input_files(tmp_path / name)
    page.wait_for_function("window.calls.length == 2")
    assert page.evaluate("window.calls.map(({ name }) => name)") == ["a.csv", "b.csv"]
    bar = page.locator("progress")
    page.evaluate("window.calls[1].report(0.5), window.calls[0].report(0.9)")
    assert bar.evaluate("bar => bar.value") == 0.5
    page.evaluate("window.calls[0].end({ count: 1, wrong: 0, added: 1, lines: [['text', 'error']], csv: new Blob() })")
    page.wait_for_timeout(100)
    assert bar.is_visible()
    page.evaluate("window.calls[1].end({ count: 7, wrong: 0, added: 1, lines: [['text', 'error']], csv: new Blob() })")
    page.get_by_text("7 rows, 0 with an error").wait_for()
    assert bar.is_hidden()
    page.close()


# --- bad input ---


def test_bad_pictures_get_a_sentence(ask):
    huge = save(Image.new("L", (9000, 8000)), "PNG")
    cut = CAT.read_bytes()[:200]
    strip = save(Image.new("L", (5000, 20)), "PNG")
    unreadable = "cannot be read as a picture"
    many = "at most 50 megapixels"
    wrong = {b"": "empty", b"hello": unreadable, cut: unreadable, huge: many, strip: "50 times"}
    wrong |= {(CAT.read_bytes()[:16] + bytes(8) + CAT.read_bytes()[24:]): unreadable, b"\xff\xd8\xff\xd9": unreadable}
    black = Image.new("1", (8000, 6400))
    wrong |= {save(black, kind, **options): many for kind, options in BOMBS.items()}
    wrong[b"GIF89a\1\0\1\0" + save(black, "GIF")[10:]] = many  # the screen grows to the first frame
    for content, words in wrong.items():
        assert words in ask("cat_dog", "predict", content)["error"], content[:40]


def test_an_avif_with_another_size_than_it_seems_to_have_is_not_decoded(site, browser):
    black = save(Image.new("L", (8000, 6400)), "AVIF", speed=10)
    start = int.from_bytes(black[:4])  # of what follows the box ftyp
    small = b"\0\0\0\x30meta" + bytes(20) + b"\0\0\0\x14ispe" + bytes(4) + struct.pack(">II", 64, 64)
    hidden = b"\0\0\0\1free" + struct.pack(">Q", 16 + len(small)) + small
    still = save(Image.new("L", (64, 64)), "AVIF", speed=10)
    check = """async (bytes) => (await import("./js/pictures.js")).checkPicture(new Blob([Uint8Array.from(bytes)]))
      .then(() => "accepted", (error) => error.message)"""
    page = browser.new_page()
    page.goto(f"{site}collect.html")
    found = [
        page.evaluate(check, list(content))
        for content in (still, black, black[:start] + hidden + black[start:], still.replace(b"ftypavif", b"ftypavis"))
    ]
    unreadable = "This file cannot be read as a picture; save it as JPEG or PNG."
    assert found == [
        "accepted", "The picture may have at most 50 megapixels; make it smaller.", unreadable, unreadable,
    ]  # fmt: skip
    page.close()


# Its size in EXIF, 80 by 64 pixels at 7200 dpi, is what a browser reports as the size of an element.
DENSE = Image.Exif()
DENSE.update({0x011A: 7200.0, 0x011B: 7200.0, 0x0128: 2})
DENSE.get_ifd(0x8769).update({0xA002: 80, 0xA003: 64})
BOMBS = {"BMP": {}, "GIF": {}, "WEBP": {"lossless": True}, "AVIF": {"speed": 10}, "JPEG": {"exif": DENSE}}


@pytest.mark.parametrize("name", ["bomb.png", "bomb.svg", "bomb.jpg"])
def test_a_small_file_with_too_many_pixels_is_not_decoded(site, browser, tmp_path, name):
    path = tmp_path / name
    if name == "bomb.jpg":
        Image.new("L", (8000, 6400)).save(path, exif=DENSE)
    else:
        Image.new("1", (22_000, 22_000)).save(path, "PNG")  # 1.9 GB when decoded
        assert path.stat().st_size < 100_000
    page = browser.new_page()
    page.goto(f"{site}#cat_dog")
    page.get_by_role("heading", name="It is a cat.").wait_for(timeout=120_000)
    page.get_by_label("Choose a picture").set_input_files(path)
    page.get_by_text("at most 50 megapixels").first.wait_for()
    page.get_by_text("Many pictures").click()
    page.get_by_label("Choose files").set_input_files([path, CAT])
    page.get_by_text("2 rows, 1 with an error").wait_for(timeout=120_000)
    page.goto(f"{site}collect.html")
    page.get_by_label("A new label").fill("bomb")
    page.get_by_role("button", name="Add the label").click()
    page.get_by_label("Choose pictures").set_input_files(path)
    page.get_by_text(f"Left out: {name}: The picture may have at most 50 megapixels").wait_for()
    page.close()


def test_bad_values_get_a_sentence(ask, salary):
    row = {name: str(value) for name, value in salary.example().items()}
    wrong = {
        "workclass": "<astronaut>",
        "race": "Purple",
        "age": "200",
        "capital-gain": "3,471",
        "capital-loss": "1000000000",
    }
    for name, value in wrong.items():
        with pytest.raises(BadInput) as error:
            salary.predict({**row, name: value})
        assert ask("salary", "predict", {**row, name: value})["error"] == str(error.value)
    assert "There is no text" in ask("sentiment", "predict", " \u200b ")["error"]
    assert "There is no user '99999'; users are 1 to 671." in ask("rating", "predict", 99999, "260")["error"]


# --- the page ---


def visit(browser, address, **options):
    """Open a page; return it, the addresses it asked for, and its errors."""
    page = browser.new_page(**options)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(address)
    return page, asked, errors


@pytest.mark.parametrize("name", FIRST_ANSWERS)
def test_each_page_opens_with_an_answer_and_reaches_nothing_else(site, browser, name):
    page, asked, errors = visit(browser, f"{site}#{name}", viewport={"width": 390, "height": 844})
    page.get_by_text(FIRST_ANSWERS[name]).first.wait_for(timeout=120_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [url for url in asked if not url.startswith((site, "blob:"))] == []
    assert errors == []
    page.get_by_text("How good is it?").click()
    assert page.locator("#figures td").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert find_barriers_in_both_schemes(page) == []
    page.close()


def test_a_visitor_rates_and_asks_for_similar_movies(site, browser, rating):
    from playwright.sync_api import expect

    page, _, errors = visit(browser, f"{site}#rating")
    page.get_by_text(FIRST_ANSWERS["rating"]).first.wait_for(timeout=120_000)
    page.get_by_label("A movie you know").fill("toy story")
    page.get_by_role("button", name="Add").click()
    page.get_by_text("Toy Story (1995): 4").wait_for()
    page.get_by_role("button", name="Add").click()  # the field is empty now
    page.locator("#said").get_by_text("No movie is called ''").wait_for()
    page.get_by_text("Toy Story (1995): 4").wait_for()
    slider = page.get_by_role("slider", name="Your rating in stars")
    slider.fill("3.5")
    page.get_by_label("A movie you know").fill("psycho")
    page.get_by_label("A movie you know").press("Enter")
    page.locator("#said").get_by_text("Several movies are called 'psycho': Psycho (1960), Psycho (1998).").wait_for()
    page.get_by_label("A movie you know").fill("psycho (1960)")
    page.get_by_label("A movie you know").press("Enter")
    page.get_by_text("Psycho (1960): 3.5").wait_for()
    slider.fill("4")
    page.get_by_label("A movie you know").fill("Psycho (1960)")
    page.get_by_label("A movie you know").press("Enter")
    page.get_by_text("Psycho (1960): 4").wait_for()
    toy_story = {rating.find("Toy Story (1995)"): 4.0}
    both = {**toy_story, rating.find("Psycho (1960)"): 4.0}
    before, after = (rating.recommend(rating.fold_in(given)) for given in (toy_story, both))
    marked = mark_changes(before, after)
    assert [title for _, title, _ in marked] != [title for _, title, _ in after]
    expect(page.locator("#best li")).to_have_text([f"{title} {score:.2f}" for _, title, score in marked])
    remove = page.get_by_role("button", name="Remove Psycho (1960)")
    remove.press("Enter")
    remove.wait_for(state="detached")
    expect(page.get_by_role("button", name="Remove Toy Story (1995)")).to_be_focused()
    page.get_by_label("Similar to").fill("no such title")
    page.get_by_label("Similar to").press("Enter")
    page.locator("#similar").get_by_text("No movie is called 'no such title'").wait_for()
    page.reload()
    page.get_by_text("Toy Story (1995): 4").wait_for(timeout=120_000)
    page.get_by_role("button", name="Remove").click()
    page.get_by_text("Toy Story (1995): 4").wait_for(state="detached")
    expect(page.get_by_role("heading", name="You may like")).to_be_focused()
    assert errors == []
    page.close()


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def visit_by_phone(site, browser, name):
    """Open the page of a model on a phone; return it when there is an answer."""
    page, _, errors = visit(browser, f"{site}#{name}", **PHONE)
    page.locator("#answer, #best").filter(has_text=FIRST_ANSWERS[name]).wait_for(timeout=120_000)
    assert errors == []
    return page


def wait_on_first_screen(page, place):
    """Wait until a part of the page is on the first screen of a phone; a new answer may be on its way."""
    page.wait_for_function(
        """(place) => {
            const box = document.querySelector(place)?.getBoundingClientRect();
            return scrollY === 0 && box?.width > 0 && box.x >= 0 && box.right <= 390 && box.bottom <= 844;
        }""",
        arg=place,
    )


def test_a_phone_shows_the_button_the_answer_and_the_page_in_the_menu(site, browser):
    page = visit_by_phone(site, browser, "sentiment")
    page.locator("#examples button").nth(1).tap()
    page.get_by_role("heading", name="Negative").wait_for()
    for place in ("#explain", "#answer", "nav [aria-current]"):
        wait_on_first_screen(page, place)
    page.close()
    page = visit_by_phone(site, browser, "segmentation")
    wait_on_first_screen(page, ".bars button")
    assert page.get_by_text("or drop or paste one here").is_hidden()
    page.close()


def test_a_phone_shows_recommendations_above_ones_own_ratings(site, browser):
    page = visit_by_phone(site, browser, "rating")
    for title in ("Toy Story (1995)", "Psycho (1960)", "Titanic (1997)"):
        page.get_by_label("A movie you know").fill(title)
        page.get_by_role("button", name="Add").tap()
        page.get_by_text(f"{title}: 4").wait_for()
    wait_on_first_screen(page, "#best li")
    page.close()


def test_texts_are_large_enough_on_a_phone_and_bars_remain_with_large_text(site, browser):
    page = visit_by_phone(site, browser, "salary")
    page.locator(".curve polyline[points]").first.wait_for(state="attached")
    scale = page.locator(".curve").evaluate("(svg) => svg.getScreenCTM().a")
    size = page.locator(".curve text").first.evaluate("(text) => parseFloat(getComputedStyle(text).fontSize)")
    assert scale * size >= 11
    page.get_by_text("Why?").wait_for()
    page.evaluate("document.documentElement.style.fontSize = '32px'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert all(track.bounding_box()["width"] > 100 for track in page.locator(".track").all())
    page.close()


@pytest.mark.parametrize(("width", "height", "share"), [(360, 740, 0.4), (180, 370, 0.0)], ids=["phone", "zoomed"])
def test_the_answer_that_stays_at_the_top_hides_no_field_with_the_focus(site, browser, width, height, share):
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{site}#salary")
    page.get_by_text("Why?").wait_for(timeout=120_000)
    page.get_by_text("Many rows").focus()
    covered = "() => Math.max(0, document.querySelector('#answer').getBoundingClientRect().bottom) / innerHeight"
    assert page.evaluate(covered) <= share
    for _ in page.locator("#form select, #form input, #varied, #plot").all():
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("""() => {
            const answer = document.querySelector("#answer").getBoundingClientRect();
            const focused = document.activeElement.getBoundingClientRect();
            return focused.top >= answer.bottom || focused.bottom <= answer.top;
        }"""), page.evaluate("document.activeElement.outerHTML")
    expect(page.locator("#form select, #form input").first).to_be_focused()
    page.close()


def find_colours(page, place, change):
    """Return the number of pixels of each colour in a part of the page, after a change of it."""
    page.emulate_media(**change)
    shown = Image.open(io.BytesIO(page.locator(place).screenshot())).convert("RGB")
    return {colour: count for count, colour in shown.getcolors(maxcolors=shown.width * shown.height)}


def test_bars_and_explained_words_keep_their_colours_in_forced_colours_and_on_paper(site, browser):
    page, _, errors = visit(browser, f"{site}#sentiment")
    page.get_by_label("Your text").fill("A wonderful start, but a terrible ending.")
    page.get_by_role("button", name="Which words decided it?").click()
    page.get_by_text("Purple raises it, red lowers it.").wait_for(timeout=120_000)
    shade = page.locator(".parts button").first.evaluate("(part) => getComputedStyle(part).backgroundColor")
    button = (0x4F, 0x46, 0xE5)
    for change in ({"media": "screen"}, {"forced_colors": "active"}, {"forced_colors": "none", "media": "print"}):
        assert find_colours(page, "#answer .bars", change).get(button, 0) > 500, change
        assert page.locator(".parts button").first.evaluate("(part) => getComputedStyle(part).backgroundColor") == shade
    adjusted = page.locator(".bar, .parts button").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).printColorAdjust)"
    )
    assert set(adjusted) == {"exact"}
    assert errors == []
    page.close()


def test_nothing_is_cut_off_on_very_narrow_screens(site, browser):
    page, _, errors = visit(browser, f"{site}#rating", viewport={"width": 180, "height": 370})
    page.get_by_text(FIRST_ANSWERS["rating"]).first.wait_for(timeout=120_000)
    page.locator("summary", has_text="Many users and movies").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 180
    page.set_viewport_size({"width": 320, "height": 640})
    page.evaluate("""async () => {
        const { drawBars } = await import("./js/elements.js");
        document.querySelector("#similar").append(drawBars([["a", 0.0001], ["b", 0.5]]));
    }""")
    right = (
        "(part) => Math.max(...Array.from(part.querySelectorAll('.value'), (one) => one.scrollWidth - one.clientWidth))"
    )
    assert page.locator("#similar .bars").evaluate(right) <= 0
    assert errors == []
    page.close()


def test_the_limits_come_first_then_few_figures_and_the_card(site, browser):
    page = visit_by_phone(site, browser, "cat_dog")
    page.get_by_text("How good is it?").tap()
    assert page.locator("#limits").bounding_box()["y"] < page.locator("#figures").bounding_box()["y"]
    assert page.locator("#figures tr").count() == 4
    assert page.locator("#others").is_hidden()
    page.get_by_text("The model card").tap()
    page.get_by_text("## Evaluation").wait_for()
    assert page.locator("#markdown").inner_text().startswith("# Cat or dog")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_a_busy_page_says_what_it_does(site, browser):
    page = browser.new_page(service_workers="block")
    models, let_model = hold(page, "**/cat_dog/onnx/*")
    page.add_init_script("Worker.prototype.postMessage = () => {}")  # it never starts
    page.goto(f"{site}#cat_dog")
    page.get_by_text("Downloading the model").wait_for()
    page.locator("#picture img").wait_for()
    assert page.locator("#answer h2").is_hidden()
    assert models
    let_model()
    page.get_by_text("Starting the model …").wait_for(timeout=120_000)
    assert page.locator("#progress").is_hidden()
    page.close()


def test_a_page_opens_at_its_top_with_the_focus_and_back_at_the_card(site, browser):
    from playwright.sync_api import expect

    page, _, errors = visit(browser, site, **{**PHONE, "viewport": {"width": 390, "height": 800}})
    last = page.locator(".cards a").last
    last.scroll_into_view_if_needed()
    left = page.evaluate("scrollY")
    assert left > 100
    title = last.locator("h2").inner_text()
    last.press("Enter")
    heading = page.get_by_role("heading", name=title, level=1)
    expect(heading).to_be_focused(timeout=120_000)
    expect(heading).to_be_in_viewport()
    assert page.evaluate("scrollY") == 0
    page.locator("#answer, #best").filter(has_text=FIRST_ANSWERS["sentiment"]).wait_for(timeout=120_000)
    page.go_back()
    expect(page.get_by_role("heading", name="Model gallery")).to_be_focused()
    assert page.evaluate("scrollY") == pytest.approx(left, abs=50)
    last.tap()
    expect(heading).to_be_in_viewport()
    link = page.locator("nav a").nth(1)
    link.press("Enter")
    page.get_by_role("heading", name=link.inner_text(), level=1).wait_for()
    expect(link).to_be_focused()
    assert errors == []
    page.close()


def test_pictures_are_shown_small(site, browser):
    page, _, errors = visit(browser, site)
    for card in page.locator(".cards a").all():
        card.locator("img").evaluate("(image) => image.decode()")
    page.goto(f"{site}#cat_dog")
    page.get_by_role("heading", name="It is a cat.").wait_for(timeout=120_000)
    page.get_by_label("Choose a picture").set_input_files(STREET)
    page.get_by_role("heading", name="It is neither").wait_for()
    example = page.get_by_role("button", name="cat", exact=True)
    assert example.locator("img").evaluate("(image) => image.naturalWidth") == Image.open(CAT).width
    assert example.bounding_box()["height"] == 80
    example.click()
    page.get_by_role("heading", name="It is a cat.").wait_for()
    assert errors == []
    page.close()


def test_explained_words_have_the_colours_of_the_gradio_page_and_are_legible(site, browser):
    page, _, errors = visit(browser, f"{site}#sentiment")
    page.get_by_label("Your text").fill("A wonderful start, but a terrible ending.")
    page.get_by_role("button", name="Which words decided it?").click()
    page.get_by_text("Purple raises it, red lowers it.").wait_for(timeout=120_000)
    colours = " ".join(page.locator(".parts button").evaluate_all("(all) => all.map(({ style }) => style.background)"))
    assert ("--for" in colours, "--against" in colours) == (True, True)
    assert find_barriers_in_both_schemes(page) == []
    assert errors == []
    page.close()


def test_an_explained_part_keeps_the_focus_and_says_its_points(site, browser):
    from playwright.sync_api import expect

    page, _, errors = visit(browser, f"{site}#sentiment")
    text = "The beginning is slow and rather dull, I must say. But then, wonderful! It moved me. I cried twice. See it."
    page.get_by_label("Your text").fill(text)
    page.get_by_role("button", name="Which words decided it?").click()
    part = page.get_by_role("button", name=re.compile(r"wonderful!: \+[0-9.]+ points$"))
    part.press("Enter", timeout=120_000)
    page.get_by_text(re.compile(r"wonderful!” raises “Positive” by [0-9.]+ points\.")).wait_for()
    expect(page.locator("#why")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".parts button").first).to_be_focused()
    page.keyboard.press("Enter")
    part.wait_for()
    page.get_by_text("Tap a part to see its words.").wait_for()
    # Of this box, a screen reader reads the sentence, and not all the words.
    assert page.locator("#why").get_attribute("aria-live") == "polite"
    assert page.locator(".parts").get_attribute("aria-live") == "off"
    assert errors == []
    page.close()


def test_a_text_from_right_to_left_begins_at_the_right(site, browser):
    page, _, errors = visit(browser, f"{site}#sentiment")
    for text, direction in (("فيلم جميل جدا!", "rtl"), ("A lovely film!", "ltr")):
        page.get_by_label("Your text").fill(text)
        page.get_by_role("button", name="Which words decided it?").click()
        page.locator(".parts", has_text=text[:4]).wait_for(timeout=120_000)
        for place in ("#text", ".parts"):
            assert page.locator(place).evaluate("(part) => getComputedStyle(part).direction") == direction
    assert errors == []
    page.close()


def test_a_rating_is_explained_from_the_average_on(site, browser, rating):
    page, _, errors = visit(browser, f"{site}#rating")
    page.get_by_text(FIRST_ANSWERS["rating"]).first.wait_for(timeout=120_000)
    user = page.get_by_label("User", exact=True)
    assert user.get_attribute("inputmode") == "numeric"
    user.fill(" ")
    page.get_by_label("The movie").fill("dr. no")
    page.get_by_role("button", name="Predict").click()
    page.get_by_text("Write the id of a user, such as 15.").wait_for()
    user.fill(" 15 ")
    page.get_by_label("The movie").press("Enter")
    base = rating.explain(15, rating.find("Dr. No (1962)")).base
    page.get_by_text(f"Start at {base:.2f} stars, the average, then add:").wait_for()
    assert errors == []
    page.close()


def test_a_table_of_rows_is_answered(site, browser, salary, tmp_path):
    people = make_people(salary, 3)
    rows = [salary.columns, *([row[name] for name in salary.columns] for row in people), ["x"] * len(salary.columns)]
    (tmp_path / "people.csv").write_text("\n".join(map(",".join, rows)))
    page, _, errors = visit(browser, f"{site}#salary", viewport={"width": 195, "height": 420})
    page.locator(".curve").wait_for(timeout=120_000)
    assert page.locator(".curve").bounding_box()["height"] > 100
    page.locator("summary", has_text="Many rows").click()
    page.get_by_label("Choose files").set_input_files(tmp_path / "people.csv")
    page.get_by_text("4 rows, 1 with an error").wait_for(timeout=120_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 5
    assert "must be one of" in lines[4]
    assert f"{salary.predict(people[0]).probabilities['>=50k']:.4f}" in lines[1]
    assert errors == []
    page.close()


TOO_MANY = "The CSV has more than %s rows; split it into smaller files."


@pytest.mark.parametrize(
    ("name", "box", "files", "words"),
    [
        ("cat_dog", "Many pictures", {"cat.png": CAT.read_bytes(), "bad.png": b"x"}, "2 rows, 1 with an error"),
        ("sentiment", "Many texts", {"a.txt": "A lovely film.\r\rDull.\r\u200b\n".encode()}, "2 rows, 0 with an error"),
        ("rating", "Many users and movies", {"pairs.csv": b"user_id;movie_id\n15;260\n15;x\n"}, "2 rows, 1 with an"),
        (
            "rating",
            "Many users and movies",
            {"pairs.csv": b"user_id,movie_id\n" + b"1,1\n" * 100_001},
            TOO_MANY % "100,000",
        ),
        (
            "rating",
            "Many users and movies",
            {"pairs.csv": b"1" * 50_000_001},
            "larger than 50 MB; split it into smaller",
        ),
        ("sentiment", "Many texts", {"texts.csv": b"\n\ntext\r\n" + b"x\n\n" * 5001}, TOO_MANY % "5,000"),
        ("sentiment", "Many texts", {"texts.txt": b"x\n" * 5001}, "The file has more than 5,000 lines; split it into"),
    ],
    ids=["pictures", "texts", "ratings", "rows", "bytes", "texts in a CSV", "lines"],
)
def test_many_inputs_are_answered(site, browser, tmp_path, name, box, files, words):
    page, _, errors = visit(browser, f"{site}#{name}")
    page.locator("summary", has_text=box).click()
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    page.get_by_label("Choose files").set_input_files([tmp_path / file for file in files])
    page.get_by_text(words).wait_for(timeout=120_000)
    if "rows" in words and "split" not in words:  # the first column says which row it is; on a phone, more are not seen
        has_error = "0 with an error" not in words
        assert (page.locator("#table th").nth(1).inner_text() == "error") == has_error
    assert errors == []
    page.close()


def test_a_mask_is_shown_and_saved(site, browser, segmentation):
    page, _, errors = visit(browser, f"{site}#segmentation")
    road = page.get_by_role("button", name="Road")
    road.wait_for(timeout=120_000)
    mask = segmentation.predict(STREET).mask
    drawn = page.locator(".picture canvas").evaluate("(canvas) => canvas.toDataURL().split(',')[1]")
    opacity = np.array(Image.open(io.BytesIO(base64.b64decode(drawn))))[..., 3]
    assert (opacity != np.where(find_outlines(mask), 230, 153)).mean() < 1e-3
    background = "(button) => getComputedStyle(button).backgroundColor"
    plain = road.evaluate(background)
    assert page.locator("#answer [aria-pressed=true]").count() == 0
    road.click()
    assert page.locator("#answer [aria-pressed=true]").inner_text() == "Road"
    assert road.evaluate(background) != plain
    assert find_barriers_in_both_schemes(page) == []
    page.get_by_role("button", name="Where it is unsure").click()
    assert page.locator("#answer [aria-pressed=true]").inner_text() == "Where it is unsure"
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the mask").click()
    found = np.array(Image.open(download.value.path()).convert("RGB"))
    expected = np.array(segmentation.config.colours)[mask]
    assert (found != expected).any(axis=2).mean() < 1e-4
    assert errors == []
    page.close()


SPOIL = """async (path) => {
  let spoilt = 0;
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const { url } of await cache.keys()) {
      if (url.includes(path)) spoilt += (await cache.put(url, new Response("spoilt")), 1);
    }
  }
  return spoilt;
}"""


def test_the_second_visit_needs_no_network(site_folder, browser):
    server = serve(site_folder, 0)
    address = start(server)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}#salary")
    page.get_by_text("Why?").wait_for(timeout=120_000)
    page.wait_for_timeout(1500)  # until the files have been kept
    assert page.evaluate(SPOIL, "models/salary/background.csv") == 1
    page.reload()
    page.get_by_text("salary/background.csv is damaged").first.wait_for(timeout=120_000)
    assert page.evaluate(SPOIL, "ort-wasm-simd-threaded.wasm.gz") == 1
    page.reload()
    page.get_by_text("ort-wasm-simd-threaded.wasm is damaged").first.wait_for(timeout=120_000)
    page.reload()
    page.get_by_text("Why?").wait_for(timeout=120_000)
    page.wait_for_timeout(500)
    server.shutdown()
    server.server_close()
    page.reload()
    page.get_by_text("Why?").wait_for(timeout=120_000)
    context.close()


FILL = "void (Cache.prototype.put = () => Promise.reject(new DOMException('full', 'QuotaExceededError')))"
DROP = "async (file) => { for (const name of await caches.keys()) await (await caches.open(name)).delete(file); }"
READ = "(file) => fetch(file).then((response) => response.text(), String)"


def test_a_missing_file_is_shown_although_the_storage_is_full(site, site_folder, browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto(site)
    page.evaluate("async () => void (await navigator.serviceWorker.ready)")
    page.reload()
    context.service_workers[0].evaluate(FILL)
    page.evaluate(DROP, "style.css")
    assert page.evaluate(READ, "style.css") == (site_folder / "style.css").read_text()
    assert page.evaluate("caches.match('style.css')") is None
    context.close()


def expect_words(browser, server, words):
    """Wait for words on the page of the salary model; end the server."""
    page, *_ = visit(browser, f"{start(server)}#salary")
    page.get_by_text(words).first.wait_for(timeout=120_000)
    page.close()
    server.shutdown()
    server.server_close()


def test_a_damaged_model_is_not_used(site_folder, browser, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(site_folder, copy)
    (copy / "models/salary/background.csv").write_text("something else")
    expect_words(browser, serve(copy, 0), "salary/background.csv is damaged")


WAIT_FOR_UPDATE = """async () => {
  const registration = await navigator.serviceWorker.getRegistration();
  while (!registration.waiting) await new Promise((resolve) => setTimeout(resolve, 100));
}"""


class Stale(Handler):
    """A host whose files a browser may keep for an hour."""

    def end_headers(self):
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()


def change_file(files, path, addition):
    """Add a line to a file of a site, as if it had been built with it."""
    before = hash_bytes(files[path])
    files[path] += addition.encode()
    files["sw.js"] = files["sw.js"].replace(before.encode(), hash_bytes(files[path]).encode())


def test_an_update_takes_over_between_two_pages(browser, tmp_path):
    def change(title):
        def change(config, background):
            config["about"]["title"] = title
            return config, background

        return change

    def publish(title):
        model = copy_model(ROOT / "spaces/salary/model", tmp_path / title, change(title))
        files = build_site({"salary": model, "other": model}, title)
        change_file(files, "js/table_page.js", f"\nwindow.version = '{title}';")
        write_site(files, tmp_path / "site")

    publish("Old")
    server = serve(tmp_path / "site", 0, Stale)
    address = start(server)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}#salary")
    page.get_by_text("Why?").wait_for(timeout=120_000)
    page.goto(address)
    page.evaluate("async () => void (await caches.open('of another app'))")
    page.get_by_role("heading", name="Old").first.wait_for()
    page.evaluate("async () => void (await navigator.serviceWorker.ready)")
    publish("New")
    page.reload()  # the old site; meanwhile, the new one is downloaded
    page.evaluate(WAIT_FOR_UPDATE)
    assert page.evaluate("import('./js/table_page.js').then(() => window.version)") == "Old"
    other = context.new_page()
    other.goto(address)  # while the first page is open
    other.get_by_role("heading", name="Old").first.wait_for()
    other.close()
    page.goto(f"{address}#salary")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(3):  # a page that is too busy to say that it is being left counts as open
        page.reload()
        page.get_by_text("Why?").wait_for(timeout=120_000)
        if page.get_by_role("heading", name="New").count():
            break
    page.get_by_role("heading", name="New").wait_for()
    assert [url for url in asked if url.startswith(f"{address}models/")] == [f"{address}models/salary/gallery.json"]
    assert page.evaluate("window.version") == "New"
    assert "of another app" in page.evaluate("caches.keys()")
    assert len(page.evaluate("caches.keys()")) == 3  # also of the new site and of its models
    context.close()
    server.shutdown()
    server.server_close()


REGISTER = """async () => {
  const { installing } = await navigator.serviceWorker.register("sw.js");
  return new Promise((resolve) => {
    installing.onstatechange = () => resolve(installing.state);
  });
}"""


class Dateless(Handler):
    """A host whose files may change twice in a second."""

    def send_header(self, name, value):
        if name != "Last-Modified":
            super().send_header(name, value)


def test_files_of_two_versions_are_never_kept_together(browser, tmp_path):
    files = build_site({"salary": ROOT / "spaces/salary/model"}, "Salary")
    page = re.sub(b'version" content="[0-9a-f]+"', b'version" content="0123"', files["index.html"])
    old = {"js/table_page.js": files["js/table_page.js"] + b"\n// old", "index.html": page}
    for path in ("index.html", "any.html", "collect.html"):  # as the Hub sends it
        files[path] = files[path].replace(b"<head>", b"<head><script>window.huggingface={variables:{}};</script>")
    write_site(files, tmp_path)
    server = serve(tmp_path, 0, Dateless)
    address = start(server)
    page, *_ = visit(browser, f"{address}licences.txt")
    for path, content in old.items():
        (tmp_path / path).write_bytes(content)
    for path in old:
        assert page.evaluate(REGISTER) == "redundant"
        (tmp_path / path).write_bytes(files[path])
    assert page.evaluate(REGISTER) == "installed"
    page.goto(f"{address}#salary")
    page.get_by_text("Why?").wait_for(timeout=120_000)
    (tmp_path / "style.css").write_text("/* of the next version */")
    page.evaluate(DROP, "style.css")
    assert page.evaluate(READ, "style.css") == "/* of the next version */"
    page.wait_for_timeout(500)
    assert page.evaluate("caches.match('style.css')") is None
    (tmp_path / "style.css").write_bytes(files["style.css"])
    page.evaluate(READ, "style.css")
    page.wait_for_function("async () => Boolean(await caches.match('style.css'))")
    server.shutdown()
    server.server_close()
    page.reload()
    page.get_by_text("Why?").wait_for(timeout=120_000)
    assert page.evaluate(READ, "js/table_page.js") == files["js/table_page.js"].decode()
    page.close()


class Clean(Handler):
    """A host whose addresses of pages have no ".html"."""

    def send_head(self):
        path, dot, rest = self.path.partition(".html")
        if not dot:
            self.path += ".html" if self.path in ("/collect", "/any") else ""
            return super().send_head()
        self.send_response(308)
        self.send_header("Location", path.removesuffix("index") + rest)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None


def test_every_page_opens_again_where_addresses_have_no_html(site_folder, browser):
    server = serve(site_folder, 0, Clean)
    address = start(server)
    page, *_ = visit(browser, address)
    page.evaluate("async () => void (await navigator.serviceWorker.ready)")
    server.shutdown()
    server.server_close()
    page.goto(f"{address}collect.html")
    page.get_by_role("heading", name="Collect pictures").wait_for()
    page.goto(f"{address}any.html?model=me/salary@main")
    page.get_by_text("with a commit of 40 digits").wait_for()
    page.close()


class Cut(Handler):
    """A host whose connection is lost in the middle of a file."""

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if "background" in self.path else content)


def test_a_lost_connection_is_no_damage(site_folder, browser):
    expect_words(browser, serve(site_folder, 0, Cut), "salary/background.csv cannot be downloaded")


def test_a_file_that_the_site_lacks_is_no_lost_connection(site_folder, browser, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(site_folder, copy)
    (copy / "models/salary/background.csv").unlink()
    expect_words(browser, serve(copy, 0), "salary/background.csv is missing on this site")


def test_a_page_whose_code_cannot_be_downloaded_says_what_to_do(site, browser):
    page = browser.new_page(service_workers="block")
    for name, script in (("index.html", "model.js"), ("collect.html", "collect.js")):
        page.route(f"**/js/{script}", lambda route: route.abort())
        page.goto(f"{site}{name}")
        page.get_by_text("If nothing more appears here, check the connection and reload the page.").wait_for()
        page.unroute(f"**/js/{script}")
        page.reload()
        page.get_by_text("If nothing more appears").wait_for(state="detached", timeout=120_000)
    page.close()


def test_a_download_that_stops_and_a_model_that_never_answers_get_a_sentence(site, browser):
    page = browser.new_page(service_workers="block")
    page.clock.install()
    page.route("**/salary/onnx/*", lambda _: None)  # is never answered
    page.goto(f"{site}#salary")
    page.get_by_text("Downloading the model").wait_for()
    page.wait_for_timeout(2000)
    page.clock.run_for(61_000)
    page.get_by_text("cannot be downloaded; check the connection").wait_for()
    page.unroute("**/salary/onnx/*")
    page.evaluate("""() => {
      const post = Worker.prototype.postMessage;
      Worker.prototype.postMessage = function (message, ...more) {
        if (message.method === "open") return post.call(this, message, ...more);
        document.body.dataset.asked = "";
      };
    }""")
    page.locator("nav a[href='#salary']").click()
    page.locator("[data-asked]").wait_for()
    page.clock.run_for(121_000)
    page.get_by_text("The model has not answered for two minutes; reload the page").first.wait_for()
    page.close()


def test_outputs_that_do_not_fit_are_no_answer(run):
    def check(dims, data, shape):
        return run("./js/predictor.js", "checkOutput", {"dims": dims, "data": data}, shape)

    check([1, 3], [0.5, 1, -2], [1, 3])
    for dims, data in (([1, 2], [1, 2]), ([3], [1, 2, 3]), ([1, 3], [1, None, 2])):
        with pytest.raises(Exception, match=r"does not fit its gallery\.json"):
            check(dims, data, [1, 3])


def test_a_page_without_https_says_what_it_needs(site, browser):
    page, *_ = visit(browser, site.replace("127.0.0.1", "plain.test"))
    page.get_by_text("Open the page at an address with https").wait_for()
    page.close()


def hold(page, pattern):
    """Hold requests; return a function that lets them go on."""
    held = []
    page.route(pattern, lambda route: held.append(route))  # noqa: PLW0108 - Playwright sets an attribute of it
    return held, lambda: [route.continue_() for route in held]


def test_a_share_is_0_or_100_percent_only_if_it_is_exact(run):
    shares = (0, 0.0001, 0.004, 0.2, 0.994, 0.9999, 1)
    written = ["0 %", "< 0.1 %", "0.4 %", "20 %", "99 %", "> 99 %", "100 %"]
    found = [run("./js/elements.js", "formatPercent", share) for share in shares]
    assert found == [text.replace(" ", "\xa0") for text in written]  # no line breaks there


def test_the_newest_choice_is_shown(site, browser):
    page = browser.new_page(service_workers="block")
    configs, let_config = hold(page, "**/salary/gallery.json")
    pictures, let_picture = hold(page, "**/examples/*.png")
    page.goto(f"{site}#100%")
    page.locator(".cards a").first.wait_for()
    page.evaluate("location.hash = 'salary'")
    page.wait_for_timeout(200)
    assert len(configs) == 1
    link = page.locator("nav a[href='#cat_dog']")
    link.click()
    page.get_by_label("Choose a picture").set_input_files(STREET)
    page.get_by_text("It is neither").first.wait_for(timeout=120_000)
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#cat_dog"
    assert len(pictures) == 1
    let_config()
    let_picture()
    page.wait_for_timeout(500)
    assert page.get_by_text("It is a cat.").count() == 0
    assert page.locator("#picture img").evaluate("(image) => image.naturalWidth") == Image.open(STREET).width
    page.close()


def test_an_example_that_could_not_be_downloaded_is_downloaded_when_it_is_chosen(site, browser):
    page = browser.new_page(service_workers="block")
    page.route("**/examples/*.png", lambda route: route.abort())
    page.goto(f"{site}#cat_dog")
    page.locator("#answer").get_by_text("cannot be downloaded").wait_for(timeout=120_000)
    page.unroute("**/examples/*.png")
    page.locator("#examples button").first.click()
    page.get_by_text("It is a cat.").first.wait_for(timeout=120_000)
    page.wait_for_function("document.querySelector('#examples img').naturalWidth > 0")
    page.close()


def test_the_link_to_a_page_that_could_not_be_downloaded_tries_again(site, browser):
    page = browser.new_page(service_workers="block")
    page.goto(site)
    link = page.locator("nav a[href='#salary']")
    for pattern in ("**/salary/gallery.json", "**/salary/background.csv"):  # before the page is shown, and after it is
        page.route(pattern, lambda route: route.abort())
        link.click()
        page.get_by_text("cannot be downloaded").wait_for(timeout=120_000)
        page.unroute(pattern)
    link.click()
    page.get_by_text("Why?").wait_for(timeout=120_000)
    page.evaluate("document.querySelector('h1').textContent = 'unchanged'")
    link.click()
    page.wait_for_timeout(500)
    page.get_by_role("heading", name="unchanged").wait_for()
    page.close()


COUNT_CALLS = """() => {
  window.asked = 0;
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message, ...more) {
    window.asked += JSON.stringify(message).includes('"predict"');
    return post.call(this, message, ...more);
  };
}"""


def test_only_the_newest_explanation_is_computed_and_shown(site, browser, salary):
    page, _, errors = visit(browser, f"{site}#sentiment")
    page.get_by_role("heading", name="Positive").wait_for(timeout=120_000)
    page.get_by_role("button", name="Which words decided it?").click()
    page.get_by_label("Your text").fill("Dull.")
    page.get_by_role("heading", name="Negative").wait_for()
    page.get_by_label("Your text").fill("")
    page.get_by_text("Write a text").wait_for()
    page.wait_for_timeout(500)
    page.get_by_text("to see them in colour").wait_for()
    page.get_by_label("Your text").fill(TEXTS[2])
    page.get_by_text("of 900 words").wait_for(timeout=120_000)
    page.evaluate(COUNT_CALLS)
    page.get_by_label("Your text").press_sequentially(" dull" * 8)
    page.get_by_text("of 908 words").wait_for(timeout=120_000)
    assert 0 < page.evaluate("window.asked") < 20  # not one for each of the 40 keys
    page.get_by_label("Your text").fill(TEXTS[2])
    page.get_by_role("button", name="Which words decided it?").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("to see them in colour").wait_for()
    page.get_by_role("button", name="Which words decided it?").wait_for()
    page.goto(f"{site}#salary")
    page.get_by_text("Why?").wait_for(timeout=120_000)
    page.go_back()
    page.get_by_text("of 900 words").wait_for(timeout=120_000)
    assert page.get_by_label("Your text").input_value() == TEXTS[2]
    page.evaluate(OPEN, ["salary"])
    row = {name: str(value) for name, value in salary.example().items()}
    calls = """([row, more]) => Promise.all([
      ...Array.from({ length: 20 }, () => window.model.call('explain', [row])),
      ...more.map((name) => window.model.call(name, [])),
    ])"""
    found = page.evaluate(calls, [row, []])
    assert found.count(None) >= 10  # an explanation that ends before the next one begins is answered
    assert found[-1]["total"] == pytest.approx(salary.explain(row).probability, abs=1e-5)
    *_, newest, _ = page.evaluate(calls, [row, ["cancel"]])
    assert newest is None
    assert errors == []
    page.close()


class Plain(Handler):
    """A host that does not isolate pages, such as the frame of a Space on the Hub."""

    def send_header(self, name, value):
        if not name.startswith("Cross-Origin"):
            super().send_header(name, value)


def test_in_a_frame_without_threads(site_folder, browser, tmp_path):
    inner = serve(site_folder, 0, Plain)
    (tmp_path / "index.html").write_text(f"<iframe width=900 height=900 src='{start(inner)}#cat_dog'></iframe>")
    outer = serve(tmp_path, 0, Plain)
    page, _, errors = visit(browser, start(outer).replace("127.0.0.1", "localhost"))
    frame = page.frame_locator("iframe")
    frame.get_by_text("It is a cat.").wait_for(timeout=120_000)
    assert page.frames[1].evaluate("crossOriginIsolated") is False
    assert [error for error in errors if "favicon" not in error and "404" not in error] == []
    page.close()
    for server in (inner, outer):
        server.shutdown()
        server.server_close()


def test_collected_pictures_can_be_trained_on(site, browser, tmp_path):
    page, _, errors = visit(browser, f"{site}collect.html")
    for label, colour in (("red ball", "red"), ("blue", "blue")):
        page.get_by_label("A new label").fill(label.replace(" ", "  "))
        page.get_by_role("button", name="Add the label").click()
        files = []
        for number in range(2):
            files.append(tmp_path / f"{colour}-{number}.png")
            Image.new("RGB", (40 + number, 30), colour).save(files[-1])
        page.get_by_label("Choose pictures").set_input_files(files)
        page.get_by_text(f"{label}: 2").wait_for()
    page.get_by_label("A new label").fill("Blue")
    page.get_by_role("button", name="Add the label").click()
    assert page.locator("h2").all_inner_texts() == ["red ball: 2", "blue: 2"]
    leave = """() => {
      const event = new Event("beforeunload", { cancelable: true });
      dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    assert page.evaluate(leave)  # the browser asks first
    with page.expect_download() as download:
        page.get_by_role("button", name="Download pictures.zip").click()
    shutil.unpack_archive(download.value.path(), tmp_path / "pictures", "zip")
    found = sorted(
        path.relative_to(tmp_path / "pictures").as_posix() for path in (tmp_path / "pictures").rglob("*.jpg")
    )
    assert not page.evaluate(leave)
    assert found == ["blue/1.jpg", "blue/2.jpg", "red ball/1.jpg", "red ball/2.jpg"]
    assert Image.open(tmp_path / "pictures/blue/2.jpg").size == (41, 30)
    assert errors == []
    page.close()


def test_the_focus_goes_to_the_next_picture_after_one_is_deleted(site, browser):
    from playwright.sync_api import expect

    page, _, errors = visit(browser, f"{site}collect.html")
    page.get_by_label("A new label").fill("cat")
    page.get_by_role("button", name="Add the label").click()
    page.get_by_label("Choose pictures").set_input_files([CAT, CAT, CAT])
    for left, deleted, focused in ((2, 2, 2), (1, 2, 1)):
        page.get_by_role("button", name=f"cat, picture {deleted}").press("Enter")
        page.get_by_text(f"cat: {left}").wait_for()
        expect(page.get_by_role("button", name=f"cat, picture {focused}")).to_be_focused()
    page.get_by_role("button", name="cat, picture 1").press("Enter")
    expect(page.get_by_role("heading", name="cat: 0")).to_be_focused()
    assert errors == []
    page.close()


# --- any model on the Hub ---


COMMIT = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = "<img src=x onerror='document.title=\"hacked\"'>"


class Open(Plain):
    """A Hub, whose files any page may read."""

    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


def test_a_model_on_the_hub(browser, tmp_path, monkeypatch):
    model = tmp_path / f"hub/me/salary/resolve/{COMMIT}"
    shutil.copytree(ROOT / "spaces/salary/model", model)
    config = json.loads((model / "gallery.json").read_text())
    config["about"] |= {"title": f"Hostile {HOSTILE}", "limits": [HOSTILE]}
    config["labels"] = ["low", HOSTILE]
    (model / "gallery.json").write_text(json.dumps(config))
    hub = serve(tmp_path / "hub", 0, Open)
    monkeypatch.setattr(constants, "ENDPOINT", start(hub).rstrip("/"))
    write_site(build_site({}, "Any model"), tmp_path / "site")
    server = serve(tmp_path / "site", 0)
    address = start(server)
    page, asked, errors = visit(browser, f"{address}any.html?model=me/salary@{COMMIT}")
    page.get_by_role("heading", name="low").wait_for(timeout=120_000)
    page.get_by_text("Why?").wait_for()
    assert page.title() == f"Hostile {HOSTILE}"
    assert page.locator("img").count() == 0
    assert {url.split("/me/")[0] for url in asked if not url.startswith((address, "blob:"))} == {constants.ENDPOINT}
    assert errors == []
    worker = next(one for one in page.workers if one.url.startswith("blob:"))
    third = serve(tmp_path / "hub", 0, Open)
    reach = "(url) => fetch(url).then(({ status }) => status, () => 'refused')"
    assert worker.evaluate(reach, constants.ENDPOINT) == 200
    assert worker.evaluate(reach, start(third)) == "refused"
    empty = {"bytes": 0, "sha256": "0" * 64}
    for number, (change, words) in enumerate(
        (
            ({"files": {"onnx/model.onnx": {"bytes": 5}}}, "has no SHA-256 or size of onnx/model.onnx"),
            ({"files": {"../../x": empty}}, "../../x lies outside the model's folder"),
            ({"files": {"onnx/model.onnx": empty | {"bytes": 10**12}}}, "a page loads at most 1000000000"),
            ({"files": dict.fromkeys(map(str, range(51)), empty)}, "has 51 files; a page loads at most 50"),
            ({"labels": [["=1"], "a"]}, "no texts, or repeated"),
            ({"labels": ["a", "a"]}, "no texts, or repeated"),
            ({"temperature": -1}, "The temperature in gallery.json must be above 0"),
            ({"columns": ["age", "age"]}, "no texts, or repeated"),
            ({"columns": [str(number) for number in range(1001)]}, "has 1001 columns with"),
            ({"categories": {"age": ["?"] * 100_001}}, "columns with 100001 values; a page shows at most 1000"),
        )
    ):
        folder = tmp_path / f"hub/me/odd{number}/resolve/{COMMIT}"
        folder.mkdir(parents=True)
        (folder / "gallery.json").write_text(json.dumps({**config, **change}))
        page.goto(f"{address}any.html?model=me/odd{number}@{COMMIT}")
        page.get_by_text(words).wait_for()
    page.goto(f"{address}any.html?model=me/typo@{COMMIT}")
    page.get_by_text("no public model me/typo on the Hub with gallery.json at this commit; check").wait_for()
    page.goto(f"{address}any.html?model=me/salary@main")
    page.get_by_text("with a commit of 40 digits").wait_for()
    assert page.locator("[aria-current]").count() == 0
    page.goto(f"{address}index.html?model=me/salary@{COMMIT}")  # this page may reach only its own site
    page.get_by_text(f"open any.html?model=me/salary@{COMMIT} instead").wait_for()
    page.close()
    for one in (hub, server, third):
        one.shutdown()
        one.server_close()
