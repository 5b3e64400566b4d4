"""Requests to the gallery, which has the endpoints of every app: arguments, bodies, uploads, routes and raw bytes."""

import contextlib
import functools
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.conftest import MCP

from . import formats
from .formats import Format, Part
from .judge import Refused, mark, unexpected
from .mutants import Draw, list_families, mutants, name_families
from .targets import Cases, Target, read_config, shrink_working_size
from .values import damaged_json, texts

API = "/gradio_api"
HEALTH_EVERY = 50  # cases
HEALTH_TRIES = 5
QUIET_SECONDS = 120.0  # the longest pause of the server
PATIENCE = 0.5  # seconds until the client says that it will send no more
JSON_TYPE = "application/json"
UPLOADED = {"path": "{upload}", "meta": {"_type": "gradio.FileData"}}  # stands for an uploaded file
SALARY = read_config("salary")
PERSON = [SALARY["typical"][column] for column in SALARY["columns"]]

# Valid arguments, and the formats of an upload.
ARGUMENTS: dict[str, list[Any]] = {
    "cat_dog": [UPLOADED], "cat_dog_explain": [UPLOADED], "cat_dog_batch": [[UPLOADED]],
    "segmentation": [UPLOADED], "segmentation_explain": [UPLOADED], "segmentation_batch": [[UPLOADED]],
    "sentiment": ["A good film."], "sentiment_explain": ["A good film.", None], "sentiment_batch": [UPLOADED],
    "salary": PERSON, "salary_explain": PERSON, "salary_what_if": [*PERSON, "age"], "salary_batch": [UPLOADED],
    "rating": [15, 260], "rating_explain": [15, "Toy Story (1995)"], "rating_recommend": [None, {"1": 4, "260": 5}, 3],
    "rating_similar": [260, 3], "rating_batch": [UPLOADED],
}  # fmt: skip
FILES: dict[str, list[Format]] = {
    "cat_dog": formats.PICTURES, "cat_dog_explain": formats.PICTURES, "cat_dog_batch": [formats.ZIP, *formats.PICTURES],
    "segmentation": formats.PICTURES, "segmentation_explain": formats.PICTURES, "segmentation_batch": [formats.ZIP],
    "sentiment_batch": [formats.REVIEWS, formats.LINES], "salary_batch": [formats.PEOPLE],
    "rating_batch": [formats.PAIRS],
}  # fmt: skip

# --- bodies, and whole requests, as formats ---

RATING_INDEX = 424_242  # stands for the number that Gradio gives to the endpoint /rating
EVENT = {"data": [15, 260], "session_hash": "fuzz", "event_data": None, "trigger_id": 7, "fn_index": RATING_INDEX}
BODIES = [
    *[f"{API}/call/rating"] * 5,
    f"{API}/call/rating", f"{API}/call/salary", f"{API}/call/cat_dog", f"{API}/call/v2/rating", f"{API}/queue/join",
    f"{API}/run/predict", f"{API}/run/0", f"{API}/cancel", f"{API}/reset", f"{API}/call/nothing",
    f"{API}/heartbeat/fuzz",
]  # fmt: skip
BODY = formats.make_json_format("HTTP body", (json.dumps(EVENT).encode(),))

RPC = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "rating", "arguments": {"user_id": 15, "movie_id": 260}, "_meta": {"progressToken": 1}},
}  # fmt: skip
MCP_BODY = formats.make_json_format(
    "MCP", (json.dumps(RPC).encode(), b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}')
)
MCP_HEADERS = {"Content-Type": JSON_TYPE, "Accept": f"{JSON_TYPE}, text/event-stream"}

BOUNDARY = b"--fuzz"
PICTURE = formats.PNG.seeds[4]


def make_form(*parts: tuple[str, bytes]) -> bytes:
    """Return a multipart form of parts, each with its header and content."""
    pieces = [BOUNDARY + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts]
    return b"".join(pieces) + BOUNDARY + b"--\r\n"


FILE_HEAD = 'Content-Disposition: form-data; name="files"; filename="cat.png"\r\nContent-Type: image/png'
FORM = Format(
    "HTTP upload",
    ".form",
    (
        make_form((FILE_HEAD, PICTURE)),
        make_form((FILE_HEAD, b"text\nA good film.\n"), (FILE_HEAD, PICTURE)),
        make_form(('Content-Disposition: form-data; name="note"', b"a note"), (FILE_HEAD, b"")),
    ),
    (
        BOUNDARY, BOUNDARY + b"--", b"\r\n", b"\r\n\r\n", b"\n", b'filename="', b"filename*=utf-8''%00",
        b'name="', b"/", b"..",
        b"\0", b"Content-Disposition: ", b"Content-Transfer-Encoding: base64\r\n", b"a" * 300, b"\xff", b";",
        b'"', b"\\",
    ),
    lambda data: [Part(b"", piece) for piece in re.split(rb"(?<=\r\n)", data)],
)  # fmt: skip


