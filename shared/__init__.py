"""Run the gallery's models with numpy and ONNX Runtime; torch is not needed.

>>> from shared import load_model
>>> load_model("spaces/cat_dog/model").predict("photo.jpg").probabilities
"""

import os

# ONNX Runtime 1.29 and later sends usage data to Microsoft and stores an identifier in the home folder. It must be
# switched off before the first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from .errors import BadInput, CheckpointError, HubError
from .image_classifier import ImageClassifier
from .image_segmenter import ImageSegmenter
from .load import PREDICTORS, load_model
from .recommender import Recommender
from .tabular_classifier import TabularClassifier
from .tabular_regressor import TabularRegressor
from .text_classifier import TextClassifier
from .visitors import Visitor

__version__ = "0.2.0"

__all__ = [
    "PREDICTORS",
    "BadInput",
    "CheckpointError",
    "HubError",
    "ImageClassifier",
    "ImageSegmenter",
    "Recommender",
    "TabularClassifier",
    "TabularRegressor",
    "TextClassifier",
    "Visitor",
    "__version__",
    "load_model",
]
