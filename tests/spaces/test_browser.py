"""A visitor with a real browser: one prediction on each page, at desktop and phone width."""

import json
import re
import shutil
from urllib.parse import quote

import numpy as np
import pytest
from gradio.media import get_image
from PIL import Image

from shared.ui.languages import LANGUAGES
from tests.conftest import (
    PHONE,
    ROOT,
    at_one_width,
    find_barriers,
    find_example,
    in_german,
    open_tab,
    python_path,
    serve_app,
)

pytestmark = pytest.mark.browser

CAT = ROOT / "spaces/cat_dog/examples/cat.png"


def test_home_leads_to_every_model(page, gallery_url):
    page.goto(gallery_url)
    cards = page.locator(".cards .card")
    cards.first.wait_for()
    check_barriers(page)
    assert cards.count() >= 2
    footer = page.locator("footer")
    footer.get_by_text("Settings").wait_for()
    assert footer.get_by_text("Use via API").locator("visible=true").count() == 0  # it would say that there is no API
    page.locator('.card[href="./salary"]').click()
    page.get_by_role("heading", name="Salary", exact=True).wait_for()


@at_one_width
def test_a_card_is_shown_as_text_and_never_run_as_code(page, tmp_path):
    """Gradio runs as JavaScript what its template of the cards is made of."""
    title = "`${document.body.remove()}` {{title}} <b>&amp;"
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/rating", staged / "rating")
    contract = staged / "rating/model/gallery.json"
    content = json.loads(contract.read_text())
    content["about"]["title"] = content["about"]["summary"] = title
    contract.write_text(json.dumps(content))
    with serve_app(staged, tmp_path, {"PYTHONPATH": python_path(ROOT)}) as url:
        page.goto(url)
        page.locator(".card h2").wait_for()
        assert page.locator(".card h2").inner_text() == title
        assert page.locator(".card p").first.inner_text() == title
        page.locator(".card").click()
        page.get_by_role("button", name="Add my rating").wait_for()


def check_barriers(page):
    """Check that axe-core finds no serious barrier, in light and in dark."""
    page.emulate_media(reduced_motion="reduce")  # else a colour may be on its way from light to dark
    page.wait_for_timeout(500)
    assert find_barriers(page) == []
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_timeout(300)
    assert find_barriers(page) == []
    page.evaluate("document.body.classList.remove('dark')")


LONGEST_MOTION = """() => Math.max(...[...document.querySelectorAll("*")].flatMap((each) => {
    const style = getComputedStyle(each)
    return `${style.transitionDuration}, ${style.animationDuration}`.split(", ").map(parseFloat)
}))"""


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cat_dog", "It is a cat."),
        ("sentiment", "Positive"),
        ("salary", "$50,000 or less"),
        ("segmentation", "What fills the picture"),
        ("rating", "comes first"),
    ],
)
def test_a_page_opens_with_an_answer_without_a_request_and_without_barriers(page, gallery_url, name, answer):
    events = []
    page.on("request", lambda request: events.append(request.url) if request.method == "POST" else None)
    page.goto(f"{gallery_url}/{name}")
    page.get_by_text(answer).first.wait_for()
    page.wait_for_timeout(1000)
    assert events == []
    assert page.get_by_role("heading", level=1).count() == 1
    check_barriers(page)
    assert page.evaluate(LONGEST_MOTION) < 0.001  # seconds


NEW_ANSWERS = {
    "cat_dog": lambda page: find_example(page, "a lion").click(),
    "segmentation": lambda page: page.locator("input[type=file]").first.set_input_files(CAT),
    "sentiment": lambda page: page.get_by_label("Your text").fill("A terrible film."),
    "salary": lambda page: (page.get_by_label(re.compile("^Age")).fill("60"), page.keyboard.press("Enter")),
    "rating": lambda page: page.get_by_role("button", name="Add my rating").click(),
}


