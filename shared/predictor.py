"""The base class of all predictors: load a checkpoint folder, predict one input or many."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from .config import METRICS, MODEL, GalleryConfig
from .errors import BadInput, CheckpointError, quote
from .metrics import Metrics
from .session import Session, Shapes, map_in_threads

Config = TypeVar("Config", bound=GalleryConfig)
Item = TypeVar("Item")
Answer = TypeVar("Answer", bound="Prediction")


@dataclass(frozen=True)
class Prediction:
    """Base class of all predictions."""

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON object: the first output of the app's endpoint."""
        return asdict(self)

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row, by column, rounded."""
        raise NotImplementedError


class Predictor(Generic[Config, Item, Answer]):
    """A model loaded from a checkpoint folder; see load_model.

    `config` is the validated gallery.json, `session` the model in ONNX Runtime, `folder` the checkpoint folder, and
    `metrics` the content of metrics.json, or None. A predictor does not change after loading, so threads may share it.
    `origin` is a sentence for visitors of a Space about the source of its model; "" if there is nothing to say.

    A pickle contains only the folder, or the Hub name and commit; unpickling loads the model again. It contains no
    token, so a private model is loaded with the login of the machine that unpickles it.
    """

    task: ClassVar[str]  # in gallery.json
    threads: ClassVar[int] = 1  # CPU threads for one prediction
    config_type: ClassVar[type[GalleryConfig]]
    required_files: ClassVar[tuple[str, ...]] = (MODEL,)
    origin: str = ""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(os.path.expanduser(folder))  # unlike Path.expanduser, it never fails
        self.source: tuple[str | Path, str | None] = self.folder.resolve(), None  # for pickle
        found = GalleryConfig.read_common(self.folder).task
        if found != self.task:
            raise CheckpointError(f"{self.folder} has a model for {found!r}, not for {self.task!r}.")
        self.config: Config = self.config_type.read(self.folder, self.required_files)  # type: ignore[assignment]
        self.metrics = Metrics.read(self.folder) if (self.folder / METRICS).is_file() else None
        self.session = Session(self.folder / MODEL, self.threads, shapes=self.shapes)

    @property
    def shapes(self) -> tuple[Shapes, Shapes] | None:
        """The shapes of the model's inputs and outputs; see Session."""
        return None

    @classmethod
    def load(
        cls, source: str | Path, revision: str | None = None, token: str | None = None, deadline: float | None = None
    ) -> Self:
        """Load a model like load_model, whose class depends on the model; here it is known to type checkers.

        Raises:
            CheckpointError: the model cannot be loaded, or its task needs another class.
        """
        from .load import load_model  # noqa: PLC0415 - load.py imports every predictor

        model = load_model(source, revision, token, deadline)
        if not isinstance(model, cls):
            raise CheckpointError(f"{source} is a model for {type(model).__name__}, not for {cls.__name__}.")
        return model

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.about.title!r} from {self.folder}>"

    def __reduce__(self) -> tuple[Callable[..., "Predictor[Any, Any, Any]"], tuple[str | Path, str | None]]:
        from .load import load_model  # noqa: PLC0415 - load.py imports every predictor

        return load_model, self.source

    def example(self) -> Item:
        """Return a fixed example input, so that the predictions of two machines can be compared."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The required columns of a table of inputs; empty if inputs are files."""
        return ()

    def from_row(self, row: Mapping[str, str]) -> Item:
        """Convert a table row, {column: cell}, to an input."""
        raise NotImplementedError

    def arguments(self, item: Item) -> list[Any]:
        """Return an input as the list of arguments of the app's endpoint."""
        return [item]

    def predict(self, item: Item) -> Answer:
        """Predict one input.

        Raises:
            BadInput: the input is invalid; the message says why, and what is accepted.
        """
        answer = self._predict_all([item])[0]
        if isinstance(answer, BadInput):
            raise answer
        return answer

    def predict_each(self, items: Any) -> list[Answer | BadInput]:
        """Predict every item, given as in predict_batch; the result for an invalid item is a BadInput.

        Raises:
            BadInput: `items` is not a list, or a table lacks a column.
        """
        return self._predict_all(self._list_items(items))

    def predict_batch(self, items: Any) -> list[Answer]:
        """Predict many items at once: a list of inputs, or, if inputs are rows or texts, a pandas DataFrame.

        Columns of a table that the model does not need are ignored.

        Raises:
            BadInput: `items` is not a list, a table lacks a column, or an item is invalid; then the message begins with
                its index.
        """
        answers: list[Answer] = []
        for index, answer in enumerate(self.predict_each(items)):
            if isinstance(answer, BadInput):
                raise BadInput(f"Item {index}: {answer}")
            answers.append(answer)
        return answers

    def _predict_all(self, items: Sequence[Item]) -> list[Answer | BadInput]:
        """Predict every item; the result for an invalid item is a BadInput, and the others are not affected."""
        raise NotImplementedError

    def _list_items(self, items: Any) -> list[Item]:
        """Return the inputs of predict_batch as a list.

        Raises:
            BadInput: there is one input rather than several, or a table lacks a column.
        """
        if is_frame(items):
            return self._read_frame(items)
        if not self.columns and isinstance(items, np.ndarray) and is_picture(items.shape):
            raise BadInput(f"Give a list of pictures, such as [array], not one array of {quote(items.shape)[1:-1]}.")
        is_one = isinstance(items, str | bytes | bytearray | memoryview | Mapping) or hasattr(items, "read")
        names = getattr(items, "index", ()) if hasattr(items, "notna") else ()  # of a pandas Series
        is_row = bool(self.columns) and set(self.columns) <= set(names)
        if is_one or is_row or not isinstance(items, Collection | Iterator) or getattr(items, "ndim", 1) == 0:
            raise BadInput(f"Items must be given as a list, not as {type(items).__name__}.")
        return list(items)

    def _read_frame(self, table: Any) -> list[Item]:
        """Return the inputs in a pandas DataFrame.

        Raises:
            BadInput: the table lacks a column, or inputs are files.
        """
        if not self.columns:
            raise BadInput("Give a list, or the column of the table with the inputs, such as table['path'].")
        present = list(table.columns)
        if missing := [name for name in self.columns if name not in present]:
            raise BadInput(
                f"The table has no column {quote(missing[0])}; rename the one that holds it, or give a list."
            )
        if twice := [name for name in self.columns if present.count(name) > 1]:
            raise BadInput(f"The table has several columns {quote(twice[0])}; keep one.")
        return [self.from_row(row) for row in drop_missing(table[list(self.columns)]).to_dict("records")]


def drop_missing(cells: Any) -> Any:
    """Return a pandas DataFrame or Series with None for each missing value."""
    return cells.astype(object).where(cells.notna(), None)


def is_frame(items: Any) -> bool:
    """Return True for a pandas DataFrame."""
    return hasattr(items, "iloc") and hasattr(items, "columns")


def is_picture(shape: tuple[int, ...]) -> bool:
    """Return True for the shape of an array that is one picture, not several."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))


def answer_each(predict: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer | BadInput]:
    """Predict with models that take one item at a time: call `predict` in several threads."""

    def answer(item: Item) -> Answer | BadInput:
        try:
            return predict(item)
        except BadInput as error:
            return error

    return map_in_threads(answer, items)
