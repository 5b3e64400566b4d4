"""Time two calls in turn, so that a busy moment of the machine affects both."""

import time
from collections.abc import Callable

import numpy as np

Call = Callable[[], object]
ROUND = 0.2  # minimum seconds for each side of a round
MOST = 200  # maximum calls in a round


def time_in_turn(ours: Call, theirs: Call, rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Return the milliseconds of every call of both, by round; the order alternates."""
    sides = [(ours, count_calls(ours)), (theirs, count_calls(theirs))]
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            call, times = sides[side]
            found[side].append([time_call(call) for _ in range(times)])
    return found


def count_calls(call: Call) -> int:
    """Return the number of calls that fill a round, after a warm-up call."""
    call()
    return int(min(max(1, ROUND * 1000 / time_call(call)), MOST))


def choose_fastest(*ways: Call) -> Call:
    """Return the fastest of several equivalent calls, by the best of three runs."""
    return min(ways, key=lambda way: min(time_call(way) for _ in range(3)))


def time_call(call: Call) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def compute_percentiles(rounds: list[list[float]]) -> dict[str, float]:
    """Return the median and 95th percentile of all calls."""
    p50, p95 = np.percentile(np.concatenate(rounds), [50, 95]).tolist()
    return {"p50": p50, "p95": p95}
