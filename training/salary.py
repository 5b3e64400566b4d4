"""Salary above or below 50k, from the 1994 census (UCI Adult): the tabular model of the book's chapter 1.

    python -m training.salary --smoke              seconds, on made-up people
    python -m training.salary --data DIR           adult.csv and adult_test.csv, minutes on a CPU
    python -m training.salary --recipe book        the book's own cell, with its figure beside ours

Without --data fastai downloads ADULT_SAMPLE. It has no official test file: a fifth of its rows, set aside before
anything else, takes that place, and the figures say so. The book's cell reads 9 columns and this demo 12, so both are
trained with either choice of columns, and compared like for like.
"""

import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastai.learner import Learner
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from shared.metrics import Peer
from shared.tabular import MISSING
from training import book, command, evaluate
from training.data import DataError, data_folder, read_table
from training.description import read_description
from training.groups import rates_by_group
from training.learner import Run, set_seed
from training.networks.tabular import Ensemble
from training.recipe import Answered, Splits
from training.recipes.tabular import MIN_ROWS, Rows, Tabular, TabularSettings, clean, logits_of, second_probability

TARGET, LABELS = "salary", ("<50k", ">=50k")
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
BOOK_COLUMNS = book.CATEGORIES + book.NUMBERS
BOOK_ACCURACY = 0.838


@dataclass(frozen=True)
class SalarySettings(TabularSettings):
    """fnlwgt is a sampling weight; amounts of capital are codes in disguise: 7298 is nearly always >=50k."""

    ignored: tuple[str, ...] = ("fnlwgt", "education-num")
    exact: tuple[str, ...] = ("capital-gain", "capital-loss")
    ordered: tuple[tuple[str, str], ...] = (("education", "education-num"),)
    book_epochs: int = 3

    @classmethod
    def smoke(cls) -> "SalarySettings":
        """Return settings for a training of seconds."""
        return cls(epochs=10, networks=1, folds=2, width=16, members=2, book_epochs=1)


class Salary(Tabular):
    """The tabular recipe on UCI Adult."""

    module = "training.salary"
    settings = SalarySettings
    unit = "people"

    def add_options(self, parser: Any) -> None:
        """Add nothing: the target is the salary."""

    def load(self, data: str | None, settings: SalarySettings) -> Splits[Rows]:
        """Read adult.csv, and the official test where it is there."""
        folder = data_folder(data, "ADULT_SAMPLE", "adult.csv")
        people = read_people(folder / "adult.csv")
        official = folder / "adult_test.csv"
        if official.is_file():
            return self.adult(people, read_people(official), ("UCI Adult", "official test"))
        train, test = train_test_split(people, test_size=0.2, random_state=settings.seed)
        where = ("UCI Adult", "a held-out fifth of adult.csv")
        return self.adult(train.reset_index(drop=True), test.reset_index(drop=True), where)

    def load_own(self, data: str, settings: SalarySettings) -> Splits[Rows]:  # noqa: ARG002 - it is the recipe's
        """Read the made-up people of --smoke."""
        people = read_people(Path(data))
        return self.adult(people[:1000], people[1000:].reset_index(drop=True), ("made-up people", "test"))

    def adult(self, train: pd.DataFrame, test: pd.DataFrame, where: tuple[str, str]) -> Splits[Rows]:
        """Return the data of the training."""
        rows = (Rows(part[list(COLUMNS)], (part[TARGET] == LABELS[1]).to_numpy(np.int64)) for part in (train, test))
        return self.splits(next(rows), next(rows), where, LABELS, read_description("salary"))

    def make_up(self, folder: Path, seed: int) -> str:
        """Write people whose salary follows a rule with noise."""
        rng = np.random.default_rng(seed)
        years = rng.integers(1, 17, 1500)
        values: dict[str, Any] = {
            "age": (17, 91), "fnlwgt": (20_000, 500_000), "hours-per-week": (1, 100),
            "workclass": ["Private", "State-gov", MISSING], "marital-status": ["Married", "Never-married"],
            "occupation": ["Sales", "Craft-repair", MISSING], "relationship": ["Husband", "Wife", "Own-child"],
            "race": ["White", "Black"], "sex": ["Female", "Male"], "capital-gain": [0, 0, 0, 7298],
            "capital-loss": [0, 0, 1902], "native-country": ["United-States", "Mexico"],
        }  # fmt: skip
        people = pd.DataFrame({
            name: rng.integers(choice[0], choice[1], 1500) if isinstance(choice, tuple) else rng.choice(choice, 1500)
            for name, choice in values.items()
        }).assign(**{"education": [f"level-{year}" for year in years], "education-num": years})  # fmt: skip
        score = (years - 9) / 3 + (people["hours-per-week"] - 50) / 25 + (people["capital-gain"] > 0) * 2
        people[TARGET] = np.where(score + rng.logistic(size=1500) > 0, *LABELS[::-1])
        folder.mkdir(parents=True, exist_ok=True)
        people[[*COLUMNS, TARGET]].to_csv(folder / "adult.csv", index=False)
        return str(folder / "adult.csv")

    def measure(self, found: Answered[Rows, SalarySettings]) -> dict[str, Any]:
        """Add the rates of groups, and the book's cell with its own 9 columns and with our 12."""
        measured = super().measure(found)
        test, p, settings = found.splits.tests[0], second_probability(found.answers[0]), found.settings
        people, y = pd.DataFrame(test.inputs), test.targets
        measured["groups"] = rates_by_group(people, p, y, ("sex", "race", "age"))
        few = self.reads_like_the_book(found.splits, settings) == y
        label = "accuracy of the same recipe with the book's inputs alone"
        figure = evaluate.share("accuracy_book_columns", few, test.data, test.split, label=label)
        measured["figures"].append(figure)
        ours = [name for name in COLUMNS if name not in settings.ignored]
        compare = partial(compare_with_book, found.splits.train, people, y, settings)
        measured["peers"] += [
            compare("its own 9 columns", BOOK_COLUMNS, few, figure.name, "accuracy with the book's inputs alone"),
            compare("our 12 columns", ours, (p >= 0.5) == y, "accuracy", "accuracy"),
        ]
        return measured

    def reads_like_the_book(self, splits: Splits[Rows], settings: SalarySettings) -> NDArray[np.bool_]:
        """Train our networks on the book's inputs alone; return whether they predict the second label, (test rows,)."""
        few = replace(settings, ignored=(*settings.ignored, *set(COLUMNS).difference(BOOK_COLUMNS, settings.ignored)))
        config = self.columns(splits.train.table, LABELS, few)
        with tempfile.TemporaryDirectory() as folder:
            fit = partial(self.fit_network, splits.train, config, few, Run(Path(folder), settings.seed, resume=False))
            networks = [fit(f"net-{i}", settings.seed + i) for i in progress_bar(range(settings.networks))]
        return logits_of(Ensemble(networks), config, pd.DataFrame(splits.tests[0].inputs)) >= 0

    def book(self, data: str | None, settings: SalarySettings) -> Learner:
        """Run the book's cell on adult.csv."""
        is_file = data and Path(data).is_file()
        people = read_people(
            Path(str(data)) if is_file else data_folder(data, "ADULT_SAMPLE", "adult.csv") / "adult.csv"
        )
        learn = book.salary(people, settings.book_epochs)
        evaluate.print_book("accuracy on a random fifth of adult.csv", learn, BOOK_ACCURACY)
        return learn


