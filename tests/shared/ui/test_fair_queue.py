"""The queue cannot be stopped, and one caller cannot fill it for all."""

import asyncio
import contextlib
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.utils import BaseReloader
from starlette.exceptions import HTTPException

from shared.ui.fair_queue import FairQueue, check_data, estimate_memory, find_client_address, is_uploaded
from tests.conftest import launch_app, set_limits

JSON = {"Content-Type": "application/json"}
FILE = {"_type": "gradio.FileData"}


class App:
    """An app with an endpoint that waits for `gate` and a quick one, each on a page of its own."""

    def __init__(self):
        self.gate = threading.Event()
        with gr.Blocks() as self.demo:
            text, out = gr.Textbox(), gr.Textbox()
            text.submit(self.wait, text, out, api_name="slow")
        with self.demo.route("Quick"):
            text, out = gr.Textbox(), gr.Textbox()
            text.submit(lambda value: value, text, out, api_name="quick")

    def wait(self, value):
        self.gate.wait(20)
        return value

    def post(self, name, value="x", session=None, forwarded=None):
        """Ask; returns the event's id."""
        body = {"data": [value], **({} if session is None else {"session_hash": session})}
        headers = {"Content-Type": "application/json"}
        headers |= {"X-Forwarded-For": forwarded} if forwarded else {}
        request = urllib.request.Request(f"{self.url}/gradio_api/call/{name}", json.dumps(body).encode(), headers)
        return json.loads(urllib.request.urlopen(request, timeout=60).read())["event_id"]

    def fetch(self, name, event):
        """The last line of an event's stream."""
        stream = urllib.request.urlopen(f"{self.url}/gradio_api/call/{name}/{event}", timeout=60).read().decode()
        return stream.strip().rpartition("event: ")[2]

    def call(self, name, value="x", session=None):
        return self.fetch(name, self.post(name, value, session))


@pytest.fixture
def app():
    app = App()
    with launch_app(app.demo) as app.url:
        yield app
        app.gate.set()


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


# --- nothing stops it ---


def test_a_session_that_waits_is_kept_however_many_come_after_it(app, monkeypatch):
    """Gradio would drop it, and its KeyError would end the loop that starts every event."""
    set_limits(monkeypatch, sessions=3)
    monkeypatch.setattr(FairQueue.is_in_use, "__defaults__", (0.0,))
    waiting = [app.post("slow", f"answer {number}", f"patient-{number}") for number in range(3)]
    for number in range(10):
        assert app.call("quick", str(number)) == f'complete\ndata: ["{number}"]'
    app.gate.set()
    assert [app.fetch("slow", event) for event in waiting] == [
        f'complete\ndata: ["answer {number}"]' for number in range(3)
    ]
    assert not app.demo._queue.stopped
    assert len(app.demo._queue.pending_messages_per_session) <= 4


def test_a_session_whose_answer_is_on_its_way_is_kept(app, monkeypatch):
    set_limits(monkeypatch, sessions=3)
    event = app.post("quick", "mine", "reads-slowly")
    wait_until(lambda: not app.demo._queue.event_ids_to_events)
    for number in range(10):
        app.call("quick", str(number))
    assert app.fetch("quick", event) == 'complete\ndata: ["mine"]'


def test_events_without_the_name_of_a_session_are_answered(app):
    events = [app.post("quick", str(number), session="") for number in range(3)]
    assert [app.fetch("quick", event) for event in events] == [f'complete\ndata: ["{n}"]' for n in range(3)]
    assert "" not in app.demo._queue.pending_messages_per_session


def test_an_event_whose_session_has_gone_stops_nothing(app):
    """A client that hangs up has its session deleted a moment before its events are."""
    app.post("slow", session="runs")
    app.post("slow", session="gone")
    del app.demo._queue.pending_messages_per_session["gone"]
    app.gate.set()
    assert app.call("quick") == 'complete\ndata: ["x"]'
    assert app.call("slow") == 'complete\ndata: ["x"]'


