"""How long one answer takes: the gallery's predictors beside their peers, in turn.

    make bench          or: python -m benchmarks.serving [--rounds 15] [--out benchmarks/results/serving.json]

Both answer the same kind of question on this machine; quote the ratio, not the milliseconds. fastai's learners have
the book's architecture and are trained for a moment on made-up data, which does not change their speed. Sentiment's
peer is the same network in torch, in float32, as it was before it was exported: of its architecture, with random
weights, which does not change its speed either.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.tabular.all import Categorify, FillMissing, Normalize, TabularDataLoaders, tabular_learner
from fastprogress.fastprogress import progress_bar
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from shared import Rating, Salary, Sentiment
from training import rating, salary

SPACES = Path(__file__).resolve().parent.parent / "spaces"
Answer = Callable[[], object]


def salary_pair() -> tuple[Answer, Answer]:
    """One form: ours, fastai's."""
    people = salary.made_up_people(2000, seed=0)
    dls = TabularDataLoaders.from_df(
        people,
        y_names="salary",
        cat_names=["workclass", "education", "marital-status", "occupation", "relationship", "race"],
        cont_names=["age", "fnlwgt", "education-num"],
        procs=[Categorify, FillMissing, Normalize],
    )
    learn = tabular_learner(dls)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1)
    ours, person = Salary.from_pretrained(SPACES / "salary/model"), people.iloc[0]
    typical = dict(ours.checkpoint.typical)

    def theirs() -> object:
        with learn.no_bar():
            return learn.predict(person)

    return lambda: ours.predict(typical), theirs


def rating_pair() -> tuple[Answer, Answer]:
    """One user and movie: ours, fastai's."""
    stars, _ = rating.made_up(seed=0)
    dls = CollabDataLoaders.from_df(stars)
    learn = collab_learner(dls, y_range=(0.5, 5.5))
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1)
    ours, asked = Rating.from_pretrained(SPACES / "rating/model"), stars.iloc[:1]

    def theirs() -> object:  # predict() of a collab learner fails on a row: this is how one asks it
        with learn.no_bar():
            return learn.get_preds(dl=learn.dls.test_dl(asked), reorder=False)

    return lambda: ours.predict(15, 260), theirs


def sentiment_pair() -> tuple[Answer, Answer]:
    """A review of 200 words: ours, with two threads, and transformers' in torch, with as many."""
    folder = SPACES / "sentiment/model"
    ours, tokenizer = Sentiment.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    net = BertForSequenceClassification(BertConfig.from_pretrained(folder)).eval()
    torch.set_num_threads(2)
    text = " ".join([ours.example()] * 20)
    review = " ".join(text.split()[:200])

    def theirs() -> object:
        with torch.inference_mode():
            return net(**tokenizer(review, truncation=True, return_tensors="pt")).logits

    return lambda: ours.predict(review), theirs


# Each model, its peer's name, and how many answers of either are timed in a row.
PAIRS: tuple[tuple[str, str, Callable[[], tuple[Answer, Answer]], int, int], ...] = (
    ("salary", "fastai", salary_pair, 200, 10),
    ("rating", "fastai", rating_pair, 200, 10),
    ("sentiment", "torch", sentiment_pair, 10, 10),
)


def seconds(answer: Answer, times: int) -> float:
    """Mean seconds of one answer over several in a row."""
    start = time.perf_counter()
    for _ in range(times):
        answer()
    return (time.perf_counter() - start) / times


def main() -> None:
    """Time every pair in turn and print ratios with their spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", metavar="FILE", default="benchmarks/results/serving.json")
    options = parser.parse_args()
    rows = []
    for name, peer, make, many, few in PAIRS:
        ours, theirs = make()
        ours(), theirs()
        pairs = [(seconds(ours, many), seconds(theirs, few)) for _ in progress_bar(range(options.rounds))]
        ratios = sorted(b / a for a, b in pairs)
        rows.append(
            {
                "model": name,
                "ours_ms": 1000 * statistics.median(a for a, _ in pairs),
                "peer": peer,
                "peer_ms": 1000 * statistics.median(b for _, b in pairs),
                "times_faster": statistics.median(ratios),
                "least": ratios[0],
                "most": ratios[-1],
            }
        )
    print(f"\n{'model':10} {'ours':>10} {'peer':>10} {'':6} {'times faster (least to most)':>32}")
    for row in rows:
        print(
            f"{row['model']:10} {row['ours_ms']:7.2f} ms {row['peer_ms']:7.2f} ms {row['peer']:6} "
            f"{row['times_faster']:12.1f} ({row['least']:.1f} to {row['most']:.1f})"
        )
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    out.write_text(json.dumps({"machine": machine, "rounds": options.rounds, "rows": rows}, indent=1) + "\n")
    print(f"Wrote {out}")


if __name__ == "__main__":
    main()
