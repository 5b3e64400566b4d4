"""An event that does not end is given up: its client is told, and the endpoint answers others."""

import json
import threading
import urllib.error
import urllib.request

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from shared.ui import health
from tests.conftest import launch_app, set_limits
from tests.shared.ui.test_fair_queue import wait_until

SENTENCE = "This took longer than 0.5 s and was given up; try it with less."
STUCK = "Earlier requests of this kind do not end, so it cannot be answered; try again later."


class App:
    """An endpoint that hangs for the input "hang" until `gate` is open, and one on another page."""

    def __init__(self):
        self.gate, self.running, self.most = threading.Event(), 0, 0
        with gr.Blocks() as self.demo:
            text, out = gr.Textbox(), gr.Textbox()
            text.submit(self.answer, text, out, api_name="same")
        with self.demo.route("Other"):
            text, out = gr.Textbox(), gr.Textbox()
            text.submit(lambda value: value, text, out, api_name="other")

    def answer(self, value):
        self.running += 1
        self.most = max(self.most, self.running)
        if value == "hang":
            self.gate.wait(60)
        self.running -= 1
        return value

    def post(self, value, name="same", session=None):
        """Ask; returns the event's id."""
        body = json.dumps({"data": [value], **({"session_hash": session} if session else {})}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/gradio_api/call/{name}", body, headers)
        return json.loads(urllib.request.urlopen(request, timeout=30).read())["event_id"]

    def fetch(self, event, name="same"):
        """The event's last message: its kind and data."""
        stream = urllib.request.urlopen(f"{self.url}/gradio_api/call/{name}/{event}", timeout=60).read().decode()
        kind, _, data = stream.strip().rpartition("event: ")[2].partition("\ndata: ")
        return kind, json.loads(data)

    def check_health(self):
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=60).status, ""
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["detail"]


@pytest.fixture
def app(monkeypatch):
    set_limits(monkeypatch, event_seconds=0.5, stuck_events=2)
    monkeypatch.setattr(health, "FRESH_SECONDS", -1)
    app = App()
    with launch_app(app.demo) as app.url:
        yield app
        app.gate.set()


def test_a_stuck_event_is_given_up_and_the_next_one_is_answered(app):
    queue = app.demo._queue
    stuck, waits = app.post("hang", session="mine"), app.post("hello")
    assert app.fetch(stuck) == ("error", {"error": SENTENCE})
    assert app.fetch(waits) == ("complete", ["hello"])
    assert not queue.is_in_use("mine", seconds=0)
    assert stuck not in queue.event_ids_to_events
    assert app.check_health() == (200, "")


def test_gradios_client_gets_the_sentence(app):
    client = Client(app.url, verbose=False)
    with pytest.raises(AppError, match="This took longer than"):
        client.predict("hang", api_name="/same")


def test_a_thread_that_ends_late_changes_nothing(app):
    """Neither is its answer sent to anybody, nor does the endpoint get a second place."""
    queue = app.demo._queue
    stuck = app.post("hang", session="mine")
    assert app.fetch(stuck)[0] == "error"
    app.gate.set()
    wait_until(lambda: not queue.stuck)
    place = next(fn.concurrency_id for fn in app.demo.fns.values() if fn.api_name == "same")
    assert queue.event_queue_per_concurrency_id[place].current_concurrency == 0
    assert queue.event_queue_per_concurrency_id["stuck"].current_concurrency == 0
    assert not any(queue.event_queue_per_concurrency_id["stuck"].start_times_per_fn.values())
    assert queue.active_jobs.count(None) == len(queue.active_jobs)
    wait_until(lambda: "mine" not in queue.unfetched)  # it has been fetched, and nothing has come since
    assert queue.pending_messages_per_session["mine"].empty()
    app.most = 0
    assert [app.fetch(event) for event in [app.post(str(number)) for number in range(5)]] == [
        ("complete", [str(number)]) for number in range(5)
    ]
    assert app.most == 1


def test_hanging_inputs_do_not_take_all_threads(app):
    """With as many as may be stuck, the endpoint is closed and says so; the others go on, and /health reports it."""
    queue = app.demo._queue
    for _ in range(2):
        assert app.fetch(app.post("hang"))[0] == "error"
    assert app.check_health() == (503, "2 requests do not end; restart the app.")
    last, waiting = app.post("hang"), [app.post("hello") for _ in range(3)]
    assert app.fetch(last) == ("error", {"error": SENTENCE})
    assert [app.fetch(event) for event in waiting] == [("error", {"error": STUCK})] * 3
    with pytest.raises(urllib.error.HTTPError) as refused:
        app.post("hello")
    assert refused.value.code == 503
    assert json.loads(refused.value.read())["detail"] == STUCK
    assert app.fetch(app.post("hello", "other"), "other") == ("complete", ["hello"])
    assert app.running == len(queue.stuck) == 3
    app.gate.set()
    wait_until(lambda: not queue.stuck)
    assert app.fetch(app.post("hello")) == ("complete", ["hello"])
    assert app.check_health() == (200, "")


def test_an_event_that_fails_late_or_early_is_no_stuck_one(app, monkeypatch):
    def fail(_):
        raise gr.Error("No.", print_exception=False)

    next(fn for fn in app.demo.fns.values() if fn.api_name == "same").fn = fail
    kind, content = app.fetch(app.post("x"))
    assert (kind, content["error"]) == ("error", "No.")
    assert not app.demo._queue.stuck
