"""Pictures and files as callers send them to an endpoint, and what else they send."""

import base64
import json
import logging
import re
import urllib.request
from pathlib import Path

import gradio as gr
import pytest

from shared.ui import Photo
from shared.ui.requests import BAD_BASE64, SEND_FILE, SEND_PICTURE, accept_file, accept_picture, prepare_input
from tests.conftest import ROOT, launch_app, set_limits

CAT = ROOT / "spaces/cat_dog/examples/cat.png"
META = {"_type": "gradio.FileData"}
PNG = CAT.read_bytes()
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def upload(uploads):
    path = uploads / "cat.png"
    path.write_bytes(PNG)
    return str(path)


@pytest.mark.parametrize(
    "value",
    [
        DATA_URL,
        {"url": DATA_URL},
        {"path": DATA_URL, "meta": META},
        {"path": None, "url": DATA_URL, "meta": META},
        DATA_URL.replace("data:image/png", "DATA:"),
        DATA_URL.replace("image/png;", "image/png;name=cat.png;"),
        DATA_URL.rstrip("=").replace("+", "-").replace("/", "_").replace("data:image_", "data:image/"),
        "data:image/png;base64,\n" + "\n".join(re.findall(".{1,76}", DATA_URL.partition(",")[2])),
    ],
)
def test_a_data_url_is_saved_as_an_upload(uploads, value):
    file = accept_picture(value)
    assert Path(file["path"]).read_bytes() == PNG
    assert Path(file["path"]).is_relative_to(uploads)
    assert file["meta"] == META


def test_an_upload_is_taken_in_every_form(upload):
    for value in (upload, {"path": upload}, {"path": upload, "url": "http://127.0.0.1:9/cat.png", "meta": META}):
        assert accept_picture(value) == accept_file(value) == {"path": upload, "meta": META}
    assert accept_picture(None) is None


OTHERS = [
    {}, "", 3, 1.5, True, [], [None], "cat.png", str(CAT), {"path": str(CAT)}, {"path": 3}, {"url": 3},
    "https://example.org/cat.png", {"url": "http://127.0.0.1:9/cat.png"}, f"file://{CAT}",
    {"url": f"file://{CAT}", "meta": META}, {"path": {"path": str(CAT)}}, "iVBORw0KGgo=",
]  # fmt: skip


@pytest.mark.parametrize("value", OTHERS)
def test_a_value_that_is_neither_gets_a_message(uploads, value):
    with pytest.raises(gr.Error) as caught:
        accept_picture(value)
    assert caught.value.message == SEND_PICTURE
    assert not caught.value.print_exception
    with pytest.raises(gr.Error) as caught:
        accept_file(value)
    assert caught.value.message == SEND_FILE


@pytest.mark.parametrize(
    "text", ["data:,", "data:image/png,abc", "data:image/png;base64,!!", "data:image/png;base64,é"]
)
def test_a_data_url_that_is_damaged(uploads, text):
    with pytest.raises(gr.Error) as caught:
        accept_picture(text)
    assert caught.value.message == BAD_BASE64
    with pytest.raises(gr.Error, match="Send a file as"):
        accept_file(text)


def test_a_disk_that_is_nearly_full_takes_no_data_url(uploads, monkeypatch):
    set_limits(monkeypatch, free_bytes=10**18)
    with pytest.raises(gr.Error, match="disk is full"):
        accept_picture(DATA_URL)
    assert not list(uploads.iterdir())


