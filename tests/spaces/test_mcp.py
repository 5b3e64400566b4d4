"""The gallery as agents see it over MCP, asked by the official client: tools, schemas, answers, and what is refused."""

import asyncio
import base64
import io
import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import httpx2
import pytest
from PIL import Image

from shared import __version__
from shared.ui import mcp_tools
from shared.ui.http_body import LARGE_MESSAGE, NO_MESSAGE
from tests.conftest import MCP, ROOT, load_app, mount_app, serve_app

CAT = (ROOT / "spaces/cat_dog/examples/cat.png").read_bytes()
PICTURE = f"data:image/png;base64,{base64.b64encode(CAT).decode()}"
SMALL = io.BytesIO()
Image.open(io.BytesIO(CAT)).resize((150, 100)).save(SMALL, "JPEG")
SMALL = f"data:image/jpeg;base64,{base64.b64encode(SMALL.getvalue()).decode()}"
TABLES = {
    "rating": "user_id,movie_id\n15,260\n",
    "salary": "age,workclass,fnlwgt,education,education-num,marital-status,occupation,relationship,race,sex,"
    "capital-gain,capital-loss,hours-per-week,native-country\n"
    "39,Private,1e5,Bachelors,13,Never-married,Sales,Husband,White,Male,0,0,40,Cuba\n",
    "sentiment": "text\nI loved every minute of it\n",
}
SENT = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

needs_mcp = pytest.mark.skipif(MCP is not None, reason=str(MCP))


@pytest.fixture(scope="module")
def tools(mcp_url):
    async def listed(session):
        return {tool.name: tool for tool in (await session.list_tools()).tools}

    return ask(mcp_url, listed)


def ask(url, question):
    """What a coroutine function answers that is given a session of the official client."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def main():
        streams = streamable_http_client(f"{url}/gradio_api/mcp/")
        async with streams as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await question(session)

    return asyncio.run(main())


def call(url, name, arguments, **options):
    return ask(url, lambda session: session.call_tool(name, arguments, **options))


def read_answer(result):
    """The JSON that an answer begins with."""
    assert not result.isError, result.content[0].text
    return json.loads(result.content[0].text)


def read_error(result):
    """The one sentence of a refusal."""
    assert result.isError
    (content,) = result.content
    assert "\n" not in content.text
    return content.text


def make_samples(name, argument, schema):
    """Values that follow an argument's schema."""
    if "anyOf" in schema:
        return [value for each in schema["anyOf"] for value in make_samples(name, argument, each)]
    if "enum" in schema:
        return [schema["enum"][0], schema["enum"][-1]]
    kind = schema["type"]
    if kind in ("integer", "number") and "minimum" in schema:
        return [schema["minimum"], schema["maximum"]]
    space = name.split("_batch")[0]
    texts = {"image": PICTURE, "movie_id": "Toy Story (1995)", "text": "I loved it."}
    table = f"data:text/csv;base64,{base64.b64encode(TABLES.get(space, '').encode()).decode()}"
    return {
        "array": [[PICTURE, PICTURE]],
        "integer": [{"part": 0, "movie_id": 260}.get(argument)],
        "null": [None],
        "object": [{"260": 5, "1": 3.5}],
        "string": [texts.get(argument, table)],
    }[kind]


@needs_mcp
def test_every_tool_has_the_name_of_its_endpoint(mcp_url, tools):
    endpoints = httpx2.get(f"{mcp_url}/gradio_api/info").json()["named_endpoints"]
    assert {f"/{name}" for name in tools} == set(endpoints)
    assert len(tools) == 18


@needs_mcp
def test_tools_of_a_space_on_the_hub_have_no_prefix(tmp_path):
    with serve_app("salary", tmp_path, {"SPACE_ID": "me/salary"}) as url:
        schema = httpx2.get(f"{url}/gradio_api/mcp/schema").json()
    assert [tool["name"] for tool in schema] == ["predict", "explain", "what_if", "batch"]


