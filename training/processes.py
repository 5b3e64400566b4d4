"""Divide the work among several processes, as `accelerate launch -m training.cat_dog` starts them.

Every process runs the same script and trains on its share of every batch (training/distributed.py). Only the first
one prints, keeps states, measures, writes and publishes; the others end after the last fit, with exit code 0. In a
single process these functions change nothing.
"""

import os
import sys
from collections.abc import Callable
from typing import Any


def count() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process, counted from 0."""
    return int(os.environ.get("RANK", "0"))


def meet() -> None:
    """Connect the processes, give each a GPU of its own where there are any, and silence all but the first."""
    if count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
        if rank():
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives


def once_on_host(make: Callable[[], Any]) -> None:
    """Call `make` in the first process of each host, while the others wait; it writes files that all of them read."""
    if count() == 1:
        make()
        return
    from accelerate import PartialState

    if PartialState().is_local_main_process:
        make()
    PartialState().wait_for_everyone()


def from_first(value: Any) -> Any:
    """Return the first process's value, in every process."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def only_first() -> None:
    """End all processes but the first.

    Raises:
        SystemExit: in the others, with exit code 0.
    """
    if count() == 1:
        return
    from accelerate import PartialState

    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()
    if rank():
        raise SystemExit(0)
    del os.environ["WORLD_SIZE"], os.environ["RANK"]  # fastai reads them, and would wait for the others
