"""Tabular regression: predict a number for a row of a table, with an interval, and explain the prediction."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .predictor import Prediction
from .session import Shapes
from .tabular import TabularConfig, TabularPredictor
from .tabular_values import Row


class TabularRegressorConfig(TabularConfig):
    """gallery.json of a tabular regressor: the columns, and the name and unit of the number that is predicted."""

    target: str
    unit: str = ""


@dataclass(frozen=True)
class TabularRegressorPrediction(Prediction):
    """The prediction for a row: the `value`, and an interval that holds the true value for 90 % of rows."""

    value: float
    low: float
    high: float

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row, with six significant digits."""
        cells = {"prediction": self.value, "low": self.low, "high": self.high}
        return {name: float(f"{value:.6g}") for name, value in cells.items()}


@dataclass(frozen=True)
class TabularRegressorExplanation:
    """Shapley values of a predicted value: base + sum(contributions.values()) == value.

    `base` is the mean prediction over the background rows.
    """

    value: float
    base: float
    contributions: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object."""
        return asdict(self)


class TabularRegressor(TabularPredictor[TabularRegressorConfig, TabularRegressorPrediction]):
    """A model that predicts a number for a row of a table, with a 90 % interval."""

    task = "tabular-regression"
    config_type = TabularRegressorConfig

    @property
    def shapes(self) -> tuple[Shapes, Shapes]:
        """The shapes of the model's inputs and outputs; see Session."""
        return self._input_shapes, {"value": (None,), "half_width": (None,)}

    def explain(self, row: Row) -> TabularRegressorExplanation:
        """Return Shapley values of a prediction against the rows of background.csv.

        The columns of a group are switched together; the result names the group after its first column.

        Raises:
            BadInput: the row is invalid.
        """
        _, value, base, contributions = self._explain(row)
        return TabularRegressorExplanation(value, base, contributions)

    def what_if(self, row: Row, column: str, points: int = 50) -> list[tuple[float, float, float, float]]:
        """Return the prediction as one number of `row` varies: [(number, value, low, high), ...].

        The numbers are those of TabularClassifier.what_if.

        Raises:
            BadInput: the column is not a number that the model uses, the row is invalid, or `points` is not a whole
                number from 1 to 10,000.
        """
        _, values, outputs = self._vary(row, column, points)
        return [(number, *row) for number, row in zip(values, outputs.tolist(), strict=True)]

    def _make_answer(self, outputs: list[float]) -> TabularRegressorPrediction:
        return TabularRegressorPrediction(*outputs)

    def _choose_output(self, outputs: NDArray[np.float64]) -> int:  # noqa: ARG002 - of labels, it differs between rows
        return 0

    def _compute(self, categories: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the value and both ends of its interval, (rows, 3)."""
        value, half = (part.astype(np.float64) for part in self._run(["value", "half_width"], categories, numbers))
        return np.stack([value, value - half, value + half], axis=1)
