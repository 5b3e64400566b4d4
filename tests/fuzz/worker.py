"""Processes that ask targets, with limits for time and memory; a new one is started after a crash or a time-out."""

import contextlib
import faulthandler
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any

from tests.conftest import ROOT

from .judge import Result, fail, judge, reached, watch_stages

PREPARE_SECONDS = 300.0  # of CPU time, to load the models of a target
WAITING = 30  # seconds that may pass for each second of CPU time that a case may take: others may use the cores
MAX_MEGABYTES = 700  # that the process may grow during a case: twice what a picture of 24 megapixels takes
HARD_MEGABYTES = 2_000  # beyond this, an allocation fails

# --- in the process that asks targets ---


def read_status(name: str) -> int:
    """Return a field of /proc/self/status, such as VmHWM, in kilobytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition(f"\n{name}:")[2].split(maxsplit=1)[0])


def judge_with_memory(ask: Callable[..., Any], arguments: list[Any]) -> Result:
    """Judge a case, and measure its CPU time and the growth of the process's memory at its peak."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the earlier peak
    before, began = read_status("VmRSS"), time.process_time()
    result = judge(ask, arguments)
    seconds, megabytes = time.process_time() - began, (read_status("VmHWM") - before) / 1024
    if megabytes > MAX_MEGABYTES and result.outcome != "failed":
        result = fail("too much memory", f"{megabytes:.0f} MB; {result.outcome}: {result.detail}")
    return replace(result, seconds=seconds, megabytes=megabytes)


def read_cpu_seconds(process: int) -> float:
    """Return the CPU time of a process; 0 if it has ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def limit_memory() -> None:
    """Let allocations fail that are HARD_MEGABYTES beyond the memory in use."""
    limit = (read_status("VmData") + HARD_MEGABYTES * 1024) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def serve(connection: Connection) -> None:
    """Answer requests of a Worker: prepare a target, or ask it."""
    from .self_test import SELF_TEST
    from .targets import list_targets

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    watch_stages()
    targets = {target.name: target for target in [*list_targets(), SELF_TEST]}
    asks: dict[str, Callable[..., Any]] = {}
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        if arguments is None:
            resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            asks[name] = targets[name].prepare()
            limit_memory()
            connection.send(None)
        else:
            result = judge_with_memory(asks[name], arguments)
            has_reached = result.outcome == "answered" or targets[name].decoder in reached
            connection.send(replace(result, has_reached=has_reached))


# --- in the process that starts it ---


class Worker:
    """A process that asks targets; after a crash or a time-out, a new one is started."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection
        self.log: IO[bytes]
        self.prepared: set[str] = set()
        self.restarts = -1

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, target: Any, arguments: list[Any]) -> Result:
        """Ask a target with the arguments of a case."""
        if self.process is None:
            self.start()
        if target.name not in self.prepared:
            failure = self.exchange((target.name, None), PREPARE_SECONDS)
            if failure is not None:
                raise RuntimeError(f"{target.name} cannot be prepared: {failure.detail}")
            self.prepared.add(target.name)
        result = self.exchange((target.name, arguments), target.seconds)
        assert result is not None
        return result

    def exchange(self, request: tuple[str, list[Any] | None], seconds: float) -> Result | None:
        """Send a request and return the answer; a crash or a time-out is a Result, too."""
        assert self.process
        began, cpu = time.monotonic(), read_cpu_seconds(self.process.pid)
        try:
            self.connection.send(request)
            while not self.connection.poll(0.5):
                used, passed = read_cpu_seconds(self.process.pid) - cpu, time.monotonic() - began
                if used > seconds or passed > WAITING * seconds:
                    result = replace(fail("time-out", f"{passed:.0f} s, {used:.0f} s of CPU time"), seconds=used)
                    break
            else:
                answer: Result | None = self.connection.recv()
                return answer
        except (EOFError, OSError):
            code = self.process.wait()
            self.log.seek(0)
            words = self.log.read().decode(errors="replace")[-3_000:]
            name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            result = fail(f"crash: {name}", words)
        self.stop()
        return result

    def start(self) -> None:
        """Start a process."""
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.connection, other = Pipe()
        command = [sys.executable, "-m", "tests.fuzz.worker", str(other.fileno())]
        self.process = subprocess.Popen(
            command, cwd=ROOT, pass_fds=[other.fileno()], stdout=self.log, stderr=self.log, start_new_session=True
        )
        other.close()
        self.prepared.clear()
        self.restarts += 1

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.connection.close()
            self.process.kill()
            self.process.wait()
            self.log.close()
            self.process = None


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve(Connection(int(sys.argv[1])))
