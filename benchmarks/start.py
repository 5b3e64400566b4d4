"""Time from the start of an app's process to its first answer."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from benchmarks.apps import App, serve_echo, serve_lesson, serve_space
from benchmarks.clients import Question
from benchmarks.table import Row, Target
from benchmarks.work import Work

ROUNDS = 3
AIMS = {"echo": Target("<=", 1.3), "lesson": Target("<=", 0.5)}


def measure(work: Work) -> Iterator[Row]:
    """Compare one Space, and the whole gallery, with the echo app and the lesson's, in turn in each round."""
    learner = work.learner
    took: dict[str, list[float]] = {"one Space": [], "gallery": [], "echo": [], "lesson": []}
    for _ in range(ROUNDS):
        took["echo"].append(time_start(serve_echo(), work.make_upload("small")))
        took["one Space"].append(time_start(serve_space("cat_dog"), work.make_question("cat_dog", "small", "predict")))
        took["gallery"].append(time_start(serve_space("gallery"), work.make_question("cat_dog", "small")))
        took["lesson"].append(time_start(serve_lesson(learner), work.make_upload("small", "predict")))
    for what in ("one Space", "gallery"):
        for peer, target in AIMS.items():
            yield Row("start", what, peer, "s", took[what], took[peer], target=target)


def time_start(app: AbstractContextManager[App], question: Question) -> float:
    """Return the seconds that an app takes to its first answer."""
    with app as started:
        return started.wait_for_answer(question)