def read_people(path: Path) -> pd.DataFrame:
    """Read a CSV of people with their salaries; text columns are text, "?" where missing."""
    people = read_table(path, [*COLUMNS, TARGET])
    if len(people) < MIN_ROWS:
        raise DataError(f"{path} has {len(people)} rows; at least {MIN_ROWS} are needed.")
    if unknown := set(people[TARGET].astype(str)) - set(LABELS):
        raise DataError(f"{path}: salary must be {' or '.join(LABELS)}, not {min(unknown)!r}.")
    for name in NUMBERS:
        people[name] = pd.to_numeric(people[name], errors="coerce")
        if people[name].isna().all():
            raise DataError(f"{path}: the column {name} holds no numbers.")
    return clean(people)


def compare_with_book(
    train: Rows,
    test: pd.DataFrame,
    y: NDArray[np.int64],
    settings: SalarySettings,
    inputs: str,
    columns: Sequence[str],
    right: NDArray[np.bool_],
    name: str,
    label: str,
) -> Peer:
    """Train the book's cell on some columns, once for each of our networks, and compare it with where we are right."""
    numbers = [column for column in columns if column in NUMBERS]
    categories = [column for column in columns if column not in NUMBERS]
    people = train.table.assign(salary=np.array(LABELS)[train.y])
    # fastai refuses a value that is missing where none was missing in training.
    medians = {column: people[column].median() for column in numbers if not people[column].isna().any()}
    scores = []
    for seed in range(settings.networks):
        set_seed(seed)
        with redirect_stdout(StringIO()):
            learn = book.salary(people, settings.book_epochs, categories, numbers, valid_pct=0.01, seed=seed)
            probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(test.fillna(medians)))
        scores.append(probabilities.argmax(dim=1).numpy() == y)
    per_seed = tuple(round(float(score.mean()), 6) for score in scores)
    peer = f"the book's cell on {inputs}, mean of {settings.networks} seeds"
    return evaluate.peer_accuracy(
        peer, np.mean(scores, axis=0), right, name=name, label=label, accuracy_per_seed=per_seed
    )


main = partial(command.run, Salary())

if __name__ == "__main__":
    raise SystemExit(command.main(Salary()))
