"""What a public app refuses over HTTP, and what its answers do not tell."""

import asyncio
import contextlib
import errno
import gc
import http.client
import json
import os
import socket
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import gradio as gr
import pytest
from starlette.exceptions import HTTPException

from shared.ui import Page, http_body, http_guard
from shared.ui.http_body import BoundedReceive
from shared.ui.http_guard import OPEN_ROUTES
from tests.conftest import ROOT, launch_app, mount_app, set_limits

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
CAT = ROOT / "spaces/cat_dog/examples/cat.png"

# The first parts of Gradio 6.31's routes below /gradio_api that no page needs. A new release may bring more: look at
# each, and add it here or to OPEN_ROUTES.
CLOSED_ROUTES = {
    "api", "component_server", "custom_component", "deep_link", "dev", "process_recording", "proxy",
    "runs", "stream", "undo-vibe-edit", "vibe-code", "vibe-edit", "vibe-starter-queries",
}  # fmt: skip


@pytest.fixture(scope="module")
def demo():
    return reader()


def reader():
    """An app that shows what is in a text file."""
    with Page(title="Reader") as demo:
        file, text = gr.File(), gr.Textbox()
        file.upload(lambda path: Path(path).read_text("utf-8"), file, text, api_name="read", api_visibility="public")
    return demo


