"""Peak memory after 100 requests with pictures of mixed sizes from 8 clients, read from /proc on Linux.

In the gallery, pictures go to cat_dog and segmentation in turn, and some requests to the other models.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from benchmarks.apps import App, serve_echo, serve_lesson, serve_space
from benchmarks.clients import Question, ask_in_parallel
from benchmarks.table import Row, Target
from benchmarks.work import Work

ROUNDS = 2
REQUESTS, CLIENTS = 100, 8
MIXED = ("phone", "small", "street", "small")
AIMS = {("one Space", "echo"): 1.6, ("one Space", "lesson"): 0.12, ("gallery", "echo"): 2.5, ("gallery", "lesson"): 0.2}


def measure(work: Work) -> Iterator[Row]:
    """Compare one Space, and the whole gallery, with the echo app and the lesson's."""
    learner = work.learner
    seeing = [name for name in work.names if name in ("cat_dog", "segmentation")]
    every = [work.make_question(name, picture) for picture in MIXED for name in seeing]
    every += [work.make_question(name) for name in work.names if name not in seeing]
    found: dict[str, list[dict[str, float]]] = {"one Space": [], "gallery": [], "echo": [], "lesson": []}
    for _ in range(ROUNDS):
        found["echo"].append(measure_app(serve_echo(), [work.make_upload(picture) for picture in MIXED]))
        one = [work.make_question("cat_dog", picture, "predict") for picture in MIXED]
        found["one Space"].append(measure_app(serve_space("cat_dog"), one))
        found["gallery"].append(measure_app(serve_space("gallery"), every))
        found["lesson"].append(
            measure_app(serve_lesson(learner), [work.make_upload(picture, "predict") for picture in MIXED])
        )
    for (what, peer), aim in AIMS.items():
        peaks = ([figures["peak"] for figures in found[side]] for side in (what, peer))
        notes = {
            f"{whose}_resident": [figures["resident"] for figures in found[side]]
            for whose, side in (("ours", what), ("peers", peer))
        }
        yield Row("memory", f"peak, {what}", peer, "MB", *peaks, target=Target("<=", aim), notes=notes)


def measure_app(app: AbstractContextManager[App], questions: Sequence[Question]) -> dict[str, float]:
    """Return the megabytes of an app after the requests."""
    with app as started:
        started.wait_for_answer(questions[0])
        ask_in_parallel(started.url, questions, CLIENTS, count=REQUESTS)
        return started.measure_memory()
