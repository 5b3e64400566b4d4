"""From the start of an app's process to its first answer."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from benchmarks.apps import App, echo, lesson, space
from benchmarks.clients import Question
from benchmarks.table import Row, Target
from benchmarks.work import Work

ROUNDS = 3
AIMS = {"echo": Target("<=", 1.3), "lesson": Target("<=", 0.5)}


def measure(work: Work) -> Iterator[Row]:
    """One Space, and the whole gallery, beside the echo app and the lesson's; all in turn, in each round."""
    learner = work.learner
    took: dict[str, list[float]] = {"one Space": [], "gallery": [], "echo": [], "lesson": []}
    for _ in range(ROUNDS):
        took["echo"].append(seconds(echo(), work.upload("small")))
        took["one Space"].append(seconds(space("cat_dog"), work.question("cat_dog", "small", "predict")))
        took["gallery"].append(seconds(space("gallery"), work.question("cat_dog", "small")))
        took["lesson"].append(seconds(lesson(learner), work.upload("small", "predict")))
    for what in ("one Space", "gallery"):
        for peer, target in AIMS.items():
            yield Row("start", what, peer, "s", took[what], took[peer], target=target)


def seconds(app: AbstractContextManager[App], question: Question) -> float:
    """How long one app took."""
    with app as started:
        return started.first_answer(question)