@at_one_width
@pytest.mark.parametrize("name", NEW_ANSWERS)
def test_a_screen_reader_announces_a_new_answer(page, gallery_url, name):
    page.goto(f"{gallery_url}/{name}")
    region = page.locator(".announced[aria-live=polite]").locator("visible=true").first
    region.wait_for()
    asked = [region.element_handle(), region.inner_text()]
    NEW_ANSWERS[name](page)
    page.wait_for_function("([region, before]) => region.isConnected && region.innerText !== before", arg=asked)


TEXTS_SHOWN = """() => {
    const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode())
        if (walker.currentNode.parentElement.checkVisibility()) found.push(walker.currentNode.textContent.trim());
    for (const each of document.querySelectorAll("[aria-label], [placeholder]"))
        if (each.checkVisibility()) found.push(each.ariaLabel, each.placeholder);
    return found;
}"""


def find_english(page):
    """What a page shows that German replaces: long texts anywhere, short ones alone, and marks behind others."""
    texts = LANGUAGES["de"].texts
    english = {key for key, text in texts.items() if key != text} - set(texts.values())
    whole, shown = page.locator("body").inner_text(), set(page.evaluate(TEXTS_SHOWN))
    return [key for key in english if key in shown or (len(key) > 12 and key in whole)] + re.findall("· new", whole)


@in_german
def test_a_german_browser_sees_no_english_text(page, gallery_url, tmp_path):
    for name in ("", "sentiment", "salary", "segmentation", "rating", "cat_dog"):
        page.goto(f"{gallery_url}/{name}")
        page.get_by_role("heading", level=1).wait_for()
        page.wait_for_timeout(500)
        assert find_english(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        if name == "rating":
            page.get_by_role("button", name="Bewertung hinzufügen").click()
            page.get_by_text(re.compile(": 4 Sterne$")).wait_for()
            assert find_english(page) == []
            choose_movie(page, "Ein schon gesehener Film", "Pretty Woman")
            page.get_by_role("button", name="Bewertung hinzufügen").click()
            page.get_by_text("· neu").locator("visible=true").first.wait_for()
            assert find_english(page) == []
    given = {"ratings": {"593": 1, "296": 5, "260": 2, "1": 4, "318": 3}, "movie": 593, "user": 15}
    page.goto(f"{gallery_url}/rating#input={quote(json.dumps(given))}")
    page.get_by_text("Die Eingabe stammt").first.wait_for()
    assert find_english(page) == []
    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "ein Löwe").click()
    page.get_by_role("heading", name="Das ist weder eine Katze noch ein Hund.").wait_for()
    page.get_by_text("Orange Bereiche sprechen für").wait_for()
    assert find_english(page) == []
    Image.new("RGB", (64, 64)).save(tmp_path / "a.tiff")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "a.tiff")
    words = page.locator(".photo img").evaluate("image => getComputedStyle(image, '::after').content")
    assert words == '"Dieser Browser kann die Datei nicht anzeigen."'


def test_the_keyboard_is_enough_to_try_an_example_and_to_open_a_tab(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "a lion").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile("^It is neither")).wait_for()
    page.get_by_role("tab", name="Why?").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Right and wrong").wait_for()


def test_on_a_phone_the_answer_to_an_example_is_seen_without_scrolling(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "a lion").click()
    heading = page.get_by_role("heading", name=re.compile("^It is neither"))
    heading.wait_for()
    assert heading.evaluate("found => found.getBoundingClientRect().bottom < window.innerHeight")
    assert page.evaluate("window.scrollY") == 0
    assert page.locator("nav").locator("visible=true").count() <= 1
    if page.viewport_size["width"] < 640:
        page.get_by_text("Menu", exact=True).click()
        page.get_by_role("link", name="Salary").click()
        page.get_by_text("$50,000 or less").first.wait_for()


