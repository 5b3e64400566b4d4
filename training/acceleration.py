"""Keep a GPU busy: graphs of kernels, and no reading of the loss at each step."""

import time

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.learner import AvgSmoothLoss, Learner

BETWEEN_READINGS = 0.5  # seconds between two readings of the loss for the progress bar


def choose_half_type() -> torch.dtype:
    """Return the 16-bit type that the GPU computes with: bfloat16, or float16 on older ones."""
    return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16


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
        with torch.autocast("cuda", choose_half_type(), cache_enabled=False):
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
    vars(learn.recorder)["smooth_loss"] = SmoothLoss()  # fastai warns of an assignment after an earlier fit
    for bar in [callback for callback in learn.cbs if type(callback) is ProgressCallback]:
        learn.remove_cb(bar)
        learn.add_cb(PatientProgress())
