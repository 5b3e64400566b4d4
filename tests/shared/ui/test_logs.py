"""Logs say what went wrong and where, but nothing that a visitor sent."""

import json
import logging
import sys
import traceback

import pytest
import uvicorn.config
from gradio import queueing, route_utils, routes

from shared.ui import logs
from shared.ui.http_guard import name_route

SECRET = "marker-7f3a"


def fail(kind=ValueError):
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise kind(f"could not read {SECRET}") from error


def make_record(message="It failed.", error=fail):
    try:
        error()
    except Exception:
        return logging.LogRecord("gallery", logging.ERROR, __file__, 1, message, (), sys.exc_info())
    raise AssertionError


def test_an_error_is_logged_without_its_message():
    record = make_record()
    logging.Formatter().format(record)  # as another handler would, before
    assert SECRET in record.exc_text
    text = logs.PrivateFormatter().format(record)
    assert text.startswith("ERROR: It failed.\n")
    assert SECRET not in text
    assert "builtins.ValueError\n\nCaused by:\n" in text
    assert text.endswith("builtins.KeyError")
    assert 'in fail\n    raise kind(f"could not read {SECRET}") from error' in text


def test_the_errors_in_a_group_are_named():
    def fail_twice():
        raise ExceptionGroup(SECRET, [OSError(SECRET), TypeError(SECRET)])

    text = logs.PrivateFormatter().format(make_record(error=fail_twice))
    assert SECRET not in text
    assert [name in text for name in ("ExceptionGroup", "OSError", "TypeError")] == [True] * 3


def test_json_has_one_line_for_each_record():
    line = logs.JsonFormatter().format(make_record("Two\nlines"))
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["level"], entry["message"], entry["error"]) == ("ERROR", "Two\nlines", "ValueError")
    assert entry["trace"].endswith("builtins.KeyError")
    assert SECRET not in line
    plain = json.loads(logs.JsonFormatter().format(logging.LogRecord("a", logging.INFO, "", 1, "%s", ("x",), None)))
    assert plain.keys() == {"time", "level", "logger", "message"}
    assert plain["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("value", "begins", "is_private"), [("", "ERROR: ", True), ("json", "{", True), ("full", "ERROR: ", False)]
)
def test_the_variable_decides_for_our_log_and_for_that_of_uvicorn(monkeypatch, capsys, value, begins, is_private):
    monkeypatch.setenv("GALLERY_LOG", value)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setitem(uvicorn.config.LOGGING_CONFIG["formatters"], "default", None)
    logging.basicConfig()  # as the first logging.error() of a program does
    logs.use_private_logs()
    root.handle(make_record())
    handler = uvicorn.config.LOGGING_CONFIG["formatters"]["default"]["()"]()
    for said in (capsys.readouterr().err, handler.format(make_record())):
        assert said.startswith(begins)
        assert (SECRET not in said) == is_private


def test_a_root_logger_that_a_program_has_set_up_is_kept(monkeypatch):
    handler = logging.StreamHandler()
    handler.setFormatter(own := logging.Formatter("mine %(message)s"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setitem(uvicorn.config.LOGGING_CONFIG["formatters"], "default", None)
    logs.use_private_logs()
    assert logging.getLogger().handlers == [handler]
    assert handler.formatter is own


def test_gradio_logs_errors_and_prints_none(monkeypatch, caplog, capfd):
    for module in (queueing, route_utils, routes):
        monkeypatch.setattr(module, "traceback", traceback)
    logs.log_gradio_errors()
    for module in (queueing, route_utils, routes):
        try:
            fail()
        except ValueError:
            module.traceback.print_exc()
    assert [record.getMessage() for record in caplog.records] == ["An endpoint failed."] * 3
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/gradio_api/file=/tmp/model-gallery/aa/my-photo.jpg", "/gradio_api/file"),
        ("/gradio_api/call/cat_dog/abc", "/gradio_api/call"),
        ("/gradio_api/openapi.json", "/gradio_api/openapi.json"),
        ("/my-photo.jpg", "A page"),
        ("/", "A page"),
    ],
)
def test_a_path_is_logged_as_its_route(path, route):
    assert name_route(path) == route