def test_cat_dog_answers_an_uploaded_file(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    page.get_by_role("heading", name="It is a cat.").wait_for()
    page.locator("input[type=file]").first.set_input_files(get_image("tower.jpg"))
    page.get_by_role("heading", name="It is neither a cat nor a dog.").wait_for()
    page.locator("input[type=file]").first.set_input_files(CAT)
    page.get_by_role("heading", name="It is a cat.").wait_for()
    page.get_by_text("Orange areas point to a cat").wait_for()
    shown = page.get_by_label("What it looked at").locator("img").or_(page.locator(".image-frame img")).last
    shown.wait_for()
    assert shown.evaluate("image => image.naturalWidth") > 100


@at_one_width
def test_cat_dog_shows_neither_for_a_lion(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "a lion").click()
    page.get_by_role("heading", name=re.compile("^It is neither")).wait_for()
    page.get_by_text("Orange areas point to").wait_for()


@at_one_width
def test_cat_dog_can_be_cleared_without_an_error(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "a lion").click()
    page.get_by_role("heading", name=re.compile("^It is neither")).wait_for()
    page.get_by_label("Remove Image").click()
    page.get_by_role("heading", name="Choose a picture").wait_for()
    page.wait_for_timeout(1000)
    assert page.get_by_text("Choose a picture first").count() == 0
    assert page.get_by_text("Error", exact=True).count() == 0


def test_cat_dog_shows_the_error_message_for_a_bad_file(page, gallery_url, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "a lion").click()  # an example makes Gradio build the input anew
    page.get_by_role("heading", name=re.compile("^It is neither")).wait_for()
    page.get_by_label("Remove Image").click()
    page.get_by_role("heading", name="Choose a picture").wait_for()
    page.locator("input[type=file]").first.set_input_files(bad)
    page.get_by_text("This is not a picture that can be read").wait_for()


def test_salary_answers_a_changed_form(page, gallery_url):
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    before = page.locator(".answer").inner_text()
    page.get_by_label(re.compile("^Age")).fill("19")
    page.get_by_label(re.compile("^Age")).press("Enter")
    page.wait_for_function("before => document.querySelector('.answer').innerText !== before", arg=before)
    assert "$50,000 or less" in page.locator(".answer").inner_text()


@at_one_width
def test_salary_shows_the_error_message_for_a_bad_value(page, gallery_url):
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    page.get_by_label(re.compile("^Age")).fill("3")
    page.get_by_label(re.compile("^Age")).press("Enter")
    sentence = page.get_by_text("Age in years must be a number from 17 to 90")
    sentence.wait_for()
    page.wait_for_timeout(1000)
    assert sentence.count() == 1


def test_salary_answers_a_csv(page, gallery_url, person, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(",".join(person) + "\n" + ",".join(str(value) for value in person.values()) + "\n")
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    open_tab(page, "Many rows")
    page.get_by_role("button", name="Download a CSV to fill in").wait_for()
    assert (
        page.get_by_text(re.compile("^(Summary|The first answers|The same as CSV)$")).locator("visible=true").count()
        == 0
    )
    with page.expect_download() as found:
        page.get_by_role("button", name="Download a CSV to fill in").click()
    assert found.value.path().read_text(encoding="utf-8-sig").splitlines()[0] == ",".join(person)
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_text('"answered"').wait_for()
    table = page.get_by_text("probability >=50k").locator("visible=true")
    table.first.wait_for()
    path.write_text(path.read_text().replace("Private", '"Private'))
    page.get_by_label("Clear").locator("visible=true").first.click()
    page.wait_for_function("() => !document.body.innerText.includes('answered\"')")
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_text("The quotation mark on line 2 of the CSV is never closed").wait_for()
    page.wait_for_timeout(500)
    errors = page.get_by_text("Error", exact=True).locator("visible=true")
    assert errors.count() == 2  # the title of the message, and one place below the file
    assert page.get_by_text('"answered"').count() == table.count() == 0


def choose_movie(page, label, typed):
    box = page.get_by_label(label)
    box.fill(typed)
    box.press("Enter")


def test_rating_recommends_to_a_visitor(page, gallery_url):
    page.goto(f"{gallery_url}/rating")
    page.get_by_role("button", name="Add my rating").click()
    page.get_by_text(re.compile(r": 4 stars$")).wait_for()
    assert page.locator(".bars-bar").count() >= 2
    rows = page.locator(".rated").get_by_text(re.compile(r"\(\d{4}\)$")).locator("visible=true")
    rows.get_by_text("Forrest Gump").first.wait_for()
    held = hold_back(page, ["rate"])
    for title in ("The Matrix (1999)", "Pretty Woman (1990)"):
        choose_movie(page, "Movie that you know", title)
        page.get_by_role("button", name="Add my rating").click()
        await_held(page, held, 1)
    release(page, held)
    page.locator(".rated").get_by_text("4.00").locator("visible=true").nth(2).wait_for()
    assert re.match("Pretty Woman", rows.first.inner_text())  # whose id is in the middle
    places = [page.locator(".rated"), page.get_by_text("You may like").locator("visible=true").first]
    mine, best = (place.bounding_box()["y"] for place in places)
    assert mine > best
    copy = page.get_by_role("button", name="Copy a link to this answer").locator("visible=true")
    assert copy.count() == 1
    open_tab(page, "Map")
    page.get_by_text("The best known movies.").wait_for()
    assert copy.count() == 0
    open_tab(page, "A user of the data set")
    copy.wait_for()


PAGES = ("cat_dog", "sentiment", "salary", "segmentation", "rating")


@pytest.mark.parametrize("page", [PHONE, (*PHONE, "de-DE")], ids=["english", "german"], indirect=True)
@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_how_good_it_is_is_not_behind_the_dots(page, gallery_url, name):
    page.goto(f"{gallery_url}/{name}")
    page.get_by_role("tab", name=re.compile(r"^(How good is it|Wie gut ist es)\?$")).click()
    page.get_by_role("heading", name=re.compile("^(When is it wrong|Wann irrt es sich)")).wait_for()
    card = page.get_by_role("button", name=re.compile("^(Model card|Modellkarte)"))
    text, arrow = (card.locator(f"span:{place}-child") for place in ("first", "last"))
    assert text.evaluate("text => getComputedStyle(text).textAlign") == "left"
    ends = [box["x"] + box["width"] for box in (arrow.bounding_box(), card.bounding_box())]
    assert ends[0] < ends[1] + 8  # the border is 12 pixels beside the text


@pytest.mark.parametrize("page", [PHONE], ids=["phone"], indirect=True)
def test_on_a_phone_large_text_leaves_room_for_bars(page, gallery_url):
    page.goto(f"{gallery_url}/segmentation")
    page.get_by_text("It knows only 11 classes, such as Sky and Building").wait_for()
    page.locator(".bars-bar").first.wait_for()
    page.evaluate("document.documentElement.style.fontSize = '32px'")
    assert page.locator(".bars-whole").first.bounding_box()["width"] > 100


def test_on_a_touch_screen_a_finger_hits_the_buttons(browser, gallery_url):
    width, height = PHONE
    page = browser.new_page(viewport={"width": width, "height": height}, is_mobile=True, has_touch=True)
    page.goto(f"{gallery_url}/salary")
    page.get_by_role("button", name="Copy a link").wait_for()
    buttons = page.locator("button.sm").locator("visible=true").all()
    assert len(buttons) == 4
    assert min(button.bounding_box()["height"] for button in buttons) >= 40
    page.close()


def test_a_link_to_an_answer_fills_the_page_again(page, gallery_url):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{gallery_url}/sentiment?__sign=key")  # a visitor's key to a private Space, which no link must have
    text = "A terrible film <img src=x onerror=alert(1)>."
    page.get_by_label("Your text").fill(text)
    page.get_by_role("button", name="Copy a link to this answer").click()
    page.get_by_text("The link is copied.").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{gallery_url}/sentiment#input=")
    page.goto("about:blank")
    page.goto(link)
    page.get_by_role("heading", name="Negative").wait_for()
    assert page.get_by_label("Your text").input_value() == text
    assert page.locator("img[src=x]").count() == 0
    page.get_by_label("Your text").fill("A wonderful film.")
    page.get_by_role("heading", name="Positive").wait_for()
    page.reload()
    page.get_by_text("Your input is back.").wait_for()
    page.get_by_role("heading", name="Positive").wait_for()
    assert page.get_by_label("Your text").input_value() == "A wonderful film."


@at_one_width
def test_the_ratings_are_still_there_after_a_reload(page, gallery_url):
    page.goto(f"{gallery_url}/rating")
    page.get_by_role("button", name="Add my rating").click()
    rated = page.locator(".rated").get_by_text("Forrest Gump").locator("visible=true")
    rated.first.wait_for()
    page.reload()
    page.get_by_text("Your input is back.").wait_for()
    rated.first.wait_for()
    page.goto("about:blank")
    page.goto(f"{gallery_url}/rating")
    page.get_by_role("button", name="Add my rating").wait_for()
    assert rated.count() == 0


@at_one_width
@pytest.mark.parametrize("name", ["cat_dog", "sentiment", "salary"])
def test_an_answer_is_saved_as_a_picture(page, gallery_url, name):
    page.goto(f"{gallery_url}/{name}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this answer as a picture").click()
    assert download.value.suggested_filename == "answer.png"
    with Image.open(download.value.path()) as found:
        assert found.size == (1200, 630)
        pixels = np.asarray(found.convert("RGB"))
    assert 0.02 < (pixels != 255).any(axis=2).mean() < 0.9
    assert (pixels == (99, 102, 241)).all(axis=2).any()  # the bars
    has_photo = len(np.unique(pixels[60:570, 60:540].reshape(-1, 3), axis=0)) > 5000
    assert has_photo == (name == "cat_dog")


RECORD_WORDS = """
    window.drawn = [];
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
        window.drawn.push(text);
        return draw.call(this, text, ...rest);
    };
"""


@at_one_width
def test_the_saved_picture_says_what_the_page_says(page, gallery_url):
    page.add_init_script(RECORD_WORDS)

    def save() -> list[str]:
        with page.expect_download():
            page.get_by_role("button", name="Save this answer as a picture").click()
        return page.evaluate("window.drawn")

    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "a lion").click()
    page.get_by_role("heading", name="It is neither a cat nor a dog.").wait_for()
    assert "It is neither a cat nor a dog." in " ".join(save())
    page.goto(f"{gallery_url}/sentiment")
    german = "Der Film hat mich von der ersten Minute an gefesselt, und alle spielen großartig."
    page.get_by_label("Your text").fill(german)
    page.get_by_role("heading", name="This is unlike the texts the model was trained on.").wait_for()
    drawn = save()
    assert "This is unlike the texts the model was trained on." in " ".join(drawn)
    assert {"Positive", "Negative"}.isdisjoint(drawn)
    page.get_by_label("Your text").fill("")
    page.get_by_role("heading", name="Write a text").wait_for()
    page.get_by_role("button", name="Save this answer as a picture").click()
    page.get_by_text("There is no answer to save yet.").wait_for()


@at_one_width
def test_the_answer_to_a_link_is_about_all_of_its_values(page, gallery_url):
    given = {"ratings": {"356": 4}, "movie": 356, "tab": 3, "user": 17}
    given |= {"__type__": "update", "visible": True, "label": "Planted", "value": {"Planted": 1}}  # changes components
    page.goto(f"{gallery_url}/rating#input={quote(json.dumps(given))}")
    page.get_by_text("User 17 on Forrest Gump").wait_for()  # on the fourth tab, which the link opens
    open_tab(page, "You")
    page.get_by_text("The input is from the link").wait_for()
    assert page.get_by_text("Planted").count() == 0


@at_one_width
def test_on_a_low_screen_the_answer_covers_nothing(page, gallery_url):
    page.set_viewport_size({"width": 844, "height": 390})
    page.goto(f"{gallery_url}/salary")
    box = page.locator(".answer").first.bounding_box()
    label = page.get_by_text("How sure it is").locator("visible=true").first.bounding_box()
    assert box["y"] <= label["y"] < box["y"] + box["height"]


@at_one_width
@pytest.mark.parametrize("tab", [99, -1, 0.5])
def test_a_link_to_a_tab_that_is_not_there_opens_the_first(page, gallery_url, tab):
    given = {"ratings": {"356": 4}, "movie": 356, "tab": tab, "user": 17}
    page.goto(f"{gallery_url}/rating#input={quote(json.dumps(given))}")
    page.get_by_text("The input is from the link").wait_for()
    page.locator(".rated").get_by_text("Forrest Gump").locator("visible=true").first.wait_for()


@at_one_width
def test_a_copied_link_opens_the_tab_on_which_it_was_copied(page, gallery_url):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{gallery_url}/rating")
    page.get_by_role("tab", name="You").wait_for()
    open_tab(page, "A user of the data set")
    page.get_by_text("User 15 on Forrest Gump").wait_for()
    page.get_by_role("button", name="Copy a link to this answer").locator("visible=true").click()
    page.get_by_text("The link is copied.").locator("visible=true").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto("about:blank")
    page.goto(link)
    page.get_by_text("User 15 on Forrest Gump").locator("visible=true").wait_for()


@at_one_width
def test_the_arrows_of_a_number_change_the_answer_while_it_has_the_focus(page, gallery_url):
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    field = page.get_by_label(re.compile("^Hours of work in a usual week"))
    before = page.locator(".bars").first.inner_text()
    field.focus()
    for _ in range(20):
        page.keyboard.press("ArrowUp")
    page.wait_for_function(
        "before => document.querySelector('.bars') && document.querySelector('.bars').innerText !== before", arg=before
    )
    assert field.evaluate("field => field === document.activeElement")
    page.wait_for_timeout(1000)
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if "queue/join" in request.url else None)
    field.fill("41")
    page.keyboard.press("Enter")
    page.wait_for_timeout(2000)
    assert len(asked) == len({request["fn_index"] for request in asked}) > 0  # none is asked twice


