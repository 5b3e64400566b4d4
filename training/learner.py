"""Extend fastai's Learner for the recipes: data in memory, resumable runs, mixed precision."""

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
from training.record import get_training_device, get_training_versions

SECONDS = "seconds"  # file with the training time, in a folder of states
PROCESS = 1_000_000  # added to the seed for each process
SMALLEST_BATCH = 2


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


class KeepState(Callback):
    """Save model and optimiser after each epoch, and draw each epoch's random numbers from its own seed.

    An epoch then does not depend on how many ran before it in the same process, so a resumed run ends with the same
    weights as an uninterrupted one.
    """

    order = 65  # after the progress bar, before fastai skips the epochs already done

    def __init__(self, folder: Path, seed: int, start_epoch: int) -> None:
        self.folder, self.seed, self.start_epoch = folder, seed, start_epoch
        self.began = time.monotonic() - read_seconds_trained(folder)

    def before_epoch(self) -> None:
        """Seed this epoch."""
        seed = self.seed * 1000 + self.epoch
        set_seed(seed + PROCESS * processes.get_rank())
        loader = self.dls.train
        getattr(loader, "dl", loader).rng = random.Random(seed)  # in several processes, the rng of the shared loader

    def after_epoch(self) -> None:
        """Save the state; if that fails, print a message and go on training."""
        if self.epoch < self.start_epoch or processes.get_rank():
            return
        temporary = self.folder / "unfinished"
        try:
            self.save(temporary)
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError if the disk is full
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            print(
                f"The state after epoch {self.epoch + 1} could not be saved in {self.folder} ({error}); --resume will "
                f"continue after epoch {count_epochs(self.folder)}."
            )

    def save(self, temporary: Path) -> None:
        """Save under a temporary name, then rename, so that an interruption leaves no partial file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = count_epochs(self.folder)
        temporary.write_text(str(time.monotonic() - self.began), encoding="utf-8", newline="\n")
        temporary.replace(self.folder / SECONDS)
        save_model(temporary, self.model, self.opt)
        temporary.replace(locate_state(self.folder, self.epoch + 1))
        if before:
            locate_state(self.folder, before).unlink(missing_ok=True)


def locate_state(folder: Path, epochs: int) -> Path:
    """Return the path of the state after this many epochs."""
    return folder / f"after-{epochs:04d}.pth"


def read_seconds_trained(folder: Path) -> float:
    """Return the seconds of training behind the states in a folder tree, without interrupted epochs."""
    return sum(float(path.read_text(encoding="utf-8")) for path in folder.rglob(SECONDS))


def count_epochs(folder: Path) -> int:
    """Return the number of epochs that the newest state in a folder was trained for; 0 without a state."""
    return max((int(path.stem.removeprefix("after-")) for path in folder.glob("after-*.pth")), default=0)


def fit(learn: Learner, schedule: Callable[..., None], state: Path, seed: int, resume: bool) -> None:
    """Train, saving the state after each epoch; with `resume`, continue from the newest state.

    Several processes use the states of the first, and each trains on its share of every batch.

    Args:
        learn: the fastai Learner.
        schedule: called with start_epoch= and cbs=, such as partial(learn.fit_one_cycle, 8, 3e-3).
        state: folder for the states of this fit; emptied unless resuming.
        seed: the run's seed; epoch n uses seed * 1000 + n.
        resume: continue from the newest state, if there is one.
    """
    done = count_epochs(state) if resume else 0
    done, kept = processes.broadcast((done, locate_state(state, done).read_bytes() if done else b""))
    if done:
        learn.create_opt()
        load_model(io.BytesIO(kept), learn.model, learn.opt)
    else:
        processes.run_once_per_host(partial(shutil.rmtree, state, ignore_errors=True))
    with use_all_processes(learn):
        schedule(start_epoch=done, cbs=[KeepState(state, seed, done)])


def use_all_processes(learn: Learner) -> AbstractContextManager[None]:
    """Return a context in which a Learner trains in all processes."""
    if processes.get_world_size() == 1:
        return nullcontext()
    from training import distributed  # loads Accelerate

    return distributed.use_all_processes(learn)


@dataclass(frozen=True)
class Run:
    """One training run: the folder of its states, its seed, and whether it resumes."""

    state: Path
    seed: int
    resume: bool

    def fit(
        self, learn: Learner, name: str, schedule: Callable[..., None], seed: int | None = None, again: bool = False
    ) -> None:
        """Train, saving the state after each epoch; see the function `fit`.

        Args:
            learn: the fastai Learner.
            name: name of this fit and of the folder of its states.
            schedule: called with start_epoch= and cbs=, such as partial(learn.fit_one_cycle, 8, 3e-3).
            seed: the run's by default.
            again: continue from the last complete epoch even if not resuming, as after running out of memory.
        """
        fit(learn, schedule, self.state / name, self.seed if seed is None else seed, self.resume or again)


def prepare_state_folder(
    described: Mapping[str, Any], name: str, files: Sequence[Path], out: Path, resume: bool
) -> Path:
    """Return the folder for the states of a run; delete old states unless resuming.

    It is the same for the same settings, code, training files, device and versions. It is in the user's cache, or
    beside --out if the cache is not writable.

    Args:
        described: the settings that affect training.
        name: name of the demo or recipe.
        files: the training files; none for made-up data.
        out: the checkpoint folder to write.
        resume: keep the states in the folder.
    """
    root = Path(__file__).parents[1]
    code = sorted(path for name in ("training", "shared") for path in (root / name).rglob("*.py"))
    everything = {
        "settings": dict(described),
        "machine": (get_training_device(), get_training_versions()),  # so that the record holds for all epochs
        "files": [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files],
        "code": [sha256(path) for path in code],
    }
    key = hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()[:12]
    folder = choose_state_place(out) / f"{name}-{key}"
    if resume and not folder.exists():
        print("No interrupted run has these options on this device; starting from the beginning.")
    elif not resume:
        processes.run_once_per_host(partial(shutil.rmtree, folder, ignore_errors=True))
    return folder


def choose_state_place(out: Path) -> Path:
    """Return the folder for the states of all runs; print it if it is not the user's cache."""
    usual, place = "the home folder", out.resolve().parent / ".model-gallery"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-gallery"
        usual = str(cache)
        check_writable(cache)
    except (OSError, RuntimeError) as error:  # a RuntimeError where there is no home at all
        reason = getattr(error, "strerror", None) or error
        print(f"{usual} is not writable ({reason}): the states for --resume are saved in {place}.")
        return place
    return cache


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
        return [MixedPrecision(AMPMode.BF16 if torch.cuda.is_bf16_supported(False) else AMPMode.FP16)]
    if torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_avx512_bf16_supported():
        return [CpuBfloat16()]
    return []


def retry_with_smaller_batches(train: Callable[[int, list[Callback]], Any], batch: int) -> Any:
    """Call train(batch size, callbacks); if the GPU runs out of memory, try again with half the batch size.

    The callbacks accumulate gradients, so that the optimiser still steps once for every `batch` items.

    Raises:
        torch.OutOfMemoryError: the smallest batch does not fit, or there are several processes.
    """
    size = batch
    while True:
        try:
            return train(size, [GradientAccumulation(batch)] if size < batch else [])
        except torch.OutOfMemoryError:
            if size // 2 < SMALLEST_BATCH or processes.get_world_size() > 1:
                raise
            leave_autocast()
        size //= 2
        print(f"Out of GPU memory: continuing with batches of {size}, {batch // size} per step.")
        gc.collect()
        torch.cuda.empty_cache()


def leave_autocast() -> None:
    """Leave the autocast that an exception in mid-batch left on, and drop its cached bfloat16 weights."""
    for device in ("cuda", "cpu"):
        if torch.is_autocast_enabled(device):
            torch.set_autocast_enabled(device, False)
            torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()
