"""A visitor with a real browser: one prediction on each page, at desktop and phone width."""

import json
import re
import shutil

import pytest

from tests.conftest import ROOT, served

pytestmark = pytest.mark.browser

CAT = ROOT / "spaces/cat_dog/examples/chelsea.png"


def test_home_leads_to_every_model(page, gallery_url):
    page.goto(gallery_url)
    cards = page.locator(".cards .card")
    cards.first.wait_for()
    assert cards.count() >= 2
    page.locator('.card[href="./salary"]').click()
    page.get_by_role("heading", name=re.compile("earned 50k")).wait_for()


def test_what_a_card_says_is_text_and_never_code(page, tmp_path):
    """Gradio runs as JavaScript what its template of the cards is made of."""
    title = "`${document.body.remove()}` {{title}} <b>&amp;"
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/rating", staged / "rating")
    contract = staged / "rating/model/gallery.json"
    content = json.loads(contract.read_text())
    content["about"]["title"] = content["about"]["summary"] = title
    contract.write_text(json.dumps(content))
    with served(staged, tmp_path, {"PYTHONPATH": str(ROOT)}) as url:
        page.goto(url)
        page.locator(".card h2").wait_for()
        assert page.locator(".card h2").inner_text() == title
        assert page.locator(".card p").first.inner_text() == title
        page.locator(".card").click()
        page.get_by_role("button", name="Add my rating").wait_for()


def test_cat_dog_answers_an_uploaded_file(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    page.get_by_text("Waiting for a photo").wait_for()
    page.locator("input[type=file]").first.set_input_files(CAT)
    page.get_by_role("heading", name="It is a cat.").wait_for()
    page.get_by_text("Orange speaks for cat").wait_for()
    shown = page.get_by_label("Evidence").locator("img").or_(page.locator(".image-frame img")).last
    shown.wait_for()
    assert shown.evaluate("image => image.naturalWidth") > 100


def test_cat_dog_leads_with_neither_for_a_lion(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    page.get_by_text("a lion", exact=True).click()
    page.get_by_role("heading", name=re.compile("^Neither")).wait_for()
    page.get_by_text("Orange speaks for").wait_for()


def test_cat_dog_can_be_cleared_without_a_complaint(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    page.get_by_text("a lion", exact=True).click()
    page.get_by_role("heading", name=re.compile("^Neither")).wait_for()
    page.get_by_label("Remove Image").click()
    page.get_by_text("Waiting for a photo").wait_for()
    page.wait_for_timeout(1000)
    assert page.get_by_text("Choose a picture").count() == 0
    assert page.get_by_text("Error", exact=True).count() == 0


def test_cat_dog_shows_the_sentence_of_a_bad_file(page, gallery_url, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    page.goto(f"{gallery_url}/cat_dog")
    page.get_by_text("a lion", exact=True).click()  # an example makes Gradio build the input anew
    page.get_by_role("heading", name=re.compile("^Neither")).wait_for()
    page.get_by_label("Remove Image").click()
    page.get_by_text("Waiting for a photo").wait_for()
    page.locator("input[type=file]").first.set_input_files(bad)
    page.get_by_text("This is not a picture that can be read").wait_for()


def test_salary_answers_a_changed_form(page, gallery_url):
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    before = page.locator(".answer").inner_text()
    page.get_by_label(re.compile("^Age")).fill("19")
    page.get_by_label(re.compile("^Age")).press("Enter")
    page.wait_for_function("before => document.querySelector('.answer').innerText !== before", arg=before)
    assert "<50k" in page.locator(".answer").inner_text()


def test_salary_shows_the_sentence_of_a_bad_value(page, gallery_url):
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    page.get_by_label(re.compile("^Age")).fill("3")
    page.get_by_label(re.compile("^Age")).press("Enter")
    sentence = page.get_by_text("age must be a number from 17 to 90")
    sentence.wait_for()
    page.wait_for_timeout(1000)
    assert sentence.count() == 1


def test_salary_answers_a_csv(page, gallery_url, person, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(",".join(person) + "\n" + ",".join(str(value) for value in person.values()) + "\n")
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    tab = page.get_by_role("tab", name="Many people")
    if not tab.is_visible():  # on a phone the last tabs are behind the three dots
        page.locator(".overflow-menu button").first.click()
        tab = page.get_by_role("button", name="Many people")
    tab.click()
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_text('"answered"').wait_for()


def test_rating_recommends_to_a_visitor(page, gallery_url):
    page.goto(f"{gallery_url}/rating")
    page.get_by_role("button", name="Add my rating").click()
    page.get_by_text(re.compile(r": 4 stars$")).wait_for()
    assert page.locator(".bars-bar").count() >= 2
