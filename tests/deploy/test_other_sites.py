"""The gallery in other sites, as in docs/http.md: embedded, in an iframe, under a path, mounted."""

import functools
import mimetypes
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file

from tests.conftest import NGINX, ROOT, at_one_width, find_free_port, python_path, run_nginx, serve_app, wait_for

PAGE = (ROOT / "docs/http.md").read_text().split("## Put it inside your own site\n")[1].split("\n## ")[0]
EMBEDDED, IFRAME = re.findall(r"```html\n(.*?)```", PAGE, re.DOTALL)
(LOCATION,) = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
(SERVICE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ADDRESS = "http://127.0.0.1:7860"
FRONTEND = Path(gr.__file__).parent / "templates/frontend"
CDN = "https://gradio.s3-us-west-2.amazonaws.com/"
CAT = ROOT / "spaces/cat_dog/examples/cat.png"
WITH_NGINX = pytest.mark.skipif(not NGINX, reason="nginx is not installed: apt-get install nginx-light")
# As Gradio's guide on nginx has it: the app cannot tell /gallery from /gallery/.
REWRITTEN = """
location /gallery {
    rewrite ^/gallery/?(.*)$ /$1 break;
    proxy_pass http://127.0.0.1:7860;
    proxy_buffering off; proxy_redirect off; proxy_http_version 1.1;
    proxy_set_header Host $host:$server_port;
    proxy_set_header X-Forwarded-Host $host:$server_port;
    proxy_set_header X-Forwarded-Proto $scheme;
}
"""


# --- under a path, behind nginx ---


@pytest.fixture(scope="module")
def below_a_path(tmp_path_factory) -> Iterator[dict[str, str]]:
    """One gallery at /gallery of two servers: docs/http.md's, and that of Gradio's guide; yields both addresses."""
    folder = tmp_path_factory.mktemp("path")
    assert "GRADIO_ROOT_PATH=/gallery" in PAGE
    variables = {"GRADIO_ROOT_PATH": "/gallery", "GALLERY_TRUSTED_PROXIES": "1"}
    with serve_app("gallery", folder, variables) as app:
        urls, site = {}, ""
        for name, location in (("readme", LOCATION), ("guide", REWRITTEN)):
            assert ADDRESS in location
            port = find_free_port()
            site += f"server {{ listen 127.0.0.1:{port};\n{location.replace(ADDRESS, app)} }}\n"
            urls[name] = f"http://127.0.0.1:{port}/gallery"
        with run_nginx(site, urls["readme"], folder):
            yield urls


@WITH_NGINX
@pytest.mark.parametrize("name", ["readme", "guide"])
def test_programs_get_their_answers_below_a_path(below_a_path, name, rating):
    url = below_a_path[name]
    assert urllib.request.urlopen(f"{url}/health").read() == b'{"status":"ok"}'
    with urllib.request.urlopen(f"{url}/cat_dog/") as response:
        assert response.url == f"{url}/cat_dog"
    client = Client(f"{url}/", verbose=False)
    assert client.predict(15, 260, api_name="/rating")[0]["rating"] == rating.predict(15, 260).rating
    answer, *_ = client.predict(handle_file(CAT), api_name="/cat_dog")
    assert answer["label"] == "cat"
    assert os.path.getsize(client.predict(handle_file(CAT), api_name="/cat_dog_explain")[1]) > 1000


@WITH_NGINX
@pytest.mark.browser
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", ["readme", "guide"])
@at_one_width
def test_a_visitor_finds_the_models_below_a_path(page, below_a_path, name, slash):
    url = below_a_path[name]
    missing = []
    page.on("response", lambda response: missing.append(response.url) if response.status >= 400 else None)
    page.goto(url + slash)
    cards = page.locator("a.card")
    cards.first.wait_for()
    assert cards.first.evaluate("card => card.href") == f"{url}/cat_dog"
    cards.first.click()
    page.get_by_role("heading", name="It is a cat.").wait_for()
    assert page.url == f"{url}/cat_dog"
    page.locator("input[type=file]").first.set_input_files(CAT)
    page.get_by_text("Orange areas point to a cat").wait_for()
    page.wait_for_function("[...document.images].filter(image => image.naturalWidth > 100).length >= 2")
    assert missing == []


# --- embedded in a page ---


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def post(tmp_path, gallery_url):
    """A function that publishes a post of a blog with a snippet in it, and returns its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def publish(snippet):
        assert ADDRESS in snippet
        (tmp_path / "post").mkdir()
        (tmp_path / "post/index.html").write_text(
            '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<h2>My blog</h2>{snippet.replace(ADDRESS, gallery_url)}"
        )
        return f"http://127.0.0.1:{server.server_port}/post/"

    yield publish
    server.shutdown()
    server.server_close()


def from_here(route):
    """Answer for the site that has Gradio's scripts, with those that are installed."""
    path = FRONTEND / route.request.url.removeprefix(CDN).removeprefix(f"{gr.__version__}/")
    kind = mimetypes.guess_type(path.name)[0]
    headers = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(status=200, body=path.read_bytes(), content_type=kind, headers=headers)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("snippet", [EMBEDDED, IFRAME], ids=["app", "iframe"])
def test_an_embedded_gallery_leads_to_its_own_pages_and_looks_like_itself(page, post, gallery_url, snippet, scheme):
    page.emulate_media(color_scheme=scheme)
    page.route(f"{CDN}**", from_here)
    page.goto(post(snippet))
    where = page.frame_locator("iframe") if "iframe" in snippet else page
    cards = where.locator("a.card")
    cards.first.wait_for()
    links = [cards.nth(index).evaluate("card => card.href") for index in range(cards.count())]
    assert links == [f"{gallery_url}/{name}" for name in ("cat_dog", "rating", "salary", "segmentation", "sentiment")]
    style = cards.first.evaluate("card => ({...getComputedStyle(card)})")
    assert (style["display"], style["borderTopWidth"], style["borderTopLeftRadius"]) == ("block", "1px", "12px")
    assert where.locator(".cards").evaluate("cards => getComputedStyle(cards).display") == "grid"
    brightness = sum(map(int, re.findall(r"\d+", style["backgroundColor"])[:3]))
    assert brightness > 700 if scheme == "light" else brightness < 100
    cards.nth(2).click()
    where.get_by_role("heading", name="Salary", exact=True).wait_for()
    if where is page:
        assert page.url == f"{gallery_url}/salary"


# --- mounted in a service ---


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """The address of docs/http.md's service, run by uvicorn as it says."""
    (folder / "service.py").write_text(SERVICE)
    port, log = find_free_port(), folder / "log"
    variables = {"PYTHONPATH": python_path(ROOT, folder), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    assert "uvicorn service:app" in SERVICE
    with log.open("w") as output:
        command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}/gallery", process, log)
        yield f"http://127.0.0.1:{port}/gallery"
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="module")
def mounted_url(tmp_path_factory):
    with service(tmp_path_factory.mktemp("service")) as url:
        yield url


def test_a_mounted_gallery_answers(mounted_url):
    client = Client(f"{mounted_url}/", verbose=False)
    assert client.config["css"].strip().startswith(".gradio-container")
    answer, *_ = client.predict(handle_file(CAT), api_name="/cat_dog")
    assert answer["label"] == "cat"
    assert urllib.request.urlopen(f"{mounted_url}/health").read() == b'{"status":"ok"}'


@pytest.mark.browser
@at_one_width
def test_a_visitor_finds_the_models_of_a_mounted_gallery(page, mounted_url):
    page.goto(mounted_url)
    page.locator("a.card").first.click()
    page.get_by_role("heading", name="It is a cat.").wait_for()
    assert page.url == f"{mounted_url}/cat_dog"
    page.locator("input[type=file]").first.set_input_files(CAT)
    page.get_by_role("heading", name="It is a cat.").wait_for()


def test_the_scripts_are_those_of_the_gradio_that_serves():
    assert f"{CDN}{gr.__version__}/gradio.js" in EMBEDDED
