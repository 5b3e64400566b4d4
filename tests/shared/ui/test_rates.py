"""A client may send so many events in a minute, and their counts take bounded memory."""

import json
import urllib.error
import urllib.request

import gradio as gr
import pytest
from starlette.exceptions import HTTPException

from shared.ui import rates
from shared.ui.fair_queue import find_client_address
from shared.ui.rates import EventRate
from tests.conftest import launch_app, set_limits


@pytest.fixture
def demo():
    with gr.Blocks() as demo:
        text, out = gr.Textbox(), gr.Textbox()
        text.submit(lambda value: value, text, out, api_name="same")
        gr.Examples([["a"]], text)
    return demo


def post(url, body, path="call/same", **headers):
    """The status, Retry-After and content of an answer."""
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{url}/gradio_api/{path}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, "", json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Retry-After"], json.loads(error.read())


def find_wait(rate, client, now):
    """Send an event; the seconds that a refused client is told to wait, or 0."""
    try:
        rate.count(client, now)
    except HTTPException as error:
        return int(error.headers["Retry-After"]) if error.status_code == 429 else None
    return 0


def count_accepted(rate, client, times):
    return sum(find_wait(rate, client, now) == 0 for now in times)


def test_a_minutes_events_may_come_at_once_and_then_as_many_each_minute(monkeypatch):
    set_limits(monkeypatch, events_per_minute=60)
    rate = EventRate()
    assert count_accepted(rate, "a", [0.0] * 100) == 60
    assert count_accepted(rate, "b", [0.0] * 100) == 60
    assert count_accepted(rate, "a", [0.5, 1.0, 1.5, 2.0]) == 2
    assert count_accepted(rate, "a", [number / 100 for number in range(200, 60_000)]) == 597
    assert count_accepted(rate, "a", [10_000.0] * 100) == 60


def test_one_who_waits_as_told_is_answered(monkeypatch):
    set_limits(monkeypatch, events_per_minute=7)
    rate, now = EventRate(), 0.0
    for _ in range(50):
        if wait := find_wait(rate, "a", now):
            assert 1 <= wait <= 9
            now += wait
            assert find_wait(rate, "a", now) == 0
    assert now > 300


def test_very_many_clients_take_bounded_memory_and_a_busy_one_is_not_forgotten(monkeypatch):
    set_limits(monkeypatch, events_per_minute=10)
    monkeypatch.setattr(rates, "CLIENTS", 100)
    rate = EventRate()
    accepted = 0
    for number in range(5_000):
        rate.count(f"client {number}", 0.0)
        accepted += count_accepted(rate, "busy", [0.0])
    assert len(rate.whole_at) == 100
    assert accepted == 10


def test_a_new_client_has_one_allowance_though_very_many_are_remembered(monkeypatch):
    set_limits(monkeypatch, events_per_minute=10)
    monkeypatch.setattr(rates, "CLIENTS", 100)
    rate = EventRate()
    for number in range(200):
        rate.count(f"client {number}", 0.0)
    assert count_accepted(rate, "new", [0.0] * 20) == 10


def test_two_thousand_sessions_of_one_client_have_its_allowance_together(demo, monkeypatch):
    set_limits(monkeypatch, events_per_minute=40, client_waiting=5_000, page_waiting=5_000)
    with launch_app(demo) as url:
        found = [post(url, {"data": ["x"], "session_hash": f"s{number}"}) for number in range(45)]
        assert sum(status == 200 for status, *_ in found) in range(40, 44)  # the allowance grows while they are sent
        status, wait, content = next(answer for answer in found if answer[0] != 200)
        assert status == 429
        assert wait in ("1", "2")
        assert content["detail"] == f"You have sent more than 40 requests a minute; try again in {wait} s."
        queue = demo._queue
        for number in range(2_000):
            queue.rate.whole_at.move_to_end("127.0.0.1")
            with pytest.raises(HTTPException, match="more than 40 requests a minute"):
                queue.rate.count("127.0.0.1", now=queue.rate.whole_at["127.0.0.1"] - 60 + number * 1e-9)
        assert len(queue.pending_messages_per_session) <= 44
        assert len(queue.rate.whole_at) == 1


def test_events_that_are_refused_or_select_examples_count_too(demo, monkeypatch):
    with launch_app(demo) as url:
        example = next(fn for fn in demo.fns.values() if not fn.queue)
        set_limits(monkeypatch, events_per_minute=4)
        assert post(url, {"data": []})[0] == 422
        assert post(url, {"data": [{"path": "/etc/passwd"}]})[0] == 403
        body = {"data": [0], "fn_index": example._id, "session_hash": "mine"}
        for _ in range(2):
            assert post(url, body, "run/predict")[0] == 200
        assert [post(url, body, "run/predict")[0], post(url, {"data": ["x"]})[0]] == [429, 429]
        assert urllib.request.urlopen(f"{url}/health").status == 200


def test_pages_and_descriptions_have_an_allowance_of_their_own(demo, monkeypatch):
    with demo.route("Other", "other"):
        gr.Markdown("Another page")
    with launch_app(demo) as url:
        for path in ("", "other", "config", "gradio_api/info", "gradio_api/openapi.json", "?__theme=dark"):
            demo._queue.page_rate.whole_at.clear()
            set_limits(monkeypatch, pages_per_minute=2)
            for _ in range(2):
                assert urllib.request.urlopen(f"{url}/{path}").status == 200
            with pytest.raises(urllib.error.HTTPError, match="429") as refused:
                urllib.request.urlopen(f"{url}/{path}")
            wait = refused.value.headers["Retry-After"]
            sentence = f"You have sent more than 2 requests for pages a minute; try again in {wait} s."
            assert json.loads(refused.value.read())["detail"] == sentence
        for free in ("health", "theme.css", "robots.txt"):
            assert urllib.request.urlopen(f"{url}/{free}").status == 200
        assert post(url, {"data": ["x"]})[0] == 200


def test_a_forged_header_gives_no_second_allowance(demo, monkeypatch):
    set_limits(monkeypatch, events_per_minute=3)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.9.9.9")  # uvicorn trusts this machine by default
    with launch_app(demo) as url:
        forged = [post(url, {"data": ["x"]}, X_Forwarded_For=f"10.0.0.{number}")[0] for number in range(4)]
        assert forged == [200, 200, 200, 429]
        assert list(demo._queue.rate.whole_at) == ["127.0.0.1"]


def test_behind_a_proxy_that_is_trusted_each_client_has_its_own(demo, monkeypatch):
    """And what a client claims stands before what the proxy adds."""
    set_limits(monkeypatch, events_per_minute=2)
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", "1")
    with launch_app(demo) as url:
        for address in ("10.0.0.1", "10.0.0.2"):
            statuses = [
                post(url, {"data": ["x"]}, X_Forwarded_For=f"6.6.6.{number}, {address}")[0] for number in range(3)
            ]
            assert statuses == [200, 200, 429]
    many = [
        {"client": None, "headers": [(b"x-forwarded-for", f"2001:db8::{number:x}".encode())]} for number in range(9)
    ]
    assert {find_client_address(scope) for scope in many} == {"2001:db8::/64"}


def test_a_client_without_an_address_is_one_client():
    assert find_client_address({"client": None, "headers": []}) == "unknown"
