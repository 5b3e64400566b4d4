"""Coordinate several processes, as started by `accelerate launch -m training.cat_dog`.

Every process runs the same script and trains on its share of every batch (training/distributed.py). Only the first
prints, saves states, measures, writes and publishes; the others exit after the last fit, with code 0. In a single
process these functions do nothing special.
"""

import os
import sys
from collections.abc import Callable
from typing import Any


def get_world_size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def get_rank() -> int:
    """Return the number of this process, counted from 0."""
    return int(os.environ.get("RANK", "0"))


def connect() -> None:
    """Connect the processes, assign each a GPU if there are any, and silence all but the first."""
    if get_world_size() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
        if get_rank():
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends


def run_once_per_host(make: Callable[[], Any]) -> None:
    """Call `make`, which writes files for all, in the first process of each host while the others wait."""
    if get_world_size() == 1:
        make()
        return
    from accelerate import PartialState

    if PartialState().is_local_main_process:
        make()
    PartialState().wait_for_everyone()


def broadcast(value: Any) -> Any:
    """Return the value of the first process in every process."""
    if get_world_size() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def end_other_processes() -> None:
    """End all processes but the first.

    Raises:
        SystemExit: in the others, with exit code 0.
    """
    if get_world_size() == 1:
        return
    from accelerate import PartialState

    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()
    if get_rank():
        raise SystemExit(0)
    del os.environ["WORLD_SIZE"], os.environ["RANK"]  # else fastai would wait for the others
