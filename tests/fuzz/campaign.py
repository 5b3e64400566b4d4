"""Run many cases in several worker processes, shrink those that fail, and count the outcomes by family."""

import base64
import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from .judge import Result
from .targets import Target
from .worker import Worker

SLICE = 1_000  # cases of one run of Hypothesis: several workers share the cases of a target
ROUNDS = 20  # runs of Hypothesis for one slice; a new one begins after each failure
OPTIONS = settings(
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    verbosity=Verbosity.quiet,
    print_blob=False,
)


@dataclass
class Tally:
    """The number of cases of a family by outcome, how many reached the decoder, and the largest CPU time and memory."""

    cases: int = 0
    reached: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0

    def add(self, result: Result) -> None:
        self.cases += 1
        self.reached += result.has_reached
        setattr(self, result.outcome, getattr(self, result.outcome) + 1)
        self.seconds, self.megabytes = max(self.seconds, result.seconds), max(self.megabytes, result.megabytes)

    def merge(self, other: "Tally") -> None:
        for name in ("cases", "reached", "answered", "refused", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seconds, self.megabytes = max(self.seconds, other.seconds), max(self.megabytes, other.megabytes)


@dataclass(frozen=True)
class Failure:
    """The smallest case with a kind of failure."""

    target: str
    family: str
    arguments: list[Any]
    result: Result


@dataclass
class Report:
    """What a campaign has found: tallies by target and family, and one failure of each kind."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: dict[str, Failure] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_stopped: bool = False

    def count(self, target: str, family: str, result: Result) -> None:
        with self.lock:
            self.tallies[target, family].add(result)

    def keep(self, failure: Failure) -> bool:
        """Keep a failure if it is the smallest of its kind; return True if it is the first one."""
        key = f"{failure.target}: {failure.result.signature}"
        with self.lock:
            known = self.failures.get(key)
            if known is None or measure(failure.arguments) < measure(known.arguments):
                self.failures[key] = failure
            return known is None

    @property
    def done(self) -> int:
        with self.lock:
            return sum(tally.cases for tally in self.tallies.values())

    def group(self, name: Callable[[str, str], str]) -> dict[str, Tally]:
        """Return the sums of the tallies with the same name(target, family), and of all."""
        groups: dict[str, Tally] = defaultdict(Tally)
        for (target, family), tally in sorted(self.tallies.items()):
            groups[name(target, family)].merge(tally)
        return groups


def run(
    targets: Iterable[Target],
    cases: int,
    start: int = 0,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Ask the targets in `workers` processes, by default one for each core; equal seeds give equal cases.

    Ctrl-C ends it early; the report has what was done until then.

    Args:
        targets: the targets; each gets a share of the cases by its weight.
        cases: number of cases.
        start: the seed.
        workers: number of processes.
        progress: called with the number of cases done, after each.
    """
    report, slices = Report(), []
    for target, family, count in share(targets, cases):
        sizes = [SLICE] * (count // SLICE) + [count % SLICE] * bool(count % SLICE)
        slices += [Slice(target, family, size, f"{start} {target.name} {family} {n}") for n, size in enumerate(sizes)]
    local = threading.local()
    opened: list[Worker] = []

    def work(part: Slice) -> None:
        if not hasattr(local, "worker"):
            local.worker = Worker()
            opened.append(local.worker)
        SliceRun(part, local.worker, report, progress).run()

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        try:
            for future in [pool.submit(work, part) for part in slices]:
                future.result()
        except KeyboardInterrupt:
            report.is_stopped = True
        finally:
            pool.shutdown(cancel_futures=True)
            for worker in opened:
                worker.stop()
    return report


@dataclass(frozen=True)
class Slice:
    """Some cases of a family, which one run of Hypothesis draws from a seed."""

    target: Target
    family: str
    cases: int
    seed: str


def share(targets: Iterable[Target], cases: int) -> Iterator[tuple[Target, str, int]]:
    """Divide a number of cases among targets by their weights, and equally among their families."""
    weights = [(target, name, target.weight / len(target.families)) for target in targets for name in target.families]
    total, before = sum(weight for *_, weight in weights), 0.0
    for target, family, weight in weights:
        after = before + weight
        if count := round(cases * after / total) - round(cases * before / total):
            yield target, family, count
        before = after


class SliceRun:
    """Asks the cases of a slice. After each new kind of failure, Hypothesis shrinks the case; then the run goes on."""

    def __init__(self, part: Slice, worker: Worker, report: Report, progress: Callable[[int], None]) -> None:
        self.part, self.worker, self.report, self.progress = part, worker, report, progress
        self.left = part.cases
        self.shrunk = ""  # the signature of the failure that is being shrunk

    def run(self) -> None:
        """Let Hypothesis draw the cases."""
        for round_ in range(ROUNDS):
            self.shrunk = ""
            strategy = self.part.target.families[self.part.family]
            check = settings(OPTIONS, max_examples=self.left)(given(strategy)(lambda case: self.check(list(case))))
            try:
                seed(f"{self.part.seed} {round_}")(check)()
            except Exception:
                if not self.shrunk and not self.report.is_stopped:
                    raise
            if not self.left or self.report.is_stopped:
                return

    def check(self, arguments: list[Any]) -> None:
        """Ask one case; raise AssertionError if it fails in a new way, or in the way that is being shrunk."""
        if self.report.is_stopped:
            raise InterruptedError
        if not self.shrunk and not self.left:
            return
        target, family = self.part.target, self.part.family
        result = self.worker.ask(target, arguments)
        if not self.shrunk:
            self.left -= 1
            self.report.count(target.name, family, result)
            self.progress(self.report.done)
        if result.outcome != "failed" or self.shrunk not in ("", result.signature):
            return
        if self.report.keep(Failure(target.name, family, arguments, result)) or self.shrunk:
            self.shrunk = result.signature
            raise AssertionError(self.shrunk)


# --- cases as files ---


def measure(arguments: list[Any]) -> int:
    return len(json.dumps(arguments, default=to_base64))


def to_base64(value: Any) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def from_base64(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if set(value) == {"base64"} else value


def write_case(folder: Path, failure: Failure) -> Path:
    """Write a failing case as JSON, in which bytes are base64; return its path."""
    content = {
        "target": failure.target, "family": failure.family, "failure": failure.result.signature,
        "arguments": failure.arguments,
    }  # fmt: skip
    text = json.dumps(content, default=to_base64, indent=1)
    name = f"{failure.target.replace(' ', '_')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text + "\n", encoding="utf-8")
    return folder / name


def read_case(path: Path) -> tuple[str, list[Any]]:
    """Return the target's name and the arguments of a case that write_case has written."""
    content = json.loads(path.read_text(encoding="utf-8"), object_hook=from_base64)
    return content["target"], content["arguments"]


# --- for people ---


def describe(failure: Failure) -> str:
    """Return the kind, the family and the details of a failure."""
    return f"{failure.target}, {failure.family}: {failure.result.signature}\n{failure.result.detail.rstrip()}"


def format_table(groups: dict[str, Tally], title: str) -> str:
    """Return tallies as a table in Markdown."""
    lines = [
        f"| {title} | Cases | Reached the decoder | Answered | Refused | Failed | Most CPU time | Most memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {tally.cases:,} | {tally.reached / max(tally.cases, 1):.0%} | {tally.answered:,} "
        f"| {tally.refused:,} | {tally.failed:,} | {tally.seconds:.1f} s | {max(tally.megabytes, 0):.0f} MB |"
        for name, tally in groups.items()
    ]
    return "\n".join(lines)
