"""The report of benchmarks/load.py: latencies, what the app holds, and promises that are broken."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from benchmarks.table import format_number

MEMORY_GROWTH = 1.05
THREADS = 8  # of the pools that grow and shrink
WINDOW = 20  # seconds of a state under load, whose samples vary


@dataclass(frozen=True)
class State:
    """What the app holds after some seconds and requests; `files` are those in its temporary folder."""

    seconds: float
    requests: float
    megabytes: float
    open_files: float
    threads: float
    files: float


@dataclass(frozen=True)
class Span:
    """Two states of the app, to compare: `what` names them.

    `allowed` is how many files, open or temporary, the later state may have more. It is 0 at rest; under load, requests
    that are under way have some.
    """

    what: str
    before: State
    after: State
    allowed: int = 0
    is_memory_kept: bool = True

    def find_broken(self) -> list[str]:
        """Return a sentence for each promise that is broken."""
        before, after = self.before, self.after
        broken = []
        if self.is_memory_kept and after.megabytes > MEMORY_GROWTH * before.megabytes:
            growth = 100 * (after.megabytes / before.megabytes - 1)
            broken.append(
                f"memory within 5 %: {self.what}, it grew by {growth:.1f} %, "
                f"from {before.megabytes:.0f} to {after.megabytes:.0f} MB"
            )
        limits = {"open_files": self.allowed, "files": self.allowed}
        if self.is_memory_kept:
            limits["threads"] = THREADS
        names = {"open_files": "open files", "threads": "threads", "files": "temporary files"}
        for name, allowed in limits.items():
            old, new = getattr(before, name), getattr(after, name)
            if new > old + allowed:
                broken.append(f"{names[name]} flat: {self.what}, from {old:g} to {new:g}")
        return broken


def compute_latencies(took: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return count, p50 and p95 in ms by kind of question."""
    rows: dict[str, Any] = {}
    for kind, seconds in sorted(took.items()):
        if seconds:
            p50, p95 = (1000 * np.percentile(seconds, [50, 95])).tolist()
            rows[kind] = {"count": len(seconds), "p50": p50, "p95": p95}
    return rows


def summarize(states: Iterable[State]) -> State:
    """Return the median of several states."""
    rows = [asdict(state) for state in states]
    return State(**{item.name: statistics.median(row[item.name] for row in rows) for item in fields(State)})


def compare_minutes(states: Sequence[State], clients: int, minute: float = 60) -> Span:
    """Compare the end of the first minute, or of the first half if that is shorter, with the end."""
    begin, end = states[0].seconds, states[-1].seconds
    first = min(minute, (end - begin) / 2)
    window = min(WINDOW, first)
    early = [state for state in states if first - window <= state.seconds - begin <= first] or states[:1]
    late = [state for state in states if state.seconds >= end - window]
    what = f"from second {first:.0f} to {end - begin:.0f} under load"
    return Span(what, summarize(early), summarize(late), allowed=clients)


def compare_tenths(states: Sequence[State], clients: int) -> tuple[list[State], Span, float]:
    """Summarize each tenth of a time-lapse; compare the first with the last.

    Returns:
        The ten states, fewer if there were few samples; their comparison; and the least-squares slope of the memory
        after the first tenth, in MB for 10,000 requests.
    """
    total = states[-1].requests
    parts = [[each for each in states if share <= 10 * each.requests / total < share + 1] for share in range(10)]
    tenths = [summarize(part) for part in parts if part]
    later = [state for part in parts[1:] for state in part]
    is_line = len({state.requests for state in later}) > 1
    slope = (
        statistics.linear_regression([state.requests for state in later], [state.megabytes for state in later]).slope
        if is_line
        else 0.0
    )
    return tenths, Span("from the first to the last tenth", tenths[0], tenths[-1], clients), 10_000 * slope


def find_broken(failures: Mapping[str, Sequence[str]], spans: Iterable[Span]) -> list[str]:
    """Return a sentence for each promise that is broken; `failures` are descriptions by kind."""
    broken = [f"0 {name}: {len(found):,}, such as: {found[0]}" for name, found in failures.items() if found]
    return broken + [sentence for span in spans for sentence in span.find_broken()]


def format_latencies(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return the latencies as a table."""
    columns, heads = ("count", "p50", "p95"), ("answers", "p50 ms", "p95 ms")
    lines = [f"{'':18}" + "".join(f"{head:>11}" for head in heads)]
    for kind, row in rows.items():
        cells = (f"{row['count']:,}", *(format_number(row[name]) if name in row else "" for name in columns[1:]))
        lines.append(f"{kind:18}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def format_states(states: Mapping[str, State]) -> str:
    """Return what the app held at several moments as a table."""
    lines = [f"{'':28}{'requests':>11}{'MB':>8}{'open files':>12}{'threads':>9}{'temporary files':>17}"]
    for what, state in states.items():
        lines.append(
            f"{what:28}{state.requests:11,.0f}{state.megabytes:8.0f}{state.open_files:12.0f}{state.threads:9.0f}"
            f"{state.files:17.0f}"
        )
    return "\n".join(lines)