def test_an_idle_queue_is_looked_at_less_often_and_still_answers(app):
    queue = app.demo._queue
    app.call("quick")
    assert queue.sleep_when_free == queue.polling <= 0.05
    queue.pushed_at -= 60
    assert queue.sleep_when_free == 0.02
    assert app.call("quick") == 'complete\ndata: ["x"]'
    assert queue.sleep_when_free == queue.polling


def test_an_error_in_the_loop_is_logged_and_the_queue_goes_on(app, monkeypatch, caplog):
    fails = iter([True])

    def get_events():
        if next(fails, False):
            raise KeyError("a fault nobody knows of yet")
        return type(app.demo._queue).get_events(app.demo._queue)

    monkeypatch.setattr(app.demo._queue, "get_events", get_events)
    event = app.post("quick", session="mine")
    assert app.fetch("quick", event) == 'complete\ndata: ["x"]'
    assert app.call("quick") == 'complete\ndata: ["x"]'
    assert "a fault nobody knows of yet" in caplog.text
    set_limits(monkeypatch, unfetched_seconds=0.1)
    app.post("quick", session="forgets")  # the loop that drops unfetched answers goes on, too
    wait_until(lambda: "forgets" not in app.demo._queue.pending_messages_per_session)


def test_gradio_still_drops_sessions_that_wait():
    """When this fails, Gradio has mended its queue: PendingMessages and send_message can go."""
    with gr.Blocks() as demo:
        pass
    demo.queue()
    kept = demo._queue.pending_messages_per_session
    kept["waiting"] = asyncio.Queue()
    for number in range(kept.max_size):
        kept[str(number)] = asyncio.Queue()
    event = SimpleNamespace(session_hash="waiting", alive=True, _id="1")
    with pytest.raises(KeyError, match="waiting"):
        demo._queue.send_message(event, SimpleNamespace())


# --- answers that nobody fetches ---


def test_an_answer_that_nobody_fetches_is_dropped_in_time(app, monkeypatch):
    set_limits(monkeypatch, unfetched_seconds=0.1)
    queue = app.demo._queue
    app.post("quick", session="forgets")
    app.post("slow", session="patient")
    wait_until(lambda: "forgets" not in queue.pending_messages_per_session)
    assert "forgets" not in queue.pending_event_ids_session
    assert "patient" in queue.pending_messages_per_session


def test_only_so_many_answers_that_nobody_fetches_are_kept(app, monkeypatch):
    """They go from who has most of them."""
    set_limits(monkeypatch, unfetched_answers=5)
    monkeypatch.setattr(FairQueue.is_in_use, "__defaults__", (0.0,))
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", "1")
    app.post("quick", session="honest", forwarded="10.0.0.1")
    for number in range(12):
        app.post("quick", session=f"forgets-{number}", forwarded="10.0.0.2")
    kept = app.demo._queue.pending_messages_per_session
    wait_until(lambda: len(kept) <= 5 and not app.demo._queue.event_ids_to_events)
    assert "honest" in kept
    assert "forgets-11" in kept
    assert "forgets-0" not in kept


def test_one_session_keeps_few_answers(app, monkeypatch):
    set_limits(monkeypatch, session_waiting=3)
    for _ in range(3):
        app.post("quick", session="forgets")
    with pytest.raises(urllib.error.HTTPError, match="429"):
        app.post("quick", session="forgets")


def test_a_session_that_fetches_its_answers_is_not_limited(app, monkeypatch):
    set_limits(monkeypatch, session_waiting=3)
    set_limits(monkeypatch, unfetched_answers=2)
    for number in range(20):
        assert app.call("quick", str(number), "mine") == f'complete\ndata: ["{number}"]'
        time.sleep(0.1)


