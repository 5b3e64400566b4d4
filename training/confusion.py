"""Confusion matrices of segmented pictures, and the figures that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of the confidence


@dataclass(frozen=True)
class ConfusionMatrix:
    """How predictions for n pictures compare with their labels.

    `tables`, (n, classes, classes): how often each class (first) was taken for which (second). `gaps`, (n, bins): how
    many pixels of each confidence, from 0 to 1 in bins, were right, less the sum of their confidences.
    """

    tables: NDArray[np.int64]
    gaps: NDArray[np.float64]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, prediction: Any, label: NDArray[np.uint8], ignored: int) -> "ConfusionMatrix":
        """Compare one prediction with the class indices of its picture, (height, width), of which some are ignored."""
        classes = tuple(prediction.share)
        counted = label != ignored
        truth, found = label[counted].astype(np.int64), prediction.mask[counted]
        confidence = prediction.confidence[counted]
        table = np.bincount(truth * len(classes) + found, minlength=len(classes) ** 2)
        which = np.minimum((confidence * BINS).astype(int), BINS - 1)
        gaps = np.bincount(which, (truth == found) - confidence.astype(np.float64), minlength=BINS)
        return cls(table.reshape(1, len(classes), len(classes)), gaps[None].astype(np.float64), classes)

    @classmethod
    def stack(cls, parts: "Sequence[ConfusionMatrix]") -> "ConfusionMatrix":
        """Return those of several pictures together."""
        tables, gaps = (np.concatenate([getattr(part, name) for part in parts]) for name in ("tables", "gaps"))
        return cls(tables, gaps, parts[0].classes)

    def take(self, rows: NDArray[np.intp]) -> "ConfusionMatrix":
        """Return those of some of the pictures."""
        return ConfusionMatrix(self.tables[rows], self.gaps[rows], self.classes)

    def calibration_error(self, rows: NDArray[np.intp]) -> float:
        """Return the expected calibration error (Guo et al., ICML 2017) over all pixels of some pictures."""
        return float(np.abs(self.gaps[rows].sum(0)).sum() / self.tables[rows].sum())


def ious(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the intersection over union of each class, (classes,); NaN for one that is nowhere."""
    right = np.diag(table).astype(np.float64)
    union = table.sum(0) + table.sum(1) - right
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)


def mean_iou(table: NDArray[np.int64]) -> float:
    """Return the mean IoU over the classes that are there."""
    return float(np.nanmean(ious(table)))


def pixel_accuracy(table: NDArray[np.int64]) -> float:
    """Return the share of right pixels."""
    return float(np.trace(table) / table.sum())


def class_iou(index: int, table: NDArray[np.int64]) -> float:
    """Return the IoU of one class; 0 where it is nowhere."""
    return float(np.nan_to_num(ious(table)[index]))
