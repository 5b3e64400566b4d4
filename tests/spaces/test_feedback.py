"""What visitors say about answers stays in their browser, and its CSV is data for the training recipes."""

import json
import re

import pytest

from tests.conftest import at_one_width

pytestmark = pytest.mark.browser
ODD = 'He said "no";\r\nthen – ümlaut, 猫, it ended'
FORMULA = '=HYPERLINK("http://example.org")'


def open_page(page, url):
    """Open a page; return the list of what it sends, which grows."""
    sent = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.goto(url)
    page.get_by_text("What you say stays in this browser; it is not sent.").wait_for()
    return sent


def say_no(page, label):
    page.get_by_role("button", name="No", exact=True).click()
    page.get_by_label("The right answer").click()
    page.get_by_role("option", name=label, exact=True).click()


def download(page, path):
    with page.expect_download() as found:
        page.get_by_role("button", name="Download as CSV").click()
    found.value.save_as(path)
    return path


def repeat(page, change):
    """Keep 119 more answers: copies of the only one that is kept, changed by a script from its input and a number."""
    count = page.evaluate(
        """change => {
            const [place] = Object.keys(localStorage), [[input]] = JSON.parse(localStorage.getItem(place));
            const rows = [...Array(120).keys()].map(eval(change)(JSON.parse(input)));
            localStorage.setItem(place, JSON.stringify(rows.map(([row, label]) => [JSON.stringify(row), label])));
            return rows.length;
        }""",
        change,
    )
    page.reload()
    page.get_by_text(f"{count} answers are kept in this browser.").wait_for()


def test_answers_about_texts_stay_in_the_browser_and_can_be_trained_on(page, gallery_url, tmp_path):
    own_texts = pytest.importorskip("training.own_data.texts", reason="torch is not installed: make test-all")
    from training.own_data.options import DataOptions

    sent = open_page(page, f"{gallery_url}/sentiment")
    page.get_by_role("button", name="Yes", exact=True).click()
    page.get_by_text("1 answer is kept in this browser.").wait_for()
    say_no(page, "Negative")  # the last word about a text counts
    page.get_by_role("button", name="Download as CSV").wait_for()
    page.get_by_label("The right answer").wait_for(state="hidden")
    (label,) = page.evaluate("Object.values(localStorage).map(JSON.parse)[0].map(([input, label]) => label)")
    assert label == "neg"
    odd, formula = json.dumps(ODD), json.dumps(FORMULA)
    repeat(page, f"([t]) => n => [[n == 1 ? {odd} : n == 2 ? {formula} : `${{t}} ${{n}}`], n % 2 ? 'neg' : 'pos']")
    path = download(page, tmp_path / "answers.csv")
    page.get_by_role("button", name="Delete them").click()
    page.get_by_text("They are deleted.").wait_for()
    assert page.evaluate("localStorage.length") == 0
    assert sent == []
    found = own_texts.read_own_texts(path, DataOptions(), 42)
    texts = [text for part in found.parts.values() for text in part.texts]
    assert found.labels == ("neg", "pos")
    assert len(texts) == 120
    assert any("ümlaut, 猫" in text for text in texts)
    assert f'"\'{FORMULA.replace(chr(34), chr(34) * 2)}"' in path.read_text(encoding="utf-8")


def test_answers_about_rows_stay_in_the_browser_and_can_be_trained_on(page, gallery_url, salary, tmp_path):
    own_rows = pytest.importorskip("training.own_data.rows", reason="torch is not installed: make test-all")
    from training.own_data.options import DataOptions

    sent = open_page(page, f"{gallery_url}/salary")
    page.get_by_role("button", name="Yes", exact=True).click()
    page.get_by_text("1 answer is kept in this browser.").wait_for()
    repeat(
        page,
        "([age, ...rest]) => n => [[17 + n % 60, ...rest.slice(0, -2), 1 + n % 90, 'Cuba'], n % 3 ? '<50k' : '>=50k']",
    )
    path = download(page, tmp_path / "answers.csv")
    assert sent == []
    page.get_by_label(re.compile("^Age")).fill("60")  # it is asked about when the field is left
    page.get_by_role("button", name="Yes", exact=True).click()
    page.get_by_text("There is no answer yet.").wait_for()
    found = own_rows.read_own_rows(path, None, DataOptions(), 42)
    assert (found.target, set(found.labels)) == ("label", set(salary.config.labels))
    assert {"age", "hours-per-week"} <= set(found.train.table.columns)


@at_one_width
@pytest.mark.parametrize(
    ("text", "headline"),
    [
        ("Not bad at all for a sequel, though the book is better.", "Not sure"),
        ("Der Film hat mich von der ersten Minute an gefesselt, und alle spielen großartig.", "This is unlike"),
    ],
)
def test_yes_to_an_answer_that_names_no_label_keeps_none(page, gallery_url, text, headline):
    open_page(page, f"{gallery_url}/sentiment")
    page.get_by_label("Your text").fill(text)
    page.get_by_role("heading", name=headline).wait_for()
    page.get_by_role("button", name="Yes", exact=True).click()
    page.get_by_text("Choose the right answer.").wait_for()
    assert page.evaluate("localStorage.length") == 0
    page.get_by_label("The right answer").click()
    page.get_by_role("option", name="Positive", exact=True).click()
    page.get_by_text("1 answer is kept in this browser.").wait_for()
    assert '"pos"' in page.evaluate("Object.values(localStorage)[0]")


def test_a_page_whose_browser_keeps_nothing_says_so(page, gallery_url):
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('', 'SecurityError') }")
    open_page(page, f"{gallery_url}/sentiment")
    page.get_by_role("button", name="Yes", exact=True).click()
    page.get_by_text("This browser does not let the page keep anything.").wait_for()
    assert not page.get_by_role("button", name="Download as CSV").is_visible()
