"""GET /health is 200 while questions are answered, and 503 when they are not."""

import json
import shutil
import threading
import time
import urllib.error
import urllib.request

import gradio as gr
import pytest

from shared.ui import health
from tests.conftest import launch_app, set_limits

GATE = threading.Event()
GATE.set()


class Model:
    """A model that answers, or fails."""

    fails = False

    def example(self):
        return 1

    def predict_batch(self, items):
        if self.fails:
            raise RuntimeError("the file /secret/model.onnx has gone")
        return items


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def app(model, monkeypatch, tmp_path):
    monkeypatch.setattr(health, "FRESH_SECONDS", -1)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    with gr.Blocks() as demo:
        text = gr.Textbox()
        text.submit(lambda value: GATE.wait(20) and value, text, text, api_name="same")
    with launch_app(demo, model) as url:
        yield demo, url


def check_health(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_an_app_that_answers_is_healthy_and_keeps_nothing_of_the_checks(app):
    demo, url = app
    for _ in range(3):
        assert check_health(url) == (200, {"status": "ok"})
    assert not demo._queue.pending_messages_per_session
    assert not demo._queue.pending_event_ids_session


def test_an_app_whose_queue_is_full_is_healthy(app, monkeypatch):
    set_limits(monkeypatch, page_waiting=1)
    _, url = app
    body, headers = json.dumps({"data": ["x"]}).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/gradio_api/call/same", body, headers)
    GATE.clear()
    try:
        for _ in range(2):  # one runs, one waits
            urllib.request.urlopen(request).close()
            time.sleep(0.3)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(request)
        assert check_health(url) == (200, {"status": "ok"})
    finally:
        GATE.set()


def test_a_stopped_queue_is_detected(app):
    demo, url = app
    demo._queue.stopped = True
    assert check_health(url) == (503, {"status": "unhealthy", "detail": "The queue has stopped."})


def test_a_model_that_fails_is_detected_and_the_reason_stays_in_the_log(app, model, caplog):
    model.fails = True
    status, content = check_health(app[1])
    assert status == 503
    assert "secret" not in str(content)
    assert "/secret/model.onnx has gone" in caplog.text


def test_a_folder_of_uploads_that_has_gone_is_made_again(app, tmp_path):
    shutil.rmtree(tmp_path / "uploads")
    assert check_health(app[1])[0] == 200
    assert (tmp_path / "uploads").is_dir()


def test_a_folder_of_uploads_that_cannot_be_made_is_detected(app, tmp_path):
    shutil.rmtree(tmp_path / "uploads")
    (tmp_path / "uploads").write_text("no folder")
    assert check_health(app[1])[0] == 503


def test_a_queue_that_is_stuck_is_detected(app, monkeypatch):
    monkeypatch.setattr(health, "PATIENCE", 0.5)
    demo, url = app
    monkeypatch.setattr(demo._queue, "get_events", lambda: None)
    status, content = check_health(url)
    assert status == 503
    assert "did not answer within" in content["detail"]


def test_the_check_is_no_endpoint(app):
    info = json.loads(urllib.request.urlopen(f"{app[1]}/gradio_api/info").read())
    assert set(info["named_endpoints"]) == {"/same"}
