"""Keep a GPU busy: graphs of kernels, no reading of losses at each step, and faster dilated convolutions."""

import time
from functools import partial

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.learner import AvgSmoothLoss, Learner
from torch import nn
from torch.nn import functional as F

BETWEEN_READINGS = 0.5  # seconds between two readings of the loss for the progress bar


class CaptureGraph(Callback):
    """Capture a network's forward and backward pass on a GPU as CUDA graphs, for training batches of one shape.

    A small network is limited by the launches of its kernels, which a graph replaces by one. Validation runs the
    network as it is.
    """

    order = MixedPrecision.order - 1  # its own autocast must not cache weights

    def before_fit(self) -> None:
        """Begin without a graph."""
        self.is_captured = False

    def before_batch(self) -> None:
        """Capture the network with the first batch; what that does to its buffers is undone."""
        if self.is_captured or not self.training:
            return
        model, inputs = self.model, tuple(tensor.clone() for tensor in self.xb)
        buffers = [buffer.clone() for buffer in model.buffers()]
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
        with torch.autocast("cuda", half, cache_enabled=False):
            torch.cuda.make_graphed_callables(model, inputs, allow_unused_input=True)
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        self.is_captured = True

    def after_fit(self) -> None:
        """Give the network its own forward pass back."""
        self.model.__dict__.pop("forward", None)


class SmoothLoss(AvgSmoothLoss):
    """fastai's smoothed loss, kept on the device: to read it at every step would make the CPU wait for a GPU."""

    def accumulate(self, learn: Learner) -> None:
        """Add the loss of a batch."""
        self.count += 1
        loss = learn.loss.detach().mean().float()
        self.val = torch.lerp(loss, self.val.to(loss.device), self.beta)  # type: ignore[has-type]


class PatientProgress(ProgressCallback):
    """fastai's progress bar, which reads the loss only twice a second."""

    def before_fit(self) -> None:
        """Show the bar."""
        self.read = 0.0
        super().before_fit()

    def after_batch(self) -> None:
        """Move the bar on."""
        if time.monotonic() - self.read > BETWEEN_READINGS:
            super().after_batch()
            self.read = time.monotonic()


def avoid_waiting(learn: Learner) -> None:
    """Replace the parts of a Learner that read the loss from the GPU at every step."""
    learn.recorder.smooth_loss = SmoothLoss()
    for bar in [callback for callback in learn.cbs if type(callback) is ProgressCallback]:
        learn.remove_cb(bar)
        learn.add_cb(PatientProgress())


class InterleaveDilated(Callback):
    """Run dilated depthwise convolutions as plain ones on interleaved parts, for which a GPU has fast kernels."""

    def before_fit(self) -> None:
        """Replace their forward pass."""
        self.changed = [module for module in self.model.modules() if is_dilated_depthwise(module)]
        for module in self.changed:
            module.forward = partial(convolve_interleaved, module)

    def after_fit(self) -> None:
        """Give them their own forward pass back."""
        for module in self.changed:
            module.__dict__.pop("forward", None)


def is_dilated_depthwise(module: nn.Module) -> bool:
    """Return True for a dilated depthwise convolution with equal dilations and no stride."""
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels
        and module.dilation[0] == module.dilation[1] > 1
        and module.stride == (1, 1)
    )


def convolve_interleaved(layer: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    """Return what a dilated depthwise convolution returns, computed without dilation.

    With a dilation of 2 the rows and columns 0, 2, 4, … never meet the rows and columns 1, 3, 5, …: the features
    (n, channels, height, width) are four smaller ones. If a side is not a multiple of the dilation, the layer runs
    as it is.
    """
    step, (count, channels, height, width) = layer.dilation[0], features.shape
    padding = [side // step if isinstance(side, int) else side for side in layer.padding]
    if height % step or width % step or any(side % step for side in layer.padding if isinstance(side, int)):
        return layer._conv_forward(features, layer.weight, layer.bias)
    parts = features.reshape(count, channels, height // step, step, width // step, step)
    parts = parts.permute(0, 3, 5, 1, 2, 4).flatten(0, 2).contiguous(memory_format=torch.channels_last)
    found = F.conv2d(parts, layer.weight, layer.bias, padding=padding, groups=layer.groups)
    found = found.unflatten(0, (count, step, step)).permute(0, 3, 4, 1, 5, 2)
    return found.flatten(2, 3).flatten(3, 4).contiguous(memory_format=torch.channels_last)
