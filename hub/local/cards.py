"""Validate the YAML header of a README.md like the Hub."""

import re
from typing import Any

import yaml

IDENTIFIER = r"[\w.-]+(/[\w.-]+)?"  # name of a model, data set or Space
WIDGET = {"text", "src", "structured_data", "table", "example_title", "group", "output"}
FRONT_MATTER = re.compile(r"^\s*---[\r\n]+(.*?)[\r\n]+---(?:[\r\n]|$)", re.DOTALL)
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
LICENCES = """
    agpl-3.0 apache-2.0 bsd bsd-2-clause bsd-3-clause cc cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-nc-3.0 cc-by-nc-4.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 gemma gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 mit mpl-2.0 odc-by odbl
    ofl-1.1 openrail other pddl unknown unlicense wtfpl zlib
"""


def read_front_matter(content: str) -> Any:
    """Return the parsed YAML header of a card (a dict if it is valid), or None if there is none.

    Raises:
        yaml.YAMLError: the header is not valid YAML.
    """
    found = FRONT_MATTER.match(content)
    return yaml.safe_load(found[1]) if found else None


def read_card_data(content: bytes) -> dict[str, Any]:
    """Return the YAML header of a card as a dict; {} if it is missing or invalid."""
    try:
        data = read_front_matter(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return data if isinstance(data, dict) else {}


def find_problems(content: str, kind: str) -> tuple[list[str], list[str]]:
    """Return the errors and warnings of a card; the Hub rejects cards with errors.

    Args:
        content: the whole README.md.
        kind: "model", "dataset" or "space".
    """
    try:
        data = read_front_matter(content)
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"], []
    if data is None:
        return (['"sdk" is required'] if kind == "space" else []), ["empty or missing yaml metadata in repo card"]
    if not isinstance(data, dict):
        return ["The metadata must be a mapping"], []
    errors = _check_space(data) if kind == "space" else _check_model(data) if kind == "model" else []
    errors += [
        f'"{key}" must be a list of ids'
        for key in ("models", "datasets", "spaces", "base_model")
        if any(not re.fullmatch(IDENTIFIER, str(item)) for item in _as_list(data.get(key)))
    ]
    if "thumbnail" in data and not str(data["thumbnail"]).startswith(("https://", "http://")):
        errors.append('"thumbnail" must be a URL')
    licences = data.get("license", [])
    if not {str(licence) for licence in (licences if isinstance(licences, list) else [licences])} <= set(
        LICENCES.split()
    ):
        errors.append(f'"license" must be one of [{", ".join(LICENCES.split())}]')
    return errors, []


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _check_model(data: dict[str, Any]) -> list[str]:
    """Return the errors of a model card; this is stricter than the Hub, which ignores some unknown values."""
    errors = []
    if data.get("license") == "other":
        if not re.fullmatch(r"[a-z0-9.-]+", str(data.get("license_name", ""))):
            errors.append('"license_name" must be an id of small letters, digits, dots and hyphens')
        if not re.fullmatch(r"LICENSE(\.md)?|https://.+", str(data.get("license_link", ""))):
            errors.append('"license_link" must be LICENSE, LICENSE.md or a URL')
    for result in [result for model in data.get("model-index", []) for result in model["results"]]:
        if not re.fullmatch(IDENTIFIER, str(result["dataset"]["type"])):
            errors.append(f'"model-index": {result["dataset"]["type"]!r} is not the id of a dataset')
        errors += [
            f'"model-index": {metric["type"]!r} is not the id of a metric'
            for metric in result["metrics"]
            if not re.fullmatch(r"[\w.-]+", str(metric["type"]), re.ASCII)
        ]
    for example in data.get("widget", []):
        if not set(example) <= WIDGET:
            errors.append(f'"widget": unknown fields in {sorted(example)}')
        if "://" in str(example.get("src", "")):
            errors.append('"widget": "src" must be relative, so that it works on every Hub')
    return errors


def _check_space(data: dict[str, Any]) -> list[str]:
    def text(key: str) -> str:
        return str(data.get(key, ""))

    errors = []
    if text("sdk") not in ("gradio", "docker", "static"):
        errors.append('"sdk" must be one of [gradio, docker, static]')
    for key, pattern in (
        ("sdk_version", r"\d+\.\d+(\.\d+)?([.-]?[a-z]+\.?\d*)?"),
        ("python_version", r"3\.\d+(\.\d+)?"),
    ):
        if key in data and not re.fullmatch(pattern, text(key)):
            errors.append(f'"{key}" must be a version')
    errors += [
        f'"{key}" must be one of [{", ".join(COLOURS)}]'
        for key in ("colorFrom", "colorTo")
        if key in data and data[key] not in COLOURS
    ]
    if "emoji" in data and (not text("emoji") or len(text("emoji")) > 8 or any(map(str.isalnum, text("emoji")))):
        errors.append('"emoji" must be an emoji')
    allowed = {f"cross-origin-{name}-policy" for name in ("embedder", "opener", "resource")}
    if not set(data.get("custom_headers", {})) <= allowed:
        errors.append(f'"custom_headers" must be among [{", ".join(sorted(allowed))}]')
    if len(text("short_description")) > 60:
        errors.append('"short_description" length must be less than or equal to 60 characters long')
    return errors
