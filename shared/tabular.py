"""Tabular classification: which of two labels a row of a table has, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .config import MODEL, GalleryConfig
from .errors import BadInput, CheckpointError, quote
from .predictor import Prediction, Predictor
from .shapley import compute_shapley_values
from .tables import read_csv
from .tabular_values import MISSING, NumberColumn, Row, find_wrong_columns, index_categories, read_category, read_number


class TabularClassifierConfig(GalleryConfig):
    """gallery.json of a classifier of rows of a table.

    `columns` in the order of the data set; each is in `categories` (its known values, "?" first) or in
    `numbers`. `ignored` columns do not reach the model; their numbers may lie outside the range. `groups` are the
    columns that are explained as one, because they say the same thing. `typical` is a row to begin a form with.
    `amounts` lists, in ascending order, the amounts seen in training of each column in which the model learned every
    amount by itself; an amount between two of them is answered as in between. `descriptions` says in a few words what
    a column is.
    """

    labels: tuple[str, str]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    categories: dict[str, tuple[str, ...]]
    numbers: dict[str, NumberColumn]
    ignored: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    typical: dict[str, str | float]
    amounts: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    descriptions: dict[str, str] = Field(default_factory=dict)
    temperature: Annotated[float, Field(gt=0)] = 1.0
    bias: float = 0.0

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        """Raise ValueError unless every column is described exactly once wherever the fields name columns."""
        columns = sorted(self.columns)
        described = {
            "categories and numbers": [*self.categories, *self.numbers],
            "groups and ignored": [*(name for group in self.groups for name in group), *self.ignored],
            "typical": [*self.typical],
        }
        for fields, names in described.items():
            if sorted(names) != columns:
                raise ValueError(f"{fields} must name each of the columns once")
        if any(values[:1] != (MISSING,) for values in self.categories.values()):
            raise ValueError(f"categories must begin with {MISSING!r}")
        if any(not span.minimum <= span.median <= span.maximum for span in self.numbers.values()):
            raise ValueError("numbers must have minimum <= median <= maximum")
        if any(name not in self.numbers or list(seen) != sorted(set(seen)) for name, seen in self.amounts.items()):
            raise ValueError("amounts must be of columns in numbers, in ascending order")
        return self


@dataclass(frozen=True)
class TabularClassifierPrediction(Prediction):
    """`label` is the likelier of the two; `probabilities` are calibrated and sum to 1."""

    label: str
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON has it."""
        return asdict(self)

    def as_row(self) -> dict[str, object]:
        """Return the answer as cells of a CSV."""
        second = list(self.probabilities)[-1]
        return {"prediction": self.label, f"probability {second}": round(self.probabilities[second], 4)}


