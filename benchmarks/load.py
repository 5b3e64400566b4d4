"""Drive the running gallery with many clients at once, compare every answer, and watch what the app holds.

    python -m benchmarks.load --out benchmarks/results/load.json        # 64 clients, 10 minutes, and about 5 more
    python -m benchmarks.load --time-lapse 100000 --out benchmarks/results/time_lapse.json    # as fast as they go
    python -m benchmarks.load --minutes 1 --clients 16 --abandoned 50 --rest 10               # a short one

Clients upload pictures, fill in forms, send reviews and whole files, ask for explanations and load pages. Half of them
keep a session, as a browser does; the others are strangers each time. One request in twenty is an attack. Each client
has its own address, so the limits of the gallery hold as for strangers. An answer "try again" (429 or 503 with a time)
is counted and followed; it is no failure.

Promises, with exit status 1 if one is broken: 0 answers 5xx; 0 stopped, that is, without an answer; 0 wrong, that is,
unlike those of the same model in this process; memory at the end at most 5 % above that after a minute; open files,
threads and temporary files flat, also after sessions were opened and abandoned.

The inputs are few, and all are asked once before the first minute. Gradio names files by their content, so the number
of temporary files must not grow at all. Deleting them sooner (GALLERY_KEPT_SECONDS) would hide files that are left
behind, and would delete pictures of questions that wait.

Each client waits for its answer before it asks again, so most of 64 soon wait for street frames, which are answered one
at a time: the times of the others are those beside a full queue of frames, not with 64 clients of their own.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.apps import App, require_linux, serve_to_strangers
from benchmarks.attacks import list_attacks
from benchmarks.clients import read_endpoint_ids
from benchmarks.promises import (
    Span,
    State,
    compare_minutes,
    compare_tenths,
    compute_latencies,
    find_broken,
    format_latencies,
    format_states,
)
from benchmarks.questions import make_questions
from benchmarks.serving import describe_conditions
from benchmarks.traffic import Records, Traffic, abandon_sessions
from shared.console import guard_output

HOSTILE = 0.05
WEIGHTS = {
    "rating": 6, "salary": 6, "page": 4, "asset": 3, "sentiment": 3, "cat_dog": 3, "segmentation": 0.5,
    "salary_explain": 0.5, "sentiment_explain": 0.5, "salary_batch": 0.5, "sentiment_batch": 0.3, "cat_dog_batch": 0.5,
}  # fmt: skip
TIME_LAPSE_WEIGHTS = {
    **dict.fromkeys(WEIGHTS, 0.2), "rating": 30, "salary": 30, "page": 15, "asset": 15, "sentiment": 5, "cat_dog": 3,
}  # fmt: skip
SAMPLE_SECONDS = 1.0
SETTLE_SECONDS = 15.0  # until connections that nobody uses are closed


class Watch:
    """The states of an app over time.

    Args:
        app: the app.
        folder: its temporary files.
        records: those of its clients.
    """

    def __init__(self, app: App, folder: Path, records: Records) -> None:
        self.app, self.folder, self.records = app, folder, records
        self.began = time.monotonic()

    def look(self) -> State:
        """Return the state now.

        Raises:
            RuntimeError: the app has ended.
        """
        if self.app.process.poll() is not None:
            raise RuntimeError(f"The gallery ended with status {self.app.process.returncode}.")
        return State(
            time.monotonic() - self.began,
            self.records.requests,
            self.app.measure_memory()["resident"],
            self.app.count_open_files(),
            self.app.count_threads(),
            sum(len(files) for _, _, files in os.walk(self.folder)),
        )

    def rest(self, seconds: float) -> State:
        """Return the state after a pause."""
        for _ in tqdm(range(round(seconds)), "rest", unit="s", leave=False):
            time.sleep(1)
        return self.look()


def main(arguments: list[str] | None = None) -> None:
    """Run the load test from the command line."""
    options = parse(arguments)
    require_linux()
    report = measure(options)
    print_report(report)
    report["states"] = {name: asdict(state) for name, state in report["states"].items()}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8", newline="\n")
    if report["broken"]:
        raise SystemExit("\n".join(f"broken: {sentence}" for sentence in report["broken"]))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--time-lapse", metavar="N", type=int, help="send N requests, mostly cheap, instead of minutes")
    parser.add_argument("--abandoned", metavar="N", type=int, default=500, help="sessions to abandon (default: 500)")
    parser.add_argument("--rest", metavar="S", type=float, default=60, help="seconds of rest after them (default: 60)")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the report as JSON")
    options = parser.parse_args(arguments)
    if min(options.minutes, options.clients, options.time_lapse or 1) <= 0 or min(options.abandoned, options.rest) < 0:
        parser.error("--minutes, --clients and --time-lapse must be above 0; --abandoned and --rest not below.")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the gallery; return the report."""
    print("Asking the models in this process ...", flush=True)
    asked = make_questions()
    with tempfile.TemporaryDirectory() as name, serve_to_strangers("gallery", Path(name)) as app:
        app.wait_for_answer(("rating", [15, 260], None))
        weights = TIME_LAPSE_WEIGHTS if options.time_lapse else WEIGHTS
        traffic = Traffic(app.url, read_endpoint_ids(app.url), asked, weights, list_attacks(), HOSTILE)
        watch = Watch(app, Path(name), traffic.records)
        print("Asking every question once ...", flush=True)
        traffic.ask_all(options.clients)
        found = (measure_time_lapse if options.time_lapse else measure_minutes)(options, traffic, watch)
    records, spans = traffic.records, found.pop("spans")
    return {
        **describe_conditions(),
        "clients": options.clients,
        **found,
        "latencies": compute_latencies(records.took),
        "counts": dict(records.counts),
        "failures": {name: len(found) for name, found in records.failures.items()},
        "first_failures": {name: found[:5] for name, found in records.failures.items()},
        "broken": find_broken(records.failures, spans),
    }


