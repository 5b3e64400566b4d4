"""What all models have in common when they serve: load a folder, answer one, answer many."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from shared.checkpoint import METRICS, MODEL, Checkpoint
from shared.errors import BadInput
from shared.runtime import Session

Spec = TypeVar("Spec", bound=Checkpoint)
Item = TypeVar("Item")
Prediction = TypeVar("Prediction")


class Predictor(Generic[Spec, Item, Prediction]):
    """A model loaded from a checkpoint folder.

    `checkpoint` is the checked content of gallery.json, `session` the model in ONNX Runtime, `folder` where
    both came from, `metrics` what metrics.json says was measured. A predictor never changes after it is
    loaded, so threads may share it.
    """

    spec: ClassVar[type[Checkpoint]]
    needed: ClassVar[tuple[str, ...]] = (MODEL, METRICS)

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.checkpoint: Spec = self.spec.read(self.folder, self.needed)  # type: ignore[assignment]
        self.metrics: dict[str, Any] = json.loads((self.folder / METRICS).read_text(encoding="utf-8"))
        self.session = Session(self.folder / MODEL)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Self:
        """Load a checkpoint folder, such as "spaces/salary/model".

        Raises:
            CheckpointError: the folder is missing, damaged or of another format.
        """
        return cls(source)

    def predict_each(self, items: Sequence[Item]) -> list[Prediction | BadInput]:
        """Answer every item; a bad one gets its BadInput as the answer and does not disturb the others."""
        raise NotImplementedError

    def predict_batch(self, items: Any) -> list[Prediction]:
        """Answer many items at once, much faster than a loop.

        Raises:
            BadInput: an item is bad; the text begins with its index.
        """
        answers: list[Prediction] = []
        for index, answer in enumerate(self.predict_each(items)):
            if isinstance(answer, BadInput):
                raise BadInput(f"Item {index}: {answer}")
            answers.append(answer)
        return answers
