"""What the recipes share around fastai's Learner: data in memory, runs that can resume, mixed precision."""

import contextlib
import gc
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
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
from fastai.learner import Learner, load_model, save_model
from fastai.optimizer import OptimWrapper
from fastai.torch_core import to_float
from fastcore.basics import noops
from torch import nn

from shared.config import sha256
from training import processes
from training.folder import check_writable
from training.record import training_device, training_versions

SECONDS = "seconds"  # file in a state's folder
PROCESS = 1_000_000  # between the seeds of two processes
SMALLEST_BATCH = 2


class RowLoader(DataLoader):
    """Batches of rows of tensors in memory, indexed whole instead of collated row by row."""

    do_item = noops

    def __init__(self, *tensors: torch.Tensor, bs: int, **kwargs: Any) -> None:
        self.tensors = tensors
        super().__init__(range(len(tensors[0])), bs=bs, num_workers=0, **kwargs)

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """The rows with these indices."""
        return tuple(tensor[indices] for tensor in self.tensors)


def adamw(parameters: Any, lr: float) -> OptimWrapper:
    """AdamW with fastai's settings in torch's fused form, which updates all parameters at once.

    Unlike fastai's, it decays the weights of normalisation and biases, too, by as little (0.01).
    """
    return OptimWrapper(
        parameters, torch.optim.AdamW, lr=lr, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01, fused=True
    )


class NoValidation(Callback):
    """For fits that use every row: there is nothing left to validate on."""

    def before_validate(self) -> None:
        """Skip the validation loop."""
        raise CancelValidException


def loader_workers() -> int | None:
    """Return the number of processes that may load data for a Learner; None leaves it to fastai.

    It is 0 where they would be spawned instead of forked, as on Windows and macOS: some of fastai's transforms cannot
    be sent to them, and each would import torch anew for every epoch.
    """
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return None if method == "fork" else 0


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # fastai draws from the global generator
    torch.manual_seed(seed)


class KeepState(Callback):
    """Save model and optimiser after each epoch, and draw each epoch's random numbers from its own seed.

    So an epoch does not depend on how many ran before it in the same process, and a resumed run ends where
    an uninterrupted one does.
    """

    order = 65  # after the progress bar, before fastai skips the epochs already done

    def __init__(self, folder: Path, seed: int, start_epoch: int) -> None:
        self.folder, self.seed, self.start_epoch = folder, seed, start_epoch
        self.began = time.monotonic() - seconds_trained(folder)

    def before_epoch(self) -> None:
        """Seed this epoch."""
        seed = self.seed * 1000 + self.epoch
        set_seed(seed + PROCESS * processes.rank())
        loader = self.dls.train
        getattr(loader, "dl", loader).rng = random.Random(seed)  # of several processes, the one that they share

    def after_epoch(self) -> None:
        """Save the state; where that fails, say so and train on."""
        if self.epoch < self.start_epoch or processes.rank():
            return
        temporary = self.folder / "unfinished"
        try:
            self.save(temporary)
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError where the disk is full
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            print(
                f"The state after epoch {self.epoch + 1} could not be kept in {self.folder} ({error}); --resume would "
                f"go on after epoch {epochs_done(self.folder)}."
            )

    def save(self, temporary: Path) -> None:
        """Save under a temporary name, then rename: an interruption never leaves half a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = epochs_done(self.folder)
        temporary.write_text(str(time.monotonic() - self.began), encoding="utf-8", newline="\n")
        temporary.replace(self.folder / SECONDS)
        save_model(temporary, self.model, self.opt)
        temporary.replace(state_file(self.folder, self.epoch + 1))
        if before:
            state_file(self.folder, before).unlink(missing_ok=True)


def state_file(folder: Path, epochs: int) -> Path:
    """Where the state after this many epochs is kept."""
    return folder / f"after-{epochs:04d}.pth"


def seconds_trained(folder: Path) -> float:
    """How long the states in a folder, and in those within it, took to train; epochs cut short do not count."""
    return sum(float(path.read_text(encoding="utf-8")) for path in folder.rglob(SECONDS))


def epochs_done(folder: Path) -> int:
    """How many epochs the newest state in a folder has behind it; 0 without one."""
    return max((int(path.stem.removeprefix("after-")) for path in folder.glob("after-*.pth")), default=0)


def fit(learn: Learner, schedule: Callable[..., None], state: Path, seed: int, resume: bool) -> None:
    """Train, keeping the state of each epoch in a folder; with `resume`, go on from the newest.

    In several processes the first one's states count, and each trains on its share of every batch.

    Args:
        learn: the fastai Learner.
        schedule: called with start_epoch= and cbs=, such as partial(learn.fit_one_cycle, 8, 3e-3).
        state: folder of this fit's own; emptied unless resuming.
        seed: of the run; epoch n draws from seed * 1000 + n.
        resume: go on from the newest state, if there is one.
    """
    done = epochs_done(state) if resume else 0
    done, kept = processes.from_first((done, state_file(state, done).read_bytes() if done else b""))
    if done:
        learn.create_opt()
        load_model(io.BytesIO(kept), learn.model, learn.opt)
    else:
        processes.once_on_host(partial(shutil.rmtree, state, ignore_errors=True))
    with in_all_processes(learn):
        schedule(start_epoch=done, cbs=[KeepState(state, seed, done)])


def in_all_processes(learn: Learner) -> AbstractContextManager[None]:
    """Within it, a Learner's fit takes all processes there are."""
    if processes.count() == 1:
        return nullcontext()
    from training import distributed  # which loads Accelerate

    return distributed.all_processes(learn)


