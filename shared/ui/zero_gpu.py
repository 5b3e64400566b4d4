"""ZeroGPU starts no app without a function for its GPU. These models need none, and no visitor's quota."""

import contextlib
import importlib


def never_called() -> None:
    """Stand for the function that ZeroGPU looks for."""


with contextlib.suppress(ImportError):
    if gpu := getattr(importlib.import_module("spaces"), "GPU", None):  # off the Hub a folder may have that name
        gpu(duration=1)(never_called)