@needs_mcp
def test_schemas_are_small_and_every_argument_is_typed_and_described(tools):
    for tool in tools.values():
        assert len(tool.model_dump_json(exclude_none=True)) < 4000
        assert tool.description.endswith((".", "?"))
        assert "\n" not in tool.description
        for schema in tool.inputSchema["properties"].values():
            assert schema["description"]
            for kind in schema.get("anyOf", [schema]):
                assert kind["type"] in ("array", "integer", "null", "number", "object", "string")
                assert len(kind.get("enum", ())) < 60
    movie = tools["rating"].inputSchema["properties"]["movie_id"]
    assert movie["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert tools["rating"].inputSchema["required"] == ["user_id", "movie_id"]
    assert tools["salary"].inputSchema["required"] == []
    assert "Bachelors" in tools["salary_explain"].inputSchema["properties"]["education"]["anyOf"][0]["enum"]


@needs_mcp
def test_a_description_says_what_the_model_is_and_a_title_is_for_people(tools):
    """An agent chooses among the tools of several servers by what it reads here."""
    assert tools["salary"].description.endswith(
        'The model is "Salary": Did this person earn more than $50,000 a year in 1994? See which details make the '
        "difference. Labels: <50k, >=50k."
    )
    assert "Labels: cat, dog." in tools["cat_dog_batch"].description
    titles = {name: tool.annotations.title for name, tool in tools.items()}
    assert (titles["cat_dog"], titles["salary_what_if"]) == ("Cat or dog: predict", "Salary: what if")
    assert len({tool.description for tool in tools.values()}) == len(set(titles.values())) == len(tools)
    assert all(tool.annotations.readOnlyHint and tool.annotations.idempotentHint for tool in tools.values())


@needs_mcp
def test_the_server_introduces_itself(mcp_url):
    async def introduced(session):
        return await session.initialize()

    found = ask(mcp_url, introduced)
    assert (found.serverInfo.name, found.serverInfo.version) == ("Model gallery", __version__)
    assert found.instructions == mcp_tools.INSTRUCTIONS


@needs_mcp
def test_an_address_may_choose_tools(mcp_url):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    reply = httpx2.post(f"{mcp_url}/gradio_api/mcp/?tools=cat_dog,rating_recommend", content=body, headers=SENT)
    found = json.loads(reply.text.split("data: ", 1)[1])["result"]["tools"]
    assert [tool["name"] for tool in found] == ["cat_dog", "rating_recommend"]


@needs_mcp
def test_every_tool_accepts_what_its_schema_says(mcp_url, tools):
    """Each argument in turn takes each of its sample values; the others have their first, or are left out."""

    async def every(session):
        count = 0
        for name, tool in tools.items():
            values = {key: make_samples(name, key, each) for key, each in tool.inputSchema["properties"].items()}
            if name == "rating_recommend":
                continue  # its arguments exclude one another: see below
            first = {key: found[0] for key, found in values.items()}
            needed = {key: first[key] for key in tool.inputSchema["required"]}
            wanted = [first, needed, *({**needed, key: value} for key, found in values.items() for value in found)]
            for arguments in wanted:
                result = await session.call_tool(name, arguments)
                assert not result.isError, (name, result.content)
                assert isinstance(json.loads(result.content[0].text), dict)
                count += 1
        return count

    assert ask(mcp_url, every) > 100


@needs_mcp
def test_answers_equal_those_of_the_predictors(mcp_url, rating, salary, cat_dog):
    assert read_answer(call(mcp_url, "rating", {"user_id": 15, "movie_id": 260})) == {
        "rating": pytest.approx(rating.predict(15, 260).rating),
        "actual": 5.0,
        "title": "Star Wars: Episode IV - A New Hope (1977)",
    }
    for user_id, ratings in ((15, None), (None, {"260": 5})):
        given = {"user_id": user_id} if user_id else {"ratings": ratings}
        best = read_answer(call(mcp_url, "rating_recommend", {**given, "k": 3}))["movies"]
        expected = rating.recommend(user_id or rating.fold_in(ratings), 3)
        assert [movie["title"] for movie in best] == [title for _, title, _ in expected]
    known = {"age": 39, "education": "Bachelors"}
    found = read_answer(call(mcp_url, "salary", known))["probabilities"]
    unknown = {column: known.get(column) for column in salary.config.columns}
    assert found == pytest.approx(salary.predict(unknown).probabilities)
    assert read_answer(call(mcp_url, "cat_dog", {"image": PICTURE}))["label"] == cat_dog.predict(CAT).label


@needs_mcp
def test_an_explanation_of_a_picture_is_a_sentence_and_a_small_picture(mcp_url):
    result = call(mcp_url, "cat_dog_explain", {"image": PICTURE})
    assert [content.type for content in result.content] == ["text", "image", "text"]
    assert base64.b64decode(result.content[1].data)[8:12] == b"WEBP"
    assert len(result.content[1].data) < 100_000
    assert result.content[2].text.startswith("Orange areas point to a cat")


@needs_mcp
def test_a_batch_reports_progress_and_returns_the_table(mcp_url):
    seen = []

    async def told(done, total, _):
        seen.append(done / total)

    result = call(mcp_url, "cat_dog_batch", {"files": [SMALL] * 20}, progress_callback=told)
    assert read_answer(result) == {"files": 20, "answered": 20, "errors": 0}
    assert result.content[1].text.splitlines()[0].startswith('"file","prediction"')
    assert result.content[2].text.startswith(f"The same as CSV: {mcp_url}/gradio_api/file=")
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= 1


@needs_mcp
@pytest.mark.parametrize("form", ["{path}", "{url}/gradio_api/file={path}", "https://elsewhere/gradio_api/file={path}"])
def test_an_upload_is_named_by_its_path_or_address(mcp_url, form):
    sent = httpx2.post(f"{mcp_url}/gradio_api/upload", files={"files": ("a cat.png", CAT)})
    given = form.format(url=mcp_url, path=sent.json()[0])
    for image in (given, {"path": given, "url": "http://127.0.0.1:1/"}):
        assert read_answer(call(mcp_url, "cat_dog", {"image": image}))["label"] == "cat"


@needs_mcp
@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("/etc/passwd", "'/etc/passwd' cannot be read here; send a data: URL with base64"),
        (str(ROOT / "spaces/cat_dog/examples/cat.png"), "cannot be read here"),
        ("file:///etc/passwd", "cannot be read here"),
        ("/tmp/model-gallery/../../etc/passwd", "cannot be read here"),
        ("http://127.0.0.1/gradio_api/file=/etc/passwd", "cannot be read here"),
        ({"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "cannot be read here"),
        ("data:image/png;base64,@@@", "This is not valid base64; send a file as text"),
        ("data:image/png,abc", "This is not valid base64; send a file as text"),
        ("data:image/png;base64,aGFsbG8=", "This is not a picture that can be read"),
        ("https://example.com/cat.png", "cannot be read here"),
        ("", "cannot be read here"),
        (3, "cannot be read here"),
        (None, "cannot be read here"),
        ([PICTURE], "cannot be read here"),
    ],
)
def test_a_file_that_is_not_a_picture_is_refused_with_a_message(mcp_url, image, sentence):
    assert sentence in read_error(call(mcp_url, "cat_dog", {"image": image}))


@needs_mcp
def test_no_url_is_fetched(mcp_url):
    asked = []

    class Inner(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Inner) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/secret"
        file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
        for given in (url, file, {"url": url}):
            assert "cannot be read" in read_error(call(mcp_url, "cat_dog", {"image": given}))
            assert "cannot be read" in read_error(call(mcp_url, "cat_dog_batch", {"files": [given]}))
        assert "no such upload" in read_error(call(mcp_url, "rating_recommend", {"ratings": file}))
        server.shutdown()
    assert not asked


@needs_mcp
@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("nobody", {}, "There is no tool 'nobody'; the tools are cat_dog, "),
        ("rating", {"user_id": 15}, "Missing arguments: movie_id."),
        (
            "rating",
            {"user_id": 15, "movie_id": 1, "x": 1},
            "There is no argument 'x'; the arguments are user_id, movie_id.",
        ),
        ("rating", {"user_id": 0, "movie_id": 1}, "There is no user '0'; users are 1 to 671."),
        ("rating_recommend", {}, "Give either a user_id, or null and ratings such as"),
        (
            "rating_recommend",
            {"user_id": 15, "ratings": {"260": 5}},
            "Give either a user_id, or null and ratings such as",
        ),
        ("cat_dog_batch", {"files": ["data:;base64,"] * 201}, "There are more than 200 files; send fewer at a time."),
        ("salary", {"age": 5}, "Age in years must be a number from 17 to 90"),
        ("salary", {"age": json.loads("[" * 200 + "]" * 200)}, "nested at most 32 levels deep"),
        ("sentiment", {"text": " "}, "Write something first."),
    ],
)
def test_errors_are_reported_with_a_message(mcp_url, name, arguments, sentence):
    assert sentence in read_error(call(mcp_url, name, arguments))


