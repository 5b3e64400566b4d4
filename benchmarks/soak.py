"""A soak test: minutes of mixed, partly hostile traffic on the gallery, with every answer checked.

    python -m benchmarks.soak --minutes 5 --clients 64

It starts the gallery, sends questions from many clients at once, half of them without a session, and compares every
answer with that of the same model in this process. One question in twenty is an attack. It prints wrong answers,
latency by endpoint, and the gallery's memory over time; --out writes them as JSON.
"""

import argparse
import collections
import contextlib
import io
import json
import math
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import inputs
from benchmarks.apps import ROOT, require_linux, serve_space
from benchmarks.clients import Client
from shared import load_model
from shared.console import guard_output

Data = list[Any]
Question = tuple[str, Data, bytes | None, Any]  # endpoint, data, picture to upload, required parts of the answer
WEIGHTS = {"rating": 6, "salary": 6, "sentiment": 3, "cat_dog": 3, "segmentation": 1, "explain": 1}
HOSTILE = 0.05
HOSTILE_STATUS = {400, 403, 404, 413, 422}
WAIT_STATUS = {429, 503}


def make_questions(rng: random.Random) -> dict[str, list[Question]]:
    """Return questions of each kind, with the answers of the models in this process."""
    folder = ROOT / "spaces"
    salary = load_model(folder / "salary/model")
    rating = load_model(folder / "rating/model")
    sentiment = load_model(folder / "sentiment/model")
    cat_dog = load_model(folder / "cat_dog/model")
    segmentation = load_model(folder / "segmentation/model")
    asked: dict[str, list[Question]] = collections.defaultdict(list)
    for age in range(18, 88):
        person = {**salary.example(), "age": age}
        data = [person[column] for column in salary.config.columns]
        asked["salary"].append(("salary", data, None, {"probabilities": salary.predict(person).probabilities}))
        why = {"contributions": salary.explain(person).contributions}
        asked["explain"].append(("salary_explain", data, None, why))
    for movie in rng.sample(sorted(rating.movies), 100):
        user = rng.choice(rating.config.users)
        asked["rating"].append(("rating", [user, movie], None, {"rating": rating.predict(user, movie).rating}))
    for words in range(5, 120, 5):
        text = inputs.make_review(words)
        asked["sentiment"].append(("sentiment", [text], None, {"probabilities": sentiment.predict(text).probabilities}))
    for width in range(300, 420, 10):
        photo = inputs.encode_jpeg(inputs.draw_picture(width, 240))
        asked["cat_dog"].append(("cat_dog", [], photo, {"probabilities": cat_dog.predict(photo).probabilities}))
        asked["segmentation"].append(("segmentation", [], photo, {"shares": segmentation.predict(photo).share}))
    return asked


def make_decompression_bomb() -> bytes:
    """Return a JPEG of a few hundred bytes whose header claims 120 megapixels."""
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG")
    data = bytearray(content.getvalue())
    frame = data.index(b"\xff\xc0") + 5  # after the marker, its length and the precision
    data[frame : frame + 4] = (10_950).to_bytes(2) * 2
    return bytes(data)


def list_attacks(large: bytes) -> list[Callable[[Client], int]]:
    """Return the attacks of a hostile client; each returns the HTTP status of the answer."""

    def post(client: Client, path: str, content: bytes, kind: str = "application/json") -> int:
        client.connection.request("POST", path, content, {"Content-Type": kind})
        response = client.connection.getresponse()
        response.read()
        return response.status

    def call(client: Client, endpoint: str, data: Data) -> int:
        return post(client, f"/gradio_api/call/{endpoint}", json.dumps({"data": data}).encode())

    def large_picture(client: Client) -> int:
        file = {"path": upload(client, large), "meta": {"_type": "gradio.FileData"}}
        with contextlib.suppress(RuntimeError):  # an error message or an answer of bounded cost is fine
            client.ask(("segmentation", [file], None))
        return 422

    return [
        lambda client: call(client, "segmentation", [{"path": str(ROOT / "spaces/cat_dog/examples/chelsea.png")}]),
        lambda client: call(client, "cat_dog", [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]),
        lambda client: call(client, "rating_recommend", [None, json.loads("[" * 60 + "]" * 60), 10]),
        lambda client: call(client, "rating_recommend", [None, [{}] * 30_000, 10]),
        lambda client: call(client, "no_such_endpoint", []),
        lambda client: post(client, "/gradio_api/run/rating", b'{"data": [15, 260]}'),
        lambda client: post(client, "/gradio_api/queue/join", b'{"data": [], "fn_index": -1, "session_hash": "x"}'),
        lambda client: post(client, "/gradio_api/component_server", b"{}"),
        lambda client: post(
            client, "/gradio_api/call/rating", json.dumps({"data": [15, 260], "session_hash": "x" * 9_999}).encode()
        ),
        large_picture,
    ]


