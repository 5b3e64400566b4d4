"""A page speaks the language of the browser; the API and what people write stay as they are."""

import http.client
import io
import json
import re
import sys
from urllib.parse import urlsplit

import gradio as gr
import pytest
from PIL import Image

from benchmarks.clients import Client
from shared.errors import BadInput
from shared.images import load_image
from shared.images.formats import ACCEPTED
from shared.tables import read_csv
from shared.ui.languages import INSERTED, LANGUAGES, Template, find_language, translate_page
from tests.conftest import launch_app

GERMAN = LANGUAGES["de"]
BROWSER = {"Accept-Language": "de-DE,de;q=0.9,en;q=0.8", "x-gradio-user": "app"}  # as Gradio's page sends them


@pytest.mark.parametrize(("name", "language"), LANGUAGES.items())
def test_a_translation_has_what_is_inserted_in_the_english_text(name, language):
    for english, translated in language.texts.items():
        if INSERTED.search(english):
            assert sorted(INSERTED.findall(english)) == sorted(INSERTED.findall(translated)), (name, english)
        assert translated.strip() == translated != ""


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("fr-CH, fr;q=0.9, de;q=0.7", "de"),
        ("en-GB,de;q=0.5", "en"),
        ("fr", "en"),
        ("", "en"),
        ("*", "en"),
        ("\xff,;=", "en"),
        ("," * 490 + "de", "de"),
        ("," * 500 + "de", "en"),  # a long list is not read to its end, which would take long
    ],
)
def test_the_first_language_that_there_is_wins(accepted, language):
    assert find_language([(b"accept-language", accepted.encode("latin-1"))]) == language


KINDS = ACCEPTED.replace(" or ", " oder ")
PHONE = b"\0\0\0\x18ftypheic" + bytes(20)  # the start of a picture that a phone took


def make_png(width, height):
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_the_name_of_a_lacking_column_stays_as_it_is(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("film\nGood.\n", encoding="utf-8")
    with pytest.raises(BadInput) as error:
        read_csv(path, ["text"])
    german = "In der CSV fehlt die Spalte text; in der ersten Zeile steht: film."
    assert GERMAN.translate(str(error.value)).startswith(german)


@pytest.mark.parametrize(
    ("content", "german"),
    [
        (b"", f"Die Bilddatei ist leer; möglich sind {KINDS}."),
        (b"Hello", f"Das ist kein lesbares Bild; möglich sind {KINDS}."),
        (
            b"PK\x03\x04",
            f"Eine ZIP-Datei ist hier nicht lesbar; bitte das Bild als {KINDS} speichern.",
        ),
        (
            PHONE,
            f"HEIC ist hier nicht lesbar; bitte das Bild als {KINDS} speichern.",
        ),
        (
            b"\xff\xd8\xff",
            f"Das Bild ist beschädigt oder unvollständig; bitte neu speichern, als {KINDS}.",
        ),
        (
            make_png(2000, 1),
            "Das Bild hat 2.000 × 1 Pixel; die lange Seite darf höchstens 50-mal so lang sein wie die kurze.",
        ),
        (
            make_png(8000, 4000),
            "Das Bild hat 8.000 × 4.000 Pixel; ein PNG darf höchstens 24 Megapixel haben.",
        ),
    ],
)
def test_an_error_about_a_picture_is_translated(content, german, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)  # pillow_heif
    with pytest.raises(BadInput) as error:
        load_image(content)
    assert GERMAN.translate(str(error.value)) == german


@pytest.mark.parametrize(
    ("content", "german"),
    [
        (b"", "Die Datei ist leer; bitte eine Zeile pro Vorhersage schreiben."),
        (
            b"a,b\n",
            "Die CSV hat eine Kopfzeile, aber keine Zeilen darunter; bitte eine Zeile pro Vorhersage ergänzen.",
        ),
        (b"a,c\n1,2\n", "In der CSV fehlt die Spalte b; in der ersten Zeile steht: a, c."),
        (b"a,age\n1,2\n", "In der CSV fehlt die Spalte b; in der ersten Zeile steht: a, age."),
        (
            b",".join(b"x%d" % number for number in range(14)),
            "In der CSV fehlen die Spalten a, b; in der ersten Zeile steht: "
            "x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 und 2 weitere. "
            "In der ersten Zeile müssen die Namen der Spalten stehen.",
        ),
        (b"a,b,x,x\n", "Die CSV nennt die Spalte 'x' zweimal."),
        (b"a,b\n" + b"1,2\n" * 4, "Die CSV hat mehr als 3 Zeilen; bitte in kleinere Dateien aufteilen."),
        (b"a,b\n" + b"1,2\n" * 99, "Die Datei ist größer als 0,0001 MB; bitte in kleinere Dateien aufteilen."),
        (
            b"PK\x03\x04 xl/",
            "Das ist eine Excel-Datei (.xlsx), keine CSV oder Textdatei; bitte die Tabelle zuerst als CSV speichern.",
        ),
    ],
)
def test_an_error_about_a_csv_is_translated(content, german, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput) as error:
        read_csv(path, ["a", "b"], max_rows=3, max_bytes=100)
    assert GERMAN.translate(str(error.value)) == german


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("It is neither a cat nor a dog.", "Das ist weder eine Katze noch ein Hund."),
        ("It is probably a dog.", "Das ist wahrscheinlich ein Hund."),
        ("right for 87.6% of 16,281 test people", "richtig bei 87,6\N{NO-BREAK SPACE}% von 16.281 Personen im Test"),
        ("> 99%", "> 99\N{NO-BREAK SPACE}%"),
        ("Highest education: High school", "Höchster Abschluss: Highschool"),
        ("Age in years (17 to 90)", "Alter in Jahren (17 bis 90)"),
        (
            "User 15 on Dr. No (1962). The actual rating is 4.5 ★; the model was trained on it.",
            "Person 15 zu Dr. No (1962). Die echte Bewertung ist 4,5 ★; das Modell wurde auch mit ihr trainiert.",
        ),
        (
            "Hours of work in a usual week (hours-per-week) must be a number from 1 to 99, "
            "the range of the training data, not '120'.",
            "Arbeitsstunden in einer üblichen Woche (hours-per-week): "
            "Möglich ist eine Zahl von 1 bis 99 (Bereich der Trainingsdaten), nicht '120'.",
        ),
        (
            "Capital gain in the year must be a number from 0 to 99999, the range of the training data, not '1e9'.",
            "Gewinn aus Kapital im Jahr: "
            "Möglich ist eine Zahl von 0 bis 99999 (Bereich der Trainingsdaten), nicht '1e9'.",
        ),
        (
            "Sex (gender) must be a date such as 2024-01-31, not 'x'.",
            "Geschlecht (gender): Möglich ist ein Datum wie 2024-01-31, nicht 'x'.",
        ),
        ("A rating must be 0.5 to 5 stars, not '9'.", "Bewertung: Möglich sind 0,5 bis 5 Sterne, nicht '9'."),
        ("I have to go. It is nobody's text.", "I have to go. It is nobody's text."),
        ("It is none of the 37 labels.", "Das ist keine der 37 Klassen."),
        ("It is none of a rose, a lily and an iris.", "Das ist weder a rose, a lily noch an iris."),
        (
            "Height. For nine of ten rows like this one, it is between 1.5 and 1,200 cm.",
            "Height. Bei neun von zehn solchen Zeilen liegt der Wert zwischen 1,5 und 1.200 cm.",
        ),
        ("Many books", "Viele books"),
        ("Many Waters: 4.5 points", "Many Waters: 4,5 points"),
        ("Age in years: 65 and over (1,592)", "Alter in Jahren: 65 und älter (1.592)"),
        ("Why Many Waters comes first, in stars:", "Warum Many Waters vorn steht, in Sternen:"),
        (
            "my_roses cannot be shown. Its model is damaged; the log says why.",
            "my_roses kann nicht gezeigt werden. Das Modell ist beschädigt; warum, steht im Protokoll.",
        ),
    ],
)
def test_a_text_is_translated_as_a_whole_or_in_parts(english, german):
    assert GERMAN.translate(english) == german