@needs_mcp
def test_clients_at_once_get_their_own_answers(mcp_url, rating):
    async def several(session):
        results = await asyncio.gather(
            *(session.call_tool("rating", {"user_id": user, "movie_id": 1}) for user in range(1, 13))
        )
        return [read_answer(result)["rating"] for result in results]

    found = {}
    clients = [threading.Thread(target=lambda name=name: found.update({name: ask(mcp_url, several)})) for name in "abc"]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    expected = [rating.predict(user, 1).rating for user in range(1, 13)]
    assert found == {name: pytest.approx(expected) for name in "abc"}


def post(url, content):
    return httpx2.post(f"{url}/gradio_api/mcp/", content=content, headers=SENT, timeout=60)


@needs_mcp
def test_requests_are_bounded(mcp_url):
    assert post(mcp_url, b"x" * 1_400_000).status_code == 413
    assert post(mcp_url, (b"x" * 100_000 for _ in range(14))).status_code == 413
    for value in (b"[" * 19_000 + b"]" * 19_000, b"9" * 5000):
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rating","arguments":{"user_id":%b}}}'
        refused = post(mcp_url, body % value)
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("The JSON is nested too deeply")
    assert post(mcp_url, b"[" * 100_000).json()["detail"].endswith("may have at most 20,000 items in total.")
    assert post(mcp_url, b"{").status_code == 400
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"a":"%b"}}}'
    refused = post(mcp_url, body % (b"x" * 100_000))
    assert (refused.status_code, refused.json()) == (422, {"detail": LARGE_MESSAGE})


