"""Models of the gallery, ready to answer: numpy and ONNX Runtime, nothing of torch.

>>> from shared import Salary
>>> Salary.from_pretrained("spaces/salary/model").predict(person).probabilities
"""

import os

# Since 1.29 ONNX Runtime sends usage data to its makers, and keeps an identifier in the home folder, unless told not to
# before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from shared.cat_dog import CatDog
from shared.errors import BadInput, CheckpointError, HubError
from shared.rating import Rating, Visitor
from shared.salary import Salary
from shared.segmentation import Segmentation
from shared.sentiment import Sentiment

__version__ = "0.1.0"

__all__ = [
    "PREDICTORS",
    "BadInput",
    "CatDog",
    "CheckpointError",
    "HubError",
    "Rating",
    "Salary",
    "Segmentation",
    "Sentiment",
    "Visitor",
    "__version__",
]

PREDICTORS = {kind.name: kind for kind in (CatDog, Segmentation, Sentiment, Salary, Rating)}