def make_request(method: str, path: str, body: bytes = b"", more: str = "") -> bytes:
    """Return the bytes of an HTTP request that asks the server to close the connection."""
    length = f"Content-Length: {len(body)}\r\nContent-Type: {JSON_TYPE}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{length}{more}\r\n".encode() + body


CHUNKED = f"Transfer-Encoding: chunked\r\nContent-Type: {JSON_TYPE}\r\n"
RAW = Format(
    "HTTP bytes",
    ".http",
    (
        make_request("GET", "/config"),
        make_request("POST", f"{API}/call/rating", b'{"data": [15, 260]}'),
        make_request("POST", f"{API}/call/rating", more=CHUNKED).replace(
            b"\r\n\r\n", b"\r\n\r\n13\r\n" + b'{"data": [15, 260]}' + b"\r\n0\r\n\r\n"
        ),
        make_request("GET", f"{API}/info", more="Cookie: a=b; session=x\r\nRange: bytes=0-5\r\nAccept: */*\r\n"),
        make_request("GET", "/health", more="X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"),
    ),
    (
        b"GET", b"POST", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\r\n\r\n", b" ", b"\0", b"\x80",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Expect: 100-continue\r\n",
        b"Upgrade: websocket\r\n", b":", b"%00",
        b"Content-Encoding: gzip\r\n", b"ffffffffffffffff\r\n", b"/..%2f..%2fetc/passwd", b"Host: x\r\n",
        b"a" * 9_000, b"\n",
    ),
    lambda data: [Part(b"", piece) for piece in re.split(rb"(?<=[\r\n :/;=&?])", data) if piece],
)  # fmt: skip

