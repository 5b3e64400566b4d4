"""Requests a second over HTTP, beside an app that only echoes and the lesson's app.

The clients are a separate process that uses Gradio's HTTP API, including uploads: see benchmarks/clients.py. All apps
run at the same time and are asked in turn.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks.apps import ROOT, App, serve_echo, serve_lesson, serve_space
from benchmarks.clients import Question
from benchmarks.table import Row, Target
from benchmarks.work import Work

CLIENTS = (1, 8, 32)
ROUNDS = 3
SECONDS = 2.0  # for each side of a round
TEXT: Question = ("text", ["an echo"], None)


def measure(work: Work) -> Iterator[Row]:
    """Compare the gallery with the echo app, and its cat_dog with the lesson app."""
    with ExitStack() as apps:
        gallery, echoes, lessons = (
            apps.enter_context(app) for app in (serve_space("gallery"), serve_echo(), serve_lesson(work.learner))
        )
        for name in work.names:
            for picture in {"cat_dog": ("phone", "small"), "segmentation": ("street",)}.get(name, ("",)):
                ours = work.make_question(name, picture)
                theirs = work.make_upload(picture) if picture else TEXT
                what = f"{name}, {picture} photo" if name == "cat_dog" else name
                warm_up((gallery, ours), (echoes, theirs))
                for clients in CLIENTS if name in ("cat_dog", "salary", "rating") else CLIENTS[1:2]:
                    aim = {"salary": 0.85, "rating": 0.85, "cat_dog": 0.7}.get(name) if clients == 8 else None
                    target = Target(">=", aim) if aim else None
                    yield compare(what, "echo", (gallery, ours), (echoes, theirs), clients, target)
                if name == "cat_dog":
                    asked = work.make_upload(picture, "predict")
                    warm_up((lessons, asked))
                    yield compare(what, "lesson", (gallery, ours), (lessons, asked), 8)


def warm_up(*asked: tuple[App, Question]) -> None:
    """Let each app answer twice."""
    for app, question in asked:
        for _ in range(2):
            app.wait_for_answer(question)


def compare(
    what: str,
    peer: str,
    ours: tuple[App, Question],
    theirs: tuple[App, Question],
    clients: int,
    target: Target | None = None,
) -> Row:
    """Measure both in turn, with this many clients."""
    sides: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for number in range(ROUNDS):
        for side in (0, 1) if number % 2 else (1, 0):
            app, question = (ours, theirs)[side]
            sides[side].append(measure_load(app, question, clients))
    rates = [[figures["per_second"] for figures in side] for side in sides]
    notes: dict[str, Any] = {
        f"{whose}_{name}": statistics.median(figures[name] for figures in side)
        for whose, side in zip(("ours", "peers"), sides, strict=True)
        for name in ("p50_ms", "p95_ms", "client_cores")
    }
    return Row("http", f"{what}, {clients} client{'s' * (clients > 1)}", peer, "/s", *rates, target=target, notes=notes)


def measure_load(app: App, question: Question, clients: int) -> dict[str, float]:
    """Return the results of benchmarks.clients."""
    endpoint, data, file = question
    command = [sys.executable, "-m", "benchmarks.clients", app.url, endpoint, "--data", json.dumps(data)]
    command += ["--clients", str(clients), "--seconds", str(SECONDS), *(("--upload", file) if file else ())]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))
