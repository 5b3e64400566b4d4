"""Timing two things in turn, so that a busy moment of the machine meets both."""

import time
from collections.abc import Callable

import numpy as np

Call = Callable[[], object]
ROUND = 0.2  # seconds that each side is timed for in a round, at least
MOST = 200  # calls in a round


def time_in_turn(ours: Call, theirs: Call, rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """The milliseconds of every call of either, by round; who begins changes from round to round."""
    sides = [(ours, count_calls(ours)), (theirs, count_calls(theirs))]
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            call, times = sides[side]
            found[side].append([time_call(call) for _ in range(times)])
    return found


def count_calls(call: Call) -> int:
    """How many calls fill a round, after one to warm up."""
    call()
    return int(min(max(1, ROUND * 1000 / time_call(call)), MOST))


def choose_fastest(*ways: Call) -> Call:
    """The fastest of some ways to do the same, by the best of three calls."""
    return min(ways, key=lambda way: min(time_call(way) for _ in range(3)))


def time_call(call: Call) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def compute_percentiles(rounds: list[list[float]]) -> dict[str, float]:
    """The median and the 95th percentile of all calls."""
    p50, p95 = np.percentile(np.concatenate(rounds), [50, 95]).tolist()
    return {"p50": p50, "p95": p95}
