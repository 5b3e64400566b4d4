"""Time of the models in a browser (spaces/browser), beside the Python predictors with one thread, in turn.

    python -m benchmarks.browser [--calls 15] [--threads 1]

The browser is headless Chromium on this machine; times are from the page's call to its answer. Other programs on the
machine change them. Bytes are those that a first visit transfers, and memory is that of the page's process after one
and after a hundred pictures.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inputs
from benchmarks.apps import ROOT
from benchmarks.timing import time_call
from hub.live_static import OPEN, encode_file
from hub.static_site import build_site, find_demos, serve, write_site
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


WATCH = """window.longTasks = [];
new PerformanceObserver((found) => found.getEntries().forEach((each) => window.longTasks.push(each.duration)))
  .observe({ type: "longtask", buffered: true });"""


def make_cases() -> dict[str, tuple[str, str, list[Any], Any]]:
    """Return each case: a model, the method in the browser, its arguments, and the input in Python."""
    photo, frame = inputs.make_small_photo(), inputs.make_street_frame()
    small = inputs.encode_jpeg(inputs.draw_picture(480, 360))
    review = inputs.make_review()
    person = {name: str(value) for name, value in load_model(ROOT / "spaces/salary/model").example().items()}
    return {
        "cat_dog, photo of 500×375": ("cat_dog", "predict", [photo], photo),
        "segmentation, 480×360": ("segmentation", "predict", [small], small),
        "segmentation, 960×720": ("segmentation", "predict", [frame], frame),
        "a review of 200 words": ("sentiment", "predict", [review], review),
        "a form": ("salary", "predict", [person], person),
        "a rating": ("rating", "predict", [15, "260"], (15, 260)),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=15, help="timed calls of each side (default: 15)")
    parser.add_argument("--threads", type=int, default=1, help="of both sides (default: 1)")
    options = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_site(build_site(find_demos(), "Model gallery"), Path(folder))
        server = serve(Path(folder), 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        print_first_visit(browser, address)
        print(f"\n| input, {options.threads} thread(s) | browser, ms | Python, ms | ratio |\n|---|---|---|---|")
        page = browser.new_page()
        page.goto(f"{address}collect.html")
        for case, (name, method, args, item) in make_cases().items():
            page.evaluate(OPEN, [name, options.threads])
            print(f"| {case} | {compare(page, name, method, args, item, options)} |", flush=True)
        print_memory(browser, address)
        browser.close()
        server.shutdown()


def compare(page: Any, name: str, method: str, args: list[Any], item: Any, options: argparse.Namespace) -> str:
    """Return the medians and quartiles of both sides, and the ratio of the medians."""
    model = load_model(ROOT / "spaces" / name / "model")
    model.session = Session(model.session.path, options.threads)
    given = [encode_file(arg) if isinstance(arg, bytes) else arg for arg in args]
    call = {"rating": lambda: model.predict(*item)}.get(name, lambda: model.predict(item))
    for _ in range(3):
        page.evaluate(CALL, [method, given])
        call()
    theirs, ours = zip(
        *((page.evaluate(CALL, [method, given]), time_call(call)) for _ in range(options.calls)), strict=True
    )
    ratio = np.median(theirs) / np.median(ours)
    return f"{format_times(theirs)} | {format_times(ours)} | {ratio:.1f}"


def format_times(times: Any) -> str:
    """Return the median and the quartiles of some milliseconds."""
    low, median, high = np.percentile(times, [25, 50, 75])
    return f"{median:.1f} ({low:.1f} to {high:.1f})"


def print_first_visit(browser: Any, address: str) -> None:
    """Print the bytes that the first visit of each page transfers, when it can be used and has answered, and its tasks.

    A browser reports tasks of the main thread that take more than 50 ms.
    """
    print("| page | MB over the wire | form visible, s | first answer, s | longest tasks, ms |\n|---|---|---|---|---|")
    for name in find_demos():
        context = browser.new_context(service_workers="block")
        page = context.new_page()
        page.add_init_script(WATCH)
        counted: list[int] = []
        page.on(
            "response", lambda response, counted=counted: counted.append(int(response.headers.get("content-length", 0)))
        )
        started = time.perf_counter()
        page.goto(f"{address}#{name}")
        page.locator(".page > *").first.wait_for()
        visible = time.perf_counter() - started
        page.locator("main > progress").wait_for(state="detached")
        page.wait_for_timeout(50)
        answered = time.perf_counter() - started
        tasks = ", ".join(f"{task:.0f}" for task in sorted(page.evaluate("longTasks"))[-3:]) or "none above 50"
        print(f"| {name} | {sum(counted) / 1e6:.2f} | {visible:.2f} | {answered:.2f} | {tasks} |", flush=True)
        context.close()


def print_memory(browser: Any, address: str) -> None:
    """Print the memory of the page's worker after 1 and after 101 pictures."""
    page = browser.new_page()
    page.goto(f"{address}collect.html")
    page.evaluate(OPEN, ["cat_dog", 1])
    given = [encode_file(inputs.make_small_photo())]
    found = []
    for count in (1, 100):
        for _ in range(count):
            page.evaluate(CALL, ["predict", given])
        found.append(page.evaluate("async () => (await performance.measureUserAgentSpecificMemory()).bytes"))
    print(f"\nMemory of cat_dog's page: {found[0] / 1e6:.0f} MB after 1 picture, {found[1] / 1e6:.0f} MB after 101.")


if __name__ == "__main__":
    guard_output()
    main()
