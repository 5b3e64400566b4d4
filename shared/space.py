"""Load the model of a Space: from the Hub if a variable names one, else from the Space's own folder."""

import contextlib
import functools
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from .config import CONFIG_FILE, MODEL, GalleryConfig, list_visible
from .console import guarded_output
from .errors import CheckpointError, HubError
from .hub import download, run_in_background, wait_for
from .load import find_predictor_type, load_folder

DEADLINE = 4.0  # seconds; a visitor is waiting for the page
EXAMPLES = "examples"  # a folder of pictures, in a checkpoint folder or a Space's folder
EMOJIS = {
    "image-classification": "🖼️", "image-segmentation": "🎨", "text-classification": "💬",
    "tabular-classification": "📊", "tabular-regression": "📈", "recommendation": "⭐",
}  # fmt: skip
APPS = {"tabular-regression": "tabular-classification"}  # tasks without an app of their own: the task that has it

_replacement: ContextVar[Path | None] = ContextVar("replacement", default=None)


@contextlib.contextmanager
def replace_model(folder: str | Path) -> Iterator[None]:
    """Let an app that is loaded in this block serve the model in this checkpoint folder instead of its own.

    Args:
        folder: a checkpoint folder for the task of the app.
    """
    token = _replacement.set(Path(folder))
    try:
        yield
    finally:
        _replacement.reset(token)


def find_checkpoints(place: Path) -> list[Path]:
    """Return the checkpoint folders in a folder, also damaged ones; or the folder itself, if it is one."""
    if (place / CONFIG_FILE).is_file():
        return [place]
    return [path for path in list_visible(place) if (path / CONFIG_FILE).exists() or (path / MODEL).exists()]


def find_app(spaces: Iterable[Path], task: str) -> Path | None:
    """Return the first Space's folder whose app shows models for a task, as its own model is; or None."""
    for folder in spaces:
        with contextlib.suppress(CheckpointError):
            if GalleryConfig.read_common(folder / "model").task == APPS.get(task, task):
                return folder
    return None


def list_examples(folder: Path, config: GalleryConfig) -> list[Path]:
    """Return the pictures to try in a checkpoint folder, of those that its gallery.json lists."""
    found = [folder / name for name in sorted(config.files) if name.startswith(f"{EXAMPLES}/")]
    return [path for path in found if path.is_file()]


def find_examples(space: Path, model: Any, of_space: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Return pictures to try, as (name, path): those published with the model, named by their files.

    If there are none, and the model has the labels of the model in the Space's folder, return the Space's.

    Args:
        space: the Space's folder.
        model: the model that it serves.
        of_space: names and paths of the Space's pictures; those that are missing are left out.
    """
    found = list_examples(Path(model.folder), model.config)
    has_same_labels = False
    with contextlib.suppress(CheckpointError):
        of_demo = GalleryConfig.read_common(space / "model")
        if has_same_labels := of_demo.labels == model.config.labels:
            found = found or list_examples(space / "model", of_demo)
    if found:
        return [(path.stem.replace("-", ", "), str(path)) for path in found]
    return [(name, path) for name, path in of_space if has_same_labels and Path(path).is_file()]


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
    Space cat_dog in the gallery. If the Hub's model does not arrive in a few seconds and no version of it is in the
    cache, or if it is damaged or for another task, the model in the folder is used, and its `origin` tells visitors
    why. In a block of `replace_model`, the model in that folder is loaded.

    Raises:
        CheckpointError: the model in the folder is needed but missing or damaged.
    """
    if replacement := _replacement.get():
        return open_folder(replacement)
    folder = Path(folder)
    name = folder.resolve().parent.name
    began, futures = start_downloads()
    suffix = make_variable_suffix(name) if make_variable_suffix(name) in futures else ""
    if suffix not in futures:
        return open_folder(folder)
    repo = os.environ[f"MODEL_REPO{suffix}"]
    try:
        revision = os.environ.get(f"MODEL_REVISION{suffix}") or None
        pulled = wait_for(futures[suffix], began + DEADLINE, repo, revision)
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


def open_folder(folder: Path) -> Any:
    """Load a model from a checkpoint folder; fail now, not at the first request, if it does not run.

    Raises:
        CheckpointError: the folder is missing or damaged.
    """
    model = load_folder(folder)
    model.session.open()
    return model