@at_one_width
@pytest.mark.parametrize("bad", ["%E0%A4%A", "null", quote('{"text": 5}'), quote(json.dumps({"text": "a" * 9000}))])
def test_a_bad_link_gets_a_sentence_and_no_answer(page, gallery_url, bad):
    events = []
    page.on("request", lambda request: events.append(request.url) if request.method == "POST" else None)
    page.goto(f"{gallery_url}/sentiment#input={bad}")
    page.get_by_text(re.compile("^The link that you opened is (damaged|too long)")).wait_for()
    assert page.get_by_role("heading", name="Positive").is_visible()
    assert events == []


@at_one_width
def test_salary_labels_the_axis_of_the_varied_column(page, gallery_url):
    page.goto(f"{gallery_url}/salary")
    page.locator(".bars").first.wait_for()
    open_tab(page, "What if?")
    axis = page.locator("svg g.role-axis-title text, svg .role-axis-title text")
    axis.filter(has_text=re.compile("^Age in years$")).first.wait_for()
    cut = """axis => {
        const frame = axis.closest('.block').getBoundingClientRect(), words = axis.getBoundingClientRect();
        return words.bottom > frame.bottom || words.top < frame.top;
    }"""
    assert not axis.filter(has_text=re.compile("^Age in years$")).first.evaluate(cut)
    page.get_by_label("Change", exact=True).click()
    page.get_by_role("option", name="Hours of work in a usual week").click()
    axis.filter(has_text=re.compile("^Hours of work in a usual")).first.wait_for()
    assert axis.filter(has_text=re.compile("^(Age in years|value)$")).count() == 0


