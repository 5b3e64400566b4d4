"""Fit a training run into a number of minutes: time a few batches of each fit, then choose the number of epochs.

The choice is printed and recorded as --epochs, so that the recorded command trains the same model on any device.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fastai.callback.core import Callback, CancelFitException
from fastai.learner import Learner
from torch import nn

from training import processes
from training.learner import NoValidation, Run
from training.states import write_json

WARM_UP, TIMED = 2, 8  # batches of each fit
MOST = 10  # times the usual number of epochs: more would only overfit small data sets
CHOSEN = "epochs.json"  # in the folder of states, so that a resumed run keeps the number


@dataclass(frozen=True)
class TimedRun(Run):
    """A run that trains only a few batches of each fit, and notes how long the whole fit would take.

    `seconds` has, for each fit, the seconds of all its epochs.
    """

    seconds: list[float] = field(default_factory=list)

    def fit(self, learn: Learner, name: str, schedule: partial[None], **_: Any) -> None:  # noqa: ARG002 - as in Run
        """Time a few batches; `schedule` is a partial whose first argument is the number of epochs."""
        timer = TimeBatches()
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-9, cbs=[timer, NoValidation()])
        self.seconds.append(timer.get_seconds_per_batch() * len(learn.dls.train) * schedule.args[0])

    def keep(self, network: nn.Module, notes: tuple[str, ...] = ()) -> None:
        """Keep nothing."""


class TimeBatches(Callback):
    """End a fit after a few batches, and note when each began."""

    def before_fit(self) -> None:
        """Begin."""
        self.began: list[float] = []

    def before_batch(self) -> None:
        """Note the time."""
        self.began.append(time.monotonic())
        if len(self.began) > WARM_UP + TIMED:
            raise CancelFitException

    def get_seconds_per_batch(self) -> float:
        """Return the mean time of the batches after the first ones."""
        timed = self.began[min(WARM_UP, len(self.began) - 1) :]
        return (timed[-1] - timed[0]) / max(1, len(timed) - 1)


def choose_epochs(minutes: float, settings: Any, run: Run, fit: Callable[[Any, Run], Any]) -> Any:
    """Return settings whose epochs fit this time; a resumed run keeps its number of epochs.

    Args:
        minutes: for all that `fit` does, decoding included.
        settings: settings of a recipe with a field `epochs`; `longest`, if they have it, replaces MOST.
        run: the training run.
        fit: called with settings and a run; trains.
    """
    path = run.state / CHOSEN
    kept = json.loads(path.read_text(encoding="utf-8")) if run.resume and path.is_file() else None
    if (kept := processes.broadcast(kept)) is not None:  # of the first process, since each machine has its own files
        return replace(settings, epochs=kept)
    print(f"Timing a few batches, to fit the training into {minutes:g} minutes.")
    timed, began = TimedRun(run.state, run.seed, resume=False), time.monotonic()
    fit(settings, timed)
    other = time.monotonic() - began
    left = max(0.0, minutes * 60 - 2 * other)
    share = min(getattr(settings, "longest", MOST), left / max(1e-6, sum(timed.seconds)))
    epochs = processes.broadcast(max(1, math.floor(settings.epochs * share)))
    expected = other + sum(timed.seconds) * epochs / settings.epochs
    print(f"Chosen: --epochs {epochs}, about {max(1, round(expected / 60))} minutes of training on this device.")
    if not processes.get_rank():
        write_json(path, epochs)
    return replace(settings, epochs=epochs)
