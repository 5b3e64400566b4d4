"""Train a classifier of table rows with a target of two values.

    python -m training.recipes.tabular --data churn.csv --target churned
    python -m training.recipes.tabular --smoke                        seconds, on made-up rows

Numeric columns are read as numbers, all others as categories. A fifth of the rows is held out for the test. Several
networks are averaged (TabM ensembles; see training/networks/tabular.py) and calibrated on out-of-fold predictions.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.model_selection import StratifiedKFold
from torch import nn

from shared.metrics import Figure
from shared.tables import write_csv
from shared.tabular import TabularClassifier, TabularClassifierConfig, encode
from shared.tabular_values import MISSING, NumberColumn
from training import command, evaluate
from training.data import DataError
from training.description import Description, describe
from training.export import store_half
from training.learner import NoValidation, RowLoader, Run, set_seed
from training.made_up import write_rows
from training.networks.tabular import Ensemble, TableNet, member_loss
from training.own_rows import read_own_rows
from training.parity import Shown
from training.recipe import Answered, Export, Recipe, Settings, Splits, TestSet
from training.tables import Rows, is_number
from training.tabular_baselines import compare, score_boosted_trees

BACKGROUND_ROWS = 100  # stored with the model: explanations compare a row with them
PARITY_ROWS = 5000
LIMITS = ("The probabilities hold for rows drawn like those it was trained on.",)


@dataclass(frozen=True)
class TabularSettings(Settings):
    """Columns and hyper-parameters.

    `ignored` columns are kept but not read. Each value of an `exact` column has its own embedding, for numbers that act
    as codes. Each of the `ordered` categories is read as a number from another column.
    """

    target: str | None = None
    ignored: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    ordered: tuple[tuple[str, str], ...] = ()
    epochs: int = 8
    batch: int = 512
    learning_rate: float = 1.2e-2
    weight_decay: float = 0.1
    networks: int = 5  # averaged in the stored model
    folds: int = 5
    width: int = 128
    members: int = 8

    @classmethod
    def smoke(cls) -> "TabularSettings":
        """Return settings for a training run of seconds."""
        return cls(epochs=10, networks=2, folds=2, width=16, members=2)


@dataclass(frozen=True)
class Fitted:
    """Networks trained on all rows, and out-of-fold logits for calibration, (training rows,)."""

    networks: list[TableNet]
    held_out: NDArray[np.float64]
    config: TabularClassifierConfig


class Tabular(Recipe[Rows, TabularSettings]):
    """Classify rows of a table into two classes."""

    module = "training.recipes.tabular"
    predictor = TabularClassifier
    settings = TabularSettings
    unit: ClassVar[str] = "rows"  # what the card calls rows

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add --target."""
        parser.add_argument("--target", metavar="COLUMN", help="the column to predict (default: the last one)")

    # --- data ---

    def load_own(self, data: str, settings: TabularSettings) -> Splits[Rows]:
        """Read a CSV whose target has two values; a fifth of its rows is the test."""
        found = read_own_rows(Path(data), settings.target, settings.own, settings.seed)
        labels = found.labels
        if len(labels) != 2:
            raise DataError(f"The target {found.target} must have two values; it has {len(labels)}.")
        name = Path(data).stem
        description = describe(name, f"From one row of a table: is it {labels[0]} or {labels[1]}?", LIMITS)
        description = replace(description, notes=found.notes)
        return self.make_splits(found.train, found.test, (name, found.split), labels, description)

    def make_splits(
        self, train: Rows, test: Rows, where: tuple[str, str], labels: tuple[str, ...], description: Description
    ) -> Splits[Rows]:
        """Return the splits; `where` names the data set and the part of it that is the test."""
        return Splits(train, test, (test.as_test(*where, train.table),), description, labels)

    def make_up(self, folder: Path, seed: int) -> str:
        """Write a CSV of rows whose label follows a rule with noise."""
        return str(write_rows(folder, seed))

    # --- training ---

    def fit(self, splits: Splits[Rows], settings: TabularSettings, run: Run) -> Fitted:
        """Train one network per fold for calibration, then the stored networks on all rows."""
        train = splits.train
        config = self.describe_columns(train.table, splits.labels, settings, splits.description.columns)
        folds = list(
            StratifiedKFold(settings.folds, shuffle=True, random_state=settings.seed).split(train.table, train.y)
        )
        held_out = np.zeros(len(train))
        networks = []
        for index in progress_bar(range(settings.folds + settings.networks)):
            is_fold = index < settings.folds
            # Bins, amounts and weights come from the rows of the fold; only the lists of categories are shared.
            rows = train.take(folds[index][0]) if is_fold else train
            own = config.model_copy(update={"amounts": list_amounts(rows.table, settings.exact)})
            network = self.fit_network(rows, own, settings, run, f"net-{index}", settings.seed + index)
            if is_fold:
                outside = folds[index][1]
                held_out[outside] = compute_logits(Ensemble([network]), own, train.table.iloc[outside])
            else:
                networks.append(network)
        return Fitted(networks, held_out, config)

    def fit_network(
        self,
        rows: Rows,
        config: TabularClassifierConfig,
        settings: TabularSettings,
        run: Run,
        name: str,
        seed: int,
    ) -> TableNet:
        """Train one network on some rows."""
        target = torch.from_numpy(rows.y.astype(np.float32))
        set_seed(seed)
        network = TableNet(config, rows.table, dict(settings.ordered), settings.width, settings.members)
        batch = min(settings.batch, len(rows) // 10)
        loader = RowLoader(*encode_rows(config, rows.table), target, bs=batch, shuffle=True, drop_last=True)
        learn = Learner(
            DataLoaders(loader, loader),
            network,
            loss_func=member_loss,
            splitter=group_by_decay,
            cbs=NoValidation(),
        )
        schedule = partial(
            learn.fit_one_cycle, settings.epochs, settings.learning_rate, div=10, wd=[settings.weight_decay, 0.0]
        )
        with learn.no_bar(), learn.no_logging():
            run.fit(learn, name, schedule, seed)
        return network.cpu().eval()

    def describe_columns(
        self,
        table: pd.DataFrame,
        labels: tuple[str, ...],
        settings: TabularSettings,
        descriptions: Mapping[str, str] | None = None,
    ) -> TabularClassifierConfig:
        """Return the columns' config for serving, from the training rows only.

        Raises:
            DataError: a column is empty.
        """
        numbers = [name for name in table if is_number(table[name])]
        if empty := [name for name in numbers if table[name].isna().all()]:
            raise DataError(f"The column {empty[0]} is empty in the rows to train on; leave it out.")
        ordered = dict(settings.ordered)
        categories = {}
        for name in (name for name in table if name not in numbers):
            values = sorted(set(table[name]) - {MISSING})
            if name in ordered:
                means = table.groupby(name)[ordered[name]].mean()
                values.sort(key=lambda value: means[value])
            categories[name] = (MISSING, *values)
        typical = {name: str(table[name].mode()[0]) for name in categories}
        return TabularClassifierConfig.model_construct(
            labels=labels,
            columns=tuple(table.columns),
            categories=categories,
            numbers={name: describe_numbers(table[name]) for name in numbers},
            ignored=settings.ignored,
            groups=tuple((name,) for name in table if name not in settings.ignored),
            typical=typical | {name: float(table[name].median()) for name in numbers},
            amounts=list_amounts(table, settings.exact),
            descriptions=dict(descriptions or {}),
        )

    # --- storing and measuring ---

    def export(self, network: Fitted, splits: Splits[Rows], settings: TabularSettings) -> Export:
        """Calibrate the average of the networks by Platt scaling, in the exported graph."""
        config, train = network.config, splits.train
        temperature, bias = evaluate.fit_platt(network.held_out, train.y)
        ensemble = Ensemble(network.networks, temperature, bias).eval()
        right = (evaluate.sigmoid(network.held_out / temperature + bias) >= 0.5) == train.y
        categories, numbers = encode_rows(config, pd.DataFrame(splits.tests[0].inputs[:PARITY_ROWS]))
        split = "cross-validated training part, one network"
        cross_validated = evaluate.measure_share("accuracy_cv", right, splits.tests[0].data, split, label="accuracy")
        fields = {name: getattr(config, name) for name in config.model_fields_set}

        def save(folder: Path) -> None:
            sample = train.table.sample(min(BACKGROUND_ROWS, len(train)), random_state=settings.seed)
            write_csv(folder / "background.csv", sample.to_dict("records"))
            save_file(ensemble.state_dict(), folder / "model.safetensors")

        return Export(
            module=ensemble,
            inputs={"categories": categories[:2], "numbers": numbers[:2]},
            outputs=["logit"],
            store=store_half,
            batches=[{"categories": categories.numpy(), "numbers": numbers.numpy()}],
            shown=Shown("probability", compute_probabilities, self.unit, self.unit, typical=0.0005, relabelled=0.001),
            tolerance=0.001,
            fields=fields,
            save=save,
            notes=(
                f"It averages {len(network.networks)} networks of {settings.members} members each (TabM).",
                f"Its logit was divided by {temperature:.3f} and increased by {bias:.3f} (Platt scaling), fitted on "
                "predictions of single networks for rows that they were not trained on.",
            ),
            uncalibrated=lambda p: evaluate.sigmoid((evaluate.logit(p) - bias) * temperature),
            measured={"figures": [cross_validated]},
        )

    def compute_figures(self, answers: Sequence[Any], test: TestSet) -> list[Figure]:
        """Return accuracy, log loss and expected calibration error."""
        p, y = get_second_probability(answers), test.targets
        losses = evaluate.log_losses(p, y)
        return [
            evaluate.measure_share("accuracy", (p >= 0.5) == y, test.data, test.split, label="accuracy"),
            evaluate.make_figure(
                "log_loss", losses.mean(), evaluate.mean_interval(losses), **test.where, label="log loss (nats)"
            ),
            evaluate.measure_calibration(evaluate.stack_two_classes(p), y, test.where),
        ]

    def format_headline(self, figure: Figure) -> str:
        """Return the gallery's line about the model."""
        return f"{figure.value:.1%} right on {figure.count:,} test {self.unit}"

    def measure(self, found: Answered[Rows, TabularSettings]) -> dict[str, Any]:
        """Add gradient-boosted trees as a peer, and the calibration error before calibration."""
        measured = super().measure(found)
        test, p = found.splits.tests[0], get_second_probability(found.answers[0])
        if found.exported and found.exported.uncalibrated:
            before = evaluate.stack_two_classes(found.exported.uncalibrated(p))
            measured["figures"].append(evaluate.measure_calibration(before, test.targets, test.where, before=True))
        right = (p >= 0.5) == test.targets
        trees = score_boosted_trees(found.splits.train, test, found.settings.networks)
        columns = len(found.splits.train.table.columns)
        measured["peers"] = [compare(f"HistGradientBoosting on all {columns} columns", trees, right)]
        return measured


def describe_numbers(values: pd.Series) -> NumberColumn:
    """Return the range and median of a column."""
    return NumberColumn(minimum=values.min(), maximum=values.max(), median=values.median())


def list_amounts(table: pd.DataFrame, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return the distinct values of the columns with exact embeddings, in ascending order."""
    return {name: tuple(np.unique(table[name].dropna()).tolist()) for name in names}


def encode_rows(config: TabularClassifierConfig, table: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode rows for the network as serving does; return categories and numbers, each (rows, columns).

    Raises:
        DataError: serving would reject a row.
    """
    categories, numbers, errors = encode(config, table.to_dict("records"))
    if errors:
        row, error = next(iter(errors.items()))
        raise DataError(f"Row {row}: {error}")
    return torch.from_numpy(categories), torch.from_numpy(numbers)


@torch.inference_mode()
def compute_logits(ensemble: Ensemble, config: TabularClassifierConfig, table: pd.DataFrame) -> NDArray[np.float64]:
    """Return logits of the second label, (rows,)."""
    categories, numbers = encode_rows(config, table)
    batches = zip(categories.split(4096), numbers.split(4096), strict=True)
    return torch.cat([ensemble(*batch) for batch in batches]).double().numpy()


def group_by_decay(network: nn.Module) -> list[list[nn.Parameter]]:
    """Return two parameter groups: weights and embeddings, with weight decay; scales and biases, without."""
    kept = ("scale", "bias")
    return [[p for name, p in network.named_parameters() if name.endswith(kept) is still] for still in (False, True)]


def compute_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities of both labels, (n, 2), from logits of the second, (n,)."""
    return evaluate.stack_two_classes(evaluate.sigmoid(logits))


def get_second_probability(answers: Sequence[Any]) -> NDArray[np.float64]:
    """Return the probability of the second label in each answer, (n,)."""
    return np.array([list(answer.probabilities.values())[1] for answer in answers])


main = partial(command.run, Tabular())

if __name__ == "__main__":
    raise SystemExit(command.main(Tabular()))
