"""Store a trained model as ONNX: compare it with torch, and keep its accuracy."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from torch import nn

from shared.config import MODEL
from shared.metrics import Figure, Parity
from training.export import store, store_float, store_half, store_int8, store_int8_products, write_onnx
from training.parity import ParityError, check_parity

if TYPE_CHECKING:
    from training.recipe import Export

Form = Callable[[onnx.ModelProto], onnx.ModelProto]
WEIGHTS: dict[Form, str] = {
    store_float: "float32", store_half: "float16", store_int8: "int8 and float16", store_int8_products: "int8",
}  # fmt: skip


def store_model(
    exported: "Export",
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
