"""Load the model of a Space: from the Hub if a variable names one, else from the Space's own folder."""

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

DEADLINE = 4.0  # seconds; a visitor is waiting for the page


@functools.cache
def start_downloads() -> tuple[float, dict[str, "Future[Path]"]]:
    """Start the downloads of all models named in MODEL_REPO and MODEL_REPO_….

    They run in parallel, so that a gallery waits for a slow Hub only once.

    Returns:
        The start time (time.monotonic), and the downloads by the suffixes of the variables.
    """
    futures = {}
    for variable, repo in os.environ.items():
        if (match := re.fullmatch("MODEL_REPO(_[A-Z0-9_]+)?", variable)) and repo:
            suffix = match[1] or ""
            revision = os.environ.get(f"MODEL_REVISION{suffix}") or None
            futures[suffix] = run_in_background(functools.partial(download, repo, revision))
    return time.monotonic(), futures


def make_variable_suffix(name: str) -> str:
    """Return the suffix of a Space's variables in the gallery: "_CAT_DOG" for "cat_dog"."""
    return "_" + re.sub("[^A-Z0-9]+", "_", name.upper())


def load_space_model(folder: str | Path) -> Any:
    """Load the model of a Space: from the Hub if MODEL_REPO names one, else from the folder.

    MODEL_REPO and MODEL_REVISION apply to a standalone Space, MODEL_REPO_CAT_DOG and MODEL_REVISION_CAT_DOG to the
    Space cat_dog in the gallery. If the Hub's model does not arrive in a few seconds, is damaged, or is for another
    task, the model in the folder is used, and its `origin` tells visitors why.

    Args:
        folder: the checkpoint folder inside the Space's own folder.

    Raises:
        CheckpointError: the model in the folder is needed but missing or damaged.
    """
    folder = Path(folder)
    name = folder.resolve().parent.name
    began, futures = start_downloads()
    suffix = make_variable_suffix(name) if make_variable_suffix(name) in futures else ""
    if suffix not in futures:
        model = load_model(folder)
        model.session.open()  # fail now, not at the first request
        return model
    repo = os.environ[f"MODEL_REPO{suffix}"]
    try:
        pulled = futures[suffix].result(max(0.0, began + DEADLINE - time.monotonic()))
        model = find_predictor_type(folder)(pulled)  # raises if the task differs
        model.predict_batch([model.example()])  # fail now if the model does not run
        model.origin = f"This page runs {repo} from the Hub, commit {pulled.name[:7]}."
        return model
    except Late:
        reason = f"{repo} did not arrive from the Hub within {DEADLINE:.0f} s; the next start tries again."
    except HubError as error:
        reason = str(error)
    except Exception as error:  # the page must start even if the Hub's model fails in an unexpected way
        logging.error("%s cannot serve: %s", repo, error, exc_info=not isinstance(error, CheckpointError))
        reason = f"{repo} is not a model that this page can use; the log says why."
    with guarded_output():
        print(f"{name}: serving the model in its folder. {reason}", flush=True)
    model = load_folder(folder)
    model.origin = f"This page runs its built-in model. {reason}"
    return model
