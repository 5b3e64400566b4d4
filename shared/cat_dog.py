"""Is it a cat or a dog, or neither? The first model of the book; it carries whatever labels it was trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from shared.checkpoint import Checkpoint
from shared.errors import BadInput, quoted
from shared.images import Source, drawing, open_rgb, to_array
from shared.predictor import Predictor, each_alone
from shared.runtime import THREADS, softmax

Channels = tuple[float, float, float]


class CatDogCheckpoint(Checkpoint):
    """gallery.json of a picture classifier.

    A picture is squashed to `size` × `size` pixels, scaled to 0 … 1, less `mean`, divided by `std`. It
    is known where its score reaches `known_threshold`.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    size: Annotated[int, Field(ge=32, le=1024)]
    mean: Channels
    std: Channels
    known_threshold: float

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


@dataclass(frozen=True)
class CatDogPrediction:
    """What a picture shows.

    `label` is the likeliest label, or None where the picture is not like those the model was trained on.
    `probabilities` are calibrated and sum to 1, *given that it shows one of the labels*. `known_score` is
    higher the more a picture is like the training pictures; from the threshold on `is_known`.
    """

    label: str | None
    probabilities: dict[str, float]
    is_known: bool
    known_score: float

    @property
    def likeliest(self) -> str:
        """The likeliest label, known or not."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True)
class CatDogExplanation:
    """Where in the picture the evidence is.

    `evidence`, (rows, columns) float32, is the class activation map of `label`, less the mean map of the
    other labels, over a grid that covers the whole picture: its mean is the difference of their logits. Where the
    picture is not known, `is_known` is False: there is evidence for a label in anything.
    """

    label: str
    evidence: NDArray[np.float32]
    is_known: bool


class CatDog(Predictor[CatDogCheckpoint, Source, CatDogPrediction]):
    """A picture classifier that knows what it doesn't know; a picture is anything that open_rgb takes."""

    name = "cat_dog"
    spec = CatDogCheckpoint
    threads = THREADS

    def example(self) -> Image.Image:
        """A drawn picture, of neither."""
        return drawing()

    def predict(self, image: Source) -> CatDogPrediction:
        """Predict one picture.

        Raises:
            BadInput: it cannot be read as a picture.
        """
        logits, scores = self.session.run(["logits", "known"], {self.session.inputs[0]: self.pixels(image)[None]})
        probabilities = dict(zip(self.checkpoint.labels, softmax(logits)[0].tolist(), strict=True))
        likeliest, score = max(probabilities, key=probabilities.__getitem__), float(scores[0])
        is_known = score >= self.checkpoint.known_threshold
        return CatDogPrediction(likeliest if is_known else None, probabilities, is_known, score)

    def predict_each(self, items: Sequence[Source]) -> list[CatDogPrediction | BadInput]:
        """Predict every picture, two at a time; a bad one gets its BadInput as the answer."""
        return each_alone(self.predict, items)

    def explain(self, image: Source, label: str | None = None) -> CatDogExplanation:
        """Class activation map (Zhou et al., CVPR 2016) for a label, by default the likeliest.

        Raises:
            BadInput: the picture cannot be read, or there is no such label.
        """
        labels = self.checkpoint.labels
        if label is not None and not (isinstance(label, str) and label in labels):
            raise BadInput(f"There is no label {quoted(label)}; choose one of {', '.join(labels)}.")
        outputs = ["logits", "known", "maps"]
        logits, known, maps = self.session.run(outputs, {self.session.inputs[0]: self.pixels(image)[None]})
        index = int(logits[0].argmax()) if label is None else labels.index(label)
        others = np.delete(maps[0], index, axis=0).mean(axis=0)
        is_known = bool(known[0] >= self.checkpoint.known_threshold)
        return CatDogExplanation(labels[index], maps[0, index] - others, is_known)

    def pixels(self, image: Source) -> NDArray[np.float32]:
        """A picture as the model takes it: float32 (3, size, size).

        Raises:
            BadInput: it cannot be read as a picture.
        """
        size = self.checkpoint.size
        return to_array(open_rgb(image, size).squash((size, size)), self.checkpoint.mean, self.checkpoint.std)