METHODS = ["GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "ODD"]
ROUTES = [
    "/", "/rating", "/rating/", "/config", "/health", "/health/", "/nothing", "/theme.css", "/monitoring",
    "/monitoring/summary",
    "/manifest.json", "/favicon.ico", "/robots.txt", "/static/", "/assets/", "/svelte/", "/pwa_icon", "/login",
    "/logout",
    "/openapi.json", "/docs", "/call/rating", "/queue/join", "/api/predict", "/file=/etc/passwd",
    *(f"{API}/{name}" for name in (
        "app_id", "call", "cancel", "file=", "file=/etc/passwd", "file=http://127.0.0.1/", "file/", "heartbeat/",
        "info",
        "login_check", "mcp", "mcp/", "mcp/sse", "openapi.json", "queue/join", "queue/data", "queue/status",
        "reset", "run/predict",
        "startup-events", "theme.css", "token", "upload", "upload_progress", "user", "component_server",
        "process_recording",
        "stream/", "deep_link", "proxy=", "custom_component/", "dev/reload", "call/rating/", "call/v2/rating/",
        "vibe-edit",
    )),
]  # fmt: skip
ODD_HEADERS = {
    "Range": ["bytes=0-1", "bytes=-1", "bytes=5-2", "bytes=0-0,2-3", "items=1", "bytes=" + "9" * 30 + "-"],
    "Accept": ["text/event-stream", "text/html", "*/*;q=-1", "application/json, text/event-stream"],
    "Content-Type": [
        JSON_TYPE,
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "text/plain; charset=nothing",
        "a/b;;",
    ],
    "Cookie": ["access-token=x", "=;=", "a" * 3_000],
    "Origin": ["null", "https://example.org", "http://localhost"],
    "Host": ["example.org", "127.0.0.1:1", "[::1]", "a" * 300],
    "X-Forwarded-For": ["1.2.3.4", "::1", "x, y", ","],
    "X-Forwarded-Host": ["example.org", "a b"],
    "X-Gradio-User": ["app"],
    "If-None-Match": ["*", '"x"'],
    "Accept-Encoding": ["gzip", "br", "identity;q=0"],
    "Authorization": ["Bearer x", "Basic !!"],
    "Mcp-Session-Id": ["x"],
    "Content-Length": ["0", "5", "-1", "x", "9" * 20],
}


JSON_BODY = {"Content-Type": JSON_TYPE}
FORM_TYPES = st.sampled_from(
    ["multipart/form-data; boundary=fuzz"] * 8 + ["multipart/form-data; boundary=", "multipart/form-data", JSON_TYPE]
)


@st.composite
def call_with_arguments(draw: Draw, name: str) -> list[Any]:
    """Draw a call with damaged arguments; half of the time, their number is right."""
    data: Any = ARGUMENTS[name]
    if draw(st.booleans()):
        data = [draw(damaged_json(value)) if draw(st.integers(0, 2)) == 0 else value for value in data]
    else:
        data = draw(damaged_json(data))
    return ["call", name, data, "cat.png", PICTURE]


@st.composite
def call_with_file(draw: Draw, name: str) -> list[Any]:
    kind = draw(st.sampled_from(FILES[name]))
    data = draw(mutants(kind, draw(st.sampled_from(list_families(kind)))))
    return ["call", name, ARGUMENTS[name], f"upload{kind.suffix}", data]


def send_body(bodies: st.SearchStrategy[bytes]) -> Cases:
    headers = st.sampled_from([JSON_BODY] * 5 + [{"Content-Type": "text/plain"}, {}])
    return st.tuples(st.just("send"), st.just("POST"), st.sampled_from(BODIES), headers, bodies)


def send_form(bodies: st.SearchStrategy[bytes]) -> Cases:
    headers = st.fixed_dictionaries({"Content-Type": FORM_TYPES})
    return st.tuples(st.just("send"), st.just("POST"), st.just(f"{API}/upload"), headers, bodies)


@st.composite
def send_anywhere(draw: Draw) -> list[Any]:
    path = draw(st.sampled_from(ROUTES))
    path += draw(st.sampled_from(["", "", "/", "/x", "//", "/../", "%2f..", "\\"]) | texts.map(encode))
    if draw(st.booleans()):
        name = draw(
            st.sampled_from(["session_hash", "upload_id", "tools", "__theme", "view", "deep_link", "hash"]) | texts
        )
        path += f"?{encode(name)}={encode(draw(texts))}"
    names = draw(st.lists(st.sampled_from(list(ODD_HEADERS)), max_size=2))
    headers = {name: draw(st.sampled_from(ODD_HEADERS[name])) for name in names}
    body = b"" if draw(st.integers(0, 3)) else b"{}"
    return ["send", draw(st.sampled_from(METHODS)), path[:5_000], headers, body]


def make_request_families() -> dict[str, Cases]:
    """Return requests; those to MCP only if its package is installed."""
    mcp = {"MCP: types": damaged_json(RPC).map(to_json), **name_families(MCP_BODY)}
    mcp = {family: st.tuples(st.just("mcp"), bodies) for family, bodies in mcp.items()}
    return {
        **{f"/{name}: arguments": call_with_arguments(name) for name in ARGUMENTS},
        **{f"/{name}: files": call_with_file(name) for name in FILES},
        "HTTP body: types": send_body(damaged_json(EVENT).map(to_json)),
        **{family: send_body(bodies) for family, bodies in name_families(BODY).items()},
        **{family: send_form(bodies) for family, bodies in name_families(FORM).items()},
        "HTTP routes": send_anywhere(),
        **({} if MCP else mcp),
        **{family: st.tuples(st.just("bytes"), data) for family, data in name_families(RAW).items()},
    }


def encode(text: str) -> str:
    return quote(text[:3_000].encode("utf-8", "replace"), safe="/;:@&=+$,!~*'()")


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# --- in the worker process ---

serving = contextlib.ExitStack()  # holds the server until the process ends


def prepare_gallery() -> Callable[..., Any]:
    """Serve the gallery in this process, and return the function that sends it a request."""
    os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp()
    os.environ["GRADIO_MCP_SERVER"] = "False" if MCP else "True"
    import traceback

    import gradio as gr
    import httpx2

    from tests.conftest import launch_app, load_app

    gallery = load_app("gallery")
    models = [app.model for app in gallery.apps.values()]
    for model in models:
        model.predict_batch([model.example()])
        if model.task == "image-segmentation":
            shrink_working_size(model)
    gr.Blocks.call_function = mark("endpoint", gr.Blocks.call_function)
    traceback.print_exc = lambda *_, **__: unexpected.append(sys.exception() or RuntimeError("print_exc"))
    url = serving.enter_context(launch_app(gallery.demo, *models))
    client = httpx2.Client(base_url=url, timeout=QUIET_SECONDS, follow_redirects=False)
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    count = 0

    index = next(index for index, fn in gallery.demo.fns.items() if fn.api_name == "rating")

    def send_with_index(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        return send(client, method, path, headers, body.replace(str(RATING_INDEX).encode(), str(index).encode()))

    ways: dict[str, Callable[..., Any]] = {
        "call": functools.partial(call, client),
        "send": send_with_index,
        "mcp": functools.partial(send_to_mcp, client),
        "bytes": functools.partial(send_bytes, address),
    }

    def ask(way: str, *arguments: Any) -> Any:
        nonlocal count
        try:
            return ways[way](*arguments)
        finally:
            count += 1
            if count % HEALTH_EVERY == 1:
                check_health(client)

    return ask


def check_health(client: Any) -> None:
    """Check that /health is good, at once or when a busy machine has found the time."""
    for _ in range(HEALTH_TRIES):
        health = client.get("/health")
        if health.status_code == 200:
            return
        time.sleep(3)  # longer than a result is reused
    raise AssertionError(f"/health answers {health.status_code}: {health.text}")


def check_status(status: int, body: str) -> None:
    """Raise Refused for 4xx, and AssertionError for 5xx."""
    assert status < 500, f"{status}: {body[:1_000]}"
    if status >= 400:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            body = str(json.loads(body)["detail"])
        raise Refused(f"{status}: {body.strip() or 'no words'}")


def call(client: Any, name: str, data: Any, filename: str, content: bytes) -> Any:
    """Upload a file if the arguments need one, call an endpoint, and return its first answer."""
    text = to_json(data).decode()
    if "{upload}" in text:
        reply = client.post(f"{API}/upload", files={"files": (filename, content)})
        check_status(reply.status_code, reply.text)
        text = text.replace("{upload}", reply.json()[0])
    path = f"{API}/call/{name}"
    reply = client.post(path, content=f'{{"data": {text}}}'.encode(), headers={"Content-Type": JSON_TYPE})
    check_status(reply.status_code, reply.text)
    return fetch(client, f"{path}/{reply.json()['event_id']}")


def fetch(client: Any, path: str) -> Any:
    """Wait for the answer of an event, and return its first output."""
    with client.stream("GET", path) as stream:
        event, words = read_last_event(stream.iter_lines())
    if event == "complete":
        return json.loads(words)[0]
    assert event == "error", f"the stream ended with {event!r}"
    found = json.loads(words)
    raise Refused(str(found["error"] if isinstance(found, dict) else found))


def read_last_event(lines: Iterator[str]) -> tuple[str, str]:
    """Return the name and the data of the event that ends a stream."""
    event = ""
    for line in lines:
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: ") and event in ("complete", "error"):
            return event, line.removeprefix("data: ")
    return event, ""


def send(client: Any, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
    """Send a request, and fetch the answer if it is an event; of another stream, only the status is read."""
    import h11
    import httpx2

    given = {name: value.encode("utf-8", "replace") for name, value in headers.items()}
    try:
        with client.stream(method, path, headers=given, content=body or None) as reply:
            kind = reply.headers.get("content-type", "")
            text = "" if "event-stream" in kind else reply.read().decode(errors="replace")
        check_status(reply.status_code, text)
    except httpx2.RemoteProtocolError as error:
        if "Content-Length" in headers or "Host" in headers:  # not a valid request
            raise Refused("The server closed the connection of a request that is no HTTP.") from error
        raise
    except (httpx2.LocalProtocolError, h11.LocalProtocolError, httpx2.InvalidURL) as error:
        raise Refused("The client does not send such a request.") from error
    if method == "POST" and path in BODIES and text.startswith('{"event_id"'):
        if path.startswith(f"{API}/call/"):
            return fetch(client, f"{path}/{json.loads(text)['event_id']}")
        client.post(f"{API}/reset", json={"event_id": json.loads(text)["event_id"]})
    return {"status": reply.status_code}


def send_to_mcp(client: Any, body: bytes) -> Any:
    """Send a message to MCP; return the first output of a tool."""
    reply = client.post(f"{API}/mcp/", content=body, headers=MCP_HEADERS)
    check_status(reply.status_code, reply.text)
    if not reply.text.strip():  # a notification has no answer
        return {"status": reply.status_code}
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    answer = json.loads(lines[-1] if lines else reply.text)
    if "error" in answer:
        raise Refused(f"{answer['error']['code']}: {answer['error']['message']}")
    result = answer["result"]
    if result.get("isError"):
        raise Refused(result["content"][0]["text"])
    return json.loads(result["content"][0]["text"]) if result.get("content") else {"status": reply.status_code}


def send_bytes(address: tuple[str, int], data: bytes) -> Any:
    """Send bytes, which may be no HTTP, and read the status of the answer, if there is one."""
    with socket.create_connection(address) as connection, contextlib.suppress(ConnectionError):
        answer = b""
        connection.sendall(data)
        for seconds in (PATIENCE, QUIET_SECONDS):  # the server may wait for the rest of a request
            connection.settimeout(seconds)
            with contextlib.suppress(TimeoutError):
                while len(answer) < 100_000 and (piece := connection.recv(65_536)):
                    answer += piece
                break
            connection.shutdown(socket.SHUT_WR)
        else:
            raise TimeoutError("The server did not close the connection.")
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/"):
        raise Refused("The server closed the connection without an answer.")
    status = int(head.split()[1])
    check_status(status, body.decode(errors="replace"))
    return {"status": status}


ENDPOINTS = Target("endpoints", 16, make_request_families(), prepare_gallery, "endpoint", seconds=60.0)