def test_cancelling_frees_no_place_while_the_function_runs(app):
    running, most = [], []

    def wait(value):
        running.append(value)
        most.append(len(running))
        app.gate.wait(20)
        running.remove(value)
        return value

    next(fn for fn in app.demo.fns.values() if fn.api_name == "slow").fn = wait
    for number in range(4):
        event = app.post("slow", str(number), "mine")
        wait_until(lambda: running or app.demo._queue.event_ids_to_events)
        body = json.dumps({"session_hash": "mine", "fn_index": 0, "event_id": event}).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{app.url}/gradio_api/cancel", body, headers)).close()
        time.sleep(0.3)
    app.gate.set()
    assert max(most) == 1


def wait_until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- shares ---


def post_many(app, name, count, session=None, forwarded=None, value="x"):
    """What posts are answered with: 200, or the error's status, Retry-After and sentence."""
    for number in range(count):
        try:
            app.post(name, value, session=session and f"{session}{number}", forwarded=forwarded)
            yield 200
        except urllib.error.HTTPError as error:
            yield error.code, error.headers["Retry-After"], json.loads(error.read())["detail"]


def test_one_caller_cannot_fill_a_page(app, monkeypatch):
    set_limits(monkeypatch, client_waiting=4)
    app.post("slow", session="runs")
    wait_until(lambda: not len(app.demo._queue))
    found = list(post_many(app, "slow", 6, session="many-"))
    assert found[:4] == [200] * 4
    assert found[4][:2] == (429, "5")
    assert "waiting here" in found[4][2]
    assert app.call("quick") == 'complete\ndata: ["x"]'


def test_one_session_cannot_fill_a_page(app, monkeypatch):
    set_limits(monkeypatch, session_waiting=3)
    app.post("slow", session="mine")
    wait_until(lambda: not len(app.demo._queue))
    for _ in range(2):
        app.post("slow", session="mine")
    with pytest.raises(urllib.error.HTTPError, match="429"):
        app.post("slow", session="mine")
    app.post("slow", session="another")


def test_large_requests_of_one_caller_cannot_fill_the_memory(app, monkeypatch):
    set_limits(monkeypatch, client_waiting_bytes=700_000, all_waiting_bytes=1_200_000)
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", "1")
    app.post("slow", session="runs", forwarded="10.0.0.1")
    wait_until(lambda: not len(app.demo._queue))
    large = "x" * 300_000
    found = list(post_many(app, "slow", 3, forwarded="10.0.0.2", value=large))
    assert found[:2] == [200, 200]
    assert found[2] == (429, "5", "Your waiting requests are too large; try again when they are answered.")
    assert next(post_many(app, "slow", 1, forwarded="10.0.0.2")) == 200  # a small one
    assert list(post_many(app, "slow", 1, forwarded="10.0.0.3", value=large)) == [200]
    status, retry, sentence = next(post_many(app, "slow", 1, forwarded="10.0.0.4", value=large))
    assert (status, retry) == (503, "5")
    assert sentence.startswith("The waiting requests are too large")
    app.gate.set()
    wait_until(lambda: not len(app.demo._queue))
    assert next(post_many(app, "slow", 1, forwarded="10.0.0.2", value=large)) == 200


def test_the_memory_of_data_is_that_of_its_items_and_texts():
    assert estimate_memory([]) == 300
    assert estimate_memory(["abc", {"key": [1, 2.5, None]}]) == 300 * 8 + 6
    for wide, width in (("é", 1), ("€", 2), ("😀", 4)):
        assert abs(estimate_memory(wide + "x" * 9_999) - 300 - width * 10_000) < 50
    items = [[number, "x"] for number in range(5_000)]
    assert estimate_memory(items) > sum(map(sys.getsizeof, [*items, *(value for item in items for value in item)]))


def test_what_nobody_reads_does_not_wait_with_an_event(app):
    junk = "x" * 200_000
    app.post("slow")
    wait_until(lambda: not len(app.demo._queue))
    body = {"data": ["x"], "session_hash": "s", "fn_index": 0, "junk": junk, "event_id": junk, "oauth_token": junk}
    request = urllib.request.Request(f"{app.url}/gradio_api/queue/join", json.dumps(body).encode(), JSON)
    urllib.request.urlopen(request, timeout=60).close()
    (event,) = app.demo._queue.list_waiting()
    for each in (event.request, event.data.request):
        assert {"_body", "_json"}.isdisjoint(vars(each))
    assert len(event.data.model_dump_json(exclude={"request"})) < 1_000


