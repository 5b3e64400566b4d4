"""Tables: predict a label or a number for a row, and explain the prediction; the base of both predictors."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .config import MODEL, GalleryConfig, explain_damage
from .errors import BadInput, CheckpointError, quote
from .predictor import Answer, Predictor, drop_missing, is_frame
from .session import Shapes, map_in_threads
from .shapley import compute_shapley_values
from .tables import read_csv
from .tabular_values import MISSING, NumberColumn, Row, find_wrong_columns, index_categories, read_category, read_number
from .text import parse_number, parse_whole

CACHED_ROWS = 64  # rows in a batch of an explanation; what the network computes for them fits in the cache of a core
EXPLAINED_ROWS = 6000  # at most, of an explanation: with many columns, it compares with fewer rows
MAX_POINTS = 10_000  # of a what-if curve


class TabularConfig(GalleryConfig):
    """gallery.json of a model for rows of a table.

    `columns` lists the columns in the order of the data set; each is in `categories` (with its values, "?" first) or in
    `numbers`. The model does not read `ignored` columns, and their numbers may be outside the range. `groups` are
    columns that are explained together because they have the same meaning. `typical` is the initial row of a form.
    `amounts` lists, in ascending order, the training amounts of each column in which the model learned every amount
    separately; other amounts are interpolated. In `open_categories`, a value that is not listed counts as missing.
    `descriptions` maps columns to display names, and `value_names` does the same for the values of categories.
    """

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    categories: dict[str, tuple[str, ...]]
    numbers: dict[str, NumberColumn]
    ignored: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    typical: dict[str, str | float]
    amounts: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    open_categories: tuple[str, ...] = ()
    descriptions: dict[str, str] = Field(default_factory=dict)
    value_names: dict[str, str] = Field(default_factory=dict)

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
        if not set(self.open_categories) <= set(self.categories):
            raise ValueError("open_categories must be in categories")
        return self

    def name_field(self, column: str) -> str:
        """Return what an error calls a column: its display name up to a comma, and the column if that is another word.

        "Race" of "Race, as in 1994", and "Employer (workclass)".
        """
        name = self.descriptions.get(column, "").partition(",")[0] or column
        words, text = (" " + re.sub(r"[\W_]+", " ", part).casefold() + " " for part in (column, name))
        return name if words in text else f"{name} ({column})"


Config = TypeVar("Config", bound=TabularConfig)


class TabularPredictor(Predictor[Config, Row, Answer], Generic[Config, Answer]):
    """A model for rows of a table; a row maps columns to values.

    Missing values are "?", None, NaN, an empty text, "NA", "N/A", "NaN", "null" and "None". Categories match in any
    case, and with a space or _ instead of -. Unknown or missing columns, unknown categories and numbers outside the
    range of the training data raise BadInput.
    """

    required_files = (MODEL, "background.csv")

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        path = self.folder / "background.csv"
        with explain_damage(path):
            rows = list(read_csv(path, self.config.columns))
        categories, numbers, errors = encode(self.config, [self._read_background(row.cells) for row in rows])
        self._background = categories, numbers
        if errors:
            index, error = next(iter(errors.items()))
            raise CheckpointError(f"{path}, line {rows[index].line}: {error}")

    @property
    def _input_shapes(self) -> Shapes:
        return {"categories": (None, len(self.config.categories)), "numbers": (None, len(self.config.numbers))}

    def _read_background(self, cells: Mapping[str, str]) -> Row:
        """Return a row of background.csv, whose numbers are plain, and whose dates are numbers of days."""
        return {**cells, **{name: parse_number(cells[name]) for name in self.config.numbers}}

    def example(self) -> Row:
        """Return the typical row."""
        return dict(self.config.typical)

    @property
    def columns(self) -> tuple[str, ...]:
        """The required columns of a table."""
        return self.config.columns

    @property
    def curved(self) -> list[str]:
        """The numbers that the model reads, which `what_if` can vary."""
        return [name for name in self.config.numbers if name not in self.config.ignored]

    def from_row(self, row: Mapping[str, str]) -> Row:
        """Return a table row unchanged."""
        return row

    def arguments(self, item: Row) -> list[Any]:
        """Return the values of a row in the order of the columns."""
        return [item[column] for column in self.config.columns]

    def predict(self, row: Row) -> Answer:
        """Predict from a row: {column: value}, or a pandas Series such as df.iloc[0], whose other columns are ignored.

        Raises:
            BadInput: a column is missing or unknown, or a value is not accepted.
        """
        return super().predict(row)

    def _predict_all(self, items: Sequence[Row]) -> list[Answer | BadInput]:
        """Predict every row; the result for an invalid row is a BadInput."""
        if not items:
            return []
        categories, numbers, errors = encode(self.config, items)
        outputs = self._compute(categories, numbers).tolist()
        return [errors[index] if index in errors else self._make_answer(row) for index, row in enumerate(outputs)]

    def _compute(self, categories: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what the model says of encoded rows, (rows, outputs)."""
        raise NotImplementedError

    def _make_answer(self, outputs: list[float]) -> Answer:
        """Return the prediction for the outputs of a row."""
        raise NotImplementedError

    def _choose_output(self, outputs: NDArray[np.float64]) -> int:
        """Return the index of the output, (outputs,) of a row, that is explained."""
        raise NotImplementedError

    def _run(self, outputs: Sequence[str], categories: NDArray[np.int64], numbers: NDArray[np.float32]) -> list[Any]:
        """Return the outputs with these names of the exported graph, for encoded rows."""
        inputs: dict[str, NDArray[Any]] = {"categories": categories, "numbers": numbers}
        # The exported graph lacks an input if the table has no categories or no numbers.
        return self.session.run(outputs, {name: inputs[name] for name in self.session.inputs})

    def _explain(self, row: Row) -> tuple[int, float, float, dict[str, float]]:
        """Return which output is explained, its value, its mean over rows of background.csv, and Shapley values.

        The columns of a group are switched together; the result names the group after its first column.

        Raises:
            BadInput: the row is invalid.
        """
        categories, numbers = self._encode_one(row)
        names = [group[0] for group in self.config.groups]
        most = max(1, EXPLAINED_ROWS // (2 * len(names) + 2))
        background_categories, background_numbers = (part[:most] for part in self._background)
        owner = {column: player for player, group in enumerate(self.config.groups) for column in group}
        owner |= dict.fromkeys(self.config.ignored, len(names))
        category_owner = [owner[column] for column in self.config.categories]
        number_owner = [owner[column] for column in self.config.numbers]
        outputs = self._compute(categories, numbers)
        which = self._choose_output(outputs[0])
        known = np.concatenate([outputs, self._background_outputs[:most]])[:, which]
        ends = np.repeat([[True], [False]], [1, len(background_categories)], axis=0).repeat(len(names), axis=1)

        def value(present: NDArray[np.bool_], background: NDArray[np.intp]) -> NDArray[np.float64]:
            present = np.concatenate([ends, present])
            background = np.concatenate([[0], np.arange(len(background_categories)), background])
            # Ignored columns never change, so that rows that differ only there are equal.
            present = np.pad(present, ((0, 0), (0, 1)), constant_values=True)
            found = self._compute_different(
                np.where(present[:, category_owner], categories, background_categories[background]),
                np.where(present[:, number_owner], numbers, background_numbers[background]),
                which,
                known,
            )
            return found[len(ends) :]

        base, contributions = compute_shapley_values(value, len(names), len(background_categories))
        return which, float(outputs[0, which]), base, dict(zip(names, contributions.tolist(), strict=True))

    def _vary(self, row: Row, column: str, points: int) -> tuple[int, list[float], NDArray[np.float64]]:
        """Return which output of a row is explained, and all outputs, (numbers, outputs), as one number varies.

        The numbers are `points` equal steps over the training range, rounded if the column seems to hold whole
        numbers, and the amounts that the model learned separately, where the curve bends.

        Raises:
            BadInput: the column is not a number that the model uses, the row is invalid, or `points` is not a whole
                number from 1 to MAX_POINTS.
        """
        usable = self.curved
        if not isinstance(column, str) or column not in usable:
            raise BadInput(f"{quote(column)} is not a number that can be varied; choose one of {', '.join(usable)}.")
        if not 1 <= (count := parse_whole(points)) <= MAX_POINTS:
            raise BadInput(
                f"The number of points must be a whole number from 1 to {MAX_POINTS:,}, not {quote(points)}."
            )
        span = self.config.numbers[column]
        steps = np.linspace(span.minimum, span.maximum, count)
        if all(value.is_integer() for value in (span.minimum, 2 * span.median, span.maximum)):
            steps = steps.round()
        values = np.union1d(steps, self.config.amounts.get(column, ()))
        categories, numbers = self._encode_one(row)
        which = self._choose_output(self._compute(categories, numbers)[0])
        numbers = np.repeat(numbers, len(values), axis=0)
        numbers[:, list(self.config.numbers).index(column)] = values
        return which, values.tolist(), self._compute(np.repeat(categories, len(values), axis=0), numbers)

    def _encode_one(self, row: Row) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Encode a row.

        Raises:
            BadInput: the row is invalid.
        """
        categories, numbers, errors = encode(self.config, [row])
        if errors:
            raise errors[0]
        return categories, numbers

    @cached_property
    def _background_outputs(self) -> NDArray[np.float64]:
        """The outputs for each row of background.csv."""
        return self._compute(*self._background)

    def _compute_different(
        self, categories: NDArray[np.int64], numbers: NDArray[np.float32], which: int, known: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return an output, (n,), of n rows; that of the first rows is known, and equal rows are evaluated once."""
        rows = np.ascontiguousarray(np.concatenate([categories, numbers], axis=1))
        keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]  # much faster than with axis=0
        _, first, back = np.unique(keys, return_index=True, return_inverse=True)
        is_new = first >= len(known)
        found = np.concatenate([known, np.empty(len(rows) - len(known))])[first]
        new = first[is_new]
        batches = [new[start : start + CACHED_ROWS] for start in range(0, len(new), CACHED_ROWS)]
        if batches:
            found[is_new] = np.concatenate(
                map_in_threads(lambda batch: self._compute(categories[batch], numbers[batch])[:, which], batches)
            )
        return found[back]


