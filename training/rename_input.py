"""Rename the only input of a stored model to the name that transformers.js expects.

    python -m training.rename_input FOLDER pixel_values

Nothing else in the graph changes, so the answers stay identical. It needs onnx, but not torch.
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
    """Rename the input of a folder's model; update its hash in gallery.json and its card.

    Args:
        folder: a checkpoint folder whose model has one input.
        name: the input's new name.

    Returns:
        The name that the input had.

    Raises:
        DataError: the model has several inputs, or the new name is taken.
        CheckpointError: this is not a checkpoint folder.
    """
    folder = Path(folder)
    config, path = read_json(folder), folder / MODEL
    model = onnx.load(path)
    if len(model.graph.input) != 1:
        raise DataError(
            f"{path} has {len(model.graph.input)} inputs; only the input of a model with one input can be renamed."
        )
    before = model.graph.input[0].name
    taken = {value for node in model.graph.node for value in (*node.input, *node.output)}
    if name != before and name in taken | {tensor.name for tensor in model.graph.initializer}:
        raise DataError(f"{path} already has a value named {name!r}.")
    model.graph.input[0].name = name
    for node in model.graph.node:
        for index, value in enumerate(node.input):
            if value == before:
                node.input[index] = name
    onnx.checker.check_model(model)
    onnx.save(model, path)
    config["files"][MODEL] |= fingerprint(path)
    write_json(folder / CONFIG_FILE, config)
    write_card(folder)
    return before


def main() -> int:
    """Rename from the command line; return the exit code."""
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
