"""The site of spaces/browser in Firefox: every page opens with the same answer as in Python."""

import shutil

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    driver = pytest.importorskip("marionette_driver.marionette", reason="marionette_driver is not installed")
    if not (binary := shutil.which("firefox-esr") or shutil.which("firefox")):
        pytest.skip("Firefox is not installed")
    log = tmp_path_factory.mktemp("firefox") / "gecko.log"
    client = driver.Marionette(host="127.0.0.1", port=2828, bin=binary, headless=True, gecko_log=str(log))
    client.start_session()
    yield client
    client.quit()


def read_page(firefox, site, name, wanted):
    """Open a page; return its text when it has these words."""
    from marionette_driver.by import By
    from marionette_driver.wait import Wait

    firefox.navigate("about:blank")
    firefox.navigate(f"{site}#{name}")
    found = Wait(firefox, timeout=60).until(
        lambda _: (text := firefox.find_element(By.ID, "main").text) and wanted in text and text, message=wanted
    )
    return " ".join(found.split())


def write_percent(share):
    return "> 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def test_the_pages_in_firefox(firefox, site, cat_dog, segmentation, sentiment, salary, rating):
    text = read_page(firefox, site, "cat_dog", "It is a cat.")
    ours = cat_dog.predict(ROOT / "spaces/cat_dog/examples/cat.png")
    assert f"a cat {write_percent(ours.probabilities['cat'])}" in text
    text = read_page(firefox, site, "segmentation", "What fills the picture")
    ours = segmentation.predict(ROOT / "spaces/segmentation/examples/street.jpg")
    assert f"Road {write_percent(ours.share['Road'])}" in text
    text = read_page(firefox, site, "sentiment", "Positive")
    ours = sentiment.predict(sentiment.config.examples[0])
    assert f"Positive {write_percent(ours.probabilities['pos'])}" in text
    text = read_page(firefox, site, "salary", "Why?")
    ours = salary.predict(salary.example())
    assert f"More than $50,000 {write_percent(ours.probabilities['>=50k'])}" in text
    text = read_page(firefox, site, "rating", "The Godfather")
    for _, title, stars in rating.recommend(rating.fold_in({}), 3):
        assert f"{title} {stars:.2f}" in text