def test_files_are_prepared_by_their_component(upload):
    file = {"path": upload, "meta": META}
    one, many = gr.File(), gr.File(file_count="multiple")
    assert prepare_input(one, upload) == prepare_input(one, [upload]) == file
    assert prepare_input(many, upload) == prepare_input(many, [{"path": upload}]) == [file]
    assert prepare_input(one, None) is prepare_input(many, None) is None
    assert prepare_input(many, []) == []
    for block, value in ((one, []), (one, [upload, upload]), (many, [None]), (many, [upload, "text"]), (many, {})):
        with pytest.raises(gr.Error, match="Send a file as"):
            prepare_input(block, value)
    assert len(prepare_input(many, [upload] * 200)) == 200
    with pytest.raises(gr.Error, match="There are more than 200 files; split them"):
        prepare_input(many, [upload] * 201)
    assert prepare_input(gr.JSON(), {"path": "x"}) == {"path": "x"}
    assert prepare_input(gr.Textbox(), "text") == "text"
    with pytest.raises(gr.Error, match="Send the text itself"):
        prepare_input(gr.Textbox(), {"text": "x"})


# --- over HTTP ---


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))  # which each component notes
        with gr.Blocks() as demo:
            picture, files, file = Photo(type="filepath"), gr.File(file_count="multiple"), gr.File()
            number, size = gr.Number(precision=0), gr.Number()
            picture.change(lambda path: Path(path).stat().st_size, picture, size, api_name="picture")
            files.upload(len, files, size, api_name="files")
            file.upload(lambda path: Path(path).stat().st_size, file, size, api_name="file")
            number.submit(lambda number, _: number, [number, picture], size, api_name="number")
        with launch_app(demo) as url:
            yield url


def ask(url, name, data):
    """What an endpoint answers: its outputs, or a sentence."""
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(f"{url}/gradio_api/call/{name}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as reply:
            event = json.load(reply)["event_id"]
    except urllib.error.HTTPError as error:
        return json.load(error)["detail"]
    with urllib.request.urlopen(f"{url}/gradio_api/call/{name}/{event}") as stream:
        answer = json.loads(stream.read().decode().splitlines()[1].removeprefix("data: "))
    return answer if isinstance(answer, list) else answer["error"]


@pytest.mark.parametrize("value", [DATA_URL, {"url": DATA_URL}, {"path": DATA_URL, "meta": META}])
def test_a_picture_as_base64_is_answered(url, value):
    assert ask(url, "picture", [value]) == [len(PNG)]


@pytest.mark.parametrize("value", OTHERS)
@pytest.mark.parametrize("name", ["picture", "files", "file"])
def test_anything_else_gets_one_message(url, name, value, caplog, capfd):
    if name == "files" and value == []:
        return
    with caplog.at_level(logging.INFO):
        answer = ask(url, name, [value])
    path = value.get("path") if isinstance(value, dict) else None
    expected = "There is no such upload; send the file" if path else "Send a "
    assert answer.startswith(expected)
    assert str(CAT) not in answer
    assert "Traceback" not in caplog.text + capfd.readouterr().err


@pytest.mark.parametrize("value", ["text", {}, [1], {"path": DATA_URL, "meta": META}])
def test_a_component_that_cannot_take_its_input_says_so(url, value, capfd):
    answer = ask(url, "number", [value, None])
    assert answer.startswith(("The request is invalid; ", "There is no such upload; "))
    assert "Traceback" not in capfd.readouterr().err


def test_too_few_inputs(url, capfd):
    assert ask(url, "number", []) == "The endpoint takes 2 arguments, not 0: number, _."
    assert "Traceback" not in capfd.readouterr().err


def nest(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_data_beside_a_picture_is_bounded(url):
    for more, sentence in (
        (nest(50), "Lists and mappings may be nested at most 32 levels deep."),
        ([0] * 20_001, "Lists and mappings may have at most 20,000 items in total."),
        ({"path": str(CAT)}, "There is no such upload; send the file"),
    ):
        assert ask(url, "picture", [{"path": DATA_URL, "more": more}]).startswith(sentence)


@pytest.mark.parametrize("body", ["{}", "text", '{"data": "text"}', '{"data": null}', "[1]"])
def test_a_body_that_is_not_right_gets_one_message(url, body):
    for path in ("call/picture", "queue/join", "run/picture"):
        request = urllib.request.Request(
            f"{url}/gradio_api/{path}", body.encode(), {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 422
        assert json.load(caught.value)["detail"].startswith("The request is invalid; ")
