"""What comes with an event besides its inputs, and JSON with so many items that to read it would take long."""

import json
import urllib.error
import urllib.request

import gradio as gr
import pytest
from starlette.exceptions import HTTPException

from shared.text_classifier import TextClassifierExplanation
from shared.ui import http_body
from shared.ui.fair_queue import EVENT_ITEMS
from shared.ui.http_body import count_items
from shared.ui.texts import find_tapped
from tests.conftest import launch_app, set_limits

MANY = b"[" + b"[]," * 30_000 + b"[]]"


@pytest.fixture(scope="module")
def demo():
    def choose(tap: gr.SelectData):
        return f"{tap.index}: {tap.value}"

    with gr.Blocks() as demo:
        text, out = gr.Textbox(), gr.Textbox()
        text.submit(lambda value: value, text, out, api_name="same")
        parts = gr.HighlightedText()
        parts.select(choose, None, out, api_name="choose")
        text.blur(None, text, out, js="(text) => text", api_name="here")
    return demo


@pytest.fixture(scope="module")
def url(demo):
    with launch_app(demo) as url:
        yield url


def post(url, path, content):
    """The status of an answer, and its sentence or its content."""
    request = urllib.request.Request(f"{url}/gradio_api/{path}", content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["detail"]


def find_index(demo, name):
    return next(fn._id for fn in demo.fns.values() if fn.api_name == name)


def join(url, demo, name, event_data, data=()):
    body = {"data": list(data), "fn_index": find_index(demo, name), "session_hash": "s", "event_data": event_data}
    return post(url, "queue/join", json.dumps(body).encode())


def test_event_data_that_nobody_reads_is_not_kept(url, demo, monkeypatch):
    queue, kept = demo._queue, []
    add = queue.add
    monkeypatch.setattr(queue, "add", lambda body, *more: kept.append(body) or add(body, *more))
    assert join(url, demo, "same", [{"": {}}] * 5_000, ["x"])[0] == 200
    assert [body.event_data for body in kept] == [None]


@pytest.mark.parametrize("junk", [None, {}, [], 5, {"index": 0}, ["index", "value"]])
def test_event_data_that_says_nothing_is_refused_with_a_sentence(url, demo, junk, caplog):
    status, sentence = join(url, demo, "choose", junk)
    assert (status, sentence.startswith("event_data must say what was chosen")) == (422, True)
    assert not caplog.records


def test_event_data_is_small(url, demo):
    assert join(url, demo, "choose", {"index": 0, "value": ["a", None]})[0] == 200
    status, sentence = join(url, demo, "choose", {"index": 0, "value": [0] * EVENT_ITEMS})
    assert (status, sentence) == (422, "Lists and mappings may have at most 256 items in total.")


def test_what_runs_in_the_browser_is_no_endpoint(url, demo):
    status, sentence = join(url, demo, "here", None, ["x"])
    assert (status, "no such endpoint" in sentence) == (404, True)


class Tap:
    def __init__(self, index, value):
        self.index, self.value = index, value


@pytest.mark.parametrize(
    ("index", "value", "found"),
    [
        (0, ["two words", 0.1], 0), (1, ["one", 0.2], None), (0, ["other words", 0.1], None), (0, 5, None),
        (0, [], None), (-9, ["two words", 0.1], None), (9, ["two words", 0.1], None), ([0], ["two words", 0.1], None),
    ],
)  # fmt: skip
def test_a_tap_on_no_part_is_none(index, value, found):
    parts = [("two words", 0.1), ("one", 0.2)]
    why = TextClassifierExplanation.__new__(TextClassifierExplanation)
    object.__setattr__(why, "parts", parts)
    assert find_tapped(why, Tap(index, value)) == found


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ([], 1), ({}, 1), ([1], 1), ([1, 2, 3], 3), ({"a": 1, "b": [2, 3]}, 4), ([[], [], []], 6),
        ("[,,{", 0), (['",[', "\\", '\\"', "\\\\", ",,"], 5), ({'\\",': ["\\\\", '"\\\\"', ","]}, 4),
        ([["é,", "[\n"]], 3),
    ],
)  # fmt: skip
def test_items_are_counted_outside_of_texts(value, count):
    for is_ascii in (True, False):
        assert count_items(json.dumps(value, ensure_ascii=is_ascii).encode()) == count


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_json_in_another_encoding_is_refused(encoding):
    with pytest.raises(HTTPException, match="not UTF-8"):
        count_items('["a", "b"]'.encode(encoding))


@pytest.mark.parametrize("path", ["call/same", "queue/join", "run/same", "mcp/", "cancel", "reset"])
def test_what_has_too_many_items_is_refused_before_it_is_parsed(url, demo, path, monkeypatch):
    monkeypatch.setattr(http_body.json, "loads", lambda _: pytest.fail("it was parsed"))
    body = b'{"fn_index": %d, "session_hash": "s", "data": [%b]}' % (find_index(demo, "same"), MANY)
    request = urllib.request.Request(f"{url}/gradio_api/{path}", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 422
    assert b"at most 20,000 items in total" in refused.value.read()


def test_as_many_items_as_allowed_are_read(url, demo):
    body = {"data": [list(range(19_000))]}
    assert post(url, "call/same", json.dumps(body).encode())[0] == 200
    text = '[{"a, b"}], ' * 8_000
    assert post(url, "call/same", json.dumps({"data": [text]}).encode())[0] == 200


@pytest.mark.parametrize("path", ["call/same", "queue/join", "mcp/"])
def test_requests_for_nothing_count_as_events(url, demo, path, monkeypatch):
    set_limits(monkeypatch, events_per_minute=2)
    demo._queue.rate.whole_at.clear()
    body = json.dumps({"data": [], "fn_index": 99, "session_hash": "s"}).encode()
    statuses = [post(url, path, body)[0] for _ in range(3)]
    demo._queue.rate.whole_at.clear()
    assert 429 not in statuses[:2]
    assert statuses[2] == 429
