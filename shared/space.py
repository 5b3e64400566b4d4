"""The model that a Space serves: from the Hub where a variable names one, else from the Space's own folder."""

import functools
import logging
import os
import re
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from pathlib import Path
from typing import Any

from .console import guarded_output
from .errors import CheckpointError, HubError
from .hub import download, run_in_background
from .load import find_predictor_type, load_folder, load_model

DEADLINE = 4.0  # seconds: a visitor waits for the page


@functools.cache
def start_downloads() -> tuple[float, dict[str, "Future[Path]"]]:
    """Begin to download all models that MODEL_REPO and MODEL_REPO_… name.

    Together, so that a gallery of five waits for a slow Hub only once.

    Returns:
        When the downloads began (time.monotonic), and the downloads by the ends of the variables' names.
    """
    futures = {}
    for variable, repo in os.environ.items():
        if (match := re.fullmatch("MODEL_REPO(_[A-Z0-9_]+)?", variable)) and repo:
            suffix = match[1] or ""
            revision = os.environ.get(f"MODEL_REVISION{suffix}") or None
            futures[suffix] = run_in_background(functools.partial(download, repo, revision))
    return time.monotonic(), futures


def make_variable_suffix(name: str) -> str:
    """Return what the variables of a Space end with in the gallery: "_CAT_DOG" for "cat_dog"."""
    return "_" + re.sub("[^A-Z0-9]+", "_", name.upper())


def load_space_model(folder: str | Path) -> Any:
    """Load the model that a Space serves: the Hub's where MODEL_REPO names one, else the one in its folder.

    MODEL_REPO and MODEL_REVISION hold for a Space that stands alone, MODEL_REPO_CAT_DOG and MODEL_REVISION_CAT_DOG
    for the Space cat_dog in the gallery. If the Hub's model cannot be had in a few seconds, is damaged, or is for
    another task, the one in the folder serves, and its `origin` says why, in a sentence for visitors.

    Args:
        folder: the checkpoint folder, which lies in the Space's own folder.

    Raises:
        CheckpointError: the model in the folder is needed, and is missing or damaged.
    """
    folder = Path(folder)
    name = folder.resolve().parent.name
    began, futures = start_downloads()
    suffix = make_variable_suffix(name) if make_variable_suffix(name) in futures else ""
    if suffix not in futures:
        model = load_model(folder)
        model.session.open()  # fails now, not at the first visitor, if the file is no model
        return model
    repo = os.environ[f"MODEL_REPO{suffix}"]
    try:
        pulled = futures[suffix].result(max(0.0, began + DEADLINE - time.monotonic()))
        model = find_predictor_type(folder)(pulled)  # a model for another task is refused: the page could not show it
        model.predict_batch([model.example()])  # whole files may hold nonsense, and the first visitor must not find out
        model.origin = f"This page runs {repo} from the Hub, commit {pulled.name[:7]}."
        return model
    except Late:
        reason = f"{repo} did not arrive from the Hub within {DEADLINE:.0f} s; the next start tries again."
    except HubError as error:
        reason = str(error)
    except Exception as error:  # whatever is wrong with a stranger's model, the page must be up
        logging.error("%s cannot serve: %s", repo, error, exc_info=not isinstance(error, CheckpointError))
        reason = f"{repo} is no model that this page can use; its log says why."
    with guarded_output():
        print(f"{name}: serving the embedded model. {reason}", flush=True)
    model = load_folder(folder)
    model.origin = f"This page runs the model that came with it. {reason}"
    return model
