"""The bare model as a lower limit: ONNX Runtime on prepared arrays, and nothing else.

It runs with one thread or one per core, whichever is faster."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.timing import Call, choose_fastest
from shared.predictor import Predictor
from shared.session import Array, Session

Run = tuple[Sequence[str], Mapping[str, Array]]  # outputs, inputs


def make_bare_call(model: Predictor[Any, Any, Any], ask: Callable[[], object], one_by_one: bool = False) -> Call:
    """Record the inputs of a call; return a function that runs only the model on them.

    Args:
        model: the predictor.
        ask: calls the predictor.
        one_by_one: run the rows one at a time, as a plain loop does.
    """
    runs: list[Run] = []
    served = model.session
    model.session = _Recorder(runs, served)
    try:
        ask()
    finally:
        model.session = served
    if one_by_one:
        runs = [(outputs, row) for outputs, inputs in runs for row in split_rows(inputs)]
    sessions = [Session(served.path, threads) for threads in (1, 0)]
    return choose_fastest(*(partial(run_all, session, runs) for session in sessions))


def run_all(session: Session, runs: list[Run]) -> None:
    """Run the model on all recorded inputs."""
    for outputs, inputs in runs:
        session.run(outputs, inputs)


def split_rows(inputs: Mapping[str, Array]) -> list[Mapping[str, Array]]:
    """Split inputs into inputs of one row each."""
    count = len(next(iter(inputs.values())))
    return [{name: array[row : row + 1] for name, array in inputs.items()} for row in range(count)]


class _Recorder(Session):
    """A session that records its inputs."""

    def __init__(self, runs: list[Run], session: Session) -> None:
        super().__init__(session.path, session.threads)
        self.runs = runs

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        self.runs.append((outputs, inputs))
        return super().run(outputs, inputs)
