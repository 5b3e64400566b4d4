"""A workaround for "RuntimeError: operator torchvision::nms does not exist".

torchvision from PyPI is compiled for the CUDA build of torch. With a CPU build of torch its compiled operators
cannot be loaded, and importing torchvision, and so fastai and transformers, fails on the first of them,
non-maximum suppression. Nothing here detects objects, so it is enough that the names exist. If torchvision
works, or is not installed, this does nothing. (pytorch/pytorch#122494, pytorch/vision#9174)
"""

import importlib.util
from pathlib import Path

import torch

_library: torch.library.Library | None = None  # the definitions live as long as this object


def define_missing() -> bool:
    """Define torchvision's operators if its compiled ones cannot be loaded; return True if it did."""
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
