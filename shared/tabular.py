"""Tabular classification: predict one of two labels for a row of a table, and explain the prediction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .config import MODEL, GalleryConfig
from .errors import BadInput, CheckpointError, quote
from .predictor import Prediction, Predictor
from .session import map_in_threads
from .shapley import compute_shapley_values
from .tables import read_csv
from .tabular_values import MISSING, NumberColumn, Row, find_wrong_columns, index_categories, read_category, read_number
from .text import parse_number

CACHED_ROWS = 64  # rows in a batch of an explanation; what the network computes for them fits in the cache of a core


class TabularClassifierConfig(GalleryConfig):
    """gallery.json of a tabular classifier.

    `columns` lists the columns in the order of the data set; each is in `categories` (with its values, "?" first) or in
    `numbers`. The model does not read `ignored` columns, and their numbers may be outside the range. `groups` are
    columns that are explained together because they have the same meaning. `typical` is the initial row of a form.
    `amounts` lists, in ascending order, the training amounts of each column in which the model learned every amount
    separately; other amounts are interpolated. `descriptions` maps columns to display names. Unknown values of
    `open_categories` count as missing.
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
    open_categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        """Raise ValueError if the fields do not describe every column exactly once, or have invalid values."""
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
            raise ValueError("amounts must belong to columns in numbers, and be in ascending order")
        return self


@dataclass(frozen=True)
class TabularClassifierPrediction(Prediction):
    """The prediction for a row: `label` is the more probable one; `probabilities` are calibrated and sum to 1."""

    label: str
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON object."""
        return asdict(self)

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row."""
        second = list(self.probabilities)[-1]
        return {"prediction": self.label, f"probability {second}": round(self.probabilities[second], 4)}


