"""Training scripts: python -m training.salary, python -m training.rating, ... (pip install -r requirements.txt)."""

import importlib.util
import warnings

if importlib.util.find_spec("torch") is None:
    raise ModuleNotFoundError(
        "Training needs torch and fastai, which are not installed: pip install -r requirements.txt"
    )

from training import torchvision_operators

# fastai 2.8 hands pandas 3's read-only arrays to torch and does not write to them.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
torchvision_operators.ensure()  # before the first import of fastai, transformers or torchvision
