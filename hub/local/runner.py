"""Run Spaces: each is a separate process in a folder with only its files. Static ones need none."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hub.local import cards
from hub.local.store import Space

SETTLE = 0.2  # seconds; a change within this time replaces the previous build
TAIL = 2_000  # characters of the log shown as the error of an app


class Builder:
    """A runner that builds nothing; tests set the stage."""

    def start(self, space: Space) -> None:
        """Build and start the app, as after a commit; a paused Space stays paused."""
        if space.stage != "PAUSED" and len(space.commits) > 1:
            space.stage, space.error = "BUILDING", None

    def stop(self, space: Space) -> None:
        """Stop the app if it is running."""

    def close(self) -> None:
        """Stop all apps."""


class Runner(Builder):
    """A runner that runs the apps.

    Args:
        environment: returns the environment variables of an app for its HF_HOME.
        endpoint: the Hub's address, at which it serves static Spaces.
    """

    def __init__(self, environment: Callable[[Path], dict[str, str]], endpoint: str) -> None:
        self.environment, self.endpoint = environment, endpoint
        self.folder = Path(tempfile.mkdtemp(prefix="hub-spaces-"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.builds: dict[str, int] = {}  # number of builds; the thread of an older build stops
        self.lock = threading.Lock()
        self.is_closed = False

    def start(self, space: Space) -> None:
        self.stop(space)
        super().start(space)
        if space.stage == "BUILDING" and space.sdk == "static":
            space.stage, space.host = "RUNNING", f"{self.endpoint}/static/{space.id}/"
        elif space.stage == "BUILDING":
            threading.Thread(target=self._run, args=(space, self.builds[space.id]), daemon=True).start()

    def stop(self, space: Space) -> None:
        with self.lock:
            self.builds[space.id] = self.builds.get(space.id, 0) + 1
            process = self.processes.pop(space.id, None)
            space.host = None
        if process:
            _end(process)

    def close(self) -> None:
        with self.lock:
            self.is_closed = True
            processes = list(self.processes.values())
        for process in processes:
            _end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, space: Space, build: int) -> None:
        """Build and run the app until it ends; runs in a separate thread."""
        time.sleep(SETTLE)
        stage = self.folder / f"{space.id.replace('/', '-')}-{build}"
        port = _free_port()
        with self.lock:
            if not self._is_current(space, build):
                return
            app = self._write(space, stage / "app")
            if not app.is_file():
                space.stage = "NO_APP_FILE"
                return
            space.log = stage / "log"
            with space.log.open("wb") as log:
                process = self.processes[space.id] = subprocess.Popen(
                    [sys.executable, app.name],
                    cwd=app.parent,
                    env=self._variables(space, stage / "home", port),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        while process.poll() is None and not _answers(port):
            time.sleep(0.1)
        self._note(space, build, "RUNNING", f"http://127.0.0.1:{port}")
        process.wait()
        self._note(space, build, "RUNTIME_ERROR")

    def _is_current(self, space: Space, build: int) -> bool:
        return not self.is_closed and self.builds[space.id] == build

    def _note(self, space: Space, build: int, stage: str, host: str | None = None) -> None:
        with self.lock:
            if self._is_current(space, build):
                space.host, space.stage = host, stage
                if stage == "RUNTIME_ERROR" and space.log:
                    space.error = space.log.read_text(encoding="utf-8", errors="replace")[-TAIL:]

    def _write(self, space: Space, folder: Path) -> Path:
        """Write the Space's files; return the path of the app."""
        files = space.at("main").files
        for path, blob in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(blob.data)
        card = cards.read_card_data(files["README.md"].data) if "README.md" in files else {}
        return folder / str(card.get("app_file", "app.py"))

    def _variables(self, space: Space, home: Path, port: int) -> dict[str, str]:
        """Return the app's environment, without this process's settings for Python, Gradio and the Hub."""
        own = ("PYTHON", "GRADIO_", "HF_")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        given = {
            **self.environment(home),
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "PYTHONUNBUFFERED": "1",
            "SPACE_ID": space.id,
        }
        return {**inherited, **given, **space.variables, **space.secrets}


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows
            process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
