"""Measure what a smoother answer in capital gain costs salary, on folds of adult.csv.

    python -m benchmarks.capital_gain [--data DIR] [--folds 2] [--out FILE]

DIR is a folder with adult/; without it, the data is downloaded. One network of the recipe is trained for each encoding
of the amounts and each fold, beside histogram gradient boosting without and with a monotone constraint. A jump is the
change of the probability of >=50k between two neighbouring amounts of the data, for 200 people of the fold; also
counted are the jumps in the data itself. The official test is not read. docs/attempts.md shows the table.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from tqdm import tqdm

from benchmarks.ablation import describe_options, find_people
from benchmarks.serving import describe_conditions
from shared.console import guard_output
from training.learner import Run
from training.networks import tabular
from training.recipes.tabular import compute_outputs
from training.salary import Salary, SalarySettings
from training.tables.rows import Rows
from training.tables.targets import TwoLabels

COLUMN = "capital-gain"
BINS: dict[str, Any] = {
    "100 quantiles": lambda amounts: np.quantile(np.unique(amounts), np.linspace(0, 1, 100)),
    "12 quantiles": lambda amounts: np.quantile(amounts, np.linspace(0, 1, 12)),
    "6 quantiles": lambda amounts: np.quantile(amounts, np.linspace(0, 1, 6)),
    "10 logarithmic bins": lambda amounts: np.geomspace(amounts.min(), amounts.max(), 10),
    "6 logarithmic bins": lambda amounts: np.geomspace(amounts.min(), amounts.max(), 6),
}
EMBEDDING = "an embedding for each amount: the gallery's"
BOOSTING = {"gradient boosting": None, "gradient boosting, monotone in both amounts": (COLUMN, "capital-loss")}
SHOWN_PEOPLE = 200
MANY = 20  # people with an amount


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", type=Path, help="with adult/ in it")
    parser.add_argument("--folds", metavar="N", type=int, default=2, help="of five, 2 by default")
    parser.add_argument(
        "--smoke", action="store_true", help="take seconds, on made-up people; the figures mean nothing"
    )
    parser.add_argument("--out", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        settings = SalarySettings.smoke() if options.smoke else SalarySettings()
        people = find_people(options, Path(folder))
        found: dict[str, list[dict[str, float]]] = {}
        folds = list(KFold(5, shuffle=True, random_state=settings.seed).split(np.arange(len(people))))[: options.folds]
        for train, valid in tqdm(folds, "folds"):
            for what, scores in measure(people.take(train), people.take(valid), settings, Path(folder)).items():
                found.setdefault(what, []).append(scores)
    data = count_jumps(people)
    print(f"\n{format_table(found)}\n\n{data}")
    if options.out:
        given = sys.argv[1:] if arguments is None else arguments
        command = " ".join(["python -m benchmarks.capital_gain", *describe_options(given)])
        report = {"command": command, **describe_conditions(), "scores": found, "data": data}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8", newline="\n")


def measure(train: Rows, valid: Rows, settings: SalarySettings, folder: Path) -> dict[str, dict[str, float]]:
    """Return the scores of each way to read the amounts, trained on some people and measured on others."""
    grid = np.unique(train.table[COLUMN].dropna())
    shown = valid.table.sample(min(SHOWN_PEOPLE, len(valid)), random_state=0)
    varied = shown.loc[shown.index.repeat(len(grid))].assign(**{COLUMN: np.tile(grid, len(shown))})

    def score(predict: Any) -> dict[str, float]:
        p = predict(valid.table)
        jumps = np.abs(np.diff(predict(varied).reshape(len(shown), -1), axis=1))
        likelihood = np.where(np.asarray(valid.y) == 1, p, 1 - p)
        return {
            "accuracy": float(np.mean((p >= 0.5) == valid.y)),
            "log_loss": float(-np.log(np.maximum(likelihood, 1e-9)).mean()),
            "largest_jump": float(jumps.max()),
            "jumps_above_0.2": float((jumps > 0.2).sum(axis=1).mean()),
        }

    found = {}
    for what in tqdm([EMBEDDING, *BINS], "networks", leave=False):
        chosen = settings if what == EMBEDDING else replace(settings, exact=())
        found[what] = score(train_network(train, valid, chosen, BINS.get(what), folder))
    for what, monotone in BOOSTING.items():
        found[what] = score(train_boosting(train, settings, monotone))
    return found


def train_network(train: Rows, valid: Rows, settings: SalarySettings, find: Any, folder: Path) -> Any:
    """Train one network of the recipe; return its function from rows to probabilities of >=50k."""
    recipe, target, usual = Salary(), TwoLabels(), tabular.find_bin_edges

    def find_edges(values: NDArray[np.float64], bins: int = 24) -> NDArray[np.float32]:
        finite = values[np.isfinite(values)]
        if find is None or np.mean(finite == 0) <= 0.5 or not finite.any():
            return usual(values, bins)
        return np.unique(np.append(find(finite[finite > 0]), 0).astype(np.float32))

    splits = recipe.describe(train, valid, ("UCI Adult", "held out"))
    config = recipe.describe_columns(splits, settings)
    with patch.object(tabular, "find_bin_edges", find_edges), tempfile.TemporaryDirectory(dir=folder) as states:
        run = Run(Path(states), settings.seed, resume=False)
        network = target.average([recipe.fit_network(train, target, config, settings, run, "net", settings.seed)])
    return lambda rows: 1 / (1 + np.exp(-compute_outputs(network, config, rows)))


def train_boosting(train: Rows, settings: SalarySettings, monotone: tuple[str, ...] | None) -> Any:
    """Train gradient boosting on the same columns; return its function from rows to probabilities of >=50k."""
    table = train.table.drop(columns=list(settings.ignored), errors="ignore")
    numbers = [name for name in table if pd.api.types.is_numeric_dtype(table[name])]
    names = [name for name in table if name not in numbers]
    encoder = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=200), names),
        ("passthrough", numbers),
    )
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=400,
        early_stopping=True,
        categorical_features=list(range(len(names))),
        monotonic_cst=[0] * len(names) + [int(name in (monotone or ())) for name in numbers],
        random_state=settings.seed,
    )
    model = make_pipeline(encoder, boosting).fit(table, train.y)
    return lambda rows: model.predict_proba(rows[list(table)])[:, 1]


def count_jumps(people: Rows) -> str:
    """Return a sentence on neighbouring amounts in the data itself."""
    known = pd.Series(np.asarray(people.y)).groupby(people.table[COLUMN].to_numpy())
    shares = known.mean()[known.size() >= MANY]
    jumps = shares.sort_index().diff().abs().dropna()
    large = int((jumps > 0.2).sum())
    return (
        f"In the data, {len(shares)} amounts have at least {MANY} people each. Between {large} of their {len(jumps)} "
        f"neighbours the share of >=50k changes by more than 0.2, at most by {jumps.max():.2f}."
    )


def format_table(found: dict[str, list[dict[str, float]]]) -> str:
    """Return the means over the folds as a table in Markdown."""
    lines = [
        "| amounts | accuracy | log loss | largest jump | jumps above 0.2, for a person |",
        "|---|---|---|---|---|",
    ]
    for what, scores in found.items():
        mean = {name: np.mean([one[name] for one in scores]) for name in scores[0]}
        lines.append(
            f"| {what} | {mean['accuracy']:.4f} | {mean['log_loss']:.4f} | {mean['largest_jump']:.2f} | "
            f"{mean['jumps_above_0.2']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    guard_output()
    main()
