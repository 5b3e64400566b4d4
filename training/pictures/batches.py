"""Batches of pictures in memory, augmented and normalised on their device."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device
from numpy.typing import NDArray
from torch import nn

from training.learner import RowLoader, send_rows

INPUT = "pixel_values"  # the input name that transformers.js expects


class PictureLoader(RowLoader):
    """Batches of pictures in memory, uint8 (n, 3, height, width), and of their targets.

    On a GPU all tensors stay in its memory, so that training does not wait for decoding or copying. `augment` gets the
    pictures of a batch, as floats from 0 to 1, and its other tensors, and returns them. Then mean and std are applied.
    """

    def __init__(
        self,
        *tensors: torch.Tensor,
        bs: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Callable[..., tuple[torch.Tensor, ...]] | None = None,
        **kwargs: Any,
    ) -> None:
        device = default_device()
        super().__init__(*(tensor.to(device) for tensor in tensors), bs=bs, device=device, **kwargs)
        self.mean, self.std = (torch.tensor(values, device=device) for values in (mean, std))
        self.augment = augment

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return the rows with these indices, augmented."""
        rows = send_rows(indices, self.tensors[0].device)
        pictures, *rest = (tensor[rows] for tensor in self.tensors)
        floats = pictures.float().div_(255)
        if self.augment:
            floats, *rest = self.augment(floats, *rest)
        return (normalise(floats, self.mean, self.std), *rest)


class FrozenBatchNorm(Callback):
    """Keep the pretrained statistics of BatchNorm: those of a small data set are worse.

    fastai's train_bn=False does not hold once a layer is unfrozen.
    """

    order = 5  # after TrainEvalCallback has set training mode

    def before_train(self) -> None:
        """Put every BatchNorm into evaluation mode; its weights are still trained."""
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def normalise(
    pictures: torch.Tensor, mean: Sequence[float] | torch.Tensor, std: Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """Normalise pictures from 0 to 1 by channel; return them in the channels-last memory format.

    On a GPU, give mean and std as tensors there, so that it need not wait for them.
    """
    centre, spread = (torch.as_tensor(values, device=pictures.device).view(1, 3, 1, 1) for values in (mean, std))
    return ((pictures - centre) / spread).contiguous(memory_format=torch.channels_last)


def make_batches(
    pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float], size: int = 16
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield uint8 pictures as batches of inputs for an exported model."""
    for part in pictures.split(size):
        yield {INPUT: normalise(part.float().div(255), mean, std).numpy()}
