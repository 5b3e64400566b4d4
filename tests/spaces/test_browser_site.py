"""The models answer in a browser as they do in Python: spaces/browser in headless Chromium."""

import base64
import io
import threading

import numpy as np
import pytest
from gradio.media import get_image
from PIL import Image

from hub.client import PublishError
from hub.static_site import build_site, find_demos, serve, write_site
from shared import load_model
from tests.conftest import BROWSER, DATA, ROOT

pytestmark = pytest.mark.browser

CLOSE = 1e-3
CAT = ROOT / "spaces/cat_dog/examples/chelsea.png"
STREET = ROOT / "spaces/segmentation/examples/street.jpg"
OPEN = """async (name) => {
  const { download, readConfig } = await import("./js/checkpoint.js");
  const { Model } = await import("./js/model.js");
  const site = JSON.parse(new TextDecoder().decode(await download(new URL("site.json", location).href, {})));
  const entry = site.models.find((one) => one.name === name);
  entry.folder = new URL(`${entry.folder}/`, location).href;
  window.model = new Model(await readConfig(entry));
  window.model.loaded = window.model.load(entry, site, () => {});
  await window.model.loaded;
}"""
ASK = """async ([method, args]) => {
  const read = (value) => value?.base64 ? fetch(`data:;base64,${value.base64}`).then((found) => found.blob()) : value;
  const blob = (value) => new Blob([Uint8Array.from(atob(value.base64), (one) => one.charCodeAt(0))]);
  const given = args.map((value) => (value?.base64 ? blob(value) : value));
  const found = await window.model.call(method, ...given).catch((error) => ({ error: error.message }));
  if (found?.mask) found.mask = Array.from(found.mask);
  return found;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of the site with the demos."""
    folder = tmp_path_factory.mktemp("site")
    try:
        write_site(build_site(find_demos(), "Model gallery"), folder)
    except PublishError as error:
        pytest.skip(str(error))
    server = serve(folder, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def ask(site, browser):
    """A function that asks a model in the browser."""
    page = browser.new_page()
    page.goto(site)
    loaded = []

    def ask(name, method, *arguments):
        if loaded != [name]:
            page.evaluate(OPEN, name)
            loaded[:] = [name]
        encoded = [
            {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value for value in arguments
        ]
        return page.evaluate(ASK, [method, encoded])

    yield ask
    page.close()


def find_pictures():
    """Pictures of all kinds, as (name, content)."""
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side, as phones do
    turned, transparent, wide = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.open(CAT).convert("RGB").rotate(90, expand=True).save(turned, "JPEG", exif=exif, quality=95)
    cat = Image.open(CAT).convert("RGBA")
    cat.putalpha(Image.linear_gradient("L").resize(cat.size))
    cat.save(transparent, "PNG")
    cat.convert("RGB").resize((1900, 150)).save(wide, "PNG")
    paths = [CAT, get_image("lion.jpg"), get_image("cheetah1.jpg")]
    paths += sorted((DATA / "pets/images").glob("*.jpg"))[::700]
    made = {"turned.jpg": turned, "transparent.png": transparent, "wide.png": wide}
    return [(str(path), open(path, "rb").read()) for path in paths] + [(n, f.getvalue()) for n, f in made.items()]


def test_pictures(ask, cat_dog):
    for name, content in find_pictures():
        found, ours = ask("cat_dog", "predict", content), cat_dog.predict(content)
        print(name, [found["probabilities"][l] - ours.probabilities[l] for l in ("cat",)], found["in_distribution_score"]-ours.in_distribution_score, np.abs(np.array(found["map"]) - cat_dog.explain(content).evidence).max())


def test_streets(ask, segmentation):
    frames = sorted((DATA / "camvid/images").glob("*.png"))[::200][:3]
    for path in [STREET, CAT, *frames]:
        found, ours = ask("segmentation", "predict", path.read_bytes()), segmentation.predict(path)
        mask = np.array(found["mask"]).reshape(found["height"], found["width"])
        print(path, (mask != ours.mask).mean(), max(abs(found["shares"][k] - v) for k, v in ours.share.items()), found["mean_confidence"] - ours.mean_confidence)


TEXTS = ["A slow start, but the ending is wonderful!", "ﬁne ﬁlm\u200b, naïve café — 10/10<br />see it", "Der Film hat mich von der ersten Minute an gepackt.", "It was good. " * 300, "word " * 40 + "terrible ending, although I liked the start; however it was long.", "😀👍🏽 great", "日本の映画"]


def test_texts(ask, sentiment):
    for text in [*sentiment.config.examples, *TEXTS]:
        found, ours = ask("sentiment", "predict", text), sentiment.predict(text).as_dict()
        print(text[:30], {k: (found[k], ours[k]) for k in ours if k not in ("probabilities",) and found[k] != ours[k]}, found["probabilities"]["pos"] - ours["probabilities"]["pos"])


def test_rows(ask, salary):
    rows = [dict(salary.example())]
    for row in rows:
        print(ask("salary", "predict", row), salary.predict(row).as_dict())
        print(ask("salary", "explain", row), salary.explain(row).as_dict())


def test_ratings(ask, rating):
    print(ask("rating", "predict", 15, "260"), rating.predict(15, 260))
    print(ask("rating", "recommend", [["260", 5], ["1", 2], ["50", 4]]), rating.recommend(rating.fold_in({260: 5, 1: 2, 50: 4})))
    print(ask("rating", "recommend", []), rating.recommend(rating.fold_in({})))
    print(ask("rating", "similar", "260"), rating.similar(260))
    print(ask("rating", "explain", 15, "260"), rating.explain(15, 260))
