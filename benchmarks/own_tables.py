"""Train the tabular recipe on public tables that nobody tuned it for, beside HistGradientBoosting on the same splits.

    python -m benchmarks.own_tables --splits 5                    scikit-learn's bundled tables
    python -m benchmarks.own_tables --adult DIR --rows 4000       also hours per week from adult.csv, of some rows

Each split holds another fifth of the rows out. The table has the median over the splits, their range in brackets, and
the mean paired difference from the peer with its 95 % interval over the splits.
"""

import argparse
import contextlib
import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import training  # noqa: F401 - makes fastai importable with CPU builds of torch

# isort: split
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn import datasets
from sklearn.model_selection import train_test_split

from shared.console import guard_output
from training.data import read_table
from training.description import describe
from training.learner import Run
from training.recipes.tabular import Tabular, TabularSettings, encode_rows
from training.tables.baselines import predict_with_boosted_trees
from training.tables.rows import TEST_SHARE, Rows, clean
from training.tables.targets import choose_target

LABELLED, NUMBERED = ("breast_cancer", "wine", "digits"), ("diabetes",)
HEADER = """\
| table | rows | figure | ours | HistGradientBoosting | ours minus it, paired | coverage | seconds |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Scores:
    """The scores of one split: accuracy, or root mean squared error; coverage is None for labels."""

    ours: float
    peer: float
    coverage: float | None
    seconds: float


def read_bundled(name: str) -> tuple[Rows, tuple[str, ...]]:
    """Return a table of scikit-learn and its labels; none for a number."""
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    if name in NUMBERED:
        return Rows(clean(found.data), found.target.to_numpy(np.float64)), ()
    return Rows(clean(found.data), found.target.to_numpy(np.int64)), tuple(map(str, found.target_names))


def read_hours(folder: Path, count: int) -> tuple[Rows, tuple[str, ...]]:
    """Return hours per week as the target, from a sample of adult.csv."""
    table = read_table(folder / "adult.csv")
    table = table.sample(min(count, len(table)), random_state=0).reset_index(drop=True)
    hours = table.pop("hours-per-week").to_numpy(np.float64)
    return Rows(clean(table), hours), ()


def measure_split(rows: Rows, labels: tuple[str, ...], seed: int) -> Scores:
    """Train on four fifths of the rows; score the other fifth."""
    stratify = rows.y if labels else None
    train, test = (
        rows.take(part)
        for part in train_test_split(np.arange(len(rows)), test_size=TEST_SHARE, stratify=stratify, random_state=seed)
    )
    recipe, settings = Tabular(), TabularSettings(seed=seed)
    splits = recipe.make_splits(train, test, ("table", "held-out fifth"), labels, describe("table", "A row?", ()))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):  # the progress bar
        fitted = recipe.fit(splits, settings, Run(Path(folder), seed, resume=False))
    target = choose_target(labels, train.y)
    module = target.calibrate(fitted.networks, fitted.held_out, train.y).module.eval()
    seconds = time.monotonic() - began
    (trees,) = predict_with_boosted_trees(train, splits.tests[0], 1)
    inputs = encode_rows(fitted.config, pd.DataFrame(splits.tests[0].inputs))
    with torch.inference_mode():
        outputs = module(*inputs)
    if labels:
        predicted = (outputs >= 0 if len(labels) == 2 else outputs.argmax(1)).numpy()
        return Scores((predicted == test.y).mean(), (trees == test.y).mean(), None, seconds)
    value, half = (part.double().numpy() for part in outputs)
    inside = np.abs(value - test.y) <= half
    return Scores(find_root(value - test.y), find_root(trees - test.y), inside.mean(), seconds)


def find_root(errors: NDArray[np.float64]) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt((errors**2).mean()))


def find_error(gaps: NDArray[np.float64]) -> float:
    """Return the standard error of a mean over random splits of the same rows, which are not independent.

    Source: C. Nadeau and Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003).
    """
    return float(gaps.std(ddof=1) * np.sqrt(1 / len(gaps) + TEST_SHARE / (1 - TEST_SHARE)))


def format_row(name: str, count: int, scores: list[Scores]) -> str:
    """Return the row of a table: medians with their range, and the paired difference."""
    ours, peer = (np.array([getattr(one, field) for one in scores]) for field in ("ours", "peer"))
    gaps = ours - peer
    spread = student.ppf(0.975, len(gaps) - 1) * find_error(gaps) if len(gaps) > 1 else np.nan
    figure = "accuracy" if scores[0].coverage is None else "root mean squared error (lower is better)"
    shown = [f"{np.median(each):.4g} [{each.min():.4g}, {each.max():.4g}]" for each in (ours, peer)]
    coverage = "" if scores[0].coverage is None else f"{np.mean([one.coverage for one in scores]):.1%}"
    seconds = np.median([one.seconds for one in scores])
    return (
        f"| {name} | {count:,} | {figure} | {shown[0]} | {shown[1]} | "
        f"{gaps.mean():+.4g} [{gaps.mean() - spread:+.4g}, {gaps.mean() + spread:+.4g}] | {coverage} | {seconds:.0f} |"
    )


def main() -> None:
    """Print a row for each table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=5, help="random splits of each table")
    parser.add_argument("--adult", metavar="DIR", help="folder with adult.csv")
    parser.add_argument("--rows", type=int, default=4000, help="rows of adult.csv")
    parser.add_argument("--tables", nargs="*", default=[*LABELLED, *NUMBERED], help="scikit-learn's tables")
    options = parser.parse_args()
    tables = {name: read_bundled(name) for name in options.tables}
    if options.adult:
        tables["adult, hours-per-week"] = read_hours(Path(options.adult), options.rows)
    print(HEADER)
    for name, (rows, labels) in tables.items():
        scores = [measure_split(rows, labels, seed) for seed in range(options.splits)]
        print(format_row(name, len(rows), scores), flush=True)


if __name__ == "__main__":
    guard_output()
    main()
