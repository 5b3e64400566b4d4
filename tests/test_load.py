"""The load test finds broken promises; and a quarter of a minute of it runs here, without limits of time and memory."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import load
from benchmarks.attacks import post
from benchmarks.clients import Client
from benchmarks.promises import (
    Span,
    State,
    compare_minutes,
    compare_tenths,
    compute_latencies,
    find_broken,
    format_latencies,
    format_states,
)
from benchmarks.questions import Question, WrongAnswer, agrees, list_assets, read_rows
from benchmarks.traffic import Records, Traffic, make_addresses

STATE = State(seconds=60, requests=1000, megabytes=500, open_files=30, threads=20, files=45)


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"megabytes": 525}, []),
        ({"megabytes": 525.1}, ["memory within 5 %: later, it grew by 5.0 %, from 500 to 525 MB"]),
        ({"megabytes": 100, "open_files": 1, "files": 0}, []),
        ({"open_files": 34, "threads": 28, "files": 49}, []),
        ({"open_files": 35}, ["open files flat: later, from 30 to 35"]),
        ({"threads": 29}, ["threads flat: later, from 20 to 29"]),
        ({"files": 50}, ["temporary files flat: later, from 45 to 50"]),
    ],
)
def test_a_broken_promise_is_named(changes, broken):
    span = Span("later", STATE, replace(STATE, **changes), allowed=4)
    assert span.find_broken() == broken
    assert find_broken({"5xx": [], "stopped": [], "wrong": []}, [span]) == broken


def test_at_rest_nothing_more_may_be_open_but_memory_may_be_more_than_before_the_first_minute():
    later = replace(STATE, megabytes=900, threads=90, open_files=31, files=46)
    assert Span("later", STATE, later, is_memory_kept=False).find_broken() == [
        "open files flat: later, from 30 to 31",
        "temporary files flat: later, from 45 to 46",
    ]


@pytest.mark.parametrize("name", ["5xx", "stopped", "wrong"])
def test_one_failure_breaks_the_promise(name):
    failures = {"5xx": [], "stopped": [], "wrong": []} | {name: ["salary answered 3, not 4."] * 2}
    assert find_broken(failures, []) == [f"0 {name}: 2, such as: salary answered 3, not 4."]


def make_states(count, memory):
    return [replace(STATE, seconds=5 + n, requests=10 * n, megabytes=memory(n)) for n in range(count)]


def test_the_end_of_the_first_minute_is_compared_with_the_end():
    span = compare_minutes(make_states(601, lambda n: n), clients=64)
    assert (span.before.seconds, span.after.seconds) == (5 + 50, 5 + 590)  # the middle of 20 seconds
    assert (span.before.megabytes, span.after.megabytes, span.allowed) == (50, 590, 64)
    assert span.what == "from second 60 to 600 under load"


def test_of_a_short_run_the_halves_are_compared():
    span = compare_minutes(make_states(21, lambda n: n), clients=2)
    assert (span.before.megabytes, span.after.megabytes) == (5, 15)
    one = compare_minutes(make_states(1, lambda _: 7), clients=2)
    assert one.before.megabytes == one.after.megabytes == 7


def test_a_time_lapse_has_ten_states_and_a_slope():
    tenths, span, slope = compare_tenths(make_states(1001, lambda n: 400 + n / 100), clients=2)
    assert len(tenths) == 10
    assert slope == pytest.approx(10)  # 0.01 MB a sample of 10 requests
    assert (span.before, span.after) == (tenths[0], tenths[-1])
    assert not span.find_broken()
    assert compare_tenths(make_states(1001, lambda n: 400 + n / 10), clients=2)[1].find_broken()


def test_the_first_tenth_does_not_count_for_the_slope():
    _, _, slope = compare_tenths(make_states(1001, lambda n: 100 if n < 100 else 400), clients=2)
    assert slope == pytest.approx(0)


def test_latencies_are_medians_and_95th_percentiles():
    rows = compute_latencies({"rating": [0.1, 0.2, 0.3], "page": [1.0], "asset": []})
    assert rows["rating"] == pytest.approx({"count": 3, "p50": 200, "p95": 290})
    assert rows["page"] == {"count": 1, "p50": 1000, "p95": 1000}
    header, page, rating = format_latencies(rows).splitlines()
    assert page.split() == ["page", "1", "1000", "1000"]
    assert rating.split() == ["rating", "3", "200", "290"]
    assert header.split()[:3] == ["answers", "p50", "ms"]


def test_the_table_of_states_has_a_line_for_each():
    assert format_states({"at rest": STATE}).splitlines()[1].split() == ["at", "rest", "1,000", "500", "30", "20", "45"]


def test_a_broken_promise_ends_with_status_1_and_its_name(monkeypatch, tmp_path, capsys):
    report = {
        "states": {"at rest": STATE},
        "latencies": {},
        "counts": {"told to wait": 3},
        "failures": {"5xx": 0, "stopped": 0, "wrong": 1},
        "broken": ["0 wrong: 1, such as: salary answered 3, not 4."],
    }
    monkeypatch.setattr(load, "measure", lambda _: dict(report))
    out = tmp_path / "results/load.json"
    with pytest.raises(SystemExit, match=r"^broken: 0 wrong: 1, such as"):
        load.main(["--out", str(out)])
    assert json.loads(out.read_text())["states"]["at rest"]["megabytes"] == 500
    assert "0 5xx, 0 stopped, 1 wrong; 0 attacks, told to wait 3 times" in capsys.readouterr().out
    report["broken"] = []
    load.main([])


@pytest.mark.parametrize("arguments", [["--clients", "0"], ["--minutes", "-1"], ["--time-lapse", "-5"], ["--rest=-1"]])
def test_impossible_numbers_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        load.parse(arguments)
    assert "must be above 0" in capsys.readouterr().err


# --- what counts as a failure ---


class Answers(BaseHTTPRequestHandler):
    """Answers with the status, and perhaps Retry-After, that the path names: /503/1; closes the connection for /0."""

    def do_GET(self):
        status, *retry_after = self.path[1:].split("/")
        if status == "0":
            return
        if status == "gradio_api":
            status, retry_after = "200", []
        self.send_response(int(status))
        self.send_header("Content-Length", "0")
        for seconds in retry_after:
            self.send_header("Retry-After", seconds)
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


@pytest.mark.parametrize(
    ("path", "failure"),
    [("/200", None), ("/429/1", None), ("/503/1", None), ("/503", "5xx"), ("/500", "5xx"), ("/507/1", "5xx"),
     ("/429", "wrong"), ("/404", "wrong"), ("/0", "stopped")],
)  # fmt: skip
def test_a_request_to_try_again_is_no_failure_and_everything_else_is(server, path, failure, monkeypatch):
    monkeypatch.setattr("benchmarks.traffic.LONGEST_WAIT", 0)
    records = Records()
    is_whole = records.meet(lambda: Client(server).request("GET", path))
    assert is_whole == (failure != "stopped")
    assert {name: len(found) for name, found in records.failures.items()} == {
        name: int(name == failure) for name in ("5xx", "stopped", "wrong")
    }
    assert records.counts["told to wait"] == path.endswith("/1") * (failure is None)


class FixedClient:
    """A client that gets these outputs, whatever it asks."""

    def __init__(self, outputs, file=b""):
        self.outputs, self.file, self.asked = outputs, file, []

    def upload(self, *files):
        return [{"path": name} for name, _ in files]

    def call(self, _, data):
        self.asked.append(data)
        return self.outputs

    def request(self, *_):
        return self.file


def test_every_answer_is_compared():
    question = Question("salary", (1, 2), expected={"probabilities": {"high": 0.25}})
    question.ask(FixedClient([{"probabilities": {"high": 0.250001, "low": 0.75}}]))
    records = Records()
    for output in ({"probabilities": {"high": 0.2501}}, {"probabilities": {}}, {}, None, "high"):
        assert records.meet(lambda output=output: question.ask(FixedClient([output])))
    assert len(records.failures["wrong"]) == 5


def test_the_rows_of_a_batch_are_compared():
    files = (("a.jpg", b"a"), ("b.jpg", b"b"))
    rows = ({"prediction": "cat", "probability cat": 0.75}, {"prediction": "dog", "probability cat": 0.5})
    question = Question("cat_dog_batch", files=files, expected={"files": 2}, rows=rows, is_list=True)
    right = b'\xef\xbb\xbf"file","prediction","probability cat"\r\n"a.jpg","cat",0.75\r\n"b.jpg","dog",0.5\r\n'
    answer = [{"files": 2, "errors": 0}, None, {"path": "x.csv"}]
    client = FixedClient(answer, right)
    question.ask(client)
    assert client.asked == [[[{"path": "a.jpg"}, {"path": "b.jpg"}]]]
    assert read_rows(right)[1] == {"file": "b.jpg", **rows[1]}
    for wrong in (right.replace(b"0.75", b"0.76"), right[: right.index(b'"b.jpg"')], right.replace(b"dog", b"cat")):
        with pytest.raises(WrongAnswer):
            question.ask(FixedClient(answer, wrong))


def test_a_page_is_compared():
    page = Question("/salary", expected=b"# Salary", is_get=True)
    page.ask(FixedClient([], b"<p># Salary</p>"))
    with pytest.raises(WrongAnswer, match="/salary answered"):
        page.ask(FixedClient([], b"<p>Internal error</p>"))
    assert all(asset.is_file() for asset in list_assets())


def test_lists_agree_if_they_are_as_long():
    assert agrees([{"a": 1.0, "b": 2}], [{"a": 1.0}])
    assert not agrees([{"a": 1.0}, {}], [{"a": 1.0}])
    assert not agrees([], [{}])
    assert agrees(3, 3.000001)
    assert not agrees("3", 3.0)


@pytest.mark.parametrize(("path", "failure"), [("404", None), ("422", None), ("200", "wrong"), ("500", "5xx")])
def test_an_attack_must_be_refused(server, path, failure, monkeypatch):
    attack, records = post("x", {}), Records()

    class Elsewhere(Client):
        def request(self, method, _, body=None, kind=""):
            return super().request(method, f"/{path}", body, kind)

    records.meet(lambda: attack(Elsewhere(server)))
    assert [name for name, found in records.failures.items() if found] == ([failure] if failure else [])


def test_a_time_lapse_ends_after_its_requests(server, monkeypatch):
    monkeypatch.setattr(load, "SAMPLE_SECONDS", 0.01)
    asked = {"page": [Question("/200", expected=b"", is_get=True)]}
    traffic = Traffic(server, {}, asked, {"page": 1}, [post("accepted", {})], hostile=0.5)

    class Watch:
        def look(self):
            return replace(STATE, requests=traffic.records.requests)

    states = load.run_until(60, 4, traffic, Watch())
    assert 60 <= traffic.records.requests < 64
    assert states[-1].requests <= traffic.records.requests
    assert len(traffic.records.took["page"]) > 0
    assert traffic.records.count_failures() == traffic.records.requests - len(traffic.records.took["page"]) > 0


def test_every_client_has_its_own_address():
    addresses = make_addresses()
    found = [next(addresses) for _ in range(70_000)]
    assert len(set(found)) == 70_000
    assert found[0] == "198.18.0.0"
    assert found[-1] == "198.19.17.111"


@pytest.mark.long
def test_a_quarter_of_a_minute_of_load_has_no_failure(monkeypatch):
    monkeypatch.setattr(load, "SETTLE_SECONDS", 7)  # the app closes connections after 5 s
    report = load.measure(load.parse(["--minutes", "0.25", "--clients", "16", "--abandoned", "50", "--rest", "7"]))
    assert report["failures"] == {"5xx": 0, "stopped": 0, "wrong": 0}, report["first_failures"]
    assert report["counts"]["hostile"] > 0
    assert all(row["count"] > 0 for row in report["latencies"].values())
    states = report["states"]
    assert states["at rest again"].files == states["after a rest"].files == states["at rest"].files
