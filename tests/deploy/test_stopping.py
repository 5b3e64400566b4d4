"""SIGTERM: a replica finishes its answers, leaves other requests to others, and stops."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.conftest import ROOT, find_free_port, python_path, wait_for

APP = """
import time
import gradio as gr
from shared.ui import launch

def slow(seconds):
    time.sleep(seconds)
    return seconds

with gr.Blocks() as demo:
    number = gr.Number()
    number.submit(slow, number, number, api_name="slow", concurrency_limit=8)
launch(demo)
"""


class App:
    """The process of a small app, asked over HTTP with or without the mark of a balancer."""

    def __init__(self, folder):
        (folder / "app.py").write_text(APP)
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        variables = {"GALLERY_REPLICA": "1", "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": python_path(ROOT)}
        log = folder / "log"
        with log.open("w") as output:
            command = [sys.executable, folder / "app.py"]
            self.process = subprocess.Popen(command, env=os.environ | variables, stdout=output, stderr=output)
        wait_for(self.url, self.process, log)

    def ask(self, path, body=None, marked=False):
        """Return the status and text of an answer."""
        headers = {"Content-Type": "application/json"} | ({"X-Replicas": "several"} if marked else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def join(self, session, seconds, marked=True):
        return self.ask("/gradio_api/queue/join", {"data": [seconds], "fn_index": 0, "session_hash": session}, marked)

    def call(self, seconds, marked=True):
        return self.ask("/gradio_api/call/slow", {"data": [seconds]}, marked)


@pytest.fixture
def app(tmp_path):
    app = App(tmp_path)
    yield app
    app.process.kill()
    app.process.wait()


def test_sigterm_finishes_accepted_questions_and_leaves_others(app):
    assert app.ask("/gradio_api/queue/data?session_hash=nobody", marked=True)[0] == 404
    assert app.ask("/gradio_api/call/slow/nothing", marked=True)[0] == 404
    assert app.join("a", 4)[0] == 200
    event = json.loads(app.call(3)[1])["event_id"]
    app.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)

    assert app.join("b", 0)[0] == 404
    assert app.join("a", 1)[0] == 200  # they share a stream
    assert app.call(0)[0] == 404
    assert app.ask("/config", marked=True)[0] == 404
    assert app.ask("/config")[0] == 200  # nobody else would be asked

    status, text = app.ask(f"/gradio_api/call/slow/{event}", marked=True)
    assert (status, text) == (200, "event: complete\ndata: [3]\n\n")
    status, text = app.ask("/gradio_api/queue/data?session_hash=a", marked=True)
    assert status == 200
    assert text.count('"msg":"process_completed"') == 2
    assert '"data":[4]' in text
    assert '"data":[1]' in text
    assert app.ask("/gradio_api/queue/data?session_hash=a", marked=True)[0] == 404
    assert app.process.wait(120) == 0


def test_an_unfetched_answer_does_not_delay_the_stop(app):
    app.join("a", 0)
    app.process.send_signal(signal.SIGTERM)
    assert app.process.wait(20) == 0


def test_a_second_signal_stops_the_app_immediately(app):
    app.join("a", 60)
    app.process.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert app.process.poll() is None
    app.process.send_signal(signal.SIGTERM)
    assert app.process.wait(10) == -signal.SIGTERM
