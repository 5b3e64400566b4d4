"""A cure for "RuntimeError: operator torchvision::nms does not exist".

torchvision from PyPI is compiled for the CUDA build of torch. Beside a CPU build its compiled operators
cannot be loaded, and importing torchvision (so fastai and transformers, too) fails on the first of them,
non-maximum suppression. Nothing here detects objects, so it is enough that the names exist. Where
torchvision is healthy, or absent, this does nothing. (pytorch/pytorch#122494, pytorch/vision#9174)
"""

import importlib.util
from pathlib import Path

import torch

_library: torch.library.Library | None = None  # the definitions live as long as this object


def ensure() -> bool:
    """Define torchvision's missing operators if its compiled ones cannot be loaded; True if it had to."""
    global _library  # noqa: PLW0603
    spec = importlib.util.find_spec("torchvision")
    if _library or spec is None or spec.origin is None:
        return False
    for compiled in Path(spec.origin).parent.glob("_C*.*"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            continue
        return False
    _library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return True
