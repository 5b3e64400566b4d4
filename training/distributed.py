"""Train in several processes with fastai and Accelerate, on the same batches as in one process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fastai.distributed import DistributedDL
from fastai.learner import Learner

from training import processes
from training.data import DataError


class Share(DistributedDL):
    """A loader with one process's share of every batch: each of three processes gets every third row.

    The batches, their order and the number of steps are those of one process, so the same learning rates fit. fastai's
    own loader divides all rows among the processes before it makes batches, so batches grow with the number of
    processes, there may be one fewer than announced, and texts of similar length no longer share a batch. It also
    needs GPUs.
    """

    def __len__(self) -> int:
        return len(self.dl)

    def get_idxs(self) -> list[int]:
        """Return the indices of all rows, in the same order in every process, since KeepState seeds each epoch."""
        return self.dl.get_idxs()

    def create_batches(self, samples: Any) -> Iterator[Any]:
        """Yield this process's rows of each batch."""
        for rows in self.dl.chunkify(map(self.dl.do_item, samples)):
            yield self.dl.do_batch(rows[self.rank :: self.world_size])


@contextmanager
def use_all_processes(learn: Learner) -> Iterator[None]:
    """Make a Learner train in all processes; each validates on all rows, for exact figures.

    Raises:
        DataError: there are more processes than rows in a batch.
    """
    train, *rest = whole = learn.dls.loaders
    if train.bs < processes.get_world_size():
        raise DataError(f"{processes.get_world_size()} processes cannot share batches of {train.bs}; start fewer.")
    learn.dls.loaders = [Share(train), *(Share(loader, rank=0, world_size=1) for loader in rest)]
    try:
        with learn.distrib_ctx(sync_bn=torch.cuda.is_available()):  # torch has no synchronised BatchNorm for CPUs
            yield
    finally:
        learn.dls.loaders = whole