@pytest.fixture(scope="module", params=["launched", "mounted"])
def url(request, demo, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with launch_app(demo) if request.param == "launched" else mount_app(reader(), "/gallery") as url:
            yield url


def ask(url, method, path, body=None, headers=()):
    """The status, headers and content of an answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    try:
        connection.request(method, address.path + path, body, dict(headers))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def make_form(content, name="files", filename="a.txt"):
    """A form with one file, or with one field where there is no filename."""
    filename = f'; filename="{filename}"' if filename else ""
    return (
        f'--b\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode() + content + b"\r\n--b--\r\n"
    )


def uploads():
    return sorted(path.name for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file())


def wait_until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- routes ---


@pytest.mark.parametrize("url", ["launched"], indirect=True)
def test_every_route_of_gradio_is_known(demo, url):
    found = {route.path.split("/")[2].partition("=")[0].partition("{")[0] for route in list_routes(demo)}
    assert found == OPEN_ROUTES - {"mcp"} | CLOSED_ROUTES


def list_routes(demo):
    pending, found = [*demo.app.routes], []
    while pending:
        route = pending.pop()
        pending += getattr(getattr(route, "original_router", None), "routes", [])
        path = getattr(route, "path", "")
        found += [route] if path.startswith("/gradio_api/") else []
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/api/read", "/gradio_api/api/read/", "/gradio_api/component_server",
        "/gradio_api/process_recording", "/gradio_api/deep_link?session_hash=x", "/gradio_api/stream/x",
        "/gradio_api/dev/reload", "/gradio_api/file=https://example.org/x.png", "/gradio_api/file/x",
        "/api/predict", "/run/predict", "/call/predict", "/queue/join", "/upload",
        "/gradio_api/vibe-code", "/monitoring", "/monitoring/x", "/logout",
    ],
)  # fmt: skip
def test_unused_routes_are_closed(url, path):
    for method in ("GET", "POST"):
        status, _, content = ask(url, method, path, b"{}" if method == "POST" else None)
        assert status == 404
        is_old = path.count("/") < 3 and not path.startswith(("/monitoring", "/logout", "/gradio_api"))
        sentence = "Send requests to /gradio_api/call/NAME; the endpoints are " if is_old else "here"
        assert sentence in json.loads(content)["detail"]


def test_run_does_not_answer_queued_endpoints(url):
    for body in ({"data": [None]}, {"data": [], "fn_index": 0}, {"data": [], "fn_index": 0, "session_hash": "x"}):
        status, _, content = ask(url, "POST", "/gradio_api/run/read", json.dumps(body), JSON)
        assert status == 404
        assert "does not accept direct HTTP POST requests" in json.loads(content)["detail"]
    for path, body in (("none", {"data": []}), ("read", {"data": [], "fn_index": -1})):
        status, _, content = ask(url, "POST", f"/gradio_api/run/{path}", json.dumps(body), JSON)
        assert (status, "no such endpoint" in json.loads(content)["detail"]) == (404, True)


def test_run_refuses_what_no_page_sends_it_with_a_sentence(caplog, capfd):
    with Page(title="Examples") as demo:
        text, shown = gr.Textbox(), gr.Textbox()
        text.change(None, text, shown, js="(text) => text", api_name="in_the_browser", api_visibility="undocumented")
        gr.Examples(["one", "two"], text, api_name="choose", api_visibility="undocumented")
    numbers = {fn.api_name: number for number, fn in demo.fns.items()}
    with launch_app(demo) as url:
        for name, data, status, sentence in (
            ("choose", [1], 200, ""),
            ("choose", [2], 422, "There is no such example"),
            ("choose", [None], 422, "There is no such example"),
            ("choose", [True], 422, "There is no such example"),
            ("choose", [], 422, "The request is invalid"),
            ("in_the_browser", ["x"], 422, "There is no such endpoint"),
        ):
            for body in ({"data": data}, {"data": data, "fn_index": numbers[name], "session_hash": "x"}):
                answer = ask(url, "POST", f"/gradio_api/run/{name}", json.dumps(body), JSON)
                assert (answer[0], sentence in answer[2].decode()) == (status, True), answer
    assert "Traceback" not in caplog.text + capfd.readouterr().err


def test_run_opens_no_file_and_no_web_address(url):
    for path in (str(CAT), "https://example.org/x.png"):
        body = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}], "fn_index": 0})
        status, _, content = ask(url, "POST", "/gradio_api/run/predict", body, JSON)
        assert (status, "no such upload" in json.loads(content)["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("call/v2/read", json.dumps({"none": 1}), "json"),
        ("upload?upload_id=x", "field", "form"),
        ("upload", "field", "form"),
    ],
)
def test_an_invalid_request_gets_an_error_message(url, path, body, headers):
    body = make_form(b"text", filename=None) if body == "field" else body
    status, _, content = ask(url, "POST", f"/gradio_api/{path}", body, JSON if headers == "json" else FORM)
    assert (status, "is invalid" in json.loads(content)["detail"]) == (422, True)


def test_what_is_closed_is_closed_below_a_prefix(demo):
    """With GRADIO_ROOT_PATH, paths arrive with the prefix or without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ROOT_PATH", "/gallery")
        with gr.Blocks() as app:
            gr.Textbox()
        with launch_app(app) as address:
            for prefix in ("", "/gallery"):
                assert ask(address, "POST", f"{prefix}/gradio_api/component_server", b"{}", JSON)[0] == 404
                assert ask(address, "GET", f"{prefix}/gradio_api/deep_link?session_hash=x")[0] == 404
                for name in ("health", "healthz"):
                    assert ask(address, "GET", f"{prefix}/{name}")[0] == 200


@pytest.mark.parametrize("prefix", ["/gallery", "/gallery/", "gallery", "https://example.org/gallery"])
def test_scripts_and_cards_are_found_below_a_prefix_that_a_proxy_takes_away(prefix):
    """The browser may be at /gallery or at /gallery/, and the app is asked for / in both cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ROOT_PATH", prefix)
        app = reader()
        with app.route("Other", "other"):
            gr.Markdown("Another page")
        with launch_app(app) as address:
            whole = () if "://" in prefix else ("/gallery/", "/gallery/other")  # where a proxy takes nothing away
            for path in ("/", "/other", *whole):
                assert b'<base href="/gallery/" />' in ask(address, "GET", path)[2]


def test_without_a_prefix_addresses_stay_relative_whatever_a_header_says(url, request):
    base = b'<base href="/gallery/" />' if urlsplit(url).path else b'<base href="./" />'
    assert base in ask(url, "GET", "/", headers={"X-Forwarded-Prefix": "//example.org"})[2]


def test_a_page_with_a_slash_at_its_end_leads_to_the_page_below_any_prefix():
    app = reader()
    with app.route("Other", "other"):
        gr.Markdown("Another page")
    with launch_app(app) as address:
        status, headers, _ = ask(address, "GET", "/other/")
        assert (status, headers["location"]) == (301, "../other")


def test_a_disk_that_is_nearly_full_takes_no_upload(url, monkeypatch):
    set_limits(monkeypatch, free_bytes=10**18)
    status, _, content = ask(url, "POST", "/gradio_api/upload", make_form(b"hello"), FORM)
    assert (status, json.loads(content)["detail"]) == (507, "The server's disk is full; try again later.")


def test_a_long_query_is_refused(url):
    assert ask(url, "GET", "/gradio_api/upload_progress?upload_id=" + "x" * 3_000)[0] == 414


def test_the_address_that_one_visitor_asks_for_is_not_shown_to_others(url):
    for path in ("info", "openapi.json", "info?all_endpoints=true", "info?page="):
        for headers in ({"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}):
            assert ask(url, "GET", f"/gradio_api/{path}", headers=headers)[0] == 200
            assert b"evil.example" not in ask(url, "GET", f"/gradio_api/{path}")[2]
    ask(url, "POST", "/gradio_api/call/v2/read", json.dumps({"value": None}), {**JSON, "Host": "evil.example"})
    assert b"evil.example" not in ask(url, "GET", "/gradio_api/info")[2]
    assert b"evil.example" in ask(url, "GET", "/gradio_api/info", headers={"Host": "evil.example"})[2]


def test_no_cache_keeps_a_page_for_other_callers(url):
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json"):
        assert ask(url, "GET", path)[1]["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("query", ["session_hash=nobody", "session_hash=", "session_hash=a&session_hash=nobody"])
def test_a_session_that_does_not_exist_has_no_messages_and_logs_nothing(url, query, caplog, capfd):
    for path in ("queue/data", "queue/data/"):
        status, _, content = ask(url, "GET", f"/gradio_api/{path}?{query}")
        sentence = "There is no such session; it begins with an event at /gradio_api/queue/join."
        assert (status, json.loads(content)["detail"]) == (404, sentence)
    assert not caplog.text
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_progress_of_uploads_takes_bounded_memory(url, monkeypatch):
    monkeypatch.setattr(http_body, "UPLOADS", 5)
    progress = http_body.UPLOAD_PROGRESS
    for kept in (progress._statuses, progress._signals):
        kept.clear()
    for number in range(20):
        path = f"/gradio_api/upload?upload_id=refused{number}"
        assert ask(url, "POST", path, make_form(b"a" * 20_000, filename=None), FORM)[0] == 413

    async def look(upload):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(progress.is_tracked(upload), 0.001)

    for number in range(20):
        asyncio.run(look(f"none{number}"))
    assert list(progress._statuses) == [f"refused{number}" for number in range(15, 20)]
    assert len(progress._signals) == 5
    for path in ("upload", "upload_progress"):
        status, _, content = ask(url, "GET", f"/gradio_api/{path}?upload_id={'x' * 129}")
        assert (status, json.loads(content)["detail"]) == (422, "An upload_id may have at most 128 characters.")


def test_a_page_shows_the_progress_of_its_upload(url):
    assert ask(url, "POST", "/gradio_api/upload?upload_id=mine", make_form(b"hello"), FORM)[0] == 200
    _, _, content = ask(url, "GET", "/gradio_api/upload_progress?upload_id=mine")
    assert b'"msg": "done"' in content
    assert "mine" not in http_body.UPLOAD_PROGRESS._statuses


# --- size and time ---


@pytest.mark.parametrize("path", ["/gradio_api/call/read", "/gradio_api/queue/join", "/gradio_api/cancel"])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_large_body_is_refused(url, monkeypatch, path, is_chunked):
    set_limits(monkeypatch, request_bytes=1_000_000)
    body = b'{"data": ["' + b"a" * 1_100_000 + b'"]}'
    parts = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    status, _, content = ask(url, "POST", path, parts if is_chunked else body, JSON)
    sentence = "The request is larger than 1 MB; send less at a time, and files to /gradio_api/upload."
    assert (status, json.loads(content)["detail"]) == (413, sentence)


def test_a_large_request_to_run_is_sent_elsewhere(url):
    status, _, content = ask(url, "POST", "/gradio_api/run/read", b"a" * 100_001, JSON)
    sentence = "The request is larger than 0.1 MB; /gradio_api/run only selects examples; use /gradio_api/call."
    assert (status, json.loads(content)["detail"]) == (413, sentence)


def test_a_large_upload_is_refused_and_leaves_no_file(url, monkeypatch):
    set_limits(monkeypatch, upload_bytes=1_000_000)
    before = uploads()
    body = make_form(b"a" * 1_100_000)
    parts = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    assert ask(url, "POST", "/gradio_api/upload", parts, FORM)[0] == 413
    assert uploads() == before


def test_a_large_form_field_is_refused(url):
    status, _, content = ask(url, "POST", "/gradio_api/upload", make_form(b"a" * 20_000, filename=None), FORM)
    assert (status, content) == (413, b"A form field exceeds the maximum allowed size of 10,000 bytes.")


def test_an_upload_that_breaks_off_leaves_no_file(url):
    before = uploads()
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as client:
        head = f"POST {address.path}/gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
        client.sendall(head.encode() + b"Content-Length: 4000000\r\n\r\n" + make_form(b"a" * 100_000)[:90_000])
        wait_until(lambda: uploads() != before)
    wait_until(lambda: uploads() == before)


def test_a_file_within_the_limits_is_read(url):
    status, _, content = ask(url, "POST", "/gradio_api/upload", make_form(b"hello"), FORM)
    assert status == 200
    file = {"path": json.loads(content)[0], "meta": {"_type": "gradio.FileData"}}
    _, _, content = ask(url, "POST", "/gradio_api/call/read", json.dumps({"data": [file]}), JSON)
    _, _, content = ask(url, "GET", f"/gradio_api/call/read/{json.loads(content)['event_id']}")
    assert content == b'event: complete\ndata: ["hello"]\n\n'


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_a_file_that_was_not_uploaded_is_not_read(url, meta):
    body = json.dumps({"data": [{"path": str(CAT), **meta}]})
    status, _, content = ask(url, "POST", "/gradio_api/call/read", body, JSON)
    assert status == 403
    assert str(ROOT) not in content.decode()


def test_a_request_that_stops_in_the_middle_is_given_up(monkeypatch):
    set_limits(monkeypatch, silence_seconds=0.05)
    messages = iter([{"type": "http.request", "body": b"a", "more_body": True}])

    async def receive():
        message = next(messages, None)
        return message or await asyncio.sleep(10)

    async def read():
        inner = BoundedReceive("/gradio_api/upload", receive)
        await inner()
        await inner()

    with pytest.raises(HTTPException, match="did not arrive in time"):
        asyncio.run(read())


def test_a_request_whose_client_hangs_up_is_not_answered():
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    with pytest.raises(HTTPException, match="incomplete"):
        asyncio.run(http_body.check_body(receive, "/gradio_api/mcp/"))


def test_a_body_that_has_been_read_again_is_not_kept():
    async def receive():
        return {"type": "http.request", "body": b'{"data": []}', "more_body": False}

    again = asyncio.run(http_body.check_body(receive, "/gradio_api/queue/join"))
    assert asyncio.run(again())["body"] == b'{"data": []}'
    assert [] in [cell.cell_contents for cell in again.__closure__]


def test_a_request_that_is_refused_is_forgotten_at_once(monkeypatch):
    """Not when Python next looks for garbage: until then many large ones would fill the memory."""
    errors = []

    def noted(error, *_):
        errors.append(weakref.ref(error))
        return error

    async def refuse(*_):
        raise HTTPException(400, "no")

    async def send(_):
        pass

    monkeypatch.setattr(http_guard, "to_http_error", noted)
    gc.disable()
    try:
        scope = {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": []}
        scope["app"] = SimpleNamespace(get_blocks=gr.Blocks)
        asyncio.run(http_guard.Guard(refuse, None)(scope, None, send))
        assert [error() for error in errors] == [None]
    finally:
        gc.enable()


def test_a_stream_may_be_silent(monkeypatch):
    """Once a request is complete, its client has nothing more to say, for as long as it listens."""
    set_limits(monkeypatch, silence_seconds=0.05)
    messages = iter([{"type": "http.request", "body": b""}])

    async def receive():
        message = next(messages, None)
        if message is None:
            await asyncio.sleep(0.2)
        return message or {"type": "http.disconnect"}

    async def read():
        inner = BoundedReceive("/gradio_api/queue/data", receive)
        return [await inner(), await inner()]

    assert asyncio.run(read())[1] == {"type": "http.disconnect"}


@pytest.mark.parametrize("url", ["launched"], indirect=True)  # how long connections last is the business of a service
def test_connections_that_do_not_send_a_request_are_closed(url, monkeypatch):
    set_limits(monkeypatch, header_seconds=0.3)
    address = urlsplit(url)
    for sent in (b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            client.sendall(sent)
            assert client.recv(100) == b""
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in client.recv(1000)
        client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")  # the next request on the same connection
        while received := client.recv(1000):
            assert b"Slow" not in received


@pytest.mark.parametrize("url", ["launched"], indirect=True)
@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET /",
        b"POST /gradio_api/call/read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ",
        b"POST /gradio_api/call/read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;",
    ],
    ids=["header", "path", "trailer", "extension of a chunk"],
)
def test_an_endless_header_ends_the_connection(url, start):
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        client.sendall(start)
        with pytest.raises(ConnectionError):
            client.sendall(b"a" * 20_000_000)
    assert ask(url, "GET", "/health")[0] == 200


@pytest.mark.parametrize("url", ["launched"], indirect=True)
@pytest.mark.parametrize(
    "encoding", [f"Content-Length: {len(make_form(bytes(3_000_000)))}", "Transfer-Encoding: chunked"]
)
def test_a_long_body_of_small_pieces_is_no_endless_header(url, encoding):
    address, content = urlsplit(url), make_form(bytes(3_000_000))
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        head = (
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n{encoding}\r\n\r\n"
        )
        client.sendall(head.encode())
        pieces = [content[start : start + 30_000] for start in range(0, len(content), 30_000)]
        for piece in pieces:
            client.sendall(piece if "Length" in encoding else b"%x\r\n%s\r\n" % (len(piece), piece))
        client.sendall(b"" if "Length" in encoding else b"0\r\n\r\n")
        assert b"200 OK" in client.recv(1000)


# --- what answers do not tell ---


@pytest.mark.parametrize("value", ["bytes=0-3", "bytes=-3", "bytes=2-"])
def test_a_range_of_a_file_tells_nothing_of_the_request(url, value):
    _, _, content = ask(url, "POST", "/gradio_api/upload", make_form(b"hello world"), FORM)
    path = "/gradio_api/file=" + json.loads(content)[0]
    status, headers, content = ask(url, "GET", path, headers={"Range": value, "Cookie": "secret=1", "X-Mine": "secret"})
    assert status == 206
    assert content == {"bytes=0-3": b"hell", "bytes=-3": b"rld", "bytes=2-": b"llo world"}[value]
    assert "secret" not in str(headers)


@pytest.mark.parametrize("value", ["bytes=1-2-3", "bytes=²-3", "bytes=9-1", "bytes=-", "lines=1-2", "bytes=0-1,3-4"])
def test_an_invalid_range_is_ignored(url, value):
    _, _, content = ask(url, "POST", "/gradio_api/upload", make_form(b"hello world"), FORM)
    path = "/gradio_api/file=" + json.loads(content)[0]
    status, _, content = ask(url, "GET", path, headers={"Range": value.encode()})
    assert (status, content) == (200, b"hello world")


def test_other_origins_may_ask_but_without_cookies(url):
    origin = {"Origin": "https://example.org", "Host": "gallery.example.org"}
    _, headers, _ = ask(url, "GET", "/config", headers=origin)
    assert headers["access-control-allow-origin"] == "https://example.org"
    assert "access-control-allow-credentials" not in headers
    _, headers, _ = ask(url, "OPTIONS", "/config", headers=origin | {"Access-Control-Request-Method": "POST"})
    assert "access-control-allow-credentials" not in headers


def test_an_error_of_the_server_is_one_message(url, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError(f"a secret in {ROOT}")

    monkeypatch.setattr("gradio.routes.upload_fn", fail)
    status, _, content = ask(url, "POST", "/gradio_api/upload", make_form(b"hello"), FORM)
    assert (status, json.loads(content)["detail"]) == (500, "Internal error; the server's log has the details.")
    assert "a secret" in caplog.text


def test_a_full_disk_is_reported(url, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(ROOT))

    monkeypatch.setattr("gradio.route_utils.NamedTemporaryFile", full)
    status, _, content = ask(url, "POST", "/gradio_api/upload", make_form(b"hello"), FORM)
    assert (status, json.loads(content)["detail"]) == (507, "The server's disk is full; try again later.")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "full"), http_guard.DISK_FULL), (OSError(errno.EDQUOT, "quota"), http_guard.DISK_FULL),
        (OSError(errno.EROFS, "read-only"), http_guard.DISK_FAILS),
        (OSError(errno.EIO, "broken"), http_guard.DISK_FAILS),
        (PermissionError(errno.EACCES, "not ours"), http_guard.DISK_FAILS),
        (PermissionError(errno.EPERM, "not ours"), http_guard.DISK_FAILS),
        (FileNotFoundError(errno.ENOENT, "gone"), ""), (ValueError("no"), ""),
    ],
)  # fmt: skip
def test_an_error_of_the_disk_is_called_so(error, sentence):
    assert http_guard.describe_disk_error(error) == sentence


def test_of_a_refused_request_a_limited_part_is_read(monkeypatch):
    monkeypatch.setattr(http_body, "DISCARDED_BYTES", 1_000)
    sent = []

    async def receive():
        sent.append(100)
        return {"type": "http.request", "body": bytes(100), "more_body": len(sent) < 50}

    asyncio.run(BoundedReceive("/gradio_api/upload", receive).discard())
    assert len(sent) == 10


def test_a_refused_request_that_never_ends_is_answered(monkeypatch):
    monkeypatch.setattr(http_body, "FIRST_SECONDS", 0.2)

    async def receive():
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def answer():
        await asyncio.wait_for(BoundedReceive("/gradio_api/upload", receive).discard(), 10)

    asyncio.run(answer())


def test_no_cache_keeps_the_tools_of_an_agent_for_other_callers():
    headers = [(b"Cache-Control", b"max-age=60"), (b"content-type", b"application/json")]
    kept = http_guard.guard_headers(headers, "/gradio_api/mcp/schema", set())
    assert kept == [(b"content-type", b"application/json"), (b"cache-control", b"private, no-cache")]


@pytest.mark.parametrize(
    ("now", "most", "then"), [(1_024, 4_096, 4_096), (1_024, -1, 65_536), (1_024, 10**6, 65_536), (10**5, 10**6, 10**5)]
)
def test_as_many_files_may_be_open_as_the_system_allows(monkeypatch, now, most, then):
    resource = pytest.importorskip("resource")
    most = resource.RLIM_INFINITY if most < 0 else most
    found = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (now, most))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: found.append(limits))
    http_guard.raise_file_limit()
    assert found == [(then, most)]
