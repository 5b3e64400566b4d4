"""Tabular classification: predict the label of a row of a table, and explain the prediction."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .predictor import Prediction
from .session import Shapes, softmax
from .tabular import TabularConfig, TabularPredictor
from .tabular_values import Row


class TabularClassifierConfig(TabularConfig):
    """gallery.json of a tabular classifier: the columns, and the calibration of the logits."""

    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    temperature: Annotated[float, Field(gt=0)] = 1.0
    bias: float = 0.0


@dataclass(frozen=True)
class TabularClassifierPrediction(Prediction):
    """The prediction for a row: `label` is the most probable one; `probabilities` are calibrated and sum to 1."""

    label: str
    probabilities: dict[str, float]

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row; of two labels, with the probability of the second."""
        shown = list(self.probabilities)[1:] if len(self.probabilities) == 2 else self.probabilities
        return {
            "prediction": self.label,
            **{f"probability {label}": round(self.probabilities[label], 4) for label in shown},
        }


@dataclass(frozen=True)
class TabularClassifierExplanation:
    """Shapley values of a label's probability: base + sum(contributions.values()) == probability.

    The label is the second of two; of more, it is the predicted `label`. `base` is the mean probability over the
    background rows.
    """

    probability: float
    base: float
    contributions: dict[str, float]
    label: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object; the label is only in that of more than two labels."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class TabularClassifier(TabularPredictor[TabularClassifierConfig, TabularClassifierPrediction]):
    """A tabular classifier with two or more labels."""

    task = "tabular-classification"
    config_type = TabularClassifierConfig

    @property
    def shapes(self) -> tuple[Shapes, Shapes]:
        """The shapes of the model's inputs and outputs; see Session."""
        labels = len(self.config.labels)
        return self._input_shapes, {"logit": (None,)} if labels == 2 else {"logits": (None, labels)}

    def explain(self, row: Row) -> TabularClassifierExplanation:
        """Return Shapley values of a prediction against the rows of background.csv.

        The columns of a group are switched together; the result names the group after its first column.

        Raises:
            BadInput: the row is invalid.
        """
        which, probability, base, contributions = self._explain(row)
        label = self.config.labels[which] if len(self.config.labels) > 2 else None
        return TabularClassifierExplanation(probability, base, contributions, label)

    def what_if(self, row: Row, column: str, points: int = 50) -> list[tuple[float, float]]:
        """Return the probability that `explain` explains as one number of `row` varies: [(number, probability), ...].

        The numbers are `points` equal steps over the training range, rounded if the column seems to hold whole
        numbers, and the amounts that the model learned separately, where the curve bends.

        Raises:
            BadInput: the column is not a number that the model uses, the row is invalid, or `points` is not a whole
                number from 1 to 10,000.
        """
        which, values, outputs = self._vary(row, column, points)
        return list(zip(values, outputs[:, which].tolist(), strict=True))

    def _make_answer(self, outputs: list[float]) -> TabularClassifierPrediction:
        labels = self.config.labels
        likeliest = labels[len(labels) - 1 - int(np.argmax(outputs[::-1]))]  # the second of two that are equal
        return TabularClassifierPrediction(likeliest, dict(zip(labels, outputs, strict=True)))

    def _choose_output(self, outputs: NDArray[np.float64]) -> int:
        return 1 if len(outputs) == 2 else int(outputs.argmax())

    def _compute(self, categories: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities, (rows, labels)."""
        config = self.config
        if len(config.labels) == 2:
            (logit,) = self._run(["logit"], categories, numbers)
            second = calibrate_logit(logit, config.temperature, config.bias)
            return np.stack([1 - second, second], axis=1)
        (logits,) = self._run(["logits"], categories, numbers)
        return softmax(logits / config.temperature)


def calibrate_logit(logit: NDArray[Any], temperature: float, bias: float) -> NDArray[np.float64]:
    """Return calibrated probabilities, sigmoid(logit / temperature + bias) (Platt scaling), as float64."""
    return 1 / (1 + np.exp(-(logit.astype(np.float64) / temperature + bias)))
