"""Parity: how far the stored model is from torch on real inputs, and how far it may be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.metrics import Parity
from shared.session import Session

TYPICAL = 0.999  # the share of rows that differ by no more than the typical difference


@dataclass(frozen=True)
class Shown:
    """What people see of a model's first output, and how much of it may change when the model is stored.

    Attributes:
        name: what it is, such as "probability".
        view: makes it out of the output: an array whose axis 1 is the classes, or one value for each row.
        inputs: what the model is given, such as "frames".
        rows: what gets a label, such as "pixels".
        typical: 99.9 % of the rows may differ by no more than this, in the value that differs most.
        relabelled: the share of rows whose likeliest class may change, or one row; None where there are no classes.
    """

    name: str
    view: Callable[[NDArray[Any]], NDArray[Any]]
    inputs: str
    rows: str
    typical: float
    relabelled: float | None = None


def parity(
    module: torch.nn.Module,
    path: Path,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    outputs: Sequence[str],
    tolerance: float | Sequence[float],
    shown: Shown | None = None,
) -> Parity:
    """Compare torch with the stored ONNX file on real rows, in every output.

    Args:
        module: the trained module.
        path: the stored ONNX file.
        batches: rows for both, in batches that fit into memory.
        outputs: names, in the file, of the module's first outputs.
        tolerance: largest absolute difference allowed, of any output or of each.
        shown: what people see of the first output; it is compared in the output's place, and more closely.

    Returns:
        What metrics.json keeps of it.

    Raises:
        RuntimeError: a difference is above what is allowed; nothing should be written then.
    """
    module.eval()
    session = Session(path)
    largest, typical, relabelled = [], [], []
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
    differences = np.max(largest, axis=0)  # NaN where any is
    if not (differences <= np.asarray(tolerance)).all():
        raise RuntimeError(f"The exported model differs from torch by {differences.max():.2g} (allowed: {tolerance}).")
    found: dict[str, Any] = {
        "rows": sum(len(next(iter(inputs.values()))) for inputs in batches),
        "output": shown.name if shown else ", ".join(outputs),
        "largest_difference": float(differences[0] if shown else differences.max()),
        "tolerance": tolerance,
    }
    if shown:
        found |= how_much_changes(shown, np.concatenate(typical), np.concatenate(relabelled) if relabelled else None)
    if len(differences) > 1:
        found["by_output"] = dict(zip(outputs, differences.tolist(), strict=False))
    return Parity(**found)


def how_much_changes(
    shown: Shown, gaps: NDArray[np.floating[Any]], relabelled: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """What metrics.json keeps of the rows' differences, (rows,), and of whether their likeliest class changes, (rows,).

    Raises:
        RuntimeError: either is above what is allowed.
    """
    typical = float(np.quantile(gaps, TYPICAL))
    if not typical <= shown.typical:
        raise RuntimeError(
            f"For 99.9 % of the {shown.rows} the stored model's {shown.name} may differ from torch's by at most "
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
        raise RuntimeError(
            f"The stored model gives {changed:.2%} of the {shown.rows} another label than torch "
            f"(allowed: {shown.relabelled:.2%})."
        )
    return found | {"relabelled": changed, "relabelled_allowed": shown.relabelled}
