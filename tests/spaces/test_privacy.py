"""What a visitor sends is kept nowhere but in the folder of uploads, is not logged, and is sent to nobody."""

import csv
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shared.limits import LIMITS
from shared.ui.retention import SWEEP_SECONDS, sweep
from shared.ui.tabs import PRIVACY
from tests.conftest import ROOT, load_app, serve_app

# Records where the process connects to. uvloop would do that unseen; the gallery's own packages do not have it.
RECORDER = """
import os, sys

sys.modules["uvloop"] = None
record = os.open(os.environ["CONNECTIONS"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
asking = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0}

def note(event, arguments):
    if event in asking and arguments[asking[event]] is not None:
        address = arguments[asking[event]]
        host = address[0] if isinstance(address, tuple) else address
        os.write(record, f"{host if isinstance(host, str) else host.decode(errors='replace')}\\n".encode())

sys.addaudithook(note)
"""
LOCAL = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for all that a process of its own writes; its files are looked through."""
    folders = {"TMPDIR": "temp", "HOME": "home", "HF_HOME": "home/hf", "XDG_CACHE_HOME": "home/cache"}
    for variable, name in folders.items():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "code").mkdir()
    (tmp_path / "code/sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "code"), str(ROOT)]))
    monkeypatch.setenv("CONNECTIONS", str(tmp_path / "connections"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path


def visit(url, folder, marker, person):
    """Send inputs to each task with a marker in them, also such as cannot be used."""
    folder.mkdir()
    picture, table, text, bad = (folder / f"{marker}.{kind}" for kind in ("png", "csv", "txt", "jpg"))
    about = PngInfo()
    about.add_text("Comment", marker)
    with Image.open(ROOT / "spaces/cat_dog/examples/cat.png") as image:
        image.resize((64, 48)).save(picture, pnginfo=about)
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["who", *person], [marker, *person.values()]])
    text.write_text(f"A fine film, says {marker}.\n", encoding="utf-8")
    bad.write_bytes(picture.read_bytes()[:300] + marker.encode())
    client = Client(url, verbose=False, download_files=str(folder))
    row = list(person.values())
    for name in ("/cat_dog", "/cat_dog_explain", "/segmentation"):
        client.predict(handle_file(picture), api_name=name)
    for name in ("/sentiment", "/sentiment_explain"):
        client.predict(f"A fine film, says {marker}.", api_name=name)
    client.predict(*row, api_name="/salary")
    client.predict(handle_file(table), api_name="/salary_batch")
    client.predict([handle_file(text)], api_name="/sentiment_batch")
    client.predict(15, 1, api_name="/rating")
    for arguments, name in [
        ([handle_file(bad)], "/cat_dog"),
        ([[handle_file(bad)]], "/segmentation_batch"),
        ([*row[:1], marker, *row[2:]], "/salary_explain"),
        ([marker, marker], "/rating"),
        ([handle_file(text)], "/rating_batch"),
        ([marker], "/salary_batch"),
    ]:
        with suppress(AppError, ValueError):
            client.predict(*arguments, api_name=name)
    for path, body in [
        (f"/{marker}", None),
        (f"/?{marker}", None),
        (f"/gradio_api/file={marker}.png", None),
        (f"/gradio_api/call/{marker}", {"data": []}),
        ("/gradio_api/call/sentiment", {"data": [{marker: marker}]}),
        ("/gradio_api/run/sentiment", {"data": marker, marker: marker}),
        ("/gradio_api/queue/join", {"fn_index": marker, "data": [marker], "session_hash": marker}),
    ]:
        content = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(url + path, content, {"Content-Type": "application/json", "Referer": marker})
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(asked, timeout=60).close()


def find_marked(folder, marker):
    """Return the files with the marker in their name or content."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and (marker in str(path.relative_to(folder)) or marker.encode() in path.read_bytes())
    ]


def test_after_a_visit_only_the_uploads_are_there_and_they_are_deleted_in_time(home, person):
    marker = f"marker-{secrets.token_hex(8)}"
    uploads = home / "uploads"
    with serve_app("gallery", home) as url:
        visit(url, home / "mine", marker, person)
        connected = (home / "connections").read_text(encoding="utf-8").split()
    marked = [path for path in find_marked(home, marker) if not path.is_relative_to(home / "mine")]
    assert marked
    assert not [path for path in marked if not path.is_relative_to(uploads)]
    assert marker not in (home / "log").read_text(encoding="utf-8")
    sweep(uploads, set(), older_than=0)  # as when they are old
    assert not find_marked(uploads, marker)
    assert LOCAL & set(connected)  # the page asks itself whether it is up
    assert set(connected) <= LOCAL


def test_the_recorder_sees_a_connection(home):
    """Otherwise the test above would say nothing."""
    code = "import sys; sys.audit('socket.connect', None, ('192.0.2.1', 9))"  # which a socket does, too
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (home / "connections").read_text(encoding="utf-8") == "192.0.2.1\n"


@pytest.mark.parametrize("name", ["cat_dog", "segmentation", "sentiment", "salary", "rating"])
def test_every_page_says_what_happens_with_inputs(name):
    blocks = load_app(name).demo.blocks.values()
    assert PRIVACY in [block.value for block in blocks if isinstance(block, gr.Markdown)]
    assert f"within {(LIMITS.kept_seconds + SWEEP_SECONDS) / 60:.0f} minutes" in PRIVACY
