"""A fit in several processes: fastai's distributed training on Accelerate, with the batches of a single process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fastai.distributed import DistributedDL
from fastai.learner import Learner

from training import processes
from training.data import DataError


class Share(DistributedDL):
    """A process's share of every batch: one row in so many.

    fastai's own gives each process one long piece of all rows, cut into batches anew: batches are larger by the
    number of processes, may be one fewer than announced, and texts of like length no longer meet; and it needs
    GPUs. Here batches, their order and the steps are those of one process, and so are the rates that go with them.
    """

    def __len__(self) -> int:
        return len(self.dl)

    def get_idxs(self) -> list[int]:
        """All rows, in the same order in every process, since KeepState seeds each epoch."""
        return self.dl.get_idxs()

    def create_batches(self, samples: Any) -> Iterator[Any]:
        """This process's rows of each batch."""
        for rows in self.dl.chunkify(map(self.dl.do_item, samples)):
            yield self.dl.do_batch(rows[self.rank :: self.world_size])


@contextmanager
def all_processes(learn: Learner) -> Iterator[None]:
    """Within it, a Learner's fit takes all processes; each validates on all rows, which keeps the figures exact.

    Raises:
        DataError: there are more processes than rows in a batch.
    """
    train, *rest = whole = learn.dls.loaders
    if train.bs < processes.count():
        raise DataError(f"{processes.count()} processes cannot share batches of {train.bs}; start fewer.")
    learn.dls.loaders = [Share(train), *(Share(loader, rank=0, world_size=1) for loader in rest)]
    try:
        with learn.distrib_ctx(sync_bn=torch.cuda.is_available()):  # torch has no synchronised BatchNorm for CPUs
            yield
    finally:
        learn.dls.loaders = whole
