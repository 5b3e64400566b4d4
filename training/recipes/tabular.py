"""Train a model for the rows of a table: it predicts one of two or more labels, or a number with an interval.

    python -m training.recipes.tabular --data churn.csv --target churned
    python -m training.recipes.tabular --data flats.csv --target price   a number
    python -m training.recipes.tabular --smoke                           seconds, on made-up rows; also --target hours

A fifth of the rows is held out for the test. Several networks are averaged (TabM ensembles; see
training/networks/tabular.py) and calibrated on out-of-fold predictions.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from shared.metrics import Figure
from shared.tabular import TabularConfig, encode
from shared.tabular_classifier import TabularClassifier
from shared.tabular_values import MISSING, NumberColumn
from training import command, evaluate
from training.data import DataError, TestSet
from training.description import Description, ask_label, describe
from training.export import store_half
from training.learner import NoValidation, RowLoader, Run, set_seed
from training.made_up import write_rows
from training.networks.tabular import TableNet
from training.own_data.rows import read_own_rows
from training.own_data.tables import name_data
from training.progress import show_progress
from training.recipe import Answered, Recipe, Settings, Splits
from training.storing import Export
from training.tables.figures import compare_with_peers, measure_by_group, measure_labels, measure_numbers
from training.tables.rows import Rows, is_number
from training.tables.targets import Target, choose_target

BACKGROUND_ROWS = 50  # stored with the model: explanations compare a row with them
PARITY_ROWS = 5000
LIMITS = ("The probabilities hold for rows drawn like those it was trained on.",)
LIMITS_OF_NUMBERS = ("The intervals hold the true value of about 90 % of rows drawn like those it was trained on.",)


@dataclass(frozen=True)
class TabularSettings(Settings):
    """Columns and hyper-parameters.

    Few rows need no others: on scikit-learn's small tables, more or fewer epochs, more dropout and more weight decay
    were not clearly better in cross-validation.

    `ignored` columns are kept but not read. Each value of an `exact` column has its own embedding, for numbers that act
    as codes. Each of the `ordered` categories is read as a number from another column.
    """

    longest: ClassVar[int] = 1  # times the epochs, at most, for --minutes: more overfit
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
        return cls(epochs=5, networks=2, folds=2, width=16, members=2)


@dataclass(frozen=True)
class TableSplits(Splits[Rows]):
    """The data, and what the recipe needs to know of it.

    `target` and those below are as in OwnRows: the column to predict, how dates and numbers are spelled, which columns
    may have other values, and the group of each test row for each column to report by.
    """

    target: str = ""
    date_formats: Mapping[str, str] = field(default_factory=dict)
    decimals: Mapping[str, Any] = field(default_factory=dict)
    open_categories: tuple[str, ...] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """Networks trained on all rows, and what others computed for rows that they were not trained on, (rows, …)."""

    networks: list[TableNet]
    held_out: NDArray[np.float64]
    config: TabularConfig


class Tabular(Recipe[Rows, TabularSettings]):
    """Predict a label or a number for a row of a table."""

    module = "training.recipes.tabular"
    predictor = TabularClassifier
    settings = TabularSettings
    data_options = ("time", "groups", "task", "unit")
    measuring = ("groups", "unit")
    unit: ClassVar[str] = "rows"  # what the card calls rows

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add --target."""
        usual = "one with a usual name, such as target, class or price, or else the last one"
        parser.add_argument("--target", metavar="COLUMN", help=f"the column to predict (default: {usual})")

    # --- data ---

    def load_own(self, data: str, settings: TabularSettings) -> TableSplits:
        """Read a table; what it does not divide itself is split at random."""
        found = read_own_rows(Path(data), settings.target, settings.own, settings.seed)
        if found.labels and settings.own.unit:
            print(f"--unit {settings.own.unit} has no effect, since the target {found.target} has classes.")
        name = name_data(Path(data))
        limits = LIMITS if found.labels else LIMITS_OF_NUMBERS
        description = describe(name, make_summary(found.target, found.labels), limits, labels=found.labels)
        splits = self.make_splits(
            found.train, found.test, (name, found.split), found.labels, replace(description, notes=found.notes)
        )
        return replace(
            splits,
            target=found.target,
            date_formats=found.date_formats,
            decimals=found.decimals,
            open_categories=found.open_categories,
            groups=found.groups,
        )

    def make_splits(
        self, train: Rows, test: Rows, where: tuple[str, str], labels: tuple[str, ...], description: Description
    ) -> TableSplits:
        """Return the splits; `where` names the data set and the part of it that is the test."""
        return TableSplits(train, test, (test.as_test(*where, train.table),), description, labels)

    def make_up(self, folder: Path, seed: int) -> str:
        """Write a CSV of rows whose label follows a rule with noise."""
        return str(write_rows(folder, seed))

    # --- training ---

    def fit(self, splits: Splits[Rows], settings: TabularSettings, run: Run) -> Fitted:
        """Train one network per fold for calibration, then the stored networks on all rows."""
        train, target = splits.train, choose_target(splits.labels, splits.train.y)
        config = self.describe_columns(splits, settings)
        folds = target.split(train, settings.folds, settings.seed)
        held_out = np.zeros(0)
        networks = []
        for index in show_progress("Training networks", range(settings.folds + settings.networks)):
            is_fold = index < settings.folds
            # Bins, amounts and weights come from the rows of the fold; only the lists of categories are shared.
            rows = train.take(folds[index][0]) if is_fold else train
            own = config.model_copy(update={"amounts": list_amounts(rows.table, settings.exact)})
            network = self.fit_network(rows, target, own, settings, run, f"net-{index}", settings.seed + index)
            if is_fold:
                outside = folds[index][1]
                outputs = compute_outputs(target.average([network]), own, train.table.iloc[outside])
                if not len(held_out):
                    held_out = np.zeros((len(train), *outputs.shape[1:]))
                held_out[outside] = outputs
            else:
                networks.append(network)
        return Fitted(networks, held_out, config)

    def fit_network(
        self,
        rows: Rows,
        target: Target,
        config: TabularConfig,
        settings: TabularSettings,
        run: Run,
        name: str,
        seed: int,
    ) -> TableNet:
        """Train one network on some rows."""
        set_seed(seed)
        network = TableNet(config, rows.table, dict(settings.ordered), settings.width, settings.members, target.outputs)
        batch = min(settings.batch, len(rows) // 10)
        tensors = *encode_rows(config, rows.table), target.encode(rows.y)
        loader = RowLoader(*tensors, bs=batch, shuffle=True, drop_last=True)
        learn = Learner(
            DataLoaders(loader, loader),
            network,
            loss_func=target.loss,
            splitter=group_by_decay,
            cbs=NoValidation(),
        )
        schedule = partial(
            learn.fit_one_cycle, settings.epochs, settings.learning_rate, div=10, wd=[settings.weight_decay, 0.0]
        )
        with learn.no_bar(), learn.no_logging():
            run.fit(learn, name, schedule, seed=seed)
        return network.cpu().eval()

    def describe_columns(self, splits: Splits[Rows], settings: TabularSettings) -> TabularConfig:
        """Return the columns' config for serving, from the training rows only.

        Raises:
            DataError: a column is empty.
        """
        table, own = splits.train.table, cast(TableSplits, splits)
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
        spans = {
            name: describe_numbers(table[name], own.date_formats.get(name), own.decimals.get(name)) for name in numbers
        }
        typical: dict[str, str | float] = {name: str(table[name].mode()[0]) for name in categories}
        whole = {name for name in numbers if not (table[name].dropna() % 1).any()}
        middles = {name: round(span.median) if name in whole else span.median for name, span in spans.items()}
        typical |= {
            name: span.show(middles[name]) if span.date_format else middles[name] for name, span in spans.items()
        }
        others: dict[str, Any] = {"open_categories": own.open_categories} if own.open_categories else {}
        others |= {
            name: dict(names) for name in ("label_names", "value_names") if (names := getattr(splits.description, name))
        }
        return TabularConfig.model_construct(
            **others,
            columns=tuple(table.columns),
            categories=categories,
            numbers=spans,
            ignored=settings.ignored,
            groups=tuple((name,) for name in table if name not in settings.ignored),
            typical=typical,
            amounts=list_amounts(table, settings.exact),
            descriptions=dict(splits.description.columns),
        )

    # --- storing and measuring ---

    def export(self, network: Fitted, splits: Splits[Rows], settings: TabularSettings) -> Export:
        """Calibrate the average of the networks on out-of-fold predictions, in the exported graph."""
        config, train, test = network.config, splits.train, splits.tests[0]
        target = choose_target(splits.labels, train.y)
        calibrated = target.calibrate(network.networks, network.held_out, train.y)
        module = calibrated.module.eval()
        categories, numbers = encode_rows(config, pd.DataFrame(test.inputs[:PARITY_ROWS]))
        split = "cross-validated training part, one network"
        name, label = target.cross_validated
        cross_validated = evaluate.measure_share(name, calibrated.right, test.data, split, label=label)
        fields = {name: getattr(config, name) for name in config.model_fields_set}
        if splits.labels:
            fields["labels"] = splits.labels
        else:
            fields |= {"target": cast(TableSplits, splits).target, "unit": settings.own.unit or ""}

        def save(folder: Path) -> None:
            sample = train.table.iloc[spread_rows(target.sort(network.held_out), BACKGROUND_ROWS, settings.seed)]
            # Without write_csv, which would change names and categories that begin with - or =.
            sample.to_csv(folder / "background.csv", index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
            save_file(module.state_dict(), folder / "model.safetensors")

        return Export(
            module=module,
            inputs={"categories": categories[:2], "numbers": numbers[:2]},
            outputs=target.graph_outputs,
            store=store_half,
            batches=[{"categories": categories.numpy(), "numbers": numbers.numpy()}],
            shown=target.show(self.unit),
            tolerance=target.tolerance,
            fields=fields,
            predictor=target.predictor,
            save=save,
            notes=(
                f"It averages {len(network.networks)} networks of {settings.members} members each (TabM).",
                *calibrated.notes,
            ),
            uncalibrated=calibrated.uncalibrated,
            measured={"figures": [cross_validated]},
        )

    def compute_figures(self, answers: Sequence[Any], test: TestSet) -> list[Figure]:
        """Return accuracy, log loss and calibration error; or of numbers, errors and the coverage of the intervals."""
        measure = measure_labels if test.targets.dtype.kind == "i" else measure_numbers
        return measure(answers, test)

    def format_headline(self, figure: Figure, unit: str | None = None) -> str:
        """Return the gallery's line about the model; `unit` is that of a predicted number."""
        tested = f"{figure.count:,} test {self.unit}"
        if figure.name == "accuracy":
            return f"right for {figure.value:.1%} of {tested}"
        value = f"{float(f'{figure.value:.4g}'):,.10g}"
        return f"off by {value}{f' {unit}' if unit else ''} (root mean square) on {tested}"

    def describe_result(self, found: Answered[Rows, TabularSettings], headline: str) -> str:
        """Return a sentence with the numbers of right and wrong rows; of numbers, the headline."""
        if not found.splits.labels:
            return super().describe_result(found, headline)
        return evaluate.describe_counts(found.answers[0], found.splits.tests[0].targets, self.unit)

    def measure(self, found: Answered[Rows, TabularSettings]) -> dict[str, Any]:
        """Add figures by group, other models as peers, and the calibration error before calibration."""
        measured, splits, answers = super().measure(found), found.splits, found.answers[0]
        test = splits.tests[0]
        if splits.labels:
            p = evaluate.stack_probabilities(answers)
            measured["calibration"] = evaluate.measure_bins(p, test.targets, test.where, self.unit)
        else:
            measured["headline"] = self.format_headline(measured["figures"][0], found.settings.own.unit)
        if found.exported and found.exported.uncalibrated:
            before = found.exported.uncalibrated(evaluate.stack_probabilities(answers))
            figure = evaluate.measure_calibration(before, test.targets, test.where, before=True)
            measured["figures"].append(figure)
        measured["figures"] += measure_by_group(answers, test, cast(TableSplits, splits).groups)
        measured["peers"] = compare_with_peers(answers, splits, found.settings.networks)
        if splits.description.is_own:
            measured["notes"] += evaluate.describe_better_peers(measured["peers"])
        return measured


def make_summary(target: str, labels: Sequence[str]) -> str:
    """Return a sentence on what a model of a user's own answers."""
    if not labels:
        return f"From one row of a table: how large is {target}?"
    return f"From one row of a table: {ask_label(labels, target)}"


def describe_numbers(values: pd.Series, date_format: str | None = None, decimal: Any = None) -> NumberColumn:
    """Return the range and median of a column, and how its numbers are spelled, if in an unusual way."""
    spelling = {"date_format": date_format, "decimal": decimal}
    found = {"minimum": values.min(), "maximum": values.max(), "median": values.median()}
    return NumberColumn(**found, **{name: value for name, value in spelling.items() if value})


def list_amounts(table: pd.DataFrame, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return the distinct values of the columns with exact embeddings, in ascending order."""
    return {name: tuple(np.unique(table[name].dropna()).tolist()) for name in names}


def spread_rows(order: NDArray[np.intp], count: int, seed: int) -> NDArray[np.intp]:
    """Return `count` of these indices, or all if there are fewer: one from the middle of each of `count` equal parts.

    Of rows sorted by their outputs, (rows,), they have nearly the mean output of all. They are shuffled, so that the
    first of them are also a sample.
    """
    count = min(count, len(order))
    middles = ((np.arange(count) + 0.5) * len(order) / count).astype(np.intp)
    return np.random.default_rng(seed).permutation(order[middles])


def encode_rows(config: TabularConfig, table: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
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
def compute_outputs(module: nn.Module, config: TabularConfig, table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the output of a module for rows, (rows, …)."""
    categories, numbers = encode_rows(config, table)
    batches = zip(categories.split(4096), numbers.split(4096), strict=True)
    return torch.cat([module.eval()(*batch) for batch in batches]).double().numpy()


def group_by_decay(network: nn.Module) -> list[list[nn.Parameter]]:
    """Return two parameter groups: weights and embeddings, with weight decay; scales and biases, without."""
    kept = ("scale", "bias")
    return [[p for name, p in network.named_parameters() if name.endswith(kept) is still] for still in (False, True)]


main = partial(command.run, Tabular())

if __name__ == "__main__":
    raise SystemExit(command.main(Tabular()))
