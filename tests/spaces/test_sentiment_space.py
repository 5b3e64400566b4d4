"""The Space of the sentiment model, alone: as API users see it, and a visitor with a real browser."""

import csv
import re
from dataclasses import replace

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from shared.ui.texts import STRONGEST
from tests.conftest import at_one_width, load_app, serve_app

GOOD = "A wonderful film. I loved the acting and the music."
BAD = "A terrible film. I hated the acting and the music."


@pytest.fixture(scope="module")
def app():
    return load_app("sentiment")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with serve_app("sentiment", tmp_path_factory.mktemp("sentiment")) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


def test_endpoints_and_their_arguments(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    arguments = {name: [item["parameter_name"] for item in each["parameters"]] for name, each in endpoints.items()}
    assert arguments == {"/predict": ["text"], "/explain": ["text", "part"], "/batch": ["file"]}


@pytest.mark.parametrize(("text", "label", "words"), [(GOOD, "pos", "Positive"), (BAD, "neg", "Negative")])
def test_predict(client, sentiment, text, label, words):
    answer, headline, drawn = client.predict(text, api_name="/predict")
    expected = sentiment.predict(text)
    assert answer["label"] == label
    assert answer["probabilities"] == pytest.approx(expected.probabilities)
    assert answer["is_clear"]
    assert words in headline
    assert drawn["label"] == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Der Film hat mich von der ersten Minute an gefesselt, und alle spielen großartig.",
            "This is unlike the texts the model was trained on",
        ),
        ("😀🎬", "This is unlike the texts the model was trained on"),
    ],
)
def test_text_out_of_distribution_is_reported_with_its_probabilities(client, text, words):
    answer, headline, drawn = client.predict(text, api_name="/predict")
    assert words in headline
    assert not answer["is_clear"]
    assert len(drawn["confidences"]) == 2


def test_an_unclear_answer_is_marked_as_unclear(app, sentiment, monkeypatch):
    answer = sentiment.predict(GOOD)
    monkeypatch.setattr(type(app.model), "predict", lambda *_: replace(answer, is_clear=False))
    assert "<h2>Not sure" in app.predict(GOOD)[1]


def test_the_examples_show_every_clear_answer_and_one_that_is_not(app):
    headlines = {app.predict(text)[1] for text in app.config.examples}
    assert headlines >= {"<h2>Positive</h2>", "<h2>Negative</h2>", "<h2>Not sure: no answer is likely enough.</h2>"}


@pytest.mark.parametrize("endpoint", ["/predict", "/explain"])
def test_a_very_long_text_is_refused(client, endpoint):
    with pytest.raises(AppError, match="has 100,001 characters; at most 100,000 are read here"):
        client.predict("x" * 100_001, api_name=endpoint)


def test_an_answer_to_a_long_text_tells_which_part_was_read(client):
    answer, headline, _ = client.predict("It was a good film. " * 2000, api_name="/predict")
    assert answer["words"] == 10_000
    assert f"The model read {answer['words_read']:,} of 10,000 words: the beginning and the end." in headline


def test_explanations_add_up_and_can_be_refined(client, sentiment):
    text = f"{BAD} The first hour drags, the jokes are old, and nobody seems to care. But the end is wonderful!"
    why, coloured, words = client.predict(text, api_name="/explain")
    values = [part["contribution"] for part in why["parts"]]
    assert why["base"] + sum(values) == pytest.approx(why["probability"], abs=1e-6)
    assert why["probability"] == pytest.approx(sentiment.predict(text).probabilities["pos"])
    assert "".join(part["text"] for part in why["parts"]) == text
    assert max(abs(piece["class_or_confidence"]) for piece in coloured) == pytest.approx(STRONGEST)
    assert "Tap a part" in words
    closer, _, _ = client.predict(text, len(values) - 1, api_name="/explain")
    assert sum(part["contribution"] is not None for part in closer["parts"]) > 3


def test_the_legend_explains_the_colours_of_a_text_and_of_a_part(app, sentiment):
    text = f"{BAD} The first hour drags, the jokes are old, and nobody seems to care. But the end is wonderful!"
    moved = r"moved “Negative” from [<> \d]+% to [<> \d]+%\."
    assert re.fullmatch(rf"The coloured words {moved} Tap a part to see its words\.", app.explain(text)[2])
    assert re.fullmatch(rf"These words {moved}", app.explain(text, 0)[2])


@pytest.mark.parametrize("text", ["", "  \n", "\u200b \ufeff", None])
def test_an_empty_text_is_refused(client, text):
    for endpoint in ("/predict", "/explain"):
        with pytest.raises(AppError, match="Write something first"):
            client.predict(text, api_name=endpoint)


def test_control_characters_alone(client):
    with pytest.raises(AppError, match="There is no text"):
        client.predict("\x00\x01", api_name="/predict")