@dataclass(frozen=True)
class TabularClassifierExplanation:
    """Shapley values of the second label's probability: base + sum(contributions.values()) == probability.

    `base` is the mean probability over the background rows.
    """

    probability: float
    base: float
    contributions: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object."""
        return asdict(self)


class TabularClassifier(Predictor[TabularClassifierConfig, Row, TabularClassifierPrediction]):
    """A tabular classifier with two labels; a row maps columns to values.

    Missing values are "?", None, NaN, an empty text, "NA", "N/A", "NaN", "null" and "None". Categories match in any
    case, and with a space or _ instead of -. Unknown or missing columns, unknown categories and numbers outside the
    range of the training data raise BadInput.
    """

    task = "tabular-classification"
    config_type = TabularClassifierConfig
    required_files = (MODEL, "background.csv")

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        rows = list(read_csv(self.folder / "background.csv", self.config.columns))
        categories, numbers, errors = encode(self.config, [self._read_background(row.cells) for row in rows])
        self._background = categories, numbers
        if errors:
            index, error = next(iter(errors.items()))
            raise CheckpointError(f"{self.folder / 'background.csv'}, line {rows[index].line}: {error}")

    def _read_background(self, cells: Mapping[str, str]) -> Row:
        """Return a row of background.csv, whose numbers are plain, and whose dates are numbers of days."""
        numbers = {name: parse_number(cells[name]) for name in self.config.numbers}
        return {**cells, **{name: number for name, number in numbers.items() if not math.isnan(number)}}

    def example(self) -> Row:
        """Return the typical row."""
        return dict(self.config.typical)

    @property
    def columns(self) -> tuple[str, ...]:
        """The required columns of a table."""
        return self.config.columns

    def from_row(self, row: Mapping[str, str]) -> Row:
        """Return a table row unchanged."""
        return row

    def arguments(self, item: Row) -> list[Any]:
        """Return the values of a row in the order of the columns."""
        return [item[column] for column in self.config.columns]

    def predict_batch(self, items: Any) -> list[TabularClassifierPrediction]:
        """Predict many rows: a list of mappings, or a pandas DataFrame.

        Raises:
            BadInput: a row is invalid; the message begins with its index.
        """
        if type(items).__name__ == "DataFrame":
            items = items.astype(object).where(items.notna(), None).to_dict("records")
        return super().predict_batch(items)

    def predict_each(self, items: Sequence[Row]) -> list[TabularClassifierPrediction | BadInput]:
        """Predict every row; the result for an invalid row is a BadInput."""
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
        """Return Shapley values of a prediction against the rows of background.csv.

        The columns of a group are switched together; the result names the group after its first column.

        Raises:
            BadInput: the row is invalid.
        """
        categories, numbers, errors = encode(self.config, [row])
        if errors:
            raise errors[0]
        background_categories, background_numbers = self._background
        names = [group[0] for group in self.config.groups]
        owner = {column: player for player, group in enumerate(self.config.groups) for column in group}
        owner |= dict.fromkeys(self.config.ignored, len(names))
        category_owner = [owner[column] for column in self.config.categories]
        number_owner = [owner[column] for column in self.config.numbers]
        probability = self._predict_probability(categories, numbers)
        ends = np.repeat([[True], [False]], [1, len(background_categories)], axis=0).repeat(len(names), axis=1)

        def value(present: NDArray[np.bool_], background: NDArray[np.intp]) -> NDArray[np.float64]:
            present = np.concatenate([ends, present])
            background = np.concatenate([[0], np.arange(len(background_categories)), background])
            # Ignored columns never change, so that rows that differ only there are equal.
            present = np.pad(present, ((0, 0), (0, 1)), constant_values=True)
            outputs = self._predict_different(
                np.where(present[:, category_owner], categories, background_categories[background]),
                np.where(present[:, number_owner], numbers, background_numbers[background]),
                known=np.concatenate([probability, self._background_probability]),
            )
            return outputs[len(ends) :]

        base, contributions = compute_shapley_values(value, len(names), len(background_categories))
        return TabularClassifierExplanation(
            probability=float(probability[0]),
            base=base,
            contributions=dict(zip(names, contributions.tolist(), strict=True)),
        )

    def what_if(self, row: Row, column: str, points: int = 50) -> list[tuple[float, float]]:
        """Return the second label's probability as one number of `row` varies: [(number, probability), ...].

        The numbers are `points` equal steps over the training range, rounded if the column seems to hold whole
        numbers, and the amounts that the model learned separately, where the curve bends.

        Raises:
            BadInput: the column is not a number that the model uses, or the row is invalid.
        """
        usable = [name for name in self.config.numbers if name not in self.config.ignored]
        if not isinstance(column, str) or column not in usable:
            raise BadInput(f"{quote(column)} is not a number that can be varied; choose one of {', '.join(usable)}.")
        span = self.config.numbers[column]
        steps = np.linspace(span.minimum, span.maximum, points)
        if all(value.is_integer() for value in (span.minimum, span.median, span.maximum)):
            steps = steps.round()
        values = np.union1d(steps, self.config.amounts.get(column, ()))
        categories, numbers, errors = encode(self.config, [row])
        if errors:
            raise errors[0]
        numbers = np.repeat(numbers, len(values), axis=0)
        numbers[:, list(self.config.numbers).index(column)] = values
        probability = self._predict_probability(np.repeat(categories, len(values), axis=0), numbers)
        return list(zip(values.tolist(), probability.tolist(), strict=True))

    @cached_property
    def _background_probability(self) -> NDArray[np.float64]:
        """The second label's probability for each row of background.csv."""
        return self._predict_probability(*self._background)

    def _predict_different(
        self, categories: NDArray[np.int64], numbers: NDArray[np.float32], known: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return probabilities (n,) of n rows; those of the first rows are known, and equal rows are evaluated once."""
        rows = np.ascontiguousarray(np.concatenate([categories, numbers], axis=1))
        keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]  # much faster than with axis=0
        _, first, back = np.unique(keys, return_index=True, return_inverse=True)
        is_new = first >= len(known)
        found = np.concatenate([known, np.empty(len(rows) - len(known))])[first]
        new = first[is_new]
        batches = [new[start : start + CACHED_ROWS] for start in range(0, len(new), CACHED_ROWS)]
        if batches:
            found[is_new] = np.concatenate(
                map_in_threads(lambda batch: self._predict_probability(categories[batch], numbers[batch]), batches)
            )
        return found[back]

    def _predict_probability(self, categories: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        inputs: dict[str, NDArray[Any]] = {"categories": categories, "numbers": numbers}
        # The exported graph lacks an input if the table has no categories or no numbers.
        read = {name: inputs[name] for name in self.session.inputs}
        (logit,) = self.session.run(["logit"], read)
        return calibrate_logit(logit, self.config.temperature, self.config.bias)


def calibrate_logit(logit: NDArray[Any], temperature: float, bias: float) -> NDArray[np.float64]:
    """Return calibrated probabilities, sigmoid(logit / temperature + bias) (Platt scaling), as float64."""
    return 1 / (1 + np.exp(-(logit.astype(np.float64) / temperature + bias)))


def encode(
    config: TabularClassifierConfig, rows: Sequence[Row]
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, BadInput]]:
    """Encode rows as the model's input arrays, for training and serving.

    Returns:
        categories: (rows, len(config.categories)) int64, the index of each value, 0 for a missing one.
        numbers: (rows, len(config.numbers)) float32, the median for a missing value.
        errors: the BadInput of each invalid row, by its index; invalid values are encoded as missing.
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
                if name not in config.open_categories:
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
