"""Store a trained model as ONNX: compare it with torch, and keep its accuracy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from shared.config import MODEL
from shared.metrics import Figure, Parity
from shared.predictor import Predictor
from training.export import store, store_float, store_half, store_int8, store_int8_products, write_onnx
from training.parity import ParityError, Shown, check_parity

Form = Callable[[onnx.ModelProto], onnx.ModelProto]
WEIGHTS: dict[Form, str] = {
    store_float: "float32", store_half: "float16", store_int8: "int8 and float16", store_int8_products: "int8",
}  # fmt: skip


@dataclass(frozen=True)
class Export:
    """A trained network, ready to be stored.

    Attributes:
        module: the module to trace: calibrated, in evaluation mode, on the CPU.
        inputs: an example of each input by name, in the order of the module's arguments.
        outputs: names of the module's outputs, in order.
        store: shrinks the ONNX model: store_half, store_int8 or store_int8_products.
        batches: real inputs, on which the stored model is compared with torch.
        shown: what users see of the first output, and limits on its changes.
        tolerance: largest difference allowed after storing, for all outputs or for each; see check_parity.
        fields: the task's own fields of gallery.json.
        predictor: the class that serves it, if not the recipe's.
        free_axes: dynamic axes of inputs and outputs; the first of each by default.
        tolerance_float: largest difference allowed before storing, for all outputs.
        save: writes the other files of the folder: torch weights, tokenizer, tables, examples.
        notes: sentences for the card on how the model was trained.
        exact: the module before its weights were rounded; its score is compared with the stored model's.
        uncalibrated: maps calibrated probabilities to those from before calibration.
        measured: what training measured, for `measure`; its figures are added to the others.
    """

    module: nn.Module
    inputs: Mapping[str, torch.Tensor]
    outputs: Sequence[str]
    store: Callable[[onnx.ModelProto], onnx.ModelProto]
    batches: Sequence[Mapping[str, NDArray[Any]]]
    shown: Shown
    tolerance: float | Sequence[float]
    fields: Mapping[str, Any]
    predictor: type[Predictor[Any, Any, Any]] | None = None
    free_axes: Mapping[str, Mapping[int, str]] | None = None
    tolerance_float: float = 1e-3
    save: Callable[[Path], None] = lambda _: None
    notes: tuple[str, ...] = ()
    exact: nn.Module | None = None
    uncalibrated: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)


def store_model(
    exported: Export,
    folder: Path,
    config: Callable[[], object],
    validate: Callable[[str, str], list[Figure]],
    limits: tuple[float, float],
) -> tuple[Parity, Parity, list[Figure]]:
    """Write the ONNX file of a checkpoint folder. What int8 changes too much is stored in a larger form.

    Args:
        exported: what to store.
        folder: the checkpoint folder.
        config: writes gallery.json, which has the hash of the ONNX file.
        validate: returns the score of the stored model on validation data, if there are any, as a figure with this name
            and these words about the weights.
        limits: how far the score may fall, and how many answers may become wrong in any case.

    Returns:
        How it differed from torch before storing, and how as stored, and the scores of both on the validation data.

    Raises:
        ParityError: it differs too much, or loses accuracy.
    """
    write = partial(
        write_onnx, path=folder / MODEL, inputs=exported.inputs, outputs=exported.outputs,
        free_axes=exported.free_axes,
    )  # fmt: skip
    exact = exported.exact or exported.module
    write(exact)
    config()
    before = validate("validation_float32", "with float32 weights")

    def store_as(form: Form, module: nn.Module) -> tuple[Parity, Parity, list[Figure]]:
        compare = partial(check_parity, module, folder / MODEL, exported.batches, exported.outputs)
        write(module)
        parity_float = compare(exported.tolerance_float)
        store(folder / MODEL, form)
        parity = compare(exported.tolerance, exported.shown)
        config()
        after = validate("validation", "as stored")
        check_cost([*before, *after], *limits)
        return parity_float, parity.model_copy(update={"weights": WEIGHTS.get(form)}), [*before, *after]

    form = exported.store
    while True:
        try:
            return store_as(form, exact if form is store_half else exported.module)
        except ParityError as error:
            if form in (store_half, store_float):
                raise
            form = store_int8 if form is store_int8_products else store_half
            print(f"That changes the answers too much, so the model is stored in a larger form. ({error})")


def check_cost(figures: Sequence[Figure], most: float, max_answers_lost: float) -> None:
    """Check that storing the weights costs little accuracy on validation data.

    Args:
        figures: the scores before and after storing, or none.
        most: how far the score may fall.
        max_answers_lost: how many answers may become wrong in any case.

    Raises:
        ParityError: the score falls further.
    """
    if not figures:
        return
    before, after = figures
    if before.value - after.value > max(most, max_answers_lost / before.count):
        raise ParityError(
            f"Storing the weights lowers the score on {before.count:,} validation inputs from {before.value:.4f} to "
            f"{after.value:.4f}."
        )