@dataclass(frozen=True)
class TabularClassifierExplanation:
    """Why: base + sum(contributions.values()) == probability, all as probabilities of the second label.

    `base` is the mean probability over the background rows.
    """

    probability: float
    base: float
    contributions: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON has it."""
        return asdict(self)


class TabularClassifier(Predictor[TabularClassifierConfig, Row, TabularClassifierPrediction]):
    """A classifier of rows of a table with two labels; a row is a mapping of columns to values.

    A value that is "?", None or NaN is missing, and so is an empty text, "NA", "N/A", "NaN", "null" or "None".
    Categories may be written in another case, and with a space or _ for -. Unknown columns, missing columns, unknown
    categories and numbers outside the range of the training data are BadInput.
    """

    task = "tabular-classification"
    config_type = TabularClassifierConfig
    required_files = (MODEL, "background.csv")

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        rows = list(read_csv(self.folder / "background.csv", self.config.columns))
        categories, numbers, errors = encode(self.config, [row.cells for row in rows])
        self._background = categories, numbers
        if errors:
            index, error = next(iter(errors.items()))
            raise CheckpointError(f"{self.folder / 'background.csv'}, line {rows[index].line}: {error}")

    def example(self) -> Row:
        """Return the typical row."""
        return dict(self.config.typical)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        return self.config.columns

    def from_row(self, row: Mapping[str, str]) -> Row:
        """Return a row of a table as it is."""
        return row

    def arguments(self, item: Row) -> list[Any]:
        """Return a row's values in the order of the columns."""
        return [item[column] for column in self.config.columns]

    def predict_batch(self, items: Any) -> list[TabularClassifierPrediction]:
        """Predict many people: a list of mappings or a pandas DataFrame with a row for each person.

        Raises:
            BadInput: a row is not accepted; the text begins with its index.
        """
        if type(items).__name__ == "DataFrame":
            items = items.astype(object).where(items.notna(), None).to_dict("records")
        return super().predict_batch(items)

    def predict_each(self, items: Sequence[Row]) -> list[TabularClassifierPrediction | BadInput]:
        """Predict every row; a bad row gets its BadInput as the answer."""
        if not items:
            return []
        categories, numbers, errors = encode(self.config, items)
        low, high = self.config.labels
        return [
            errors[index]
            if index in errors
            else TabularClassifierPrediction(high if p >= 0.5 else low, {low: 1 - p, high: p})
            for index, p in enumerate(self._predict_probability(categories, numbers).tolist())
        ]

    def explain(self, row: Row) -> TabularClassifierExplanation:
        """Return Shapley values of a prediction against the background people in the config.

        Columns of one group are switched together and named after the group's first column.
        """
        categories, numbers, errors = encode(self.config, [row])
        if errors:
            raise errors[0]
        background_categories, background_numbers = self._background
        names = [group[0] for group in self.config.groups]
        owner = dict.fromkeys(self.config.ignored, 0)  # whichever: they change nothing
        owner |= {column: player for player, group in enumerate(self.config.groups) for column in group}
        category_owner = [owner[column] for column in self.config.categories]
        number_owner = [owner[column] for column in self.config.numbers]

        def value(present: NDArray[np.bool_], background: NDArray[np.intp]) -> NDArray[np.float64]:
            return self._predict_probability(
                np.where(present[:, category_owner], categories, background_categories[background]),
                np.where(present[:, number_owner], numbers, background_numbers[background]),
            )

        base, contributions = compute_shapley_values(value, len(names), len(background_categories))
        return TabularClassifierExplanation(
            probability=float(self._predict_probability(categories, numbers)[0]),
            base=base,
            contributions=dict(zip(names, contributions.tolist(), strict=True)),
        )

    def what_if(self, row: Row, column: str, points: int = 50) -> list[tuple[float, float]]:
        """Return the second label's probability along one number, all else as in `row`: [(number, probability), ...].

        The numbers are `points` equal steps over the range of the training data, rounded to whole numbers, and
        the amounts that the model learned one by one, because the curve bends at each of these.

        Raises:
            BadInput: the column is not a number the model uses, or the row is not accepted.
        """
        usable = [name for name in self.config.numbers if name not in self.config.ignored]
        if not isinstance(column, str) or column not in usable:
            raise BadInput(f"{quote(column)} is not a number that can be varied; choose one of {', '.join(usable)}.")
        span = self.config.numbers[column]
        steps = np.linspace(span.minimum, span.maximum, points).round()
        values = np.union1d(steps, self.config.amounts.get(column, ()))
        categories, numbers, errors = encode(self.config, [row])
        if errors:
            raise errors[0]
        numbers = np.repeat(numbers, len(values), axis=0)
        numbers[:, list(self.config.numbers).index(column)] = values
        probability = self._predict_probability(np.repeat(categories, len(values), axis=0), numbers)
        return list(zip(values.tolist(), probability.tolist(), strict=True))

    def _predict_probability(self, categories: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        inputs: dict[str, NDArray[Any]] = {"categories": categories, "numbers": numbers}
        # A table of numbers alone has no categories, and the exported graph then lacks that input; or the other way.
        read = {name: inputs[name] for name in self.session.inputs}
        (logit,) = self.session.run(["logit"], read)
        return calibrate_logit(logit, self.config.temperature, self.config.bias)


def calibrate_logit(logit: NDArray[Any], temperature: float, bias: float) -> NDArray[np.float64]:
    """Return the probability of a logit: sigmoid(logit / temperature + bias) (Platt scaling)."""
    return 1 / (1 + np.exp(-(logit.astype(np.float64) / temperature + bias)))


def encode(
    config: TabularClassifierConfig, rows: Sequence[Row]
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, BadInput]]:
    """Return rows as the arrays that the model takes, in training and in service.

    Returns:
        categories (rows, len(config.categories)) int64, the index of each value, 0 where it is missing;
        numbers (rows, len(config.numbers)) float32, the median where it is missing;
        and the BadInput of each bad row by its index (the row's values are then as if missing).
    """
    errors = {
        index: BadInput(f"A row must be given as {{column: value}}, not {quote(row)}.")
        for index, row in enumerate(rows)
        if not isinstance(row, Mapping)
    }
    rows = [{} if index in errors else row for index, row in enumerate(rows)] if errors else rows
    errors = {**find_wrong_columns(config.columns, rows), **errors}
    categories = np.zeros((len(rows), len(config.categories)), dtype=np.int64)
    for position, (name, values) in enumerate(config.categories.items()):
        codes = index_categories(values)
        for index, row in enumerate(rows):
            try:
                categories[index, position] = read_category(name, row.get(name), codes, values)
            except BadInput as error:
                errors.setdefault(index, error)

    numbers = np.empty((len(rows), len(config.numbers)), dtype=np.float32)
    for position, (name, span) in enumerate(config.numbers.items()):
        any_range = name in config.ignored
        for index, row in enumerate(rows):
            try:
                numbers[index, position] = read_number(name, row.get(name), span, any_range)
            except BadInput as error:
                errors.setdefault(index, error)
                numbers[index, position] = span.median
    return categories, numbers, errors