def hold_back(page, endpoints):
    """Keep the browser's requests for some endpoints until released; returns them as they come."""
    indices = page.evaluate(
        "names => window.gradio_config.dependencies.filter(each => names.includes(each.api_name)).map(each => each.id)",
        endpoints,
    )
    assert len(indices) == len(endpoints)
    held = []

    def hold(route):
        if route.request.post_data_json["fn_index"] in indices:
            held.append(route)
        else:
            route.continue_()

    page.route("**/queue/join*", hold)
    return held


def await_held(page, held, count):
    for _ in range(100):
        if len(held) == count:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"{len(held)} of {count} requests came")


def release(page, held):
    for route in held:
        route.continue_()
    page.unroute("**/queue/join*")


@at_one_width
def test_what_a_visitor_does_meanwhile_is_answered(page, gallery_url):
    page.goto(f"{gallery_url}/sentiment")
    page.get_by_text("What you say stays in this browser").wait_for()
    box, button = page.get_by_label("Your text"), page.get_by_role("button", name="Which words decided it?")
    held = hold_back(page, ["sentiment"])
    box.fill("")  # which is refused
    await_held(page, held, 1)
    box.fill("A terrible film.")
    page.get_by_role("button", name="Yes", exact=True).click()  # the answer on the page is about another text
    page.get_by_text("There is no answer yet.").wait_for()
    page.get_by_role("button", name="Save this answer as a picture").click()
    page.get_by_text("There is no answer to save yet.").wait_for()
    release(page, held)
    page.get_by_role("heading", name="Negative").wait_for()
    page.get_by_role("button", name="Yes", exact=True).click()
    page.get_by_text("1 answer is kept in this browser.").wait_for()
    (kept,) = page.evaluate("Object.values(localStorage).map(JSON.parse)[0]")
    assert kept == ['["A terrible film."]', "neg"]
    held = hold_back(page, ["sentiment_explain"])
    button.click()
    await_held(page, held, 1)
    box.fill("A wonderful film.")
    page.get_by_role("heading", name="Positive").wait_for()
    button.click()
    release(page, held)
    page.locator(".token", has_text="wonderful").first.wait_for()
    assert page.locator(".token", has_text="terrible").count() == 0