def test_a_label_is_not_taken_for_words_of_a_recommender():
    labels = ["One way", "Many people", "a cat", "neither a cat nor a dog"]
    value = {"label": "One way", "confidences": [{"label": label, "confidence": 0.25} for label in labels]}
    german = GERMAN.translate_value("label", value)
    assert german["label"] == "One way"
    assert [one["label"] for one in german["confidences"]] == [
        "One way", "Many people", "eine Katze", "weder eine Katze noch ein Hund",
    ]  # fmt: skip


def test_markup_stays():
    text = '<p class="Yes">< 1</p><nav aria-label="Models"><b> It is a cat. </b>A &amp; B</nav>'
    html = '<p class="Yes">&lt; 1</p><nav aria-label="Modelle"><b> Das ist eine Katze. </b>A &amp; B</nav>'
    assert GERMAN.translate_html(text) == html
    assert GERMAN.translate_markdown("# Cat or dog\n- Yes\n\nNot *Yes*") == "# Katze oder Hund\n- Ja\n\nNot *Yes*"
    script = '() => ["<h2>Choose a picture</h2>", null, {"label": "Yes"}]'
    assert json.loads(GERMAN.translate_script(script)[6:])[0] == "<h2>Bitte ein Bild auswählen</h2>"


def count_steps(task):
    """The lines of Python that a call runs, and what it returns."""
    steps = 0

    def count(*_):
        nonlocal steps
        steps += 1
        return count

    sys.settrace(count)
    try:
        return task(), steps
    finally:
        sys.settrace(None)


