"""The Dockerfile, without Docker: copied files exist, and its command serves from them."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.conftest import ROOT, find_free_port, python_path

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
LINES = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]


def arguments_of(instruction):
    return [rest for name, rest in LINES if name == instruction]


def test_copied_files_exist_and_are_not_ignored():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*"
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    sources = [line.split()[0] for line in arguments_of("COPY")]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source.split("/")[0] in let_in
    assert any(fnmatch.fnmatch("shared/__pycache__", pattern) for pattern in ignored[1:])


@pytest.fixture
def image(tmp_path):
    """Return a folder with what would lie in the container's working directory."""
    root = tmp_path / "gallery"
    root.mkdir()
    for line in arguments_of("COPY"):
        source, target = line.split()
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, root / target, ignore=shutil.ignore_patterns("__pycache__", ".gradio"))
        else:
            shutil.copy(ROOT / source, root / target)
    return root


def test_its_command_serves_from_what_it_copies_and_the_health_check_tells(image):
    """Use this Python's packages, which other tests compare with the pins."""
    port = str(find_free_port())
    variables = dict(part.split("=", 1) for part in arguments_of("ENV")[0].split())
    variables |= {"GRADIO_SERVER_PORT": port, "PYTHONPATH": python_path(image), "GRADIO_SERVER_NAME": "127.0.0.1"}
    check = json.loads(arguments_of("HEALTHCHECK")[0].split("CMD ")[1])
    check[2] = check[2].replace("127.0.0.1:7860", f"127.0.0.1:{port}")

    def is_healthy():
        return subprocess.run([sys.executable, *check[1:]], capture_output=True, check=False).returncode == 0

    assert not is_healthy()
    command = [sys.executable, *json.loads(arguments_of("CMD")[0])[1:]]
    process = subprocess.Popen(command, cwd=image, env=os.environ | variables)
    try:
        end = time.monotonic() + 120
        while not is_healthy():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.5)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/salary") as page:
            assert page.status == 200
        process.terminate()
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
