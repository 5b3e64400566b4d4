"""Image classification with out-of-distribution detection: one label for a picture, or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from .config import GalleryConfig
from .errors import BadInput, quote
from .images import (
    Encoded,
    Framing,
    Picture,
    Source,
    estimate_decoding_cost,
    find_square,
    load_image,
    sample_image,
    to_array,
)
from .limits import LIMITS
from .predictor import Prediction, Predictor, answer_each
from .session import THREADS, Shapes, softmax

Channels = tuple[float, float, float]
WHOLE = (0.0, 0.0, 1.0, 1.0)


class ImageClassifierConfig(GalleryConfig):
    """gallery.json of a picture classifier.

    A picture is resized to `size` × `size` pixels, scaled to 0 … 1, and normalised with `mean` and `std`. `framing`
    says how it becomes a square (see shared.images.find_square). With a `margin`, it is resized to a square that is
    larger by so many pixels on each side, which are then cut off. The picture is in distribution if its score is at
    least `in_distribution_threshold`.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    size: Annotated[int, Field(ge=32, le=1024)]
    framing: Framing = "squash"
    margin: Annotated[int, Field(ge=0, le=256)] = 0
    mean: Channels
    std: Channels
    in_distribution_threshold: float

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self

    @property
    def side(self) -> int:
        """The side of the square that a picture is resized to, in pixels: the size and both margins."""
        return self.size + 2 * self.margin


@dataclass(frozen=True)
class ImageClassifierPrediction(Prediction):
    """The prediction for a picture.

    `label` is the most probable label, or None if the picture is out of distribution (OOD): unlike the training
    pictures. `probabilities` sum to 1, *given that the picture shows one of the labels*. They are calibrated: training
    divided the last layer's weights by a temperature. The model divides its logits again where two labels are shown.
    `in_distribution_score` is higher for pictures that resemble the training pictures; `in_distribution` is True if it
    reaches the config's threshold.
    """

    label: str | None
    probabilities: dict[str, float]
    in_distribution: bool
    in_distribution_score: float

    @property
    def likeliest(self) -> str:
        """The most probable label, even if the picture is out of distribution."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row; a rejected picture has no probabilities in it."""
        is_rejected = self.label is None
        return {
            "prediction": self.label or "neither",
            **{f"probability {label}": None if is_rejected else round(p, 4) for label, p in self.probabilities.items()},
            "in_distribution_score": round(self.in_distribution_score, 2),
        }


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class ImageClassifierExplanation:
    """The evidence for a label at each place in the picture.

    `evidence`, (rows, columns) float32, is the class activation map of `label` minus the mean map of the other
    labels, over a grid that covers the part of the picture that the model sees. Its mean is the difference of their
    logits. `region` is this part (left, top, right, bottom), in widths and heights of the picture: (0, 0, 1, 1) is the
    whole picture, and black bars are beyond that. `in_distribution` is False if the picture is out of distribution; the
    map shows evidence even then.
    """

    label: str
    evidence: NDArray[np.float32]
    in_distribution: bool
    region: tuple[float, float, float, float] = WHOLE

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object."""
        return {
            "label": self.label,
            "in_distribution": self.in_distribution,
            "evidence": self.evidence.tolist(),
            "region": list(self.region),
        }


class ImageClassifier(Predictor[ImageClassifierConfig, Source, ImageClassifierPrediction]):
    """A picture classifier with out-of-distribution detection; pictures are anything that load_image accepts."""

    task = "image-classification"
    max_request_cost = LIMITS.request_pixels  # of all pictures of one request
    config_type = ImageClassifierConfig
    threads = THREADS

    @property
    def shapes(self) -> tuple[Shapes, Shapes]:
        """The shapes of the model's inputs and outputs; see Session."""
        labels, size = len(self.config.labels), self.config.size
        return {0: (None, 3, size, size)}, {0: (None, labels), 1: (None,), 2: (None, labels, None, None)}

    def example(self) -> Image.Image:
        """Return a drawing; for most models it is out of distribution."""
        return sample_image()

    def predict(self, image: Source) -> ImageClassifierPrediction:
        """Classify one picture.

        Raises:
            BadInput: the input cannot be read as a picture.
        """
        pixels = {self.session.inputs[0]: self.preprocess(image)[None]}
        logits, scores = self.session.run(self.session.outputs[:2], pixels)
        probabilities = dict(zip(self.config.labels, softmax(logits)[0].tolist(), strict=True))
        likeliest, score = max(probabilities, key=probabilities.__getitem__), float(scores[0])
        in_distribution = score >= self.config.in_distribution_threshold
        return ImageClassifierPrediction(likeliest if in_distribution else None, probabilities, in_distribution, score)

    def _predict_all(self, items: Sequence[Source]) -> list[ImageClassifierPrediction | BadInput]:
        """Classify pictures, two at a time; the result for an unreadable picture is a BadInput."""
        return answer_each(self.predict, items)

    def explain(self, image: Source, label: str | None = None) -> ImageClassifierExplanation:
        """Return the class activation map (Zhou et al., CVPR 2016) of a label, by default the most probable one.

        Raises:
            BadInput: the picture cannot be read, or the label does not exist.
        """
        labels = self.config.labels
        if label is not None and not (isinstance(label, str) and label in labels):
            raise BadInput(f"There is no label {quote(label)}; choose one of {', '.join(labels)}.")
        picture = load_image(image, self.config.side)
        pixels = {self.session.inputs[0]: self._make_input(picture)[None]}
        logits, scores, maps = self.session.run(self.session.outputs, pixels)
        index = int(logits[0].argmax()) if label is None else labels.index(label)
        others = np.delete(maps[0], index, axis=0).mean(axis=0)
        in_distribution = bool(scores[0] >= self.config.in_distribution_threshold)
        region = self._find_region(picture.size)
        return ImageClassifierExplanation(labels[index], maps[0, index] - others, in_distribution, region)

    def estimate_cost(self, image: Encoded) -> int:
        """Return the cost of decoding a picture, in pixels; see shared.images.estimate_decoding_cost.

        Raises:
            BadInput: the header shows that the input cannot be read as a picture.
        """
        return estimate_decoding_cost(image, self.config.side)

    def preprocess(self, image: Source) -> NDArray[np.float32]:
        """Return a picture as the model's input: float32 (3, size, size), normalised.

        Raises:
            BadInput: the input cannot be read as a picture.
        """
        return self._make_input(load_image(image, self.config.side))

    def _make_input(self, picture: Picture) -> NDArray[np.float32]:
        config = self.config
        return to_array(picture.make_square(config.size, config.framing, config.margin), config.mean, config.std)

    def _find_region(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return the part of a picture of this (width, height) that the model sees; see ImageClassifierExplanation."""
        side, edges = self.config.side, find_square(size, self.config.side, self.config.framing)
        cut = [(edges[axis + 2] - edges[axis]) * self.config.margin / side for axis in (0, 1)]
        left, top = ((edges[axis] + cut[axis]) / size[axis] for axis in (0, 1))
        right, bottom = ((edges[axis + 2] - cut[axis]) / size[axis] for axis in (0, 1))
        return left, top, right, bottom
