"""What all models have in common when they serve: load a folder, answer one input or many."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from .config import METRICS, MODEL, GalleryConfig
from .errors import BadInput, CheckpointError
from .metrics import Metrics
from .session import Session, map_in_threads

Config = TypeVar("Config", bound=GalleryConfig)
Item = TypeVar("Item")
Answer = TypeVar("Answer", bound="Prediction")


@dataclass(frozen=True)
class Prediction:
    """Base of every predictor's answer."""

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON has it: what the app's endpoint returns first."""
        raise NotImplementedError

    def as_row(self) -> dict[str, object]:
        """Return the answer as the cells that a CSV gets for it, by column, rounded."""
        raise NotImplementedError


class Predictor(Generic[Config, Item, Answer]):
    """A model loaded from a checkpoint folder; see load_model.

    `config` is the validated content of gallery.json, `session` the model in ONNX Runtime, `folder` where both came
    from, and `metrics` what was measured, or None where nothing was yet. A predictor never changes after it is loaded,
    so threads may share it. `origin` tells visitors of a Space where its model came from, if there is anything to
    tell.

    Processes share it by pickle, which holds the folder, or the model's name and commit on the Hub, and nothing of
    the model: it is loaded again where the pickle is opened. A token is left out, so a private model is read with the
    login of the machine that opens it.
    """

    task: ClassVar[str]  # in gallery.json
    threads: ClassVar[int] = 1  # of the processor, for one answer
    config_type: ClassVar[type[GalleryConfig]]
    required_files: ClassVar[tuple[str, ...]] = (MODEL,)
    origin: str = ""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.source: tuple[str | Path, str | None] = self.folder.resolve(), None  # for pickle
        found = GalleryConfig.read_common(self.folder).task
        if found != self.task:
            raise CheckpointError(f"{self.folder} has a model for {found!r}, not for {self.task!r}.")
        self.config: Config = self.config_type.read(self.folder, self.required_files)  # type: ignore[assignment]
        self.metrics = Metrics.read(self.folder) if (self.folder / METRICS).is_file() else None
        self.session = Session(self.folder / MODEL, self.threads)

    def __reduce__(self) -> tuple[Callable[..., "Predictor[Any, Any, Any]"], tuple[str | Path, str | None]]:
        from .load import load_model  # noqa: PLC0415 - which imports every predictor

        return load_model, self.source

    def example(self) -> Item:
        """Return an input to try the model with, always the same, so that answers of two machines can be compared."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table of inputs must have; empty where inputs are files."""
        return ()

    def from_row(self, row: Mapping[str, str]) -> Item:
        """Return the input that a row of a table describes, given as {column: cell}."""
        raise NotImplementedError

    def arguments(self, item: Item) -> list[Any]:
        """Return an input as the arguments of the app's endpoint, in their order."""
        return [item]

    def predict(self, item: Item) -> Answer:
        """Answer one input.

        Raises:
            BadInput: it cannot be answered; the text says why, and what is accepted.
        """
        answer = self.predict_each([item])[0]
        if isinstance(answer, BadInput):
            raise answer
        return answer

    def predict_each(self, items: Sequence[Item]) -> list[Answer | BadInput]:
        """Answer every item; a bad one gets its BadInput as the answer and does not disturb the others."""
        raise NotImplementedError

    def predict_batch(self, items: Any) -> list[Answer]:
        """Answer many items at once.

        Raises:
            BadInput: an item is bad; the text begins with its index. Or `items` is not a list.
        """
        is_many = isinstance(items, Collection) and not isinstance(items, str | bytes | Mapping)
        if not is_many or (isinstance(items, np.ndarray) and not items.ndim):
            raise BadInput(f"Many are given as a list, not as {type(items).__name__}.")
        answers: list[Answer] = []
        for index, answer in enumerate(self.predict_each(list(items))):
            if isinstance(answer, BadInput):
                raise BadInput(f"Item {index}: {answer}")
            answers.append(answer)
        return answers


def answer_each(predict: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer | BadInput]:
    """Answer every item by itself, several at once, for models that take one at a time: see predict_each."""

    def answer(item: Item) -> Answer | BadInput:
        try:
            return predict(item)
        except BadInput as error:
            return error

    return map_in_threads(answer, items)
