"""What every app is served with: few sessions are remembered, and freed memory goes back to the system."""

import platform
import subprocess
import sys

import gradio as gr
import pytest

from benchmarks.clients import Client
from shared import page
from tests.conftest import launched


def test_no_more_sessions_are_remembered_than_said(monkeypatch):
    monkeypatch.setattr(page, "SESSIONS", 3)
    with gr.Blocks() as demo:
        text, same = gr.Textbox(), gr.Textbox()
        text.submit(lambda value: value, text, same, api_name="same")
    with launched(demo) as url:
        clients = [Client(url) for _ in range(5)]
        for number, client in enumerate([*clients, clients[0]]):  # the first one's session is forgotten, and made anew
            assert client.ask(("same", [str(number)], None)) == [str(number)]
        assert list(demo.state_holder.session_data) == [clients[index].session for index in (3, 4, 0)]


MEMORY = """
import sys
import numpy as np
from shared import page
from tests.conftest import launched

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "returned":
    page._return_memory()
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
def test_large_arrays_go_back_to_the_system_when_they_are_freed():
    kept, left = (
        float(subprocess.run([sys.executable, "-c", MEMORY, how], check=True, capture_output=True).stdout)
        for how in ("kept", "returned")
    )
    assert kept > 0.5  # without it, most stays
    assert left < 0.1
