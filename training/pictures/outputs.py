"""Compute the outputs of networks for pictures, in torch or as they are exported."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.config import MODEL
from shared.session import Session
from training import export
from training.learner import choose_mixed_precision
from training.pictures.batches import INPUT, make_batches, normalise

FEW_PIXELS = 5_000_000  # which torch computes in less time than an export takes


def run_session(
    session: Session, names: Sequence[str], pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[NDArray[np.float32]]:
    """Return the named outputs of an exported model for uint8 pictures."""
    made = make_batches(pictures, mean, std)
    batches = [session.run_once(names, {session.inputs[0]: batch[INPUT]}) for batch in made]
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def compute_outputs(
    module: nn.Module, *parts: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[list[torch.Tensor]]:
    """Return the outputs of a module in evaluation mode: for each part, a list of float32 tensors on the CPU.

    On a CPU the module is exported and run by ONNX Runtime, unless the pictures are few; on a GPU, torch runs it in
    mixed precision.

    Args:
        module: a module that can be traced and returns a tuple.
        parts: uint8 pictures, each part (n, 3, height, width), all of the same size.
        mean: mean of each channel, from 0 to 1.
        std: standard deviation of each channel.
    """
    module.eval()
    pixels = sum(part[:, 0].numel() for part in parts)
    if next(module.parameters()).device.type == "cpu" and pixels > FEW_PIXELS:
        return run_exported(module, parts, mean, std)
    return [run_torch(module, pictures, mean, std) for pictures in parts]


@torch.inference_mode()
def run_torch(
    module: nn.Module, pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[torch.Tensor]:
    """Return the outputs of a module for uint8 pictures, run on its own device; on a CPU in float32."""
    device = next(module.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" and bool(choose_mixed_precision())):
        batches = [module(normalise(batch.to(device).float().div(255), mean, std)) for batch in pictures.split(64)]
    return [torch.cat(tensors).float().cpu() for tensors in zip(*batches, strict=True)]


def run_exported(
    module: nn.Module, parts: Sequence[torch.Tensor], mean: Sequence[float], std: Sequence[float]
) -> list[list[torch.Tensor]]:
    """Return the outputs of a module for uint8 pictures, exported to ONNX once for all parts."""
    example = torch.zeros(2, *parts[0].shape[1:])
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        names = [f"output{index}" for index in range(len(module(example)))]
        export.write_onnx(module, Path(folder) / MODEL, {INPUT: example}, names)
        session = Session(Path(folder) / MODEL, threads=torch.get_num_threads())
        found = []
        for pictures in parts:
            found.append([torch.from_numpy(array) for array in run_session(session, names, pictures, mean, std)])
            if any(len(tensor) != len(pictures) for tensor in found[-1]):
                raise RuntimeError(f"The traced {type(module).__name__} returns another number of rows than it gets.")
    return found
