"""Every app inside somebody's FastAPI service: it looks, answers and is limited as where it is launched."""

import json
import threading

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio import mcp

from shared.ui import Page
from shared.ui.http_guard import OPEN_ROUTES
from shared.ui.requests import SEND_PICTURE
from shared.ui.theme import CSS, THEME
from tests.conftest import MCP, load_app, set_limits

pytestmark = pytest.mark.filterwarnings("ignore:SSR mode is not supported")  # said of every app with several pages

ENDPOINTS = {
    "gallery": "rating",
    "cat_dog": "predict",
    "rating": "predict",
    "salary": "predict",
    "segmentation": "predict",
    "sentiment": "predict",
}


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_a_mounted_app_keeps_its_theme_and_limits(name, monkeypatch):
    set_limits(monkeypatch, page_sessions=7)
    demo = load_app(name).demo
    service = FastAPI()
    service.get("/")(lambda: "the service")
    gr.mount_gradio_app(service, demo, path="/here")
    with TestClient(service) as client:
        config = client.get("/here/config").json()
        assert config["css"].strip() == CSS.strip()
        assert config["theme_hash"] == page_theme_hash()
        assert config["max_file_size"] == 50_000_000
        assert "runs" not in config["footer_links"]
        assert demo.state_holder.capacity == 7
        assert client.get("/here/health").json() == {"status": "ok"}
        assert client.get("/").json() == "the service"
        call = f"/here/gradio_api/call/{ENDPOINTS[name]}"
        for body in ({"data": [{"path": "/etc/passwd"}]}, {"data": [{"path": "https://example.org/x.png"}]}):
            assert client.post(call, json=body).status_code == 403
        large = json.dumps({"data": ["a" * 1_400_000]})
        assert client.post(call, content=large, headers={"Content-Type": "application/json"}).status_code == 413
        for path in ("gradio_api/component_server", "gradio_api/deep_link?session_hash=x", "monitoring"):
            assert client.get(f"/here/{path}").status_code == 404


def page_theme_hash():
    """The hash that Gradio gives the gallery's theme."""
    with gr.Blocks() as demo:
        gr.Textbox()
    gr.mount_gradio_app(FastAPI(), demo, path="/", theme=THEME)
    return demo.theme_hash


def text_page():
    with Page(title="Twice") as demo:
        text, twice = gr.Textbox(), gr.Textbox()
        text.submit(lambda value: 2 * value, text, twice, api_name="twice")
    return demo


def test_a_session_has_its_share_of_the_queue():
    service = gr.mount_gradio_app(FastAPI(), text_page(), path="/here")
    with TestClient(service) as client:
        asked = {"data": ["a"], "session_hash": "mine"}
        states = [client.post("/here/gradio_api/call/twice", json=asked).status_code for _ in range(41)]
        assert states == [200] * 40 + [429]
        too_long = {"data": ["a"], "session_hash": "x" * 129}
        assert client.post("/here/gradio_api/call/twice", json=too_long).status_code == 422


def test_a_service_may_mount_several_apps_and_add_its_own_theme_and_middleware():
    seen = []

    class Seen:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            seen.append(scope["path"])
            await self.app(scope, receive, send)

    before = [thread for thread in threading.enumerate() if thread.name == "sweeper"]
    service, demo = FastAPI(), text_page()
    gr.mount_gradio_app(service, demo, path="/one", css=".mine {}", app_kwargs={"middleware": [(Seen, (), {})]})
    gr.mount_gradio_app(service, text_page(), path="/two", max_file_size="1mb", theme=gr.themes.Soft())
    assert demo.app is service.routes[-2].app
    assert demo.app.state_holder is demo.state_holder
    with TestClient(service) as client:
        one, two = (client.get(f"/{name}/config").json() for name in ("one", "two"))
        assert CSS in one["css"]
        assert ".mine {}" in one["css"]
        assert (one["theme"], two["theme"]) == ("default", "soft")
        assert (one["max_file_size"], two["max_file_size"]) == (50_000_000, 1024 * 1024)
        for name in ("one", "two"):
            event = client.post(f"/{name}/gradio_api/call/twice", json={"data": [name]}).json()["event_id"]
            assert f'["{name}{name}"]' in client.get(f"/{name}/gradio_api/call/twice/{event}").text
    assert "/one/config" in seen
    assert not any(path.startswith("/two") for path in seen)
    sweepers = [thread for thread in threading.enumerate() if thread.name == "sweeper"]
    assert len(sweepers) == len(before) + 2  # each keeps the files that its own app shows


@pytest.mark.skipif(MCP is not None, reason=str(MCP))
@pytest.mark.parametrize("way", ["option", "variable"])
def test_agents_get_our_tools_even_with_the_first_request(way, monkeypatch):
    monkeypatch.setattr(mcp, "GradioMCPServer", mcp.GradioMCPServer.__mro__[-2])  # as before anybody has offered tools
    monkeypatch.setenv("GRADIO_MCP_SERVER", str(way == "variable"))
    options = {"mcp_server": True} if way == "option" else {}
    service = gr.mount_gradio_app(FastAPI(), text_page(), path="/here", **options)
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "twice", "arguments": {"value": "a"}},
    }
    with TestClient(service) as client:
        reply = client.post(
            "/here/gradio_api/mcp/", json=asked, headers={"Accept": "application/json, text/event-stream"}
        )
        result = json.loads(reply.text.split("data: ", 1)[1])["result"]
    assert (result["isError"], result["content"]) == (False, [{"type": "text", "text": '"aa"'}])


def test_other_gradio_apps_are_unchanged():
    """In looks, routes and inputs; README says that some limits hold for all apps of a process."""
    with gr.Blocks() as other:
        picture, text = gr.Image(type="filepath"), gr.Textbox()
        picture.change(lambda _: "", picture, text, api_name="picture")
    service = gr.mount_gradio_app(FastAPI(), text_page(), path="/here")
    gr.mount_gradio_app(service, other, path="/other")
    with TestClient(service) as client:
        config = client.get("/other/config").json()
        assert (config["css"], config["max_file_size"]) == ("", None)
        assert client.get("/other/gradio_api/deep_link?session_hash=x").status_code == 200
        assert "deep_link" not in OPEN_ROUTES
        call = "/other/gradio_api/call/picture"
        event = client.post(call, json={"data": ["/etc/passwd"]}).json()["event_id"]
        assert SEND_PICTURE[:15] not in client.get(f"{call}/{event}").text
