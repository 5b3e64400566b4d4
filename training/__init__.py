"""Training scripts, such as python -m training.salary. They need pip install -r requirements.txt."""

import importlib.util
import sys
import warnings

import shared  # noqa: F401 - switches ONNX Runtime's telemetry off before training/export.py imports it
from training import quick_help

LIGHT = ("training.card", "training.publish", "training.rename_input")  # modules that need no torch

if quick_help.is_help_asked():
    quick_help.skip_slow_packages()
elif importlib.util.find_spec("torch"):
    from training import torchvision_operators

    # fastai 2.8 hands pandas 3's read-only arrays to torch and does not write to them.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torchvision_operators.define_missing()  # before the first import of fastai, transformers or torchvision
elif any(argument.startswith("training.") and argument not in LIGHT for argument in sys.orig_argv):
    MISSING = "Training needs torch and fastai, which are not installed: pip install -r requirements.txt"
    if sys.argv[:1] == ["-m"]:  # as a command
        raise SystemExit(f"error: {MISSING}")
    raise ModuleNotFoundError(MISSING)
