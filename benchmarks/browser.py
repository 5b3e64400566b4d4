"""Time of the models in a browser (spaces/browser), beside the Python predictors with as many threads, in turn.

    python -m benchmarks.browser [--calls 15] [--out benchmarks/results/browser.json]

The browser is headless Chromium on this machine; times are from the page's call to its answer. Other programs on the
machine change them. Bytes are those that the server sends at a first visit, without headers and without the service
worker's, and memory is that of the page's process after 1, 101 and 201 pictures.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import inputs
from benchmarks.apps import ROOT
from benchmarks.serving import describe_conditions
from benchmarks.timing import time_call
from hub.live_static import OPEN, encode_file
from hub.static_site import Handler, build_site, find_demos, serve, write_site
from shared import load_model
from shared.console import guard_output
from shared.session import Session

BROWSER = "/usr/bin/chromium"
CALL = """async ([method, args]) => {
  const blob = (value) => new Blob([Uint8Array.from(atob(value.base64), (one) => one.charCodeAt(0))]);
  const given = args.map((value) => (value?.base64 !== undefined ? blob(value) : value));
  const started = performance.now();
  await window.model.call(method, given);
  return performance.now() - started;
}"""


WARM_UP = 3.0  # seconds
FIRST_ANSWERS = {
    "cat_dog": "It is a cat.",
    "rating": "The Godfather (1972)",
    "salary": "$50,000 or less",
    "segmentation": "What fills the picture",
    "sentiment": "Positive",
}  # texts of the answers with which the pages open
WATCH = """window.longTasks = [];
new PerformanceObserver((found) => found.getEntries().forEach((each) => window.longTasks.push(each.duration)))
  .observe({ type: "longtask", buffered: true });"""


class CountingHandler(Handler):
    """A host that counts the bytes of the files it sends."""

    sent = 0

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file."""
        content = source.read()
        CountingHandler.sent += len(content)
        outputfile.write(content)


