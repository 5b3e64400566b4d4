"""A target that fails in every way that a worker must notice."""

import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from shared import BadInput
from tests.conftest import ROOT

from .targets import Target
from .worker import HARD_MEGABYTES, MAX_MEGABYTES

SENTENCE = "The picture is damaged or incomplete."


def refuse(sentence: str = SENTENCE) -> None:
    raise BadInput(sentence)


def hang() -> None:
    while True:
        pass


def use_memory() -> int:
    return len(np.ones(MAX_MEGABYTES * 1_200_000, np.uint8))


def use_more_memory() -> int:
    """Hide that no more memory is left, as the reader of a picture might."""
    try:
        return len(np.ones(HARD_MEGABYTES * 2_000_000, np.uint8))
    except MemoryError as error:
        raise BadInput(SENTENCE) from error


WAYS: dict[str, Callable[[], Any]] = {
    "answer": lambda: {"score": 1.0, "probabilities": {"a": 0.5, "b": 0.5}},
    "refuse": refuse,
    "exception": lambda: {}["missing"],
    "crash": lambda: signal.raise_signal(signal.SIGSEGV),
    "hang": hang,
    "memory": use_memory,
    "more memory": use_more_memory,
    "path": lambda: refuse(f"There is no file {ROOT}/secret."),
    "nan": lambda: {"score": float("nan")},
    "sum": lambda: {"probabilities": {"a": 0.5, "b": 0.4}},
}
SELF_TEST = Target("self-test", 0, {}, lambda: lambda way: WAYS[way](), decoder="", seconds=8.0)
