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
from .images import MAX_REQUEST_COST, Encoded, Source, estimate_decoding_cost, load_image, sample_image, to_array
from .predictor import Prediction, Predictor, answer_each
from .session import THREADS, softmax

Channels = tuple[float, float, float]


class ImageClassifierConfig(GalleryConfig):
    """gallery.json of a picture classifier.

    A picture is resized to `size` × `size` pixels, scaled to 0 … 1, and normalised with `mean` and `std`. It is in
    distribution if its score is at least `in_distribution_threshold`.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    size: Annotated[int, Field(ge=32, le=1024)]
    mean: Channels
    std: Channels
    in_distribution_threshold: float

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


@dataclass(frozen=True)
class ImageClassifierPrediction(Prediction):
    """The prediction for a picture.

    `label` is the most probable label, or None if the picture is out of distribution (OOD): unlike the training
    pictures. `probabilities` sum to 1, *given that the picture shows one of the labels*. They are calibrated: training
    divided the last layer's weights by a temperature.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON object."""
        return {
            "label": self.label,
            "probabilities": self.probabilities,
            "in_distribution": self.in_distribution,
            "in_distribution_score": self.in_distribution_score,
        }

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row."""
        return {
            "prediction": self.label or "neither",
            **{f"probability {label}": round(p, 4) for label, p in self.probabilities.items()},
            "in_distribution_score": round(self.in_distribution_score, 2),
        }


@dataclass(frozen=True)
class ImageClassifierExplanation:
    """The evidence for a label at each place in the picture.

    `evidence`, (rows, columns) float32, is the class activation map of `label` minus the mean map of the other
    labels, over a grid that covers the whole picture. Its mean is the difference of their logits. `in_distribution` is
    False if the picture is out of distribution; the map shows evidence even then.
    """

    label: str
    evidence: NDArray[np.float32]
    in_distribution: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object."""
        return {"label": self.label, "evidence": self.evidence.tolist()}


class ImageClassifier(Predictor[ImageClassifierConfig, Source, ImageClassifierPrediction]):
    """A picture classifier with out-of-distribution detection; pictures are anything that load_image accepts."""

    task = "image-classification"
    max_request_cost = MAX_REQUEST_COST  # of all pictures of one request
    config_type = ImageClassifierConfig
    threads = THREADS

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

    def predict_each(self, items: Sequence[Source]) -> list[ImageClassifierPrediction | BadInput]:
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
        pixels = {self.session.inputs[0]: self.preprocess(image)[None]}
        logits, scores, maps = self.session.run(self.session.outputs, pixels)
        index = int(logits[0].argmax()) if label is None else labels.index(label)
        others = np.delete(maps[0], index, axis=0).mean(axis=0)
        in_distribution = bool(scores[0] >= self.config.in_distribution_threshold)
        return ImageClassifierExplanation(labels[index], maps[0, index] - others, in_distribution)

    def estimate_cost(self, image: Encoded) -> int:
        """Return the cost of decoding a picture, in pixels; see shared.images.estimate_decoding_cost.

        Raises:
            BadInput: the header shows that the input cannot be read as a picture.
        """
        return estimate_decoding_cost(image, self.config.size)

    def preprocess(self, image: Source) -> NDArray[np.float32]:
        """Return a picture as the model's input: float32 (3, size, size), normalised.

        Raises:
            BadInput: the input cannot be read as a picture.
        """
        size = self.config.size
        return to_array(load_image(image, size).resize((size, size)), self.config.mean, self.config.std)