def measure_minutes(options: argparse.Namespace, traffic: Traffic, watch: Watch) -> dict[str, Any]:
    """Measure some minutes, then sessions that are abandoned."""
    warm = watch.rest(SETTLE_SECONDS)
    states = run_for(60 * options.minutes, options.clients, traffic, watch)
    rested = watch.rest(SETTLE_SECONDS)
    loaded = compare_minutes(states, options.clients)
    spans = [loaded, Span("at rest, before and after the load", warm, rested, is_memory_kept=False)]
    moments = {"at rest": warm, "after the first minute": loaded.before, "in the last minute": loaded.after}
    moments["at rest again"] = rested
    if options.abandoned:
        print(f"Abandoning {options.abandoned} sessions ...", flush=True)
        abandon_sessions(traffic, options.abandoned)
        moments["sessions just abandoned"] = watch.look()
        moments["after a rest"] = watch.rest(options.rest)
        spans.append(Span(f"after {options.abandoned} abandoned sessions", rested, moments["after a rest"]))
        traffic.ask_all(options.clients)  # it still answers
    return {"minutes": options.minutes, "states": moments, "spans": spans}


def measure_time_lapse(options: argparse.Namespace, traffic: Traffic, watch: Watch) -> dict[str, Any]:
    """Measure a number of requests as fast as they go."""
    warm = watch.rest(SETTLE_SECONDS)
    states = run_until(options.time_lapse, options.clients, traffic, watch)
    tenths, span, slope = compare_tenths(states, options.clients)
    rested = watch.rest(SETTLE_SECONDS)
    moments = {f"tenth {number}": state for number, state in enumerate(tenths, 1)}
    spans = [span, Span("at rest, before and after the load", warm, rested, is_memory_kept=False)]
    slopes = {"megabytes_per_10000_requests": slope, "seconds": states[-1].seconds - states[0].seconds}
    return {"states": {"at rest": warm, **moments, "at rest again": rested}, "spans": spans, **slopes}


def run_for(seconds: float, clients: int, traffic: Traffic, watch: Watch) -> list[State]:
    """Let clients ask for some seconds; return the states of the app, one a second."""
    end = time.monotonic() + seconds
    with tqdm(total=round(seconds), desc="gallery", unit="s") as bar:
        return run(clients, traffic, watch, bar, lambda: time.monotonic() >= end, lambda: round(end - time.monotonic()))


def run_until(requests: int, clients: int, traffic: Traffic, watch: Watch) -> list[State]:
    """Let clients send a number of requests; return the states of the app, one a second."""
    records = traffic.records
    with tqdm(total=requests, desc="gallery") as bar:
        return run(
            clients, traffic, watch, bar, lambda: records.requests >= requests, lambda: requests - records.requests
        )


def run(
    clients: int,
    traffic: Traffic,
    watch: Watch,
    bar: Any,
    is_over: Callable[[], bool],
    count_left: Callable[[], int],
) -> list[State]:
    """Let clients ask until it is over; wait for their last answers; return the states, one a second."""
    states = []
    threads = traffic.start(clients, is_over)
    while not is_over():
        time.sleep(SAMPLE_SECONDS)
        states.append(watch.look())
        bar.set_postfix_str(f"{states[-1].megabytes:.0f} MB, {traffic.records.count_failures()} failures")
        bar.update(max(0, min(bar.total, bar.total - count_left()) - bar.n))
    for thread in threads:
        thread.join()
    return states


def print_report(report: Mapping[str, Any]) -> None:
    """Print the tables."""
    counts, failures = report["counts"], report["failures"]
    print(f"\n{format_latencies(report['latencies'])}\n\n{format_states(report['states'])}\n")
    if "megabytes_per_10000_requests" in report:
        print(f"memory: {report['megabytes_per_10000_requests']:+.2f} MB for 10,000 requests after the first tenth")
    found = ", ".join(f"{count:,} {name}" for name, count in failures.items())
    print(f"{found}; {counts.get('hostile', 0):,} attacks, told to wait {counts.get('told to wait', 0):,} times")


if __name__ == "__main__":
    guard_output()
    main()