def upload(client: Client, content: bytes) -> str:
    """Upload a picture; return its path in the app."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        path.write_bytes(content)
        return client.upload(path)


def agrees(found: Any, expected: Any) -> bool:
    """Return True if the answer has the expected parts, numbers to five digits."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(agrees(found.get(key), value) for key, value in expected.items())
    if isinstance(expected, float):
        return isinstance(found, float | int) and math.isclose(found, expected, rel_tol=1e-5, abs_tol=1e-6)
    return bool(found == expected)


class Soak:
    """The clients of a soak test, and their records."""

    def __init__(self, url: str, asked: dict[str, list[Question]], end: float) -> None:
        self.url, self.asked, self.end = url, asked, end
        self.attacks = list_attacks(make_decompression_bomb())
        self.took: dict[str, list[float]] = collections.defaultdict(list)
        self.counts: collections.Counter[str] = collections.Counter()
        self.problems: list[str] = []

    def client(self, number: int) -> None:
        """Ask until the end; every other client keeps no session."""
        rng = random.Random(number)
        client = Client(self.url)
        if number % 2:
            client.session = None
        while time.monotonic() < self.end:
            try:
                if rng.random() < HOSTILE:
                    status = rng.choice(self.attacks)(client)
                    self.counts["hostile"] += 1
                    if status not in HOSTILE_STATUS | WAIT_STATUS:
                        self.problems.append(f"An attack was answered with {status}.")
                else:
                    self.ask(client, rng.choice(self.asked[rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0]]))
            except Exception as error:
                if any(f"answered {status}" in str(error) for status in WAIT_STATUS):
                    self.counts["told to wait"] += 1
                    time.sleep(1)
                else:
                    self.problems.append(f"{type(error).__name__}: {error}")
                    client = Client(self.url)
                    client.session = None if number % 2 else client.session

    def ask(self, client: Client, question: Question) -> None:
        """Ask a question and compare the answer."""
        endpoint, data, photo, expected = question
        begun = time.monotonic()
        if photo:
            data = [{"path": upload(client, photo), "meta": {"_type": "gradio.FileData"}}]
        answer = client.ask((endpoint, data, None))[0]
        self.took[endpoint].append(time.monotonic() - begun)
        if not agrees(answer, expected):
            self.counts["wrong"] += 1
            self.problems.append(f"{endpoint} answered {str(answer)[:200]}, not {str(expected)[:200]}.")


def compute_percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Run the soak test from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    require_linux()
    print("Asking the models in this process ...", flush=True)
    asked = make_questions(random.Random(0))
    with serve_space("gallery") as app:
        app.wait_for_answer(("rating", [15, 260], None))
        soak = Soak(app.url, asked, time.monotonic() + 60 * options.minutes)
        threads = [threading.Thread(target=soak.client, args=(number,)) for number in range(options.clients)]
        for thread in threads:
            thread.start()
        memory = []
        while time.monotonic() < soak.end:
            memory.append(app.measure_memory()["resident"])
            answers = sum(map(len, soak.took.values()))
            print(f"{answers:,} answers, {len(soak.problems)} problems, {memory[-1]:.0f} MB", flush=True)
            time.sleep(min(20, max(0.1, soak.end - time.monotonic())))
        for thread in threads:
            thread.join()
        healthy = Client(app.url).request("GET", "/health")
    rows = {
        name: {"answers": len(took), "p50": statistics.median(took), "p95": compute_percentile(took, 0.95)}
        for name, took in sorted(soak.took.items())
    }
    for name, row in rows.items():
        print(f"{name:16} {row['answers']:7,} answers, p50 {row['p50']:.3f} s, p95 {row['p95']:.3f} s")
    print(dict(soak.counts), f"{len(soak.problems)} problems", soak.problems[:5], healthy.decode())
    if options.out:
        found = {"endpoints": rows, "counts": soak.counts, "problems": soak.problems, "megabytes": memory}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n")
    if soak.problems:
        raise SystemExit(f"{len(soak.problems)} answers were wrong or missing.")


if __name__ == "__main__":
    guard_output()
    main()
