"""transformers.js loads the models' folders, in Node and in a browser, and answers as they do in Python.

It makes pictures smaller in another way than Pillow, so probabilities may differ by CLOSE; no label does here.
"""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading

import pytest
from gradio.media import get_image
from PIL import Image

from hub.local import Hub
from shared.session import has_vnni
from tests.conftest import BROWSER, BROWSER_OPTIONS, DATA, ROOT, point_client_to
from training.publish import publish

pytestmark = pytest.mark.browser

CLOSE = 0.05  # probability of a label; share of a picture
CAT = ROOT / "spaces/cat_dog/examples/cat.png"
REVIEW = "A slow start, but the ending is wonderful!"
PAGE = """<!doctype html><script type="module">
import { pipeline, env } from "/node_modules/@huggingface/transformers/dist/transformers.min.js";
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.backends.onnx.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
window.answer = async (task, name, input) => {
  const answer = await pipeline(task, name, { dtype: "fp32" });
  return Object.fromEntries((await answer(input, { top_k: null })).map(({ label, score }) => [label, score]));
};
window.ready = true;
</script>"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder in which npm has installed transformers.js."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("packages")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = ["npm", "install", "--no-audit", "--no-fund", "@huggingface/transformers@4.3.1"]
    skip = {"ONNXRUNTIME_NODE_INSTALL": "skip"}  # of CUDA, which is large
    done = subprocess.run(command, cwd=folder, env={**os.environ, **skip}, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install transformers.js: {done.stderr.strip()[-200:]}")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of all shapes, by the names under which they are served."""
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copyfile(CAT, folder / "cat.png")
    for name in ("lion.jpg", "cheetah1.jpg"):
        shutil.copyfile(get_image(name), folder / name)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side, as phones do
    Image.open(CAT).convert("RGB").rotate(90, expand=True).save(folder / "turned.jpg", exif=exif, quality=95)
    for path in sorted((DATA / "pets/images").glob("*.jpg"))[::900]:
        shutil.copyfile(path, folder / path.name)
    return folder


def check_pictures(answers, pictures, cat_dog):
    assert len(answers) >= 4
    unsure = 0
    for name, found in answers.items():
        ours = cat_dog.predict(pictures / name)
        assert found == pytest.approx(ours.probabilities, abs=CLOSE), name
        assert max(found, key=found.__getitem__) == ours.likeliest
        unsure += 0.05 < ours.probabilities["cat"] < 0.95
    assert unsure  # the others would agree, too, if the pictures were prepared a little wrongly


NODE = """
import {{ pipeline, env }} from "@huggingface/transformers";
env.allowRemoteModels = false;
env.localModelPath = {models};
const classify = await pipeline("image-classification", "cat_dog", {{ dtype: "fp32" }});
const answers = {{}};
for (const path of {paths})
  answers[path.split("/").at(-1)] = Object.fromEntries(
    (await classify(path, {{ top_k: null }})).map(({{ label, score }}) => [label, score]),
  );
console.log(JSON.stringify(answers));
"""


def run_node(code, folder):
    """What a script prints."""
    (folder / "script.mjs").write_text(code)
    done = subprocess.run(["node", "script.mjs"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_pictures_in_node(packages, pictures, cat_dog, tmp_path):
    (tmp_path / "cat_dog").symlink_to(ROOT / "spaces/cat_dog/model")
    paths = [str(path) for path in sorted(pictures.iterdir())]
    said = run_node(NODE.format(models=json.dumps(f"{tmp_path}/"), paths=json.dumps(paths)), packages)
    check_pictures(json.loads(said), pictures, cat_dog)


def test_the_snippets_of_the_published_cards(packages, cat_dog, segmentation, sentiment, monkeypatch, tmp_path):
    street = ROOT / "spaces/segmentation/examples/street.jpg"
    said = {}
    with Hub() as hub:
        point_client_to(monkeypatch, hub.endpoint)
        for name, picture in (("cat_dog", get_image("lion.jpg")), ("segmentation", street), ("sentiment", "")):
            publish(ROOT / "spaces" / name / "model", f"me/{name}", token=hub.token, onnx_only=True)
            (code,) = re.findall(r"```js\n(.*?)```", hub.files(f"me/{name}")["README.md"].decode(), re.DOTALL)
            code = code.replace("picture.jpg", str(picture)).replace("A wonderful film.", REVIEW)
            there = f'import {{ env }} from "@huggingface/transformers";\nenv.remoteHost = "{hub.endpoint}/";\n'
            said[name] = run_node(f"{there}env.cacheDir = {json.dumps(str(tmp_path))};\n{code}", packages)
    scores = {
        name: {label: float(score) for label, score in re.findall(r"label: '(\w+)', score: ([\d.e-]+)", said[name])}
        for name in ("cat_dog", "sentiment")
    }
    assert scores["cat_dog"] == pytest.approx(cat_dog.predict(get_image("lion.jpg")).probabilities, abs=CLOSE)
    # Without AVX-512 VNNI, ONNX Runtime in Node adds up products of int8 with overflow; shared/session.py prevents it.
    assert scores["sentiment"] == pytest.approx(
        sentiment.predict(REVIEW).probabilities, abs=1e-3 if has_vnni() else 0.01
    )
    shares = {line.split()[0]: float(line.split()[1]) for line in said["segmentation"].splitlines()}
    ours = segmentation.predict(street).share
    assert {label for label, share in ours.items() if share > CLOSE} <= set(shares)
    assert shares == pytest.approx({label: ours[label] for label in shares}, abs=CLOSE)


@pytest.fixture
def address(packages, pictures, tmp_path):
    """Where a page that loads transformers.js is served, with the models and all packages: nothing else is needed."""
    (tmp_path / "page.html").write_text(PAGE)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    (tmp_path / "pictures").symlink_to(pictures)
    (tmp_path / "models").mkdir()
    for name in ("cat_dog", "sentiment"):
        (tmp_path / "models" / name).symlink_to(ROOT / "spaces" / name / "model")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_browser_that_reaches_nothing_else(address, pictures, cat_dog, sentiment):
    from playwright.sync_api import sync_playwright

    outside = []

    def note(request):
        if not request.url.startswith((address, f"blob:{address}", "data:")):
            outside.append(request.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=BROWSER_OPTIONS)
        page = browser.new_page()
        page.on("request", note)
        page.goto(f"{address}/page.html")
        page.wait_for_function("window.ready", timeout=120_000)
        answers = {
            path.name: page.evaluate(
                "(url) => window.answer('image-classification', 'cat_dog', url)", f"/pictures/{path.name}"
            )
            for path in sorted(pictures.iterdir())
        }
        said = page.evaluate("(text) => window.answer('text-classification', 'sentiment', text)", REVIEW)
        browser.close()
    check_pictures(answers, pictures, cat_dog)
    assert said == pytest.approx(sentiment.predict(REVIEW).probabilities, abs=1e-3)
    assert not outside
