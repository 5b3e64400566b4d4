"""Clients that leave, send a byte at a time, or do not read: nothing of them is left, and others are answered."""

import contextlib
import gc
import http.client
import json
import re
import select
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import pytest

from shared.ui import fair_queue, health, http_body, storage
from tests.conftest import launch_app, set_limits
from tests.shared.ui.test_fair_queue import wait_until

FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
ANSWER = "a" * 20_000_000  # more than the system's buffers of a connection take
TIMES = 200  # that a client leaves
POOLS = re.compile("AnyIO worker thread|asyncio_")  # whose threads wait for the next task

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),  # of Gradio's statistics of 100 events
]


class App:
    """An endpoint whose answer waits for `gate` if it is asked to wait, or is long; and its address and folder."""

    def __init__(self, folder):
        self.folder, self.gate = folder, threading.Event()
        with gr.Blocks() as self.demo:
            text, out = gr.Textbox(), gr.Textbox()
            text.submit(self.answer, text, out, api_name="ask", concurrency_limit=4)

    def answer(self, text):
        if text == "wait":
            self.gate.wait(60)
        return ANSWER if text == "long" else text

    def connect(self, buffer=None):
        address = urlsplit(self.url)
        client = socket.socket()
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(60)
        client.connect((address.hostname, address.port))
        return client

    def open(self, method, path, headers="", body=b"", buffer=None):
        """Send a request; return its connection."""
        client = self.connect(buffer)
        client.sendall(f"{method} /gradio_api{path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body)
        return client

    def start_upload(self, content=bytes(90_000)):
        headers = f"Content-Type: {FORM}\r\nContent-Length: 4000000\r\n"
        return self.open("POST", "/upload", headers, PART + content)

    def request(self, method, path, content=None):
        """The status and the content of an answer."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if content is None else json.dumps(content), headers)
        response = connection.getresponse()
        result = response.status, response.read().decode()
        connection.close()
        return result

    def post(self, text, session):
        """Ask; return the event's id."""
        content = {"data": [text], "session_hash": session}
        return json.loads(self.request("POST", "/gradio_api/call/ask", content)[1])["event_id"]

    def ask(self, text="hello"):
        """Ask, and return the end of the answer's stream."""
        return self.request("GET", f"/gradio_api/call/ask/{self.post(text, None)}")[1]

    def upload(self, content):
        """Upload a file, and return its path."""
        headers = f"Connection: close\r\nContent-Type: {FORM}\r\nContent-Length: {len(PART) + len(content) + 9}\r\n"
        with self.open("POST", "/upload", headers, PART + content + b"\r\n--b--\r\n") as client:
            return json.loads(b"".join(iter(lambda: client.recv(10_000), b"")).split(b"\r\n\r\n")[1])[0]

    def count(self):
        """What a client may leave behind."""
        queue, left = self.demo._queue, storage.STORAGE
        return {
            "open files": len(list(Path("/proc/self/fd").iterdir())),
            "threads": sorted(each.name for each in threading.enumerate() if not POOLS.match(each.name)),
            "temporary files": sorted(path for path in self.folder.rglob("*")),
            "bytes": (left.unfinished, dict(left.arriving), dict(left.used)),
            "events": (list(queue.event_ids_to_events), len(queue), len(queue.stuck), sum(queue.unfetched.values())),
            "sessions": [session for session, events in queue.pending_event_ids_session.items() if events],
            "tasks": len(queue._asyncio_tasks),
        }

    def expect(self, before):
        """Wait until nothing is left of clients, and the app answers."""
        try:
            wait_until(lambda: self.count() == before)
        except AssertionError:
            assert self.count() == before  # says what is left
        assert self.ask() == 'event: complete\ndata: ["hello"]\n\n'
        assert self.request("GET", "/health")[0] == 200


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(health, "FRESH_SECONDS", -1)
    new = storage.Storage()
    for module in (storage, http_body):
        monkeypatch.setattr(module, "STORAGE", new)
    set_limits(monkeypatch, unfetched_seconds=1)
    monkeypatch.setattr(fair_queue, "QUIET_SECONDS", 1.0)
    app = App(tmp_path / "uploads")
    with launch_app(app.demo) as app.url:
        assert app.ask() == 'event: complete\ndata: ["hello"]\n\n'
        assert app.request("GET", "/health")[0] == 200
        wait_until(lambda: not app.demo._queue.unfetched)
        gc.collect()  # open files of earlier tests
        yield app
        app.gate.set()


# --- clients that leave ---


def test_two_hundred_clients_that_leave_in_the_middle_of_an_upload_leave_nothing(app):
    before = app.count()
    for _ in range(TIMES // 10):
        with contextlib.ExitStack() as clients:
            for _ in range(10):
                clients.enter_context(app.start_upload())
            wait_until(lambda: storage.STORAGE.unfinished > 800_000)
    app.expect(before)


def test_two_hundred_clients_that_leave_in_the_middle_of_a_stream_leave_nothing(app):
    """Of an answer, of a session as browsers and gradio_client open it, and of what only keeps a session alive."""
    queue, before = app.demo._queue, app.count()
    for number in range(TIMES):
        session = f"session-{number}"
        wait_until(lambda: len(queue) < 10)  # a few answers run, and the next ones wait
        event = app.post("wait", session)
        paths = f"/call/ask/{event}", f"/queue/data?session_hash={session}", f"/heartbeat/{session}"
        with app.open("GET", paths[number % 3]) as stream:
            assert b"200 OK" in stream.recv(1000)
        if number % 3 == 2:  # it has more than one stream, as a page has
            app.open("GET", paths[1]).close()
    app.gate.set()
    app.expect(before)


def test_streams_that_one_client_leaves_open_do_not_take_the_connections_of_others(app, monkeypatch):
    """An open page has one such stream; a thousand of one address are no class behind a router."""
    set_limits(monkeypatch, client_requests=30)
    before, forwarded = app.count(), "X-Forwarded-For: 203.0.113.{}\r\n"  # uvicorn trusts it from this machine
    idle = [app.open("GET", f"/heartbeat/s{number}", forwarded.format(1)) for number in range(40)]
    starts = [client.recv(1000) for client in idle]
    assert sum(b" 200 " in start for start in starts) == 30
    refused = next(start for start in starts if b" 429 " in start)
    assert b"Your network has 30 requests in progress; close some pages." in refused
    assert b"connection: close" in refused.lower()
    with app.open("GET", "/heartbeat/another", forwarded.format(2)) as another:
        assert b" 200 " in another.recv(1000)
    idle[[b" 200 " in start for start in starts].index(True)].close()
    wait_until(lambda: b" 200 " in app.open("GET", "/heartbeat/s41", forwarded.format(1)).recv(1000))
    for client in idle:
        client.close()
    app.expect(before)


# --- clients that are slow ---


def test_uploads_of_a_byte_at_a_time_end_and_others_are_answered(app, monkeypatch):
    set_limits(monkeypatch, bytes_per_second=1_000_000)
    monkeypatch.setattr(http_body, "FIRST_SECONDS", 3.0)
    before = app.count()
    slow = [app.start_upload(b"") for _ in range(40)]

    def have_answers():
        for client in slow:
            with contextlib.suppress(OSError):
                client.send(b"x")
        assert "complete" in app.ask()
        return all(select.select([client], [], [], 0)[0] for client in slow)

    wait_until(have_answers)
    for client in slow:
        assert b" 408 " in client.recv(1000)
        client.close()
    app.expect(before)


def test_streams_and_files_that_are_not_read_end_and_others_are_answered(app, monkeypatch):
    set_limits(monkeypatch, unread_seconds=1)
    path = app.upload(ANSWER.encode())
    before = app.count()
    slow = []
    for number in range(6):
        streamed = f"/call/ask/{app.post('long', f'session-{number}')}"
        slow.append(app.open("GET", f"/file={path}" if number % 2 else streamed, buffer=4096))
    for client in slow:
        assert client.recv(1)
    most = before["open files"] + len(slow)  # the clients are in this process, too

    def have_ended():
        for client in slow[:3]:
            client.recv(1)
        assert "complete" in app.ask()
        return app.count()["open files"] <= most

    wait_until(have_ended)
    for client in slow:
        client.close()
    app.expect(before)


def test_a_client_that_reads_late_gets_all(app):
    with app.open("GET", f"/file={app.upload(ANSWER.encode())}", "Connection: close\r\n", buffer=4096) as client:
        time.sleep(1)
        assert sum(iter(lambda: len(client.recv(1_000_000)), 0)) > len(ANSWER)