def make_cases() -> dict[str, tuple[str, int, str, list[Any], Any]]:
    """Return each case: a model, threads, the method in the browser, its arguments, and the input in Python."""
    photo, frame = inputs.make_small_photo(), inputs.make_street_frame()
    small = inputs.encode_jpeg(inputs.draw_picture(480, 360))
    review = inputs.make_review()
    person = {name: str(value) for name, value in load_model(ROOT / "spaces/salary/model").example().items()}
    return {
        "cat_dog, photo of 500×375": ("cat_dog", 1, "predict", [photo], photo),
        "segmentation, 480×360": ("segmentation", 2, "predict", [small], small),
        "segmentation, 960×720": ("segmentation", 2, "predict", [frame], frame),
        "a review of 200 words": ("sentiment", 1, "predict", [review], review),
        "a form": ("salary", 1, "predict", [person], person),
        "a rating": ("rating", 1, "predict", [15, "260"], (15, 260)),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=15, help="timed calls of each side (default: 15)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    report = {**describe_conditions(), "calls": options.calls, **measure(options.calls)}
    print(f"\n{format_first_visits(report)}\n\n{format_speeds(report)}\n\n{format_memory(report)}")
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8", newline="\n")


def measure(calls: int) -> dict[str, Any]:
    """Measure the first visit of each page, the speeds, and the memory."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_site(build_site(find_demos(), "Model gallery"), Path(folder))
        server = serve(Path(folder), 0, CountingHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        visits = {name: visit(browser, address, name) for name in tqdm(find_demos(), "first visits")}
        page = browser.new_page()
        page.goto(f"{address}collect.html")
        speeds = {}
        for case, (name, threads, method, args, item) in tqdm(make_cases().items(), "speeds"):
            page.evaluate(OPEN, [name, threads])
            speeds[case] = {"threads": threads, **compare(page, name, threads, method, args, item, calls)}
        memory = measure_memory(browser, address)
        browser.close()
        server.shutdown()
    return {"first_visits": visits, "speeds": speeds, "megabytes": memory}


def compare(
    page: Any, name: str, threads: int, method: str, args: list[Any], item: Any, calls: int
) -> dict[str, list[float]]:
    """Return the milliseconds of each call in the browser and in Python, which take turns."""
    model = load_model(ROOT / "spaces" / name / "model")
    model.session = Session(model.session.path, threads)
    given = [encode_file(arg) if isinstance(arg, bytes) else arg for arg in args]
    call = {"rating": lambda: model.predict(*item)}.get(name, lambda: model.predict(item))
    begun = time.perf_counter()
    while time.perf_counter() - begun < WARM_UP:  # browsers compile what is called often once more
        page.evaluate(CALL, [method, given])
        call()
    pairs = [(page.evaluate(CALL, [method, given]), time_call(call)) for _ in range(calls)]
    return {"browser": [pair[0] for pair in pairs], "python": [pair[1] for pair in pairs]}


def visit(browser: Any, address: str, name: str) -> dict[str, Any]:
    """Return the bytes that the first visit of a page transfers, when it can be used and has answered, and its tasks.

    A browser reports tasks of the main thread that take more than 50 ms.
    """
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.add_init_script(WATCH)
    CountingHandler.sent = 0
    started = time.perf_counter()
    page.goto(f"{address}#{name}")
    page.locator(".page > *").first.wait_for()
    visible = time.perf_counter() - started
    page.locator("#answer, #best").filter(has_text=FIRST_ANSWERS[name]).wait_for()
    answered = time.perf_counter() - started
    page.wait_for_timeout(500)  # a task is reported after its end
    tasks = sorted(page.evaluate("longTasks"))
    context.close()
    return {"bytes": CountingHandler.sent, "visible": visible, "answered": answered, "long_tasks": tasks}


def measure_memory(browser: Any, address: str) -> list[float]:
    """Return the MB of the page of cat_dog, with its worker, after 1, 101 and 201 pictures."""
    page = browser.new_page()
    page.goto(f"{address}collect.html")
    page.evaluate(OPEN, ["cat_dog", 1])
    given = [encode_file(inputs.make_small_photo())]
    found = []
    for count in tqdm((1, 100, 100), "memory"):
        for _ in range(count):
            page.evaluate(CALL, ["predict", given])
        found.append(page.evaluate("async () => (await performance.measureUserAgentSpecificMemory()).bytes") / 1e6)
    return found


def format_first_visits(report: Mapping[str, Any]) -> str:
    """Return the table of first visits, in Markdown."""
    lines = [
        "| page | MB over the wire | form visible, s | first answer, s | tasks above 50 ms |",
        "|---|---|---|---|---|",
    ]
    for name, found in report["first_visits"].items():
        tasks = ", ".join(f"{task:.0f} ms" for task in found["long_tasks"]) or "none"
        times = f"{found['visible']:.2f} | {found['answered']:.2f}"
        lines.append(f"| {name} | {found['bytes'] / 1e6:.2f} | {times} | {tasks} |")
    return "\n".join(lines)


def format_speeds(report: Mapping[str, Any]) -> str:
    """Return the table of speeds, in Markdown: medians and quartiles, and the ratio of the medians."""
    lines = ["| input | threads | browser, ms | Python, ms | ratio |", "|---|---|---|---|---|"]
    for case, found in report["speeds"].items():
        sides = found["browser"], found["python"]
        ratio = np.median(sides[0]) / np.median(sides[1])
        lines.append(f"| {case} | {found['threads']} | {' | '.join(map(format_times, sides))} | {ratio:.1f} |")
    return "\n".join(lines)


def format_times(times: Any) -> str:
    """Return the median and the quartiles of some milliseconds."""
    low, median, high = np.percentile(times, [25, 50, 75])
    return f"{median:.1f} ({low:.1f} to {high:.1f})"


def format_memory(report: Mapping[str, Any]) -> str:
    """Return the memory in a sentence."""
    one, hundred, more = report["megabytes"]
    pictures = f"{one:.0f} MB after 1 picture, {hundred:.0f} MB after 101, {more:.0f} MB after 201"
    return f"A page with the model of cat_dog takes {pictures}."


if __name__ == "__main__":
    guard_output()
    main()
