"""Find pretrained networks on the Hub, also during a rehearsal with a local Hub, which has none."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from shared.hub_errors import NETWORK, find_causes, find_refusal, make_one_line
from training.data import DataError

PUBLIC_HUB = "https://huggingface.co"
RETRYING = "huggingface_hub.utils._http"  # the logger of repeated requests
LOCAL = ("127.0.0.1", "localhost", "::1")
DESCRIPTIONS = ("*.json", "*.txt", "*.model")  # config and tokenizer
WEIGHTS, OLD_WEIGHTS = "*.safetensors", "pytorch_model*.bin"


def find_pretrained(name: str) -> str:
    """Return where transformers finds a pretrained network: its name, or a local folder.

    If HF_ENDPOINT is a local Hub, for rehearsals, a network that is not there is downloaded from the public Hub,
    without a token, into the usual cache.

    Args:
        name: a folder or a Hub name.

    Raises:
        DataError: there is no such folder, or the local Hub does not have it and it cannot be downloaded from the
            public Hub.
    """
    if not Path(name).is_dir() and not is_hub_name(name):
        raise DataError(f"There is no folder {name}; name an existing one, or a model on the Hub, with --init.")
    if Path(name).is_dir() or urlsplit(constants.ENDPOINT).hostname not in LOCAL or is_there(name):
        return name
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "huggingface/hub"  # HF_HOME is another
    fetch = partial(
        snapshot_download, name, cache_dir=usual, endpoint=PUBLIC_HUB, token=False, ignore_patterns=["*/*"],
    )  # fmt: skip
    try:
        folder = fetch(allow_patterns=[*DESCRIPTIONS, WEIGHTS])
        if not any(Path(folder).glob(WEIGHTS)):
            folder = fetch(allow_patterns=[*DESCRIPTIONS, OLD_WEIGHTS])
    except Exception as error:  # any failure of the Hub, the network or the file system
        raise DataError(
            f"{name} is not on the Hub for rehearsals at {constants.ENDPOINT}, and cannot be downloaded from "
            f"{PUBLIC_HUB} ({type(error).__name__}); name a local folder with --init, or train without HF_ENDPOINT and "
            "publish afterwards."
        ) from error
    return str(folder)


def explain_unreachable(name: str, error: Exception) -> str | None:
    """Return what to do if a network could not be fetched because its Hub cannot be reached; None for other errors."""
    causes = [one for one in find_causes(error) if isinstance(one, NETWORK)]
    if not causes or find_refusal(error)[0] or Path(name).is_dir():
        return None
    folder, cause = name.rpartition("/")[2], f"{type(causes[-1]).__name__}: {make_one_line(causes[-1], 80)}"
    return (
        f"{urlsplit(constants.ENDPOINT).hostname} cannot be reached. Where there is a network: hf download {name} "
        f"--local-dir {folder}; then add --init {folder}. ({cause})"
    )


@contextmanager
def tell_retries_once() -> Iterator[None]:
    """Print one line in place of the Hub client's two on each attempt to reach the Hub; leave its other warnings."""
    logger = logging.getLogger(RETRYING)
    said: list[logging.LogRecord] = []

    def say_once(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if not text.startswith("Retrying in ") and "' thrown while requesting " not in text:
            return True
        if not said:
            print(f"{urlsplit(constants.ENDPOINT).hostname} does not answer; trying again for half a minute.")
        said.append(record)
        return False

    logger.addFilter(say_once)
    try:
        yield
    finally:
        logger.removeFilter(say_once)


def is_hub_name(name: str) -> bool:
    """Return True if a model on the Hub can have this name."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def is_there(name: str) -> bool:
    """Return True if the Hub at HF_ENDPOINT has a model of this name."""
    try:
        return HfApi(endpoint=constants.ENDPOINT).repo_exists(name)
    except Exception:  # the Hub does not run
        return False
