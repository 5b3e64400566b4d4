"""Serve the apps to compare, each in its own process."""

import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import Client, Question

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("cat_dog", "segmentation", "sentiment", "salary", "rating")
PATIENCE = 120  # seconds to wait for an app to start


@dataclass(frozen=True)
class App:
    """A running app: its address, its start (time.perf_counter()) and its process."""

    url: str
    started: float
    process: subprocess.Popen[bytes]

    def wait_for_answer(self, question: Question) -> float:
        """Wait for the first answer; return the seconds since the start of the process."""
        while True:
            try:
                Client(self.url).ask(question)
                return time.perf_counter() - self.started
            except (OSError, http.client.HTTPException):
                if self.process.poll() is not None or time.perf_counter() > self.started + PATIENCE:
                    raise RuntimeError(f"The app at {self.url} did not start: {self.process.args}") from None
                time.sleep(0.01)

    def measure_memory(self) -> dict[str, float]:
        """Return the megabytes of the process and its children: resident now, and the sum of their peaks."""
        parts = [read_memory(number) for number in list_processes(self.process.pid)]
        return {name: sum(part[name] for part in parts) for name in parts[0]}

    def count_threads(self) -> int:
        """Return the number of threads of the process and its children."""
        return sum(len(os.listdir(f"/proc/{number}/task")) for number in list_processes(self.process.pid))

    def count_open_files(self) -> int:
        """Return the number of files, sockets and pipes that the process and its children have open."""
        return sum(len(os.listdir(f"/proc/{number}/fd")) for number in list_processes(self.process.pid))


def require_linux() -> None:
    """Exit with a message on other systems than Linux."""
    if not Path("/proc/self/status").exists():
        raise SystemExit("The benchmarks read the memory of processes from /proc: run them on Linux.")


def read_memory(number: int) -> dict[str, float]:
    """Return the megabytes of one process: resident now, and at its peak."""
    status = Path(f"/proc/{number}/status").read_text(encoding="utf-8")
    return {
        name: int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1000
        for name, field in (("resident", "VmRSS"), ("peak", "VmHWM"))
    }


def list_processes(number: int) -> list[int]:
    """Return the ids of a process and its descendants."""
    children = Path(f"/proc/{number}/task/{number}/children").read_text(encoding="utf-8").split()
    return [number, *(one for child in children for one in list_processes(int(child)))]


@contextmanager
def serve(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[App]:
    """Start an app, `python arguments...`, on a free port, without waiting for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        **(variables or {}),
    }
    command = [sys.executable, *arguments]
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield App(f"http://127.0.0.1:{port}", started, process)
        except Exception:
            log.seek(0)
            print(log.read().decode(errors="replace")[-4000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(20)


def serve_echo() -> AbstractContextManager[App]:
    """Serve an app that only echoes, as Gradio's own limit."""
    return serve("-m", "benchmarks.echo_app")


def serve_lesson(learner: Path) -> AbstractContextManager[App]:
    """Serve the app of the fast.ai lesson."""
    return serve("-m", "benchmarks.lesson_app", variables={"LEARNER": str(learner)})


def serve_space(name: str) -> AbstractContextManager[App]:
    """Serve one of our Spaces, or the gallery, without a limit for the events of the one client that measures it."""
    return serve(f"spaces/{name}/app.py", variables={"GALLERY_EVENTS_PER_MINUTE": "1000000"})


def serve_to_strangers(name: str, folder: Path) -> AbstractContextManager[App]:
    """Serve one of our Spaces, or the gallery, with its limits, as if behind a proxy: a client sends its address.

    All temporary files are in `folder`.
    """
    own = {"TMPDIR": str(folder), "GRADIO_TEMP_DIR": str(folder / "uploads"), "GALLERY_TRUSTED_PROXIES": "1"}
    return serve(f"spaces/{name}/app.py", variables=own)