@at_one_width
def test_no_old_explanation_is_shown_beside_a_new_person(page, gallery_url):
    page.goto(f"{gallery_url}/salary")
    bars = page.locator(".bars").locator("visible=true")
    bars.first.wait_for()
    page.wait_for_timeout(500)
    held = hold_back(page, ["salary_explain", "salary_what_if"])
    before = page.locator(".answer").inner_text()
    page.get_by_label(re.compile("^Age")).fill("19")
    page.get_by_label(re.compile("^Age")).press("Enter")
    page.wait_for_function("before => document.querySelector('.answer').innerText !== before", arg=before)
    await_held(page, held, 2)
    assert bars.count() == 0
    release(page, held)
    bars.first.wait_for()


@at_one_width
def test_no_old_explanation_is_shown_beside_a_new_picture(page, gallery_url):
    page.goto(f"{gallery_url}/cat_dog")
    find_example(page, "a lion").click()
    words = page.get_by_text("Orange areas point to").locator("visible=true")
    words.wait_for()
    held = hold_back(page, ["cat_dog_explain"])
    find_example(page, "a cat").click()
    page.get_by_role("heading", name="It is a cat.").wait_for()
    await_held(page, held, 1)
    assert words.count() == 0
    assert page.get_by_text("The map appears here.").count() == 1
    release(page, held)
    words.wait_for()
    held = hold_back(page, ["cat_dog_explain"])
    find_example(page, "a lion").click()
    page.get_by_role("heading", name=re.compile("^It is neither")).wait_for()
    await_held(page, held, 1)
    page.get_by_label("Remove Image").click()
    page.get_by_role("heading", name="Choose a picture").wait_for()
    with page.expect_response("**/queue/data*"):
        release(page, held)
    page.wait_for_timeout(800)
    assert words.count() == 0


