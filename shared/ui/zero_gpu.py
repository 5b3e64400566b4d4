"""Register an unused GPU function, without which ZeroGPU does not start an app; the models run on the CPU."""

import contextlib
import importlib


def never_called() -> None:
    """Serve as the function that ZeroGPU looks for."""


with contextlib.suppress(ImportError):
    # Elsewhere, `spaces` may be this repository's folder.
    if gpu := getattr(importlib.import_module("spaces"), "GPU", None):
        gpu(duration=1)(never_called)
