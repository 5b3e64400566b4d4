"""Find and load pretrained networks of the Hub, also during a rehearsal with a local Hub, which has none."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from shared.hub_errors import NETWORK, find_causes, find_refusal, make_one_line
from training.data import DataError

PUBLIC_HUB = "https://huggingface.co"
RETRYING = "huggingface_hub.utils._http"  # the logger of repeated requests
LOCAL = ("127.0.0.1", "localhost", "::1")
DESCRIPTIONS = ("*.json", "*.txt", "*.model")  # config and tokenizer
WEIGHTS, OLD_WEIGHTS = "*.safetensors", "pytorch_model*.bin"
Pretrained = TypeVar("Pretrained", bound=PreTrainedModel)


def load_pretrained(architecture: type[Pretrained], name: str, new: Sequence[str] = (), **config: Any) -> Pretrained:
    """Load a network of transformers from a local folder or by its Hub name.

    Args:
        architecture: the class of the network.
        name: a folder or a Hub name.
        new: beginnings of the names of weights that it need not have.
        config: changes of its config.

    Raises:
        DataError: it cannot be loaded, has another architecture, or lacks weights.
    """
    place = check_pretrained(architecture, name)
    # Its report names the new layers as missing; `missing` below is what matters.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with tell_retries_once():
            network, found = architecture.from_pretrained(place, output_loading_info=True, **config)
        if missing := sorted(key for key in found["missing_keys"] if not key.startswith(tuple(new))):
            raise ValueError(f"it has no weights for {missing[0]}")  # transformers would make up random ones
    except Exception as error:  # any failure of the Hub, the network or the file system
        raise refuse_pretrained([architecture], name, error) from error
    loaded: Pretrained = network
    return loaded


def check_pretrained(architecture: type[PreTrainedModel], name: str) -> str:
    """Check that a pretrained network exists and has an architecture; return where transformers finds it.

    Raises:
        DataError: it cannot be found, or has another architecture.
    """
    return find_architecture([architecture], name)[1]


def find_architecture(architectures: Sequence[type[PreTrainedModel]], name: str) -> tuple[type[PreTrainedModel], str]:
    """Return which of these architectures a pretrained network has, and where transformers finds it.

    Raises:
        DataError: it cannot be found, or has another architecture.
    """
    place = find_pretrained(name)
    try:
        with tell_retries_once():
            found, _ = PretrainedConfig.get_config_dict(place)
        kinds = {architecture.config_class.model_type: architecture for architecture in architectures}
        if (kind := found.get("model_type")) not in kinds:  # transformers would only warn
            raise ValueError(f"it is a {kind or 'network of no known type'}")
    except Exception as error:  # any failure of the Hub, the network or the file system
        raise refuse_pretrained(architectures, name, error) from error
    return kinds[kind], place


def refuse_pretrained(architectures: Sequence[type[PreTrainedModel]], name: str, error: Exception) -> DataError:
    """Return the error about a pretrained network that cannot be used."""
    if unreachable := explain_unreachable(name, error):
        return DataError(unreachable)
    *others, last = [architecture.__name__ for architecture in architectures]
    accepted = f"{', '.join(others)} or {last}" if others else last
    return DataError(
        f"{name} could not be loaded as {accepted} ({error}); name a local folder or another model with --init."
    )


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
