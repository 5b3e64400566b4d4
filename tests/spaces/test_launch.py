"""What every app is served with: looks, limits, few remembered sessions, and memory that goes back when freed."""

import asyncio
import platform
import subprocess
import sys
import threading

import gradio as gr
import httpx2
import pytest
from fastapi.testclient import TestClient

from benchmarks.clients import Client
from shared.ui import memory, page
from tests.conftest import launch_app, load_app, set_limits

CREATE = page.create_app


def test_a_page_makes_no_web_application_until_it_is_served_or_asked_for_it(monkeypatch):
    """Gradio makes two for each Blocks, which took half the time in which the gallery started."""
    made = []
    monkeypatch.setattr(page, "create_app", lambda blocks, **options: made.append(blocks) or CREATE(blocks, **options))
    demo = load_app("rating").demo
    assert made == []
    with launch_app(demo):
        assert made == [demo]
        assert demo.app is demo.server_app
    draft = load_app("rating").demo
    assert TestClient(draft.app).get("/config").json()["title"] == draft.title
    assert draft.app is draft.app
    assert made == [demo, draft]
    with gr.Blocks() as others:
        gr.Markdown("Hello")
    assert made == [demo, draft, others, others]


def test_the_number_of_remembered_sessions_is_limited(monkeypatch):
    set_limits(monkeypatch, page_sessions=3)
    with gr.Blocks() as demo:
        text, same = gr.Textbox(), gr.Textbox()
        text.submit(lambda value: value, text, same, api_name="same")
    with launch_app(demo) as url:
        clients = [Client(url) for _ in range(5)]
        for number, client in enumerate([*clients, clients[0]]):  # the first one's session is forgotten, and made anew
            assert client.ask(("same", [str(number)], None)) == [str(number)]
        assert list(demo.state_holder.session_data) == [clients[index].session for index in (3, 4, 0)]


def test_an_app_that_answers_slowly_at_first_is_started(monkeypatch):
    """Gradio stops an app whose page takes 3 s, which a busy machine may need."""
    monkeypatch.setattr("gradio.networking.url_ok", lambda _url: False)
    with gr.Blocks() as demo:
        gr.Markdown("ready")
    with launch_app(demo) as url:
        assert httpx2.get(f"{url}/config").json()["components"][0]["props"]["value"] == "ready"


async def fetch(url):
    """What a running loop gets from the server that has been started in it."""
    return (await asyncio.to_thread(httpx2.get, url, timeout=30)).json()


def test_a_cell_of_a_notebook_shows_the_page_and_may_be_run_again(rating, monkeypatch):
    """As in Jupyter, whose cells run in an event loop."""
    monkeypatch.setattr(memory, "return_freed", lambda: None)
    monkeypatch.setenv("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")
    demo = load_app("rating").demo
    sweepers = sum(thread.name == "sweeper" for thread in threading.enumerate())

    async def cell():
        for _ in range(2):
            _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, css=".mine {}", footer_links=["api"])
            config = await fetch(f"{url}config")
            assert ".bars" in config["css"]
            assert ".mine" in config["css"]
            assert config["footer_links"] == ["api"]
            assert config["max_file_size"] == 50_000_000
            assert await fetch(f"{url}health") == {"status": "ok"}
            client = await asyncio.to_thread(Client, url.rstrip("/"))
            answer = await asyncio.to_thread(client.ask, ("predict", [15, 260], None))
            assert answer[0]["rating"] == rating.predict(15, 260).rating
            await asyncio.to_thread(demo.close, verbose=False)

    asyncio.run(cell())
    assert sum(thread.name == "sweeper" for thread in threading.enumerate()) == sweepers + 1


MEMORY = """
import sys
import numpy as np
from shared.ui import memory, page
from tests.conftest import launch_app, load_app

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "returned":
    memory.return_freed()
np.ones(3_000_000 // 8)  # freed at once: glibc then takes the next ones from its heap
before, large, small = resident(), [], []
for _ in range(60):
    large.append(np.ones(3_000_000 // 8))
    small.append(np.ones(2_000))  # in between, so that the heap cannot shrink
most = resident() - before
del large
print((resident() - before) / most)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told")
def test_memory_of_large_arrays_returns_to_the_system():
    kept, left = (
        float(subprocess.run([sys.executable, "-c", MEMORY, how], check=True, capture_output=True).stdout)
        for how in ("kept", "returned")
    )
    assert kept > 0.5  # without it, most stays
    assert left < 0.1
