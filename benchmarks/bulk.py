"""Throughput of predict_batch on files and rows, beside a loop of the bare model."""

import csv
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.apps import ROOT
from benchmarks.bare import make_bare_call
from benchmarks.table import Row, Target
from benchmarks.timing import time_in_turn
from benchmarks.work import Work
from shared import load_model
from shared.tables import answer_table, read_csv

# Number and kind of items; None stands for the model's example.
MANY: dict[str, tuple[int, str, Callable[[], object] | None]] = {
    "cat_dog": (32, "small photos in files", inputs.make_small_photo),
    "segmentation": (6, "street frames in files", inputs.make_street_frame),
    "sentiment": (8, "reviews", inputs.make_review),
    "salary": (2000, "people", None),
    "rating": (2000, "ratings", None),
}


def measure(work: Work) -> Iterator[Row]:
    """Measure predict_batch of each model, and for salary a CSV, answered as on the page."""
    for name in work.names:
        model = load_model(ROOT / "spaces" / name / "model")
        count, words, make = MANY[name]
        item = make() if make else model.example()
        items = save_copies(item, count, work.folder) if isinstance(item, bytes) else [item] * count
        yield from compare(model, f"{name}, {count} {words}", partial(model.predict_batch, items), count, work.rounds)
        if name == "salary":
            path = work.folder / "people.csv"
            write_people(path, items)
            answered = partial(answer_csv, model, path)
            yield from compare(model, f"{name}, a CSV of {count} people", answered, count, work.rounds)


def compare(model: Any, what: str, ours: Callable[[], object], count: int, rounds: int) -> Iterator[Row]:
    """Compare answers a second with the bare model one by one and, where that differs, in the same batches."""
    batches = [("bare loop", True, Target(">=", 0.9))]
    if model.task in ("image-classification", "tabular-classification", "recommendation"):
        batches.append(("bare batches", False, None))
    for peer, one_by_one, target in batches:
        times = time_in_turn(ours, make_bare_call(model, ours, one_by_one), rounds)
        rates = [[1000 * count / statistics.median(round_) for round_ in side] for side in times]
        yield Row("bulk", what, peer, "/s", *rates, target=target)


def save_copies(content: bytes, count: int, folder: Path) -> list[Path]:
    """Write the same content to many files; return their paths."""
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        path.write_bytes(content)
    return paths


def write_people(path: Path, people: list[dict[str, Any]]) -> None:
    """Write people to a CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(people[0]))
        writer.writeheader()
        writer.writerows(people)


def answer_csv(model: Any, path: Path) -> list[dict[str, object]]:
    """Return the rows of a CSV with their answers."""
    table = read_csv(path, model.config.columns)
    return list(answer_table(table, model.predict_each, lambda answer: {"prediction": answer.label}))
