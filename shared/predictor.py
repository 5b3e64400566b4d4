"""What all models have in common when they serve: load a folder, answer one, answer many."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from shared.checkpoint import METRICS, MODEL, Checkpoint
from shared.errors import BadInput, CheckpointError, HubError
from shared.runtime import Session, in_threads

Spec = TypeVar("Spec", bound=Checkpoint)
Item = TypeVar("Item")
Prediction = TypeVar("Prediction")

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(www\.)?(huggingface|hf)\.co/", re.IGNORECASE)  # C:\ is no address


class Predictor(Generic[Spec, Item, Prediction]):
    """A model loaded from a checkpoint folder.

    `checkpoint` is the checked content of gallery.json, `session` the model in ONNX Runtime, `folder` where
    both came from, `metrics` what metrics.json says was measured. A predictor never changes after it is
    loaded, so threads may share it. `origin` tells visitors of a Space where its model came from, if there is
    anything to tell.

    Processes share it by pickle, which holds the folder, or the model's name and commit on the Hub, and nothing of
    the model: it is loaded again where the pickle is opened. A token is left out, so a private model is read with the
    login of the machine that opens it.
    """

    name: ClassVar[str]  # of the Space
    threads: ClassVar[int] = 1  # of the processor, for one answer
    spec: ClassVar[type[Checkpoint]]
    origin: str = ""
    needed: ClassVar[tuple[str, ...]] = (MODEL, METRICS)

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._source: tuple[str | Path, str | None] = self.folder.resolve(), None
        found = Checkpoint.read_common(self.folder).model
        if found != self.name:
            raise CheckpointError(f"{self.folder} has a model of the kind {found!r}, not {self.name!r}.")
        self.checkpoint: Spec = self.spec.read(self.folder, self.needed)  # type: ignore[assignment]
        self.metrics: dict[str, Any] = json.loads((self.folder / METRICS).read_text(encoding="utf-8"))
        if "figures" not in self.metrics:
            raise CheckpointError(f"{self.folder / METRICS} has no 'figures'; export the model again.")
        self.session = Session(self.folder / MODEL, self.threads)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        token: str | None = None,
        deadline: float | None = None,
    ) -> Self:
        """Load a checkpoint folder, such as "spaces/salary/model", or a model on the Hub, such as "user/salary".

        Args:
            source: the folder; or the model's name on the Hub, or its address there, such as
                "https://huggingface.co/user/salary". A Path is always a folder.
            revision: commit, branch or tag on the Hub. A commit that has been loaded before needs no network.
            token: for a private model; by default the one that this machine is logged in with.
            deadline: seconds after which to stop waiting for the Hub; two minutes by default.

        Raises:
            CheckpointError: the folder is missing, damaged or of another format.
            HubError (a CheckpointError): the Hub's model cannot be had; see shared.hub.download.
        """
        text = str(source)
        is_address = not isinstance(source, Path) and ADDRESS.match(text)
        if not is_address and (isinstance(source, Path) or not is_name(text)):
            if not Path(text).exists():
                raise CheckpointError(
                    f"There is no checkpoint folder {text!r}. Give a folder, or a model on the Hub as in 'user/name'."
                )
            return cls(source)
        from shared import hub  # noqa: PLC0415 - only models on the Hub need it

        try:
            folder = hub.download(text, revision, token, deadline=deadline or hub.DEADLINE)
        except HubError as error:
            if is_address:
                raise
            raise HubError(f"{error} (There is no folder {text!r} here.)") from error.__cause__
        model = cls(folder)
        model._source = text, folder.name  # the commit, also where a branch was asked for
        return model

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str | Path, str | None]]:
        return type(self).from_pretrained, self._source

    def example(self) -> Item:
        """An input to try the model with, always the same: what one machine answers another must answer, too."""
        raise NotImplementedError

    def predict_each(self, items: Sequence[Item]) -> list[Prediction | BadInput]:
        """Answer every item; a bad one gets its BadInput as the answer and does not disturb the others."""
        raise NotImplementedError

    def predict_batch(self, items: Any) -> list[Prediction]:
        """Answer many items at once.

        Raises:
            BadInput: an item is bad; the text begins with its index. Or there is no list of items.
        """
        is_many = isinstance(items, Collection) and not isinstance(items, str | bytes | Mapping)
        if not is_many or (isinstance(items, np.ndarray) and not items.ndim):
            raise BadInput(f"Many are given as a list, not as {type(items).__name__}.")
        answers: list[Prediction] = []
        for index, answer in enumerate(self.predict_each(list(items))):
            if isinstance(answer, BadInput):
                raise BadInput(f"Item {index}: {answer}")
            answers.append(answer)
        return answers


def is_name(source: str) -> bool:
    """Return True for "user/name", a name on the Hub, unless there is a folder "user" here."""
    first, *rest = source.rstrip("/").split("/")
    return len(rest) == 1 and first not in ("", ".", "..", "~") and ":" not in first and not Path(first).is_dir()


def each_alone(predict: Callable[[Item], Prediction], items: Sequence[Item]) -> list[Prediction | BadInput]:
    """predict_each of models that see one item at a time: while one is read, another runs."""

    def answer(item: Item) -> Prediction | BadInput:
        try:
            return predict(item)
        except BadInput as error:
            return error

    return in_threads(answer, items)
