"""The apps that are compared, each served by a process of its own."""

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
PATIENCE = 120  # seconds for an app to start


@dataclass(frozen=True)
class App:
    """An app that runs: where, since when (time.perf_counter()), as which process."""

    url: str
    started: float
    process: subprocess.Popen[bytes]

    def wait_for_answer(self, question: Question) -> float:
        """Seconds from the start of the process to its first answer."""
        while True:
            try:
                Client(self.url).ask(question)
                return time.perf_counter() - self.started
            except (OSError, http.client.HTTPException):
                if self.process.poll() is not None or time.perf_counter() > self.started + PATIENCE:
                    raise RuntimeError(f"The app at {self.url} does not start: {self.process.args}") from None
                time.sleep(0.01)

    def measure_memory(self) -> dict[str, float]:
        """Megabytes of the process and its children: resident now, and the sum of what each had at its peak."""
        parts = [read_memory(number) for number in list_processes(self.process.pid)]
        return {name: sum(part[name] for part in parts) for name in parts[0]}


def require_linux() -> None:
    """End with a sentence on other systems, before anything is measured."""
    if not Path("/proc/self/status").exists():
        raise SystemExit("The benchmarks read from /proc how much memory a process has: run them on Linux.")


def read_memory(number: int) -> dict[str, float]:
    """Megabytes of one process: resident now, and at its peak."""
    status = Path(f"/proc/{number}/status").read_text(encoding="utf-8")
    return {
        name: int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1000
        for name, field in (("resident", "VmRSS"), ("peak", "VmHWM"))
    }


def list_processes(number: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{number}/task/{number}/children").read_text(encoding="utf-8").split()
    return [number, *(one for child in children for one in list_processes(int(child)))]


@contextmanager
def serve(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[App]:
    """Serve an app, `python arguments...`, at a free port; it is not waited for."""
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
    """Gradio's own limit."""
    return serve("-m", "benchmarks.echo_app")


def serve_lesson(learner: Path) -> AbstractContextManager[App]:
    """The app of the fast.ai lesson."""
    return serve("-m", "benchmarks.lesson_app", variables={"LEARNER": str(learner)})


def serve_space(name: str) -> AbstractContextManager[App]:
    """A Space of ours, or the gallery."""
    return serve(f"spaces/{name}/app.py")
