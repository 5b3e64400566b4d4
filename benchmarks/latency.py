"""Latency of one answer in this process, beside fastai, transformers and the bare model.

Pictures are the bytes of a file. Torch runs with one thread or one per core, whichever is faster; ours with as many as
in serving.
"""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks import inputs, learners
from benchmarks.apps import ROOT
from benchmarks.bare import make_bare_call
from benchmarks.table import Row, Target
from benchmarks.timing import Call, choose_fastest, compute_percentiles, time_in_turn
from benchmarks.work import Work
from shared import load_model

CORES = os.cpu_count() or 1

# Inputs of each model, None for its example, and the target: how many times faster than fastai.
QUESTIONS: dict[str, list[tuple[str, Callable[[], object] | None, float]]] = {
    "cat_dog": [("phone photo", inputs.make_phone_photo, 6), ("small photo", inputs.make_small_photo, 8)],
    "segmentation": [("street frame", inputs.make_street_frame, 3)],
    "sentiment": [("200 words", inputs.make_review, 3)],
    "salary": [("one form", None, 3)],
    "rating": [("one rating", None, 3)],
}
FASTAI: dict[str, Callable[[Path], learners.Answer]] = {
    "cat_dog": learners.make_cat_dog,
    "segmentation": learners.make_segmentation,
    "sentiment": learners.make_text,
    "salary": learners.make_tabular,
    "rating": learners.make_collab,
}
PIPELINES: dict[str, Callable[[Path], learners.Answer]] = {
    "cat_dog": learners.make_cat_dog_pipeline,
    "sentiment": learners.make_sentiment_pipeline,
}


def measure(work: Work) -> Iterator[Row]:
    """Compare each model with its peers."""
    rounds = work.rounds
    for name in work.names:
        folder = ROOT / "spaces" / name / "model"
        model = load_model(folder)
        with tempfile.TemporaryDirectory() as kept:
            peers = {"fastai": FASTAI[name](Path(kept))}
            if name in PIPELINES:
                peers["pipeline"] = PIPELINES[name](folder)
            for words, make, target in QUESTIONS[name]:
                item = make() if make else model.example()
                arguments = item if isinstance(item, tuple) else (item,)
                predict = partial(model.predict, *arguments)
                what = f"{name}, {words}"
                for peer, answer in peers.items():
                    theirs = choose_fastest(
                        *(partial(run_with_threads, answer, arguments[0], count) for count in (1, CORES))
                    )
                    aim = Target(">=", target) if peer == "fastai" else None
                    yield compare(what, peer, predict, theirs, rounds, target=aim)
                yield compare(what, "bare model", predict, make_bare_call(model, predict), rounds)
                explain = partial(model.explain, *arguments)
                yield compare(f"{what}: explain", "predict", explain, predict, rounds, is_speedup=False)


def run_with_threads(answer: learners.Answer, item: object, threads: int) -> object:
    """Return a peer's answer, computed with this many threads of torch."""
    torch.set_num_threads(threads)
    return answer(item)


def compare(
    what: str,
    peer: str,
    ours: Call,
    theirs: Call,
    rounds: int,
    is_speedup: bool = True,
    target: Target | None = None,
) -> Row:
    """Time both in turn; return the medians of the rounds and the percentiles of all calls."""
    mine, yours = time_in_turn(ours, theirs, rounds)
    medians = [[statistics.median(times) for times in side] for side in (mine, yours)]
    notes = {"ours_ms": compute_percentiles(mine), "peers_ms": compute_percentiles(yours)}
    return Row("latency", what, peer, "ms", *medians, is_speedup=is_speedup, target=target, notes=notes)
