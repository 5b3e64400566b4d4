"""Load a model; the task in its gallery.json selects the class."""

import os
import re
from pathlib import Path
from typing import Any

from .config import GalleryConfig, explain_damage
from .errors import CheckpointError, HubError, quote
from .image_classifier import ImageClassifier
from .image_segmenter import ImageSegmenter
from .predictor import Predictor
from .recommender import Recommender
from .tabular_classifier import TabularClassifier
from .tabular_regressor import TabularRegressor
from .text import parse_number
from .text_classifier import TextClassifier

PREDICTORS: dict[str, type[Predictor[Any, Any, Any]]] = {
    kind.task: kind
    for kind in (ImageClassifier, ImageSegmenter, TextClassifier, TabularClassifier, TabularRegressor, Recommender)
}
URL = re.compile(r"[a-z][a-z0-9+.-]+://|(www\.)?(huggingface|hf)\.co/", re.IGNORECASE)  # does not match C:\


def load_model(
    source: str | Path,
    revision: str | None = None,
    token: str | None = None,
    deadline: float | None = None,
) -> Any:
    """Load a model from a checkpoint folder ("spaces/salary/model") or from the Hub ("user/salary").

    The class follows from the model's task, so a type checker takes it for Any. If you know the task, name the class
    instead: TabularClassifier.load("user/salary").

    Args:
        source: the folder; or the model's Hub name or address, such as "https://huggingface.co/user/salary". A Path is
            always a folder.
        revision: commit, branch or tag, only on the Hub. A commit that is in the cache needs no network.
        token: for a private model; by default the token of this machine's login.
        deadline: time limit for the download in seconds; by default 120.

    Returns:
        An ImageClassifier, ImageSegmenter, TextClassifier, TabularClassifier, TabularRegressor or Recommender.

    Raises:
        CheckpointError: the folder is missing, damaged or of another format, or an argument makes no sense.
        HubError: (a CheckpointError) the model cannot be loaded from the Hub: it does not exist, access is
            denied, or it does not arrive undamaged in time.
    """
    text = str(source)
    if deadline is not None and not parse_number(deadline) > 0:
        raise CheckpointError(f"deadline must be a number of seconds above 0, not {quote(deadline)}.")
    is_url = not isinstance(source, Path) and URL.match(text)
    if not is_url and (isinstance(source, Path) or not is_name(text)):
        folder = Path(os.path.expanduser(text))
        if not folder.exists():
            raise CheckpointError(
                f"There is no checkpoint folder {text!r}. Give a folder, or a model on the Hub, as in 'user/name'."
            )
        if revision:
            raise CheckpointError(f"{text!r} is a folder, which has no revisions; give none, or a model on the Hub.")
        return load_folder(folder)
    from . import hub  # noqa: PLC0415 - only models on the Hub need it

    try:
        seconds = hub.DEADLINE if deadline is None else parse_number(deadline)
        folder = hub.download(text, revision, token, deadline=seconds)
    except HubError as error:
        if is_url:
            raise
        raise HubError(f"{error} (There is no folder {text!r} here.)") from error.__cause__
    model = load_folder(folder)
    model.source = text, folder.name  # the commit, even if a branch was requested
    return model


def load_folder(folder: str | Path) -> Any:
    """Load a predictor from a checkpoint folder.

    Raises:
        CheckpointError: the folder is missing or damaged, or its task is unknown.
    """
    with explain_damage(Path(folder)):
        return find_predictor_type(folder)(folder)


def find_predictor_type(folder: str | Path) -> type[Predictor[Any, Any, Any]]:
    """Return the predictor class for a checkpoint folder.

    Raises:
        CheckpointError: gallery.json is missing or invalid, or its task is unknown.
    """
    task = GalleryConfig.read_common(folder).task
    if task not in PREDICTORS:
        raise CheckpointError(f"{folder} has a model for the unknown task {task!r}, not for {', '.join(PREDICTORS)}.")
    return PREDICTORS[task]


def is_name(source: str) -> bool:
    """Return True for a Hub name such as "user/name", unless a local folder "user" exists."""
    first, *rest = source.rstrip("/").split("/")
    return len(rest) == 1 and first not in ("", ".", "..", "~") and ":" not in first and not Path(first).is_dir()