def encode(
    config: TabularConfig, rows: Sequence[Row]
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, BadInput]]:
    """Encode rows as the model's input arrays, for training and serving.

    Returns:
        categories: (rows, len(config.categories)) int64, the index of each value, 0 for a missing one.
        numbers: (rows, len(config.numbers)) float32, the median for a missing value.
        errors: the BadInput of each invalid row, by its index; invalid values are encoded as missing.
    """
    rows = [_read_series(row, config.columns) if hasattr(row, "notna") and not is_frame(row) else row for row in rows]
    errors = {
        index: BadInput(
            "A DataFrame may have many rows; give it to predict_batch, or one of its rows, such as df.iloc[0]."
            if is_frame(row)
            else f"A row must be given as {{column: value}}, not {quote(row)}."
        )
        for index, row in enumerate(rows)
        if not isinstance(row, Mapping)
    }
    rows = [{} if index in errors else row for index, row in enumerate(rows)] if errors else rows
    errors = {**find_wrong_columns(config.columns, rows), **errors}
    categories = np.zeros((len(rows), len(config.categories)), dtype=np.int64)
    for position, (name, values) in enumerate(config.categories.items()):
        codes, field = index_categories(values), config.name_field(name)
        for index, row in enumerate(rows):
            try:
                categories[index, position] = read_category(field, row.get(name), codes, values)
            except BadInput as error:
                if name not in config.open_categories:
                    errors.setdefault(index, error)

    numbers = np.empty((len(rows), len(config.numbers)), dtype=np.float32)
    for position, (name, span) in enumerate(config.numbers.items()):
        field, any_range = config.name_field(name), name in config.ignored
        for index, row in enumerate(rows):
            try:
                numbers[index, position] = read_number(field, row.get(name), span, any_range)
            except BadInput as error:
                errors.setdefault(index, error)
                numbers[index, position] = span.median
    return categories, numbers, errors


def _read_series(series: Any, columns: Collection[str]) -> Row:
    """Return the values of a model's columns in a pandas Series, such as df.iloc[0]; None for missing ones."""
    return {name: value for name, value in drop_missing(series).to_dict().items() if name in columns}
