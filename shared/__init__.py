"""Run the gallery's models with numpy and ONNX Runtime; torch is not needed.

>>> from shared import load_model  # where the package is installed: from model_gallery import load_model
>>> load_model("spaces/cat_dog/model").predict("photo.jpg").probabilities
"""

import os

# ONNX Runtime 1.29 and later sends usage data to Microsoft and stores an identifier in the home folder. It must be
# switched off before the first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from .errors import BadInput, CheckpointError, HubError
from .image_classifier import ImageClassifier, ImageClassifierExplanation, ImageClassifierPrediction
from .image_segmenter import ImageSegmenter, ImageSegmenterExplanation, ImageSegmenterPrediction
from .load import PREDICTORS, load_model
from .predictor import Prediction, Predictor
from .recommender import Recommender, RecommenderExplanation, RecommenderPrediction
from .tabular_classifier import TabularClassifier, TabularClassifierExplanation, TabularClassifierPrediction
from .tabular_regressor import TabularRegressor, TabularRegressorExplanation, TabularRegressorPrediction
from .text_classifier import TextClassifier, TextClassifierExplanation, TextClassifierPrediction
from .visitors import Visitor

__version__ = "0.2.0"

__all__ = [
    "PREDICTORS",
    "BadInput",
    "CheckpointError",
    "HubError",
    "ImageClassifier",
    "ImageClassifierExplanation",
    "ImageClassifierPrediction",
    "ImageSegmenter",
    "ImageSegmenterExplanation",
    "ImageSegmenterPrediction",
    "Prediction",
    "Predictor",
    "Recommender",
    "RecommenderExplanation",
    "RecommenderPrediction",
    "TabularClassifier",
    "TabularClassifierExplanation",
    "TabularClassifierPrediction",
    "TabularRegressor",
    "TabularRegressorExplanation",
    "TabularRegressorPrediction",
    "TextClassifier",
    "TextClassifierExplanation",
    "TextClassifierPrediction",
    "Visitor",
    "__version__",
    "load_model",
]
