"""Confusion matrices of segmented pictures, and the metrics computed from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluate import count_bins

BINS = 15  # confidence bins of the calibration error


@dataclass(frozen=True)
class ConfusionMatrix:
    """The confusion matrices of n pictures.

    `tables`, (n, classes, classes): pixels by true class (axis 1) and predicted class (axis 2). `gaps`, (n, bins): for
    each confidence bin from 0 to 1, the number of correct pixels minus the sum of their confidences. `counts`,
    (n, 3, evaluate.BINS): what evaluate.count_bins returns, for the plot.
    """

    tables: NDArray[np.int64]
    gaps: NDArray[np.float64]
    counts: NDArray[np.float64]
    classes: tuple[str, ...]

    @classmethod
    def from_prediction(cls, prediction: Any, label: NDArray[np.uint8], ignored: int) -> "ConfusionMatrix":
        """Compare a prediction with class indices, (height, width); skip pixels of class `ignored`."""
        classes = tuple(prediction.share)
        counted = label != ignored
        truth, found = label[counted].astype(np.int64), prediction.mask[counted]
        confidence = prediction.confidence[counted]
        table = np.bincount(truth * len(classes) + found, minlength=len(classes) ** 2)
        which = np.minimum((confidence * BINS).astype(int), BINS - 1)
        gaps = np.bincount(which, (truth == found) - confidence.astype(np.float64), minlength=BINS)
        counts = count_bins(confidence, truth == found, len(classes))
        return cls(table.reshape(1, len(classes), len(classes)), gaps[None].astype(np.float64), counts[None], classes)

    @classmethod
    def stack(cls, parts: "Sequence[ConfusionMatrix]") -> "ConfusionMatrix":
        """Concatenate the matrices of several pictures."""
        names = ("tables", "gaps", "counts")
        tables, gaps, counts = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return cls(tables, gaps, counts, parts[0].classes)

    def take(self, rows: NDArray[np.intp]) -> "ConfusionMatrix":
        """Return the matrices of the pictures with these indices."""
        return ConfusionMatrix(self.tables[rows], self.gaps[rows], self.counts[rows], self.classes)

    def compute_calibration_error(self, rows: NDArray[np.intp]) -> float:
        """Return the expected calibration error over all pixels of the pictures with these indices."""
        return float(np.abs(self.gaps[rows].sum(0)).sum() / self.tables[rows].sum())


def ious(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the intersection over union of each class, (classes,); NaN for an absent class."""
    right = np.diag(table).astype(np.float64)
    union = table.sum(0) + table.sum(1) - right
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)


def mean_iou(table: NDArray[np.int64]) -> float:
    """Return the mean IoU over the classes present."""
    return float(np.nanmean(ious(table)))


def pixel_accuracy(table: NDArray[np.int64]) -> float:
    """Return the share of correct pixels."""
    return float(np.trace(table) / table.sum())


def class_iou(index: int, table: NDArray[np.int64]) -> float:
    """Return the IoU of one class; NaN for an absent class."""
    return float(ious(table)[index])
