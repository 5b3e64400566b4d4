"""Parity: compare the stored model with torch on real inputs, and enforce limits on the differences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.metrics import Parity
from shared.session import Session

TYPICAL = 0.999  # the quantile of the rows' differences that is called typical


class ParityError(RuntimeError):
    """A stored model differs too much from torch, or loses accuracy."""


@dataclass(frozen=True)
class Shown:
    """What users see of a model's first output, and how much of it may change when the model is stored.

    Attributes:
        name: its name, such as "probability".
        view: maps the output to it: an array with classes on axis 1, or one value for each row.
        inputs: name of the inputs, such as "frames".
        rows: name of what gets a label, such as "pixels".
        typical: limit on the 99.9 % quantile of the rows' largest differences.
        relabelled: limit on the share of rows whose top class changes (one row is allowed); None without classes.
    """

    name: str
    view: Callable[[NDArray[Any]], NDArray[Any]]
    inputs: str
    rows: str
    typical: float
    relabelled: float | None = None


def check_parity(
    module: torch.nn.Module,
    path: Path,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    outputs: Sequence[str],
    tolerance: float | Sequence[float],
    shown: Shown | None = None,
) -> Parity:
    """Compare all outputs of torch and of the stored ONNX file on real rows.

    Args:
        module: the trained module.
        path: the stored ONNX file.
        batches: input rows, in batches that fit into memory.
        outputs: names, in the file, of the module's first outputs.
        tolerance: largest difference allowed, for all outputs or for each. Where an output has values above 1, it is a
            share of the largest: the rounding errors of flat drawings, whose maps reach 150, are larger, too.
        shown: what users see of the first output; it is compared instead of that output, and in more detail.

    Returns:
        The differences, for metrics.json.

    Raises:
        RuntimeError: a difference exceeds its limit, so the model must not be written.
    """
    module.eval()
    session = Session(path)
    largest, sizes, typical, relabelled = [], [], [], []
    for inputs in batches:
        with torch.inference_mode():
            result = module(*(torch.from_numpy(values) for values in inputs.values()))
        expected = [output.numpy() for output in (result if isinstance(result, tuple) else (result,))]
        read = {name: inputs[name] for name in session.inputs}  # the export drops an input that changes nothing
        actual = session.run_once(outputs, read)
        if shown:
            expected[0], actual[0] = shown.view(expected[0]), shown.view(actual[0])
            gaps = np.abs(expected[0] - actual[0])
            typical.append((gaps.max(axis=1) if gaps.ndim > 1 else gaps).ravel())
            if shown.relabelled is not None:
                relabelled.append((expected[0].argmax(axis=1) != actual[0].argmax(axis=1)).ravel())
        largest.append([np.abs(a - b).max() for a, b in zip(expected, actual, strict=False)])
        sizes.append([np.abs(values).max() for values, _ in zip(expected, actual, strict=False)])
    differences = np.max(largest, axis=0)  # NaN where any is
    allowed = np.asarray(tolerance) * np.maximum(1, np.max(sizes, axis=0))
    if not (differences <= allowed).all():
        listed = ", ".join(
            f"{name} by {gap:.2g} ({most:.2g})" for name, gap, most in zip(outputs, differences, allowed, strict=False)
        )
        raise ParityError(f"The stored model differs from torch by more than is allowed (in brackets): {listed}.")
    found: dict[str, Any] = {
        "rows": sum(len(next(iter(inputs.values()))) for inputs in batches),
        "output": shown.name if shown else ", ".join(outputs),
        "largest_difference": float(differences[0] if shown else differences.max()),
        "tolerance": float(allowed[0]) if len(allowed) == 1 else tuple(allowed.tolist()),
    }
    if shown:
        found |= check_changes(shown, np.concatenate(typical), np.concatenate(relabelled) if relabelled else None)
    if len(differences) > 1:
        found["by_output"] = dict(zip(outputs, differences.tolist(), strict=False))
    return Parity(**found)


def check_changes(
    shown: Shown, gaps: NDArray[np.floating[Any]], relabelled: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Return fields of Parity for the rows' differences, (rows,), and for which rows change their class, (rows,).

    Raises:
        RuntimeError: either exceeds its limit.
    """
    typical = float(np.quantile(gaps, TYPICAL))
    if not typical <= shown.typical:
        raise ParityError(
            f"For 99.9 % of the {shown.rows}, the {shown.name} of the stored model may differ from torch by at most "
            f"{shown.typical}; it differs by up to {typical:.2g}."
        )
    found: dict[str, Any] = {
        "inputs": shown.inputs,
        "of": shown.rows,
        "compared": len(gaps),
        "typical_difference": typical,
        "typical_allowed": shown.typical,
    }
    if relabelled is None or shown.relabelled is None:
        return found
    changed = float(relabelled.mean())
    if changed > max(shown.relabelled, 1 / len(gaps)):
        raise ParityError(
            f"The stored model and torch give {changed:.2%} of the {shown.rows} different labels "
            f"(allowed: {shown.relabelled:.2%})."
        )
    return found | {"relabelled": changed, "relabelled_allowed": shown.relabelled}
