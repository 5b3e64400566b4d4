"""Salary above or below 50k, from the 1994 census (UCI Adult): the tabular model of the book's chapter 1.

    python -m training.salary --smoke              seconds, on made-up people
    python -m training.salary --data DIR           adult.csv and adult_test.csv, minutes on a CPU
    python -m training.salary --recipe book        the book's own cell, beside the book's figure

Without --data, fastai downloads ADULT_SAMPLE. It has no official test file, so a random fifth of its rows is the test,
and the figures say so. The book's cell reads 9 columns and this demo 12, so both are trained and compared with each
choice of columns.
"""

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastai.learner import Learner
from numpy.typing import NDArray

from training import book, command, evaluate
from training.data import find_data
from training.description import read_description
from training.learner import Run
from training.made_up import write_people
from training.progress import show_progress
from training.recipe import Answered, Splits
from training.recipes.tabular import Tabular, TabularSettings, compute_outputs
from training.tables.adult import COLUMNS, LABELS, divide, make_book_table, read_people
from training.tables.baselines import score_book_cell
from training.tables.figures import compare
from training.tables.groups import measure_groups
from training.tables.rows import Rows
from training.tables.targets import TwoLabels

DATA = "UCI Adult"
BOOK_COLUMNS = book.CATEGORIES + book.NUMBERS
BOOK_ACCURACY = 0.838


@dataclass(frozen=True)
class SalarySettings(TabularSettings):
    """Columns of UCI Adult: fnlwgt is a sampling weight; capital amounts act as codes: 7298 is nearly always >=50k."""

    ignored: tuple[str, ...] = ("fnlwgt", "education-num")
    exact: tuple[str, ...] = ("capital-gain", "capital-loss")
    ordered: tuple[tuple[str, str], ...] = (("education", "education-num"),)
    book_epochs: int = 3

    @classmethod
    def smoke(cls) -> "SalarySettings":
        """Return settings for a training run of seconds."""
        return cls(epochs=5, networks=1, folds=2, width=16, members=2, book_epochs=1)


class Salary(Tabular):
    """The tabular recipe on UCI Adult."""

    module = "training.salary"
    settings = SalarySettings
    unit = "people"

    def add_options(self, parser: Any) -> None:
        """Add no options: the target is the salary."""

    def load(self, data: str | None, settings: SalarySettings) -> Splits[Rows]:
        """Read adult.csv, and the official test if the folder has it."""
        folder = find_data(data, "ADULT_SAMPLE", "adult.csv")
        people, official = read_people(folder / "adult.csv"), folder / "adult_test.csv"
        if official.is_file():
            return self.describe(people, read_people(official), (DATA, "official test"))
        return self.describe(*divide(people, settings.seed), (DATA, "a held-out fifth of adult.csv"))

    def load_own(self, data: str, settings: SalarySettings) -> Splits[Rows]:  # noqa: ARG002 - the recipe's signature
        """Read the made-up people of --smoke."""
        people = read_people(Path(data))
        train, test = np.split(np.arange(len(people)), [1000])
        return self.describe(people.take(train), people.take(test), ("made-up people", "test"))

    def describe(self, train: Rows, test: Rows, where: tuple[str, str]) -> Splits[Rows]:
        """Return the data with the description of the Space."""
        return self.make_splits(train, test, where, LABELS, read_description("salary"))

    def make_up(self, folder: Path, seed: int) -> str:
        """Write people whose salary follows a rule with noise."""
        return str(write_people(folder, seed))

    def measure(self, found: Answered[Rows, SalarySettings]) -> dict[str, Any]:
        """Add rates by group, and the book's cell on its own 9 columns and on our 12."""
        measured = super().measure(found)
        test, p, settings = found.splits.tests[0], evaluate.stack_probabilities(found.answers[0])[:, 1], found.settings
        measured["groups"] = measure_groups(pd.DataFrame(test.inputs), p, test.targets, ("sex", "race", "age"))
        few = self.predict_from_book_columns(found.splits, settings) == test.targets
        label = "accuracy of the same recipe with the book's inputs alone"
        figure = evaluate.measure_share("accuracy_book_columns", few, test.data, test.split, label=label)
        measured["figures"].append(figure)
        ours = [name for name in COLUMNS if name not in settings.ignored]
        train = partial(
            score_book_cell,
            make_book_table(found.splits.train),
            test,
            seeds=range(settings.networks),
            epochs=settings.book_epochs,
        )
        label = "accuracy with the book's inputs alone"
        measured["peers"] += [
            compare("the book's cell on its own 9 columns", train(BOOK_COLUMNS), few, name=figure.name, label=label),
            compare("the book's cell on our 12 columns", train(ours), (p >= 0.5) == test.targets, label="accuracy"),
        ]
        return measured

    def predict_from_book_columns(self, splits: Splits[Rows], settings: SalarySettings) -> NDArray[np.bool_]:
        """Train our networks on the book's columns only; return where they predict the second label, (test rows,)."""
        few = self.read_book_columns(settings)
        config, target = self.describe_columns(splits, few), TwoLabels()
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder), settings.seed, resume=False)
            fit = partial(self.fit_network, splits.train, target, config, few, run)
            networks = [
                fit(f"net-{i}", settings.seed + i)
                for i in show_progress("The book's columns", range(settings.networks))
            ]
        return compute_outputs(target.average(networks), config, pd.DataFrame(splits.tests[0].inputs)) >= 0

    def read_book_columns(self, settings: SalarySettings) -> SalarySettings:
        """Return settings that ignore all columns but those that the book reads and ours does not ignore anyway."""
        return replace(settings, ignored=(*settings.ignored, *set(COLUMNS).difference(BOOK_COLUMNS, settings.ignored)))

    def run_book(self, data: str | None, settings: SalarySettings) -> Learner:
        """Run the book's cell on adult.csv."""
        is_file = data and Path(data).is_file()
        path = Path(str(data)) if is_file else find_data(data, "ADULT_SAMPLE", "adult.csv") / "adult.csv"
        learn = book.train_salary(book.load_salary(make_book_table(read_people(path))), settings.book_epochs)
        evaluate.print_book("accuracy on a random fifth of adult.csv", learn, BOOK_ACCURACY)
        return learn


main = partial(command.run, Salary())

if __name__ == "__main__":
    raise SystemExit(command.main(Salary()))