@needs_mcp
@pytest.mark.parametrize(
    "message",
    [
        b"null",
        b"[]",
        b'{"id": 1, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []}',
    ],
)
def test_what_is_no_message_is_refused_with_one_sentence(mcp_url, message):
    refused = post(mcp_url, message)
    assert (refused.status_code, refused.json()) == (400, {"detail": NO_MESSAGE})


@needs_mcp
def test_idle_streams_are_closed(mcp_url):
    refused = httpx2.get(f"{mcp_url}/gradio_api/mcp/", headers={"accept": "text/event-stream"}, timeout=60)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    page = httpx2.get(f"{mcp_url}/gradio_api/mcp/", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")


@needs_mcp
@pytest.mark.parametrize("path", ["sse", "messages/?session_id=0123456789abcdef0123456789abcdef"])
def test_the_old_sse_transport_is_closed(mcp_url, path):
    method = "GET" if path == "sse" else "POST"
    refused = httpx2.request(method, f"{mcp_url}/gradio_api/mcp/{path}", timeout=60)
    assert refused.status_code == 404
    assert refused.json()["detail"] == "Use MCP at /gradio_api/mcp/ (streamable HTTP)."


@needs_mcp
def test_a_picture_and_a_table_are_described_as_such(tools):
    texts = {name: str(tool.inputSchema["properties"]) for name, tool in tools.items()}
    for name, kind, other in (
        ("cat_dog", "image/png", "text/csv"),
        ("cat_dog_batch", "image/png", "text/csv"),
        ("salary_batch", "text/csv", "image/png"),
    ):
        assert f"data:{kind};base64" in texts[name]
        assert other not in texts[name]


@needs_mcp
def test_the_log_does_not_contain_untrusted_input(monkeypatch, caplog):
    monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    demo = load_app("salary").demo
    messages = [
        {"method": "notifications/" + "x" * 1000},
        {"method": "x" * 1000, "id": 1},
        {"method": "tools/call", "id": 2, "params": {"name": 5}},
        {"id": "x" * 1000, "result": {}},  # an answer, though nothing was asked
    ]
    with mount_app(demo, "/app") as url:
        for message in messages:
            status = post(url, json.dumps({"jsonrpc": "2.0", **message})).status_code
            assert status == 400 if "result" in message else status in (200, 202)
    assert [record.getMessage()[:200] for record in caplog.records if record.levelno >= logging.WARNING] == []


def post_together(url, name, texts, seconds):
    """The results of calls at once; None for one that the client has given up after some seconds."""

    async def one(client, text):
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": {"text": text}},
        }
        try:
            reply = await client.post(f"{url}/gradio_api/mcp/", json=body, headers=SENT)
        except httpx2.TimeoutException:
            return None
        return json.loads(reply.text.split("data: ", 1)[1])["result"]

    async def main():
        async with httpx2.AsyncClient(timeout=seconds, limits=httpx2.Limits(max_connections=100)) as client:
            return await asyncio.gather(*(one(client, text) for text in texts))

    return asyncio.run(main())


