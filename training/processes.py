"""Several processes, as `accelerate launch -m training.cat_dog` starts them: who does what. Alone, nothing here acts.

Every process runs the same script and trains on its share of every batch (training/distributed.py). The first one
alone prints, keeps states, measures, writes and publishes; the others end, with exit code 0, after the last fit.
"""

import os
import sys
from collections.abc import Callable
from typing import Any


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process; that of the first is 0."""
    return int(os.environ.get("RANK", "0"))


def meet() -> None:
    """Connect to the others, take a GPU of this process's own if there are any, and be quiet unless it is the first."""
    if count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
        if rank():
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives


def once_on_host(make: Callable[[], Any]) -> None:
    """Let the first process of each host write files that the others there will read, too; they wait for it."""
    if count() == 1:
        make()
        return
    from accelerate import PartialState

    if PartialState().is_local_main_process:
        make()
    PartialState().wait_for_everyone()


def from_first(value: Any) -> Any:
    """What the first process has, in every process."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def only_first() -> None:
    """Go on with the first process alone: the others end here."""
    if count() == 1:
        return
    from accelerate import PartialState

    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()
    if rank():
        raise SystemExit(0)
    del os.environ["WORLD_SIZE"], os.environ["RANK"]  # by which fastai would go on asking the others