def test_a_text_made_to_take_long_is_given_up_soon():
    """Its parts match in many ways, or have parts of their own again and again."""
    for key in [key for key in GERMAN.texts if INSERTED.search(key)]:
        start = INSERTED.split(key)[0]
        for text in (INSERTED.sub(" ", key) * 600, start * 600 if start.strip() else "x"):
            found, steps = count_steps(lambda text=text: GERMAN.translate(text[:600]))
            assert found
            assert steps < 50_000
    template = Template("{one} ({low}), {two} ({high}), {three} ({count}).")
    parts = {"one": "a", "low": "1", "two": "b", "high": "2", "three": "c", "count": "3"}
    assert template.match("a (1), b (2), c (3).") == parts
    assert template.match("a (1), b (2), c 3.") is None
    assert "(?>" in template.pattern.pattern  # no part is tried with another end


def test_only_a_text_with_the_words_of_a_template_is_compared_with_its_pattern():
    class Unused:
        def fullmatch(self, text):
            raise AssertionError(text)

    template = Template("It is {low} of {high} items.")
    assert template.match("It is 1 of 2 items.") == {"low": "1", "high": "2"}
    template.pattern = Unused()
    for text in ("is 1 of 2 items.", "It is 1 of 2 items", "It is 1/2 items."):
        assert template.match(text) is None


def test_a_long_text_does_not_take_long():
    """Patterns with several inserted parts could take the square of a text's length."""
    for text in ("“" * 50_000, "It is " * 10_000, "a. B" * 20_000, "a (" * 300, "a: " * 300, "Why it is. " * 90):
        assert GERMAN.translate(text)


def answer(text):
    if not text:
        raise gr.Error("Write something first.", title="That did not work", print_exception=False)
    return {"label": "Positive"}, "<h2>It is a cat.</h2>", {"a cat": 0.9, "a dog": 0.1}, text


@pytest.fixture(scope="module")
def url():
    with gr.Blocks(title="Salary") as demo:
        text, yes = gr.Textbox("Positive", label="Your text"), gr.Dropdown(["Yes", "No"], label="Change")
        outputs = [gr.JSON({"label": "Positive"}), gr.HTML(), gr.Label(), gr.Textbox()]
        text.submit(answer, text, outputs, api_name="answer")
        yes.change(None, yes, js='yes => { const texts = {"Yes": "Yes"}; return "Yes" }')
    with launch_app(demo) as url:
        yield url


def ask(url, path, **headers):
    """The headers and the body of a GET request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.headers, answer.read().decode()


def test_an_answer_to_a_german_page_is_german_but_for_json_and_what_was_written(url):
    found, html, label, text = Client(url, headers=BROWSER).ask(("answer", ["Yes"], None))
    assert (found, html, text) == ({"label": "Positive"}, "<h2>Das ist eine Katze.</h2>", "Yes")
    assert label["label"] == label["confidences"][0]["label"] == "eine Katze"
    with pytest.raises(RuntimeError, match="Bitte zuerst etwas schreiben"):
        Client(url, headers=BROWSER).ask(("answer", [""], None))


@pytest.mark.parametrize("headers", [{}, {"Accept-Language": "de"}, BROWSER | {"Accept-Language": "en, de"}])
def test_other_answers_are_english(url, headers):
    found, html, label, _ = Client(url, headers=headers).ask(("answer", ["Yes"], None))
    assert (found, html, label["label"]) == ({"label": "Positive"}, "<h2>It is a cat.</h2>", "a cat")


def test_a_page_opens_in_the_language_of_the_browser(url):
    headers, page = ask(url, "/", **BROWSER)
    config = json.loads(re.search(r"window.gradio_config = (\{.*?\});</script>", page)[1])
    assert 'lang="de"' in page
    assert config["title"] == "Gehalt"
    assert "Accept-Language" in headers.get_all("Vary")
    props = {component["type"]: component["props"] for component in config["components"][::-1]}
    assert (props["textbox"]["label"], props["textbox"]["value"]) == ("Text", "Positive")
    assert props["dropdown"]["choices"] == [["Ja", "Yes"], ["Nein", "No"]]
    assert props["json"]["value"] == {"label": "Positive"}
    scripts = [event["js"] for event in config["dependencies"] if event["js"]]
    assert scripts == ['yes => { const texts = {"Yes": "Ja"}; return "Yes" }']
    assert '"label": "Your text"' in page[page.index("window.gradio_api_info") :].replace('":"', '": "')
    assert 'lang="en"' in ask(url, "/")[1]
    assert json.loads(ask(url, "/config")[1])["title"] == "Salary"
    assert ask(url, "/gradio_api/info", **BROWSER)[1] == ask(url, "/gradio_api/info")[1]


def test_numbers_in_a_table_are_shown_as_in_the_language_and_stay_numbers():
    table = {"headers": ["movie", "stars"], "data": [["300 · new", 4.5], ["1.5", 5]]}
    table["metadata"] = {"display_value": [["300 · new", "4.50"], ["1.5", "5.00"]], "styling": []}
    shown = GERMAN.translate_value("dataframe", table)
    assert shown["data"] == [["300 · neu", 4.5], ["1.5", 5]]
    assert shown["metadata"]["display_value"] == [["300 · neu", "4,50"], ["1.5", "5,00"]]


def test_a_page_in_english_is_not_changed():
    config = {"title": "Salary"}
    assert translate_page(config, "en") is config
    assert config == {"title": "Salary"}