@at_one_width
def test_no_old_recommendation_is_shown_beside_a_new_rating(page, gallery_url):
    page.goto(f"{gallery_url}/rating")
    page.get_by_text("You may like").first.wait_for()
    open_tab(page, "A user of the data set")
    bars, cells = (page.locator(name).locator("visible=true") for name in (".bars", ".cell-wrap"))
    bars.first.wait_for()
    cells.get_by_text(re.compile(r"\(\d{4}\)")).first.wait_for()
    held = hold_back(page, ["rating_explain", "rating_recommend"])
    page.get_by_label(re.compile("^User")).fill("99")
    page.get_by_label(re.compile("^User")).press("Enter")
    page.get_by_text(re.compile("^User 99 on ")).wait_for()
    await_held(page, held, 2)
    assert bars.count() == 0
    assert cells.get_by_text(re.compile(r"\(\d{4}\)")).count() == 0
    release(page, held)
    bars.first.wait_for()
    cells.get_by_text(re.compile(r"\(\d{4}\)")).first.wait_for()


@at_one_width
def test_no_old_rating_is_shown_beside_an_error(page, gallery_url):
    page.goto(f"{gallery_url}/rating")
    page.get_by_text("You may like").first.wait_for()
    open_tab(page, "A user of the data set")
    bars, cells = (page.locator(name).locator("visible=true") for name in (".bars", ".cell-wrap"))
    titles = cells.get_by_text(re.compile(r"\(\d{4}\)"))
    bars.first.wait_for()
    titles.first.wait_for()
    page.get_by_label(re.compile("^User")).fill("99999")
    page.get_by_label(re.compile("^User")).press("Enter")
    page.get_by_text("There is no user '99999'").wait_for()
    page.wait_for_timeout(500)
    assert page.get_by_text(re.compile("^User 15 on ")).count() == bars.count() == titles.count() == 0
    open_tab(page, "Similar")
    titles.first.wait_for()
    box = page.get_by_label("Movies similar to")
    box.fill("zzzz")
    page.get_by_role("heading").first.click()
    page.get_by_text("No movie is called 'zzzz'").wait_for()
    page.wait_for_timeout(500)
    assert titles.count() == 0


