"""What visitors get from a Space while its disk, its model's folder, its clock or its process fails.

docs/faults.md lists these faults and others, with the test of each.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import pytest

from shared.errors import CheckpointError
from shared.ui import health
from shared.ui.retention import WRITTEN_BY_GRADIO
from tests.conftest import ROOT, find_free_port, launch_app, load_app, set_limits, wait_for
from tests.shared.ui.test_fair_queue import wait_until

FORM = {"Content-Type": "multipart/form-data; boundary=b"}
JSON = {"Content-Type": "application/json"}
FULL = "The server's disk is full; try again later."
FAILS = "The server cannot use its disk at the moment; try again later."
PAGES = ["cat_dog", "rating", "salary", "segmentation", "sentiment"]


class Visitor:
    """Asks a salary Space at an address."""

    def __init__(self, url, person):
        self.url, self.person = url, person
        rows = [",".join(person), ",".join(map(str, person.values()))]
        self.table = "\n".join(rows + rows[1:]).encode()

    def request(self, method, path, content=None, headers=JSON):
        """The status and the text of an answer."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def upload(self, content=None):
        """Upload a table; return the status, and the path or the sentence."""
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\n'
        content = self.table if content is None else content
        status, text = self.request("POST", "/gradio_api/upload", head + content + b"\r\n--b--\r\n", FORM)
        return status, json.loads(text)[0] if status == 200 else json.loads(text)["detail"]

    def ask(self, name="predict", *values):
        """Ask about the person, or with other values; return the kind of the answer and its data."""
        data = json.dumps({"data": values or list(self.person.values())})
        status, text = self.request("POST", f"/gradio_api/call/{name}", data)
        if status != 200:
            return status, json.loads(text)["detail"]
        _, text = self.request("GET", f"/gradio_api/call/{name}/{json.loads(text)['event_id']}")
        kind, _, data = text.strip().rpartition("event: ")[2].partition("\ndata: ")
        return kind, json.loads(data)

    def ask_many(self, path):
        """Ask for the rows of an uploaded table."""
        return self.ask("batch", {"path": path, "meta": {"_type": "gradio.FileData"}})

    def expect_all(self):
        """Everything works."""
        assert self.ask()[0] == "complete"
        status, path = self.upload()
        assert status == 200
        kind, answer = self.ask_many(path)
        assert (kind, answer[0]) == ("complete", {"rows": 2, "answered": 2, "errors": 0})
        assert self.request("GET", "/health") == (200, '{"status":"ok"}')


# --- the disk ---


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A small disk that is full, read-only or empty as a test wants."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def served(disk):
    """A salary Space whose folder of uploads is on the small disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(disk / "uploads"))
        patch.setattr(health, "FRESH_SECONDS", -1)
        set_limits(patch, free_bytes=1)
        demo = load_app("salary").demo
        with launch_app(demo, *demo.models) as url:
            yield url


@pytest.fixture
def visitor(served, person):
    visitor = Visitor(served, person)
    visitor.expect_all()
    yield visitor
    visitor.expect_all()  # the fault has ended, and nobody did anything about it


def list_temporary(folder):
    return [path.name for path in folder.rglob("*") if path.name.startswith("tmp")]


def fill(path):
    """Write a file until the disk is full."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, bytes(4096))
    os.close(file)


def test_a_full_disk_takes_no_files_but_questions_are_answered(visitor, disk):
    path = visitor.upload()[1]
    (disk / "filler").touch()  # else there is no room for its name
    fill(disk / "filler")
    try:
        assert visitor.upload() == (507, FULL)
        kind, answer = visitor.ask_many(path)
        assert (kind, answer["error"]) == ("error", FULL)
        assert visitor.ask()[0] == "complete"
        assert visitor.request("GET", "/health")[0] == 503
    finally:
        (disk / "filler").unlink()
    assert not list_temporary(disk)


def test_an_upload_that_fills_the_disk_leaves_nothing(visitor, disk):
    assert visitor.upload(bytes(5_000_000)) == (507, FULL)
    assert not list_temporary(disk)


def test_a_read_only_disk_takes_no_files_but_questions_are_answered(visitor, disk):
    path = visitor.upload()[1]
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        assert visitor.upload() == (507, FAILS)
        kind, answer = visitor.ask_many(path)
        assert (kind, answer["error"]) == ("error", FAILS)
        assert visitor.ask()[0] == "complete"
        assert visitor.request("GET", "/health")[0] == 503
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def test_a_folder_of_uploads_that_is_deleted_is_made_again(visitor, disk):
    path = visitor.upload()[1]
    shutil.rmtree(disk / "uploads")
    status, sentence = visitor.ask_many(path)
    assert status == 403
    assert sentence.startswith("There is no such upload; send the file to /gradio_api/upload first")
    assert visitor.ask()[0] == "complete"
    assert visitor.request("GET", "/health")[0] == 200


# --- the clock ---


