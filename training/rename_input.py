"""Rename the one input of a stored model, as transformers.js wants it.

    python -m training.rename_input FOLDER pixel_values

Nothing else of the graph changes, so the answers stay the same to the last bit. It needs onnx, no torch.
"""

import argparse
import sys
from pathlib import Path

import onnx

from shared.config import CONFIG_FILE, MODEL, fingerprint, read_json
from shared.errors import CheckpointError
from training.card import write_card, write_json
from training.data import DataError


def rename_input(folder: str | Path, name: str) -> str:
    """Rename the input of a folder's model, bring its entry in gallery.json up to date, and write its card again.

    Args:
        folder: a checkpoint folder whose model has one input.
        name: the input's new name.

    Returns:
        The name that the input had.

    Raises:
        DataError: the model has several inputs, or something else in it has the new name.
        CheckpointError: there is no checkpoint folder.
    """
    folder = Path(folder)
    contract, path = read_json(folder), folder / MODEL
    model = onnx.load(path)
    if len(model.graph.input) != 1:
        raise DataError(f"{path} has {len(model.graph.input)} inputs; this renames the input of a model that has one.")
    before = model.graph.input[0].name
    taken = {value for node in model.graph.node for value in (*node.input, *node.output)}
    if name != before and name in taken | {tensor.name for tensor in model.graph.initializer}:
        raise DataError(f"Something in {path} is called {name!r} already.")
    model.graph.input[0].name = name
    for node in model.graph.node:
        for index, value in enumerate(node.input):
            if value == before:
                node.input[index] = name
    onnx.checker.check_model(model)
    onnx.save(model, path)
    contract["files"][MODEL] |= fingerprint(path)
    write_json(folder / CONFIG_FILE, contract)
    write_card(folder)
    return before


def main() -> int:
    """Rename from the command line; what a person can mend ends in one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m training.rename_input",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="a checkpoint folder, such as spaces/cat_dog/model")
    parser.add_argument("name", help="the input's new name")
    options = parser.parse_args()
    try:
        print(f"{rename_input(options.folder, options.name)} is now {options.name}.")
    except (DataError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
