"""Training scripts, such as python -m training.salary. They need pip install -r requirements.txt."""

import importlib.util
import sys
import warnings

from training import quick_help

LIGHT = ("training.card", "training.publish")  # modules that need no torch
OURS = ("shared", "training", "hub")


def refuse(missing: str) -> ModuleNotFoundError:
    """Return the error about a missing package; end the process with it if it is a command, python -m training.…"""
    text = (
        f"This Python ({sys.executable}) has no {missing}, which training needs: activate the environment that has it "
        "(source .venv/bin/activate), or install it and the others (pip install -r requirements.txt)."
    )
    if sys.argv[:1] == ["-m"]:
        raise SystemExit(f"error: {text}")
    return ModuleNotFoundError(text)


try:
    import shared  # noqa: F401 - switches ONNX Runtime's telemetry off before training/export.py imports it
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in OURS:
        raise
    raise refuse(str(error.name)) from error
if quick_help.is_help_asked():
    quick_help.skip_slow_packages()
elif importlib.util.find_spec("torch"):
    from training import torchvision_operators

    # fastai 2.8 hands pandas 3's read-only arrays to torch and does not write to them.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torchvision_operators.define_missing()  # before the first import of fastai, transformers or torchvision
elif any(argument.startswith("training.") and argument not in LIGHT for argument in sys.orig_argv):
    raise refuse("torch")