def test_the_clock_may_be_set_back_while_events_run_and_wait(monkeypatch, tmp_path, person):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(health, "FRESH_SECONDS", -1)
    gate, now = threading.Event(), time.time
    with gr.Blocks() as demo:
        text = gr.Textbox()
        text.submit(lambda value: gate.wait(60) and value, text, text, api_name="wait")
    with launch_app(demo) as url:
        visitor = Visitor(url, person)
        answers = []
        visitors = [threading.Thread(target=lambda: answers.append(visitor.ask("wait", "hello"))) for _ in range(3)]
        for thread in visitors:
            thread.start()
        wait_until(lambda: len(demo._queue) == 2)
        monkeypatch.setattr(time, "time", lambda: now() - 86_400)
        gate.set()
        for thread in visitors:
            thread.join(60)
        assert answers == [("complete", ["hello"])] * 3
        assert visitor.ask("wait", "again") == ("complete", ["again"])
        assert visitor.request("GET", "/health")[0] == 200
        estimates = [each.avg_time for each in demo._queue.process_time_per_fn.values()]
        assert estimates
        assert all(0 <= seconds < 1_000 for seconds in estimates)


# --- the model ---


@pytest.mark.parametrize("name", PAGES)
def test_a_model_that_is_damaged_or_deleted_while_it_is_served_matters_at_the_next_start(name, tmp_path):
    space = shutil.copytree(ROOT / "spaces" / name, tmp_path / name)
    model = load_app(space).demo.models[0]
    model.predict_batch([model.example()])
    damaged = space / "model/onnx/model.onnx"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    model.predict_batch([model.example()])
    with pytest.raises(CheckpointError, match=re.escape("onnx/model.onnx")):
        load_app(space)
    shutil.rmtree(space / "model")
    model.predict_batch([model.example()])
    with pytest.raises(CheckpointError, match=re.escape(str(space / "model"))):
        load_app(space)


# --- the process ---


@contextlib.contextmanager
def start(folder):
    """Serve a salary Space in a process of its own, with its folder of uploads; yield the process and its port."""
    port = find_free_port()
    variables = {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    with (folder / "log").open("w") as output:
        command = [sys.executable, ROOT / "spaces/salary/app.py"]
        process = subprocess.Popen(command, env=os.environ | variables, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}", process, folder / "log")
        yield process, port
    finally:
        process.kill()
        process.wait()


def send(port, request, headers=b"\r\n"):
    """Send a request, and return its connection."""
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(f"{request} HTTP/1.1\r\nHost: x\r\n".encode() + headers)
    return client


def read_rest(client):
    """Read what is left of an answer until the connection ends."""
    received = b""
    with client, contextlib.suppress(ConnectionResetError):
        while piece := client.recv(10_000):
            received += piece
    return received


def test_a_killed_space_starts_again_and_deletes_what_its_requests_left(tmp_path, person):
    """Killed with an upload, a batch of rows, and a stream of a page open; in the end it is stopped with SIGTERM."""
    uploads = tmp_path / "uploads"
    with start(tmp_path) as (process, port):
        visitor = Visitor(f"http://127.0.0.1:{port}", person)
        path = Path(visitor.upload()[1])
        many = visitor.upload(visitor.table + b"\n" + b"\n".join(visitor.table.splitlines()[1:] * 20_000))[1]
        before = {path.parent, Path(many).parent}
        part = b'\r\n--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + bytes(90_000)
        form = f"Content-Type: {FORM['Content-Type']}\r\nContent-Length: 4000000\r\n".encode()
        uploading = send(port, "POST /gradio_api/upload", form + part)
        asked = json.dumps({"data": [{"path": many, "meta": {"_type": "gradio.FileData"}}]})
        event = json.loads(visitor.request("POST", "/gradio_api/call/batch", asked)[1])["event_id"]
        waiting = send(port, f"GET /gradio_api/call/batch/{event}")
        listening = send(port, "GET /gradio_api/heartbeat/mine")
        for stream in (waiting, listening):
            assert b" 200 OK" in stream.recv(1000)
        wait_until(lambda: len(list(uploads.glob("tmp*"))) == 2)  # of the upload and of the batch
        process.kill()
        process.wait()
    assert read_rest(uploading) == b""
    for stream in (waiting, listening):  # they break off, so their clients know that no more comes
        assert not read_rest(stream).endswith(b"0\r\n\r\n")
    left = [each for each in uploads.iterdir() if WRITTEN_BY_GRADIO.fullmatch(each.name) and each not in before]
    assert len([each for each in left if each.name.startswith("tmp")]) == 2
    for each in left:
        for inner in (*each.rglob("*"), each):
            os.utime(inner, (time.time() - 7_200,) * 2)  # as two hours later

    with start(tmp_path) as (process, port):
        wait_until(lambda: not any(each.exists() for each in left))
        visitor = Visitor(f"http://127.0.0.1:{port}", person)
        assert visitor.ask_many(str(path))[0] == "complete"  # what was uploaded before is there
        visitor.expect_all()
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