@at_one_width
def test_a_number_that_is_a_title_finds_the_film(page, gallery_url):
    page.goto(f"{gallery_url}/rating")
    page.get_by_text("You may like").first.wait_for()
    open_tab(page, "A user of the data set")
    for typed, title in (("300", "300 (2007)"), ("matrix", "The Matrix (1999)")):
        box = page.get_by_label("Movie", exact=True)
        box.fill("")
        box.press_sequentially(typed)
        box.press("Enter")
        page.get_by_text(f" on {title}.").wait_for()


@at_one_width
def test_use_via_api_lists_endpoints_and_arguments_without_an_error(page, gallery_url):
    problems = []
    page.on("response", lambda reply: problems.append(reply.url) if reply.status >= 400 else None)
    there = {f"{gallery_url}/gradio_api/mcp/schema"}  # by its 404 the page knows that MCP is off
    page.goto(f"{gallery_url}/rating")
    page.get_by_text("comes first").first.wait_for()
    button = page.get_by_role("button", name=re.compile("Use via API"))
    if not button.is_visible():
        pytest.skip("Gradio hides it on a phone")
    button.click()
    page.get_by_text("API name: /rating_recommend").wait_for()
    named = {text.split()[2] for text in page.locator("h3", has_text="API name:").all_inner_texts()}
    assert named == {"/rating", "/rating_explain", "/rating_recommend", "/rating_similar", "/rating_batch"}
    page.get_by_text("JavaScript", exact=True).click()
    snippets = page.locator("pre:visible").filter(has_text="client.predict")
    snippets.first.wait_for()
    shown = "".join(snippets.all_inner_texts())
    assert re.search(r'"/rating",\s*{\s*user_id: 15,\s*movie_id: ', shown)
    assert re.search(r"user_id: 15,\s*ratings: null,\s*k: 10", shown)
    page.wait_for_timeout(1000)
    assert set(problems) <= there
