"""Extend fastai's Learner for the recipes: data in memory, resumable runs, averaged weights, mixed precision."""

import contextlib
import gc
import math
import multiprocessing
import random
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fastai.callback.progress  # noqa: F401 - gives every Learner its bar
import fastai.callback.schedule  # noqa: F401 - gives every Learner fit_one_cycle
import numpy as np
import torch
from fastai.callback.core import Callback, CancelValidException
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.training import GradientAccumulation
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from fastai.torch_core import default_device, get_model, to_float
from fastcore.basics import noops
from torch import nn

from training import processes
from training.acceleration import CaptureGraph, avoid_waiting, choose_half_type
from training.states import (
    SECONDS,
    count_epochs,
    keep_finished,
    load_state,
    locate_state,
    note_device,
    read_finished,
    read_seconds_trained,
    write_whole,
)

PROCESS = 1_000_000  # added to the seed for each process
SMALLEST_BATCH = 2
BETWEEN_SAVES = 20.0  # seconds between two states of short epochs


def send_rows(indices: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return indices as a tensor on a device; from pinned memory, so that the CPU does not wait for a GPU."""
    rows = torch.tensor(indices, dtype=torch.long)
    return rows.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else rows.to(device)


class RowLoader(DataLoader):
    """Batches of rows of tensors in memory, indexed whole instead of collated row by row."""

    do_item = noops

    def __init__(self, *tensors: torch.Tensor, bs: int, **kwargs: Any) -> None:
        self.tensors = tensors
        super().__init__(range(len(tensors[0])), bs=bs, num_workers=0, **kwargs)

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return the rows with these indices."""
        return tuple(tensor[indices] for tensor in self.tensors)


def make_adamw(parameters: Any, lr: float) -> OptimWrapper:
    """Return torch's fused AdamW with fastai's settings.

    Unlike fastai's AdamW, it also decays biases and the weights of normalisation layers, by 0.01.
    """
    return OptimWrapper(
        parameters, torch.optim.AdamW, lr=lr, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01, fused=True
    )


class NoValidation(Callback):
    """Skip validation, for fits that train on every row."""

    def before_validate(self) -> None:
        """Skip the validation loop."""
        raise CancelValidException


def choose_loader_workers() -> int | None:
    """Return the number of worker processes that load data for a Learner; None for fastai's default.

    It is 0 where workers are spawned instead of forked, as on Windows and macOS: some of fastai's transforms cannot be
    pickled, and each worker would import torch again in every epoch.
    """
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return None if method == "fork" else 0


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # fastai draws from the global generator
    torch.manual_seed(seed)


class AverageWeights(Callback):
    """Keep an exponential moving average of all weights and buffers; validate with it, and end with it.

    The average of a network's weights over its last steps is better than the last ones (Polyak and Juditsky, 1992).
    It begins with a short memory, which grows to 1 / (1 - decay) steps.
    """

    order = 55  # its average is ready before KeepState saves it

    def __init__(self, decay: float) -> None:
        self.decay, self.steps, self.is_swapped = decay, 0, False
        self.average: dict[str, torch.Tensor] = {}

    def before_fit(self) -> None:
        """Begin with the network's weights, or continue with the average of a saved state."""
        state = get_model(self.model).state_dict()
        self.weights = {name: value.detach() for name, value in state.items() if value.is_floating_point()}
        kept = self.average or self.weights
        self.average = {name: kept[name].to(weight.device).clone() for name, weight in self.weights.items()}

    def after_step(self) -> None:
        """Move the average towards the weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - decay)

    def before_validate(self) -> None:
        """Put the average into the network."""
        self.swap()

    def after_validate(self) -> None:
        """Put the weights back, also if validation was cancelled."""
        if self.is_swapped:
            self.swap()

    def after_fit(self) -> None:
        """Leave the average in the network."""
        self.swap()

    def swap(self) -> None:
        """Exchange the average and the weights, both in place."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                before = weight.clone()
                weight.copy_(self.average[name])
                self.average[name].copy_(before)
        self.is_swapped = not self.is_swapped


class KeepState(Callback):
    """Save model and optimiser after each epoch, and draw each epoch's random numbers from its own seed.

    An epoch then does not depend on how many ran before it in the same process, so a resumed run ends with the same
    weights as an uninterrupted one. Of short epochs, one in BETWEEN_SAVES seconds and the last one are saved.
    """

    order = 65  # after the progress bar, before fastai skips the epochs already done

    def __init__(self, folder: Path, seed: int, start_epoch: int, average: AverageWeights | None = None) -> None:
        self.folder, self.seed, self.start_epoch, self.average = folder, seed, start_epoch, average
        self.began = time.monotonic() - read_seconds_trained(folder)
        self.saved = -BETWEEN_SAVES

    def before_epoch(self) -> None:
        """Seed this epoch."""
        seed = self.seed * 1000 + self.epoch
        set_seed(seed + PROCESS * processes.get_rank())
        loader = self.dls.train
        getattr(loader, "dl", loader).rng = random.Random(seed)  # in several processes, the rng of the shared loader

    def after_epoch(self) -> None:
        """Save the state; if that fails, print a message and go on training."""
        is_due = time.monotonic() - self.saved >= BETWEEN_SAVES or self.epoch + 1 == self.n_epoch
        if self.epoch < self.start_epoch or processes.get_rank() or not is_due:
            return
        try:
            self.save()
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError if the disk is full
            print(
                f"The state after epoch {self.epoch + 1} could not be saved in {self.folder} ({error}); --resume will "
                f"continue after epoch {count_epochs(self.folder)}."
            )
        self.saved = time.monotonic()

    def save(self) -> None:
        """Save the state, and delete the one before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = count_epochs(self.folder)
        seconds = str(time.monotonic() - self.began)
        write_whole(self.folder / SECONDS, lambda path: path.write_text(seconds, encoding="utf-8", newline="\n"))
        content = {"model": get_model(self.model).state_dict(), "opt": make_plain(self.opt.state_dict())}
        if self.average:
            content |= {"average": self.average.average, "steps": self.average.steps}
        write_whole(locate_state(self.folder, self.epoch + 1), partial(torch.save, content))
        if before:
            locate_state(self.folder, before).unlink(missing_ok=True)


def make_plain(state: Any) -> Any:
    """Return the state of an optimiser without fastai's lists and numpy's numbers, which torch would not load."""
    if isinstance(state, dict):
        return {name: make_plain(value) for name, value in state.items()}
    if isinstance(state, Sequence) and not isinstance(state, str):
        return [make_plain(value) for value in state]
    return state.item() if isinstance(state, np.generic) else state


def use_all_processes(learn: Learner) -> AbstractContextManager[None]:
    """Return a context in which a Learner trains in all processes."""
    if processes.get_world_size() == 1:
        return nullcontext()
    from training import distributed  # loads Accelerate

    return distributed.use_all_processes(learn)


@dataclass(frozen=True)
class Run:
    """One training run: the folder of its states, its seed, whether it resumes, and whether it measures at the end."""

    state: Path
    seed: int
    resume: bool
    measures: bool = True

    def fit(
        self,
        learn: Learner,
        name: str,
        schedule: partial[None],
        *,
        seed: int | None = None,
        again: bool = False,
        average: float | None = None,
        captured: bool = False,
    ) -> None:
        """Train, saving the state after each epoch; if the run resumes, continue from the newest state.

        Several processes use the states of the first, and each trains on its share of every batch.

        Args:
            learn: the fastai Learner.
            name: name of this fit and of the folder of its states, which is emptied unless resuming.
            schedule: called with start_epoch= and cbs=, such as partial(learn.fit_one_cycle, 8, 3e-3).
            seed: the run's by default; epoch n uses seed * 1000 + n.
            again: continue from the last complete epoch even if not resuming, as after running out of memory.
            average: decay of the moving average of the weights, such as 0.999; None for the last weights.
            captured: capture the network as CUDA graphs on a GPU; all training batches must have one shape.
        """
        if not processes.get_rank():
            note_device(self.state)
        state = self.state / name
        done = count_epochs(state) if self.resume or again else 0
        done, kept = processes.broadcast((done, locate_state(state, done).read_bytes() if done else b""))
        averaged = AverageWeights(average) if average is not None else None
        if done:
            learn.create_opt()
            saved = load_state(locate_state(state, done), learn.dls.device, kept)
            get_model(learn.model).load_state_dict(saved["model"])
            learn.opt.load_state_dict(saved["opt"])
            if averaged:
                averaged.average, averaged.steps = saved["average"], saved["steps"]
        else:
            processes.run_once_per_host(partial(shutil.rmtree, state, ignore_errors=True))
        chosen = self.seed if seed is None else seed
        callbacks: list[Callback] = [KeepState(state, chosen, done, averaged), *([averaged] if averaged else [])]
        if processes.get_world_size() == 1:  # several processes must gather their losses at each step
            avoid_waiting(learn)
            callbacks += [CaptureGraph()] * (captured and torch.cuda.is_available())
        with use_all_processes(learn):
            schedule(start_epoch=done, cbs=callbacks)

    def restore(self, network: nn.Module) -> tuple[str, ...] | None:
        """Load the finished weights if this run resumes and has them; return their notes, or None if it has none."""
        finished = read_finished(self.state) if self.resume else None
        if finished is None:
            return None
        weights, notes = finished
        network.load_state_dict(weights)
        return notes

    def keep(self, network: nn.Module, notes: tuple[str, ...] = ()) -> None:
        """Save the finished weights, with notes on the training, so that --resume skips the training."""
        if not processes.get_rank():
            keep_finished(self.state, network.state_dict(), notes)


class CpuBfloat16(Callback):
    """Mixed precision for CPUs with bfloat16 instructions; fastai's MixedPrecision needs a GPU."""

    order = MixedPrecision.order

    def before_fit(self) -> None:
        """Keep modules in float32 that are slow in bfloat16."""
        self.in_float32 = [module for module in self.model.modules() if is_slow_in_bfloat16(module)]
        for module in self.in_float32:
            module.forward = partial(run_without_autocast, module.forward)

    def after_fit(self) -> None:
        """Restore the modules."""
        for module in self.in_float32:
            del module.forward

    def before_batch(self) -> None:
        """Enter autocast."""
        self.autocast = contextlib.ExitStack()
        self.autocast.enter_context(torch.autocast("cpu", torch.bfloat16))

    def after_pred(self) -> None:
        """Compute the loss in float32."""
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        """Leave autocast; the backward pass uses the types of the forward pass."""
        self.autocast.close()

    def after_cancel_batch(self) -> None:
        """Leave autocast if the batch is cancelled; closing it twice is harmless."""
        self.autocast.close()


def is_slow_in_bfloat16(module: nn.Module) -> bool:
    """Return True for a strided or dilated depthwise convolution, assumed slow in bfloat16 on a CPU."""
    return isinstance(module, nn.Conv2d) and module.groups > 1 and max(*module.stride, *module.dilation) > 1


def run_without_autocast(forward: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """Run a module's forward pass in float32."""
    with torch.autocast("cpu", enabled=False):
        return forward(features.float())


def choose_mixed_precision() -> list[Callback]:
    """Return the callback for mixed precision on a GPU or a CPU with bfloat16 instructions, else none."""
    if torch.cuda.is_available():
        return [MixedPrecision(AMPMode.BF16 if choose_half_type() == torch.bfloat16 else AMPMode.FP16)]
    if torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_avx512_bf16_supported():
        return [CpuBfloat16()]
    return []


def retry_with_smaller_batches(
    train: Callable[[int, list[Callback], bool], Any], batch: int, at_once: int | None = None
) -> Any:
    """Call train(batch size, callbacks, False); if the GPU runs out of memory, try again with half the batch size.

    The callbacks accumulate gradients over equal parts, as few as fit, for each step of the optimiser. Together they
    differ from `batch` by at most half an item per part. The
    last argument is true in a later call, which then continues from the last saved state.

    Args:
        train: trains with batches of a size.
        batch: number of items for each step.
        at_once: on a CPU, a batch is divided into parts of at most so many items, which take less memory.

    Raises:
        torch.OutOfMemoryError: the smallest batch does not fit, or there are several processes.
    """
    most, is_again = batch, False
    if at_once and default_device().type == "cpu" and processes.get_world_size() == 1:
        most = min(batch, at_once)
    while True:
        parts = math.ceil(batch / most)
        size = round(batch / parts)
        if is_again:
            print(f"Out of GPU memory: continuing with batches of {size}, {parts} per step.")
        try:
            return train(size, [GradientAccumulation(parts * size)] if parts > 1 else [], is_again)
        except torch.OutOfMemoryError:
            if most // 2 < SMALLEST_BATCH or processes.get_world_size() > 1:
                raise
            leave_autocast()
        most, is_again = most // 2, True
        gc.collect()
        torch.cuda.empty_cache()


def leave_autocast() -> None:
    """Leave the autocast that an exception in mid-batch left on, and drop its cached bfloat16 weights."""
    for device in ("cuda", "cpu"):
        if torch.is_autocast_enabled(device):
            torch.set_autocast_enabled(device, False)
            torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()