def test_batch_of_a_csv(client, tmp_path):
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], ["1", GOOD], ["2", ""], ["=3", BAD]])
    summary, table, result = client.predict(handle_file(path), api_name="/batch")
    assert summary == {"rows": 3, "answered": 2, "errors": 1}
    assert len(table["data"]) == 3
    with open(result, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == ["pos", "", "neg"]
    assert rows[1]["error"] == "Line 3: There is no text; write a few words."
    assert rows[2]["id"] == "'=3"


def test_batch_of_a_text_file(client, tmp_path):
    path = tmp_path / "reviews.txt"
    path.write_text(f"{GOOD}\n\n{BAD}\n")
    summary, _, result = client.predict(handle_file(path), api_name="/batch")
    assert summary == {"rows": 2, "answered": 2, "errors": 0}
    with open(result, newline="", encoding="utf-8-sig") as file:
        assert [row["prediction"] for row in csv.DictReader(file)] == ["pos", "neg"]


def test_batch_reports_errors(client, tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("review\ngood\n")
    with pytest.raises(AppError, match="lacks the column text"):
        client.predict(handle_file(path), api_name="/batch")
    many = tmp_path / "many.txt"
    many.write_text("good\n" * 5001)
    with pytest.raises(AppError, match="more than 5,000 lines"):
        client.predict(handle_file(many), api_name="/batch")


@pytest.mark.browser
def test_a_visitor_types_a_review_and_sees_coloured_words(page, url):
    page.goto(url)
    page.get_by_label("Your text").fill("")
    page.get_by_text("Write a text").wait_for()
    page.get_by_label("Your text").press_sequentially("I hated the story but I loved the music")
    page.get_by_role("heading", name=re.compile("Positive|Negative|Not sure")).wait_for()
    page.get_by_role("button", name="Which words decided it?").click()
    loved, hated = (page.locator(".token", has_text=word).first for word in ("loved", "hated"))
    loved.wait_for()
    colours = [word.evaluate("word => getComputedStyle(word).backgroundColor") for word in (loved, hated)]
    assert colours[0] != colours[1]
    assert "rgba(0, 0, 0, 0)" not in colours


@pytest.mark.browser
@at_one_width
def test_markup_in_a_review_is_shown_as_text(page, url):
    page.goto(url)
    page.get_by_label("Your text").fill(
        "A fine film <img src=x onerror=\"document.title='broken'\"> <script>1</script>"
    )
    page.get_by_text("to see them in colour").wait_for()
    page.get_by_role("button", name="Which words decided it?").click()
    page.get_by_text("The coloured words moved").wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "broken"


@pytest.mark.browser
@at_one_width
def test_a_text_from_right_to_left_is_shown_so(page, url):
    page.goto(url)
    box = page.get_by_label("Your text")
    box.fill("\u0641\u064a\u0644\u0645 \u062c\u064a\u062f \u062c\u062f\u0627.")
    assert box.evaluate("box => getComputedStyle(box).unicodeBidi") == "plaintext"
    page.get_by_text("to see them in colour").wait_for()
    page.get_by_role("button", name="Which words decided it?").click()
    page.get_by_text("The coloured words moved").wait_for()
    first, second = (page.locator(".token").nth(number).bounding_box() for number in (0, 1))
    assert first["x"] > second["x"] + second["width"] / 2


@pytest.mark.browser
def test_an_example_is_classified_and_explained(page, url):
    page.goto(url)
    page.get_by_text(re.compile("^Beautiful pictures")).click()
    page.get_by_role("heading", name="Negative").wait_for()
    page.get_by_text("The coloured words moved").wait_for()
    page.get_by_label("Your text").fill("")
    page.get_by_text("Write a text").wait_for()
    page.wait_for_timeout(1000)
    assert not page.locator(".toast-body").count()


@pytest.mark.browser
@pytest.mark.parametrize("way", ["paste", "clear", "type", "example"])
@at_one_width
def test_an_explanation_is_cleared_with_its_text(page, url, way):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(url)
    box = page.get_by_label("Your text")
    box.fill(GOOD)
    page.get_by_text("to see them in colour").wait_for()
    page.get_by_role("heading", name="Positive").wait_for()
    page.get_by_role("button", name="Which words decided it?").click()
    page.get_by_text("The coloured words moved").wait_for()
    page.locator(".token", has_text="wonderful").first.wait_for()
    if way == "paste":
        page.evaluate("text => navigator.clipboard.writeText(text)", BAD)
        box.press("ControlOrMeta+a")
        box.press("ControlOrMeta+v")
        page.get_by_role("heading", name="Negative").wait_for()
    elif way == "clear":
        box.fill("")
        page.get_by_text("Write a text").wait_for()
    elif way == "type":
        box.press("End")
        box.press_sequentially(" Or so.")
        page.wait_for_timeout(1000)
    else:
        page.get_by_text(re.compile("^Beautiful pictures")).click()
        page.get_by_role("heading", name="Negative").wait_for()
        page.get_by_text("The coloured words moved").wait_for()
        page.wait_for_timeout(1000)
        page.locator(".token", has_text="waste").first.wait_for()
    assert page.locator(".token", has_text="wonderful").count() == 0
    if way != "example":
        page.get_by_text("to see them in colour").wait_for()
        page.wait_for_timeout(1000)
        assert page.locator(".token").count() == 0