def test_a_full_page_leaves_the_others_open(app, monkeypatch):
    set_limits(monkeypatch, page_waiting=4)
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", "1")
    app.post("slow", session="runs", forwarded="10.0.0.1")
    wait_until(lambda: not len(app.demo._queue))
    for number in range(4):
        app.post("slow", forwarded=f"10.0.0.{number}")
    app.post("slow", forwarded="10.0.0.9")  # who has nothing there yet still gets a place
    status, retry, sentence = next(post_many(app, "slow", 1, forwarded="10.0.0.9"))
    assert (status, retry) == (503, "5")
    assert sentence.startswith("The queue is full")
    app.post("slow", forwarded="10.0.0.8")
    assert next(post_many(app, "slow", 1, forwarded="10.0.0.7")) != 200  # however many addresses there are
    assert app.call("quick") == 'complete\ndata: ["x"]'


def test_callers_take_turns(app, monkeypatch):
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", "1")
    app.post("slow", session="runs", forwarded="heavy")
    wait_until(lambda: not len(app.demo._queue))
    for number in range(3):
        app.post("slow", f"heavy {number}", forwarded="heavy")
    app.post("slow", "light 0", forwarded="light")
    app.post("slow", "light 1", forwarded="light")
    (waiting,) = (queue.queue for queue in app.demo._queue.event_queue_per_concurrency_id.values() if queue.queue)
    assert [event.data.data[0] for event in waiting] == ["heavy 0", "light 0", "heavy 1", "light 1", "heavy 2"]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        ("0", "1.1.1.1", "9.9.9.9"),
        ("1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),  # what the client claims comes first, and is not believed
        ("2", "6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("2", "1.1.1.1", "1.1.1.1"),
        ("1", "", "9.9.9.9"),
        ("1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),  # one caller has all of them
        ("1", "no address: at all", "no address: at all"),
        ("1", "1.2.3.4:5000", "1.2.3.4"),  # as some proxies send it
        ("1", "[2001:db8:1:2::3]:443", "2001:db8:1:2::/64"),
        ("1", "[2001:db8:1:2::3]", "2001:db8:1:2::/64"),
        ("1", "fe80::1%eth0", "fe80::/64"),
        ("1", "::ffff:1.2.3.4", "1.2.3.4"),  # or all of IPv4 would be one client
        ("1", "[::ffff:102:304]:80", "1.2.3.4"),
        ("1", "[no address]:80", "[no address]:80"),
        ("1", "1.2.3:80", "1.2.3:80"),
    ],
)
def test_the_address_of_a_client_behind_proxies(monkeypatch, proxies, forwarded, expected):
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", proxies)
    scope = {"client": ("9.9.9.9", 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    assert find_client_address(scope) == expected


def test_clients_of_a_socket_for_both_kinds_of_addresses_are_told_apart(monkeypatch):
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", "0")
    found = [find_client_address({"client": (f"::ffff:{ip}", 5), "headers": []}) for ip in ("1.2.3.4", "9.9.9.9")]
    assert found == ["1.2.3.4", "9.9.9.9"]


# --- what an event may be given ---


def test_only_uploads_are_files(uploads, tmp_path):
    inside, outside = uploads / "photo.png", tmp_path / "scan.png"
    inside.write_bytes(b"1")
    outside.write_bytes(b"1")
    (uploads / "link.png").symlink_to(outside)
    (uploads / "folder").mkdir()
    (tmp_path / "uploads-of-another").mkdir()
    (tmp_path / "uploads-of-another/photo.png").write_bytes(b"1")
    assert is_uploaded(str(inside))
    for path in (
        outside, uploads / "link.png", uploads / "folder", uploads / "../scan.png", uploads / "none.png", uploads,
        tmp_path / "uploads-of-another/photo.png", "photo\0.png", "x" * 10_000, "file:///etc/passwd", 7, ["photo.png"],
        uploads / "folder/../photo.png", f"{uploads}{'/.' * 300}/photo.png",
        "https://example.org/photo.png", "http://127.0.0.1/photo.png",
    ):  # fmt: skip
        assert not is_uploaded(path if isinstance(path, int | list) else str(path))


@pytest.mark.parametrize("meta", [{}, {"meta": FILE}])
def test_a_file_that_was_not_uploaded_is_refused_wherever_it_is(uploads, tmp_path, meta):
    (tmp_path / "scan.png").write_bytes(b"1")
    file = {"path": str(tmp_path / "scan.png"), **meta}
    for data in ([file], [[file]], [{"image": file}], [None, {"a": [{"b": file}]}]):
        with pytest.raises(HTTPException, match="There is no such upload") as refused:
            check_data(data)
        assert refused.value.status_code == 403
    check_data([{"path": None}, {"ratings": {"260": 5}}, [1, "two", None]])


def test_a_path_that_takes_long_to_resolve_is_refused(uploads, monkeypatch):
    """Path.resolve() takes eight seconds for a million of these characters, in the event loop."""
    (uploads / "photo.png").write_bytes(b"1")
    monkeypatch.setattr(Path, "resolve", lambda *_, **__: pytest.fail("it is resolved"))
    for path in ("/.." * 400_000, f"{uploads}/{'x/../' * 50}photo.png", f"{uploads}/{'/' * 4000}photo.png"):
        assert not is_uploaded(path)


def test_data_has_at_most_as_many_files_as_a_batch(uploads):
    (uploads / "photo.png").write_bytes(b"1")
    file = {"path": str(uploads / "photo.png")}
    check_data([[file] * 200])
    with pytest.raises(HTTPException, match="There are more than 200 files; split them") as refused:
        check_data([[file] * 201])
    assert refused.value.status_code == 422


def test_very_large_data_is_refused():
    data = []
    for _ in range(500):
        data = [data]
    with pytest.raises(HTTPException, match="32 levels deep"):
        check_data(data)
    with pytest.raises(HTTPException, match="20,000 items in total"):
        check_data([{}] * 30_000)
    check_data([{str(movie): 5 for movie in range(9_066)}])


def test_a_long_session_hash_is_refused(app):
    for path, body in (("call/quick", {"data": ["x"]}), ("queue/join", {"data": ["x"], "fn_index": 1})):
        content = json.dumps({**body, "session_hash": "x" * 200}).encode()
        headers = {"Content-Type": "application/json"}
        with pytest.raises(urllib.error.HTTPError, match="422"):
            urllib.request.urlopen(urllib.request.Request(f"{app.url}/gradio_api/{path}", content, headers))
    assert not app.demo.state_holder.session_data


class Reloader(BaseReloader):
    """What `gradio app.py` does, without watching files."""

    def __init__(self, running):
        self.running = running

    @property
    def running_app(self):
        return self.running


def test_an_app_that_replaces_another_answers(app):
    """`gradio app.py` puts a new app in the place of the old one when its file changes."""
    with gr.Blocks() as changed:
        text, out = gr.Textbox(), gr.Textbox()
        text.submit(lambda value: value.upper(), text, out, api_name="loud")
    Reloader(app.demo.app).swap_blocks(changed)
    assert app.call("loud") == 'complete\ndata: ["X"]'
    assert urllib.request.urlopen(f"{app.url}/health").status == 200


def test_an_unknown_endpoint_is_a_404_with_a_sentence(app):
    for path, body in (
        ("call/none", {"data": []}),
        ("call/v2/none", {}),
        ("queue/join", {"data": [], "fn_index": -1, "session_hash": "x"}),
        ("queue/join", {"data": [], "session_hash": "x"}),
    ):
        request = urllib.request.Request(
            f"{app.url}/gradio_api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError) as error, contextlib.closing(urllib.request.urlopen(request)):
            pass
        assert error.value.code == 404
        assert "no such endpoint" in json.loads(error.value.read())["detail"]