@needs_mcp
def test_one_address_may_have_as_many_questions_waiting_over_mcp_as_over_http(mcp_url):
    results = post_together(mcp_url, "sentiment_explain", [f"Not bad. {number}" for number in range(80)], 120)
    refused = {result["content"][0]["text"] for result in results if result["isError"]}
    assert refused <= {"You have too many requests waiting here; try again when they are answered."}
    assert sum(not result["isError"] for result in results) >= 48


@needs_mcp
def test_a_client_that_disconnects_leaves_no_question_waiting(mcp_url):
    long = "I loved it, but the end was bad and nobody knew why. " * 30
    assert None in post_together(mcp_url, "sentiment_explain", [f"{long} {number}" for number in range(48)], 2)
    time.sleep(2)
    results = post_together(mcp_url, "sentiment", [f"Not bad. {number}" for number in range(40)], 60)
    assert not [result["content"] for result in results if result["isError"]]


@pytest.mark.parametrize(
    ("asked", "space", "installed", "offered", "said"),
    [
        (None, None, True, False, ""),
        (None, None, False, False, ""),
        ("True", None, True, True, ""),
        ("1", None, True, True, ""),
        ("True", None, False, False, "MCP is off, because a package is missing. Install it: pip install"),
        (None, "me/gallery", True, True, ""),
        (None, "me/gallery", False, False, ""),
        ("False", "me/gallery", True, False, ""),
    ],
)
def test_when_mcp_is_served(monkeypatch, capsys, asked, space, installed, offered, said):
    for name, value in (("GRADIO_MCP_SERVER", asked), ("SPACE_ID", space)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(mcp_tools.importlib.util, "find_spec", lambda _: installed or None)
    assert mcp_tools.offer_tools() is offered
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert (f'"gradio[mcp]=={version("gradio")}"' in printed) is bool(said)


@pytest.mark.parametrize("name", ["cat_dog", "segmentation", "sentiment", "salary", "rating"])
def test_every_argument_of_a_space_has_a_schema(name):
    """Without the package, too: what the schemas are made of is the Space's own."""
    for fn in load_app(name).demo.fns.values():
        if fn.api_visibility == "public":
            assert len(mcp_tools.list_parameters(fn)) == len(fn.inputs)
