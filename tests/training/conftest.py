"""The cure for torchvision (training/torchvision_operators.py) comes before any test module imports fastai."""

import importlib.util

if importlib.util.find_spec("torch"):
    import training  # noqa: F401
