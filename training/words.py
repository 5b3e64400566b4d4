"""The words of a model of one's own: options and about.yaml, which replace what a recipe writes by itself."""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

from shared.config import CONFIG_FILE, METRICS, About, GalleryConfig
from shared.errors import CheckpointError, quote
from shared.metrics import Metrics
from training.card import AUTHOR
from training.data import ABOUT, DataError
from training.description import NAMES, TERMS_OF_DATA, Description, make_title
from training.sentences import list_names, suggest

OPTIONS = ("title", "licence", "language")
CODE = re.compile("[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")  # of a language
LICENCES = {  # identifiers of the Hub and their names
    "apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause", "gpl-3.0": "GPL-3.0",
    "lgpl-3.0": "LGPL-3.0", "agpl-3.0": "AGPL-3.0", "mpl-2.0": "MPL-2.0", "unlicense": "Unlicense",
    "cc0-1.0": "CC0 1.0", "cc-by-4.0": "CC BY 4.0", "cc-by-sa-4.0": "CC BY-SA 4.0", "cc-by-nc-4.0": "CC BY-NC 4.0",
    "cc-by-nd-4.0": "CC BY-ND 4.0", "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0", "cc-by-nc-nd-4.0": "CC BY-NC-ND 4.0",
    "cc-by-3.0": "CC BY 3.0", "cc-by-sa-3.0": "CC BY-SA 3.0", "odc-by": "ODC-By", "odbl": "ODbL",
    "openrail": "OpenRAIL",
}  # fmt: skip
KEPT = ("title", "intended_use", "licence", "licence_name", "language", "datasets")
TEXTS = ("title", "summary", "intended_use", "licence", "licence_name", "base_model", "language", "notice")
LISTS = ("limits", "notes", "examples")  # of texts; a single text is a list of one
UNQUOTED = "YAML reads yes, no, numbers and dates as something else than text, unless they are in quotation marks."


def add_word_options(parser: argparse.ArgumentParser) -> None:
    """Add --title, --licence, --language and --about."""
    parser.add_argument("--title", metavar="TEXT", help="title of the page and the card (default: name of the data)")
    parser.add_argument("--licence", metavar="ID", help="licence of the model: a Hub identifier such as cc-by-4.0")
    parser.add_argument("--language", metavar="CODE", help="language of labels and texts, such as de")
    parser.add_argument("--about", metavar="FILE", help=f"words for page and card, as in spaces/*/{ABOUT}")


def read_words(options: argparse.Namespace, description: Description) -> dict[str, Any]:
    """Return the fields of about.yaml that a user gives for a model of their own; {} for a demo on its own data.

    In order of precedence: the options, the file of --about or an about.yaml beside the data, and the words that the
    model in --out was given before, if it was trained on data of the same name. Words that are kept are printed.

    Raises:
        DataError: the file cannot be read, or has an unknown or invalid field.
    """
    if not description.is_own:
        return {}
    path = find_about(options)
    given = {name: value for name in OPTIONS if (value := getattr(options, name, None))}
    words: dict[str, Any] = {}
    for layer in (read_about(path) if path else {}, given):
        words |= layer
        if "licence" in layer and "licence_name" not in layer:
            words |= name_licence(layer["licence"])
    folder = Path(options.measure or options.out)
    kept = {name: value for name, value in keep_words(folder, description.data).items() if name not in words}
    if kept and not options.measure:  # which changes no words
        print(f"Kept from the model in {folder}: {list_names(_show(*item) for item in kept.items())}.")
    words = kept | words
    if words.get("language") and not CODE.fullmatch(str(words["language"])):
        raise DataError(f"The language {quote(words['language'])} is not a code such as de, en or pt-BR.")
    return words


def _show(name: str, value: Any) -> str:
    """Return a field and its value for a sentence; of data sets, their names."""
    if name == "datasets":
        value = " and ".join(dataset["name"] for dataset in value)
    return f"{name.replace('_', ' ')} {quote(value)}"


def find_about(options: argparse.Namespace) -> Path | None:
    """Return the file of --about, or about.yaml beside or in the data, or None."""
    if chosen := getattr(options, "about", None):
        return Path(chosen)
    if not options.data:
        return None
    data = Path(options.data)
    beside = (data if data.is_dir() else data.parent) / ABOUT
    return beside if beside.is_file() else None


def read_about(path: Path) -> dict[str, Any]:
    """Read an about.yaml of which any field may be missing.

    Raises:
        DataError: it cannot be read, or has an unknown field or a value of the wrong type.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from error
    known = (*About.model_fields, "notice", "notes", *NAMES, "examples")
    if not isinstance(content, dict):
        raise DataError(f"{path} must have fields such as title: …; it may have {list_names(known)}.")
    unknown = [str(name) for name in content if name not in known]
    if unknown:
        hint = suggest(unknown[0], known, "field")
        raise DataError(f"{path} has the unknown field {quote(unknown[0])}.{hint} It may have {list_names(known)}.")
    return {name: _check_field(path, name, value) for name, value in content.items() if value is not None}


def _check_field(path: Path, name: str, value: Any) -> Any:
    """Return the value of a field, a single text as a list where the field is one; check its type.

    Raises:
        DataError: it has another type than the field.
    """
    if name in TEXTS and not isinstance(value, str):
        raise DataError(f"{path}: the field {name} must be a text, but is {quote(value)}. {UNQUOTED}")
    if name in LISTS:
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise DataError(f"{path}: the field {name} must be a text or a list of texts. {UNQUOTED}")
    if name in NAMES:
        kind = {"columns": "column", "label_names": "label", "value_names": "value"}[name]
        if not isinstance(value, dict):
            raise DataError(f"{path}: the field {name} must have a line such as {kind}: text for each {kind}.")
        for pair in value.items():
            if wrong := [quote(item) for item in pair if not isinstance(item, str)]:
                raise DataError(
                    f"{path}: the field {name} must have texts on both sides of the colon, but has {wrong[0]}. "
                    f"{UNQUOTED}"
                )
    return value


def name_licence(licence: str) -> dict[str, str]:
    """Return the fields `licence` and `licence_name` for an identifier of the Hub, or for other words."""
    if (known := licence.strip().lower().replace(" ", "-")) in LICENCES:
        return {"licence": known, "licence_name": LICENCES[known]}
    return {"licence": "other", "licence_name": licence.strip()}


def keep_words(folder: Path, data: str) -> dict[str, Any]:
    """Return the words of the model in a folder that are not those which a recipe writes.

    There are none if there is no model, or if it was measured on data of another name.
    """
    if not (folder / CONFIG_FILE).is_file() or not (folder / METRICS).is_file():
        return {}
    try:
        about, figures = GalleryConfig.read_common(folder).about, Metrics.read(folder).figures
    except CheckpointError:
        return {}
    if not figures or figures[0].data != data:
        return {}
    before = about.model_dump(mode="json")
    written: dict[str, Any] = {
        "title": make_title(data),
        "intended_use": AUTHOR,
        "licence": "other",
        "licence_name": TERMS_OF_DATA,
        "language": None,
        "datasets": [],
    }
    return {name: before[name] for name in KEPT if before[name] != written[name]}
