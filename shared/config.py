"""gallery.json: everything that serving needs besides the weights, and the SHA-256 of every file that it reads.

Training writes it into the checkpoint folder (training/folder.py); a predictor reads and validates it.
"""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import BadInput, CheckpointError

CONFIG_FILE = "gallery.json"
MODEL = "onnx/model.onnx"
LARGEST_CONFIG = 10_000_000  # bytes of gallery.json, also in spaces/browser/js/checkpoint.js
METRICS = "metrics.json"
CARD = "README.md"
HUB_CONFIG = "config.json"  # the Hub counts requests of this file as downloads
RENAMED = {  # fields of format 1 and their names in format 2
    "known_threshold": "in_distribution_threshold",
    "prose_mean": "in_distribution_mean",
    "prose_spread": "in_distribution_spread",
    "clear_from": "min_clear_probability",
}
LICENCE = "LICENSE.md"  # the Hub links to a file of this name as the licence


# Only these files and those listed in gallery.json are uploaded. The last two occur in older folders.
DOC_FILES = (CONFIG_FILE, CARD, LICENCE, "NOTICE.md", "PROVENANCE.md")


class StrictModel(BaseModel):
    """Base class of everything in gallery.json and metrics.json: no unknown fields, no NaN, and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(StrictModel):
    """The expected size and SHA-256 of one file in the folder."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]
    optional: bool = False  # such as weights for torch, which serving does not need

    def matches(self, path: Path) -> bool:
        """Return True if the file exists and its size and SHA-256 match."""
        return path.is_file() and path.stat().st_size == self.bytes and sha256(path) == self.sha256


class Dataset(StrictModel):
    """A data set used for training or measuring, with its licence in one sentence; `hub` is its name on the Hub."""

    name: str
    url: str
    licence: str
    citation: str
    hub: str | None = None


class About(StrictModel):
    """The description of a model, shown by the Space and in the model card.

    `licence` is a Hub licence identifier ("cc-by-4.0", "other"), `licence_name` its name in words. `base_model` is
    the Hub name of the pretrained network, and `language` is the language code of labels and texts, such as "en".
    """

    title: str
    summary: str
    intended_use: str
    limits: tuple[str, ...]
    licence: str
    licence_name: str
    datasets: tuple[Dataset, ...]
    base_model: str | None = None
    language: str | None = None


class GalleryConfig(StrictModel):
    """The fields of gallery.json that every model has; each predictor adds its own in a subclass.

    `task` selects the predictor class (see shared/load.py), `label_names` maps labels to display names, `created` is a
    time in UTC (ISO 8601), and `versions` maps each package to the version used for the export. Files of format 1 are
    also accepted.
    """

    format: Literal[2]
    task: str
    labels: tuple[str, ...] = ()
    label_names: dict[str, str] = {}
    about: About
    created: str
    versions: dict[str, str]
    files: dict[str, FileEntry]

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        return self

    def get_label_name(self, label: str) -> str:
        """Return the display name of a label."""
        return self.label_names.get(label, label)

    @classmethod
    def read(cls, folder: str | Path, needed: Sequence[str] = (MODEL, METRICS)) -> Self:
        """Read and check a checkpoint folder.

        Args:
            folder: the checkpoint folder.
            needed: files that must exist and be listed with their hashes.

        Raises:
            CheckpointError: the folder or gallery.json is missing, a field is invalid (the message names it), or a
                file is missing or differs from its SHA-256.
        """
        folder = Path(folder)
        config = cls._validate(folder, read_json(folder))
        for name in needed:
            if name not in config.files or config.files[name].optional:
                raise CheckpointError(f"{folder / CONFIG_FILE}: field 'files': {name} is not listed; export it again.")
        config._check_files(folder)
        return config

    @staticmethod
    def read_common(folder: str | Path) -> "GalleryConfig":
        """Read the fields that models of all tasks have in common; no other file is checked.

        Raises:
            CheckpointError: the folder or gallery.json is missing, or a field is invalid.
        """
        content = read_json(Path(folder))
        common = {name: value for name, value in content.items() if name in GalleryConfig.model_fields}
        return GalleryConfig._validate(Path(folder), common)

    @classmethod
    def _validate(cls, folder: Path, content: dict[str, Any]) -> Self:
        path = folder / CONFIG_FILE
        try:
            config = cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise CheckpointError(f"{path}: field {field!r}: {first['msg']}; export the model again.") from error
        for name in config.files:
            # Windows rules cover every way to leave the folder: "..", "/", "C:" and "\\\\server".
            if PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts or "\\" in name:
                raise CheckpointError(f"{path}: field 'files': {name!r} lies outside the folder.")
        return config

    def _check_files(self, folder: Path) -> None:
        for name, entry in self.files.items():
            path = folder / name
            if not path.is_file():
                if entry.optional:
                    continue
                raise CheckpointError(f"{path} is missing; copy or download the model again.")
            if not entry.matches(path):
                raise CheckpointError(
                    f"{path} is damaged (its SHA-256 is not the one in {CONFIG_FILE}); copy or download it again."
                )


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Convert the errors of reading a checkpoint folder, or a file in it, to a CheckpointError that names it."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        why = str(error).rstrip(".") if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path} cannot be read ({why}); export the model again.") from error


def read_json(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's gallery.json.

    Raises:
        CheckpointError: the file cannot be read, or is not a JSON object.
    """
    path = folder / CONFIG_FILE
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file; give the checkpoint folder that contains it.")
    if not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {str(folder)!r}.")
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise CheckpointError(f"{path} is larger than {LARGEST_CONFIG / 1e6:.0f} MB; export the model again.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        nearby = f"; did you mean {folder / 'model'}?" if (folder / "model" / CONFIG_FILE).is_file() else "."
        raise CheckpointError(f"{folder} is not a checkpoint folder: it has no {CONFIG_FILE}{nearby}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); export the model again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object; export the model again.")
    return upgrade(content)


def upgrade(content: dict[str, Any]) -> dict[str, Any]:
    """Convert the content of a gallery.json from format 1 to format 2; return any other content unchanged."""
    if content.get("format") != 1:
        return content
    renamed = {RENAMED.get(name, name): value for name, value in content.items() if name != "model"}
    task = "recommendation" if content.get("model") == "rating" else content.get("task")
    return renamed | {"format": 2, "task": task}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_visible(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without hidden files such as a Mac's .DS_Store; [] if there is no folder."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the fields of a FileEntry for a file: its SHA-256 and its size in bytes."""
    return {"sha256": sha256(path), "bytes": path.stat().st_size}