@dataclass(frozen=True)
class Run:
    """One training: the folder of its states, its seed, and whether it goes on from them."""

    state: Path
    seed: int
    resume: bool

    def fit(
        self, learn: Learner, name: str, schedule: Callable[..., None], seed: int | None = None, again: bool = False
    ) -> None:
        """Train, keeping the state of each epoch; see `fit`.

        Args:
            learn: the fastai Learner.
            name: of this fit; its states are kept in a folder of that name.
            schedule: called with start_epoch= and cbs=, such as partial(learn.fit_one_cycle, 8, 3e-3).
            seed: by default the run's.
            again: go on from the last whole epoch although the run began anew, as after running out of memory.
        """
        fit(learn, schedule, self.state / name, self.seed if seed is None else seed, self.resume or again)


def state_folder(described: Mapping[str, Any], name: str, files: Sequence[Path], out: Path, resume: bool) -> Path:
    """Return the folder for the states of a run, outside the tree.

    It is the same for the same settings, code, training files, device and versions. It lies in the user's cache, or,
    where that cannot be written to, beside --out.

    Args:
        described: the settings that change something in training.
        name: of the demo or recipe.
        files: the training files; none for data that is made up.
        out: the checkpoint folder that is to be written.
        resume: whether the states there are will be used; else they are deleted.
    """
    code = sorted(Path(__file__).parent.rglob("*.py"))
    everything = {
        "settings": dict(described),
        "machine": (training_device(), training_versions()),  # so that what is recorded holds for all epochs
        "files": [(str(path.resolve()), path.stat().st_size) for path in files],
        "code": [sha256(path) for path in code],
    }
    key = hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()[:12]
    folder = state_place(out) / f"{name}-{key}"
    if resume and not folder.exists():
        print("There is no interrupted run with these options on this device; starting from the beginning.")
    elif not resume:
        processes.once_on_host(partial(shutil.rmtree, folder, ignore_errors=True))
    return folder


def state_place(out: Path) -> Path:
    """The folder that holds the states of all runs; says so if it is not the usual one."""
    usual, place = "the home folder", out.resolve().parent / ".model-gallery"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-gallery"
        usual = str(cache)
        check_writable(cache)
    except (OSError, RuntimeError) as error:  # a RuntimeError where there is no home at all
        reason = getattr(error, "strerror", None) or error
        print(f"{usual} cannot be written to ({reason}): the states that --resume needs are kept in {place}.")
        return place
    return cache


class CpuBfloat16(Callback):
    """fastai's MixedPrecision knows GPUs only; this is the same for a CPU with bfloat16 instructions."""

    order = MixedPrecision.order

    def before_fit(self) -> None:
        """Leave out what slow_in_bfloat16 names."""
        self.in_float32 = [module for module in self.model.modules() if slow_in_bfloat16(module)]
        for module in self.in_float32:
            module.forward = partial(without_autocast, module.forward)

    def after_fit(self) -> None:
        """Put everything back."""
        for module in self.in_float32:
            del module.forward

    def before_batch(self) -> None:
        """Compute in bfloat16 from here ..."""
        self.autocast = contextlib.ExitStack()
        self.autocast.enter_context(torch.autocast("cpu", torch.bfloat16))

    def after_pred(self) -> None:
        """... but the loss in float32."""
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        """The backward pass follows what the forward pass did."""
        self.autocast.close()

    def after_cancel_batch(self) -> None:
        """Leave autocast, however the batch ends; a second time does nothing."""
        self.autocast.close()


def slow_in_bfloat16(module: nn.Module) -> bool:
    """Whether a module is expected to be slow in bfloat16 on a CPU: a depthwise convolution with gaps is."""
    return isinstance(module, nn.Conv2d) and module.groups > 1 and max(*module.stride, *module.dilation) > 1


def without_autocast(forward: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """A module's forward pass in float32."""
    with torch.autocast("cpu", enabled=False):
        return forward(features.float())


def mixed_precision() -> list[Callback]:
    """The callback for mixed precision on a GPU, or on a CPU that computes bfloat16; none elsewhere."""
    if torch.cuda.is_available():
        return [MixedPrecision(AMPMode.BF16 if torch.cuda.is_bf16_supported(False) else AMPMode.FP16)]
    if torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_avx512_bf16_supported():
        return [CpuBfloat16()]
    return []


def with_smaller_batches(train: Callable[[int, list[Callback]], Any], batch: int) -> Any:
    """Call train(batch size, callbacks); out of GPU memory, try again with half the batch.

    The callbacks accumulate gradients, so that the optimiser still steps once in `batch` pictures.

    Raises:
        torch.OutOfMemoryError: not even the smallest batch fits, or there are several processes, which must agree.
    """
    size = batch
    while True:
        try:
            return train(size, [GradientAccumulation(batch)] if size < batch else [])
        except torch.OutOfMemoryError:
            if size // 2 < SMALLEST_BATCH or processes.count() > 1:
                raise
            leave_autocast()
        size //= 2
        print(f"Out of GPU memory: going on with batches of {size}, {batch // size} of them to a step.")
        gc.collect()
        torch.cuda.empty_cache()


def leave_autocast() -> None:
    """Undo what an exception in mid-batch leaves behind: autocast switched on, with copies of weights in bfloat16."""
    for device in ("cuda", "cpu"):
        if torch.is_autocast_enabled(device):
            torch.set_autocast_enabled(device, False)
            torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()
