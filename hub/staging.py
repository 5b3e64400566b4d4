"""Collect the files of a Space: its app, its models and shared/, with the README header for the Hub."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import SpaceCard, constants

from hub.client import PublishError
from locks import find_needed, normalise, read_lock
from shared import load_model
from shared.config import CONFIG_FILE, DOC_FILES, About, GalleryConfig
from shared.config import LICENCE as LICENCE_FILE
from shared.errors import CheckpointError
from shared.hub import SHA
from shared.hub_errors import make_one_line
from shared.load import find_predictor_type
from shared.markdown import escape_markdown
from shared.space import EMOJIS

ROOT = Path(__file__).resolve().parent.parent
GALLERY = "gallery"

# The files to upload: of the folder of a demo, and of shared/. Of a model, they are those in gallery.json and its
# documents.
SPACE_FILES = ("*.py", "requirements.txt", "README.md", "picture.svg", "thumbnail.png", "examples/*")
OF_DEMOS = ("picture.svg", "thumbnail.png", "examples/*")  # which a Space for a user's own model does not have
OF_MODELS = (".onnx", ".json", ".csv", ".txt", ".md", ".jpg", ".jpeg", ".png", ".webp")  # which no browser runs
SHARED_FILES = ("**/*.py", "**/*.css", "ui/??.json", "py.typed")

PYTHON = "3.12"  # supported by CPU Spaces, ZeroGPU and our packages
LICENCE = "apache-2.0"  # of the code; each model's own is in its LICENSE.md
TERMS = (LICENCE_FILE, "NOTICE.md")  # in a checkpoint folder
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")  # that the Hub accepts
LONGEST_NAME = 96  # characters of a repository's name on the Hub
LONGEST_DESCRIPTION = 60  # characters of short_description on the Hub
TRAINING_ONLY = {"torch", "torchvision", "fastai", "transformers"}


class DeployError(PublishError):
    """Deployment failed or is incomplete; the message says what to do."""


@dataclass(frozen=True)
class SpaceModel:
    """A model of a Space.

    `app` is the folder of its app, `folder` its checkpoint folder, `api_name` its predict endpoint, and `suffix` the
    suffix of its variables. If the Space loads the model from the Hub, `repo` is "OWNER/NAME", at `revision`.
    """

    app: Path
    folder: Path
    api_name: str
    suffix: str
    repo: str | None = None
    revision: str | None = None
    private: bool = False

    @property
    def is_own(self) -> bool:
        """True if the model is a user's own, not that of the demo."""
        return self.folder != self.app / "model"

    @property
    def name(self) -> str:
        """The name of the demo, or of the model's folder."""
        return make_name(self.folder) if self.is_own else self.app.name

    @property
    def config(self) -> GalleryConfig:
        """The common fields of gallery.json."""
        return GalleryConfig.read_common(self.folder)

    @property
    def about(self) -> About:
        """The description of the model in gallery.json."""
        return self.config.about

    @property
    def required_files(self) -> list[str]:
        """The files that serving needs."""
        return [CONFIG_FILE, *(name for name, entry in self.config.files.items() if not entry.optional)]

    def load(self) -> Any:
        """Load the same model locally, from the Hub or from the folder."""
        return load_model(self.repo or self.folder, self.revision)

    def check(self) -> None:
        """Load the model and answer its example, before a Space is changed.

        Raises:
            CheckpointError: it cannot be loaded or run.
        """
        model = self.load()
        try:
            model.predict_batch([model.example()])
        except Exception as error:  # ONNX Runtime raises its own
            where = self.repo or self.folder
            raise CheckpointError(f"{where} cannot answer its own example: {make_one_line(error)}") from error


@dataclass
class Staged:
    """A Space ready for upload: `files` maps paths in the repository to local files or to content."""

    header: dict[str, Any]
    files: dict[str, Path | bytes]
    variables: dict[str, str] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        file = self.files[path]
        return file if isinstance(file, bytes) else file.read_bytes()


def make_name(folder: Path) -> str:
    """Return the name of a checkpoint folder as that of a repository on the Hub.

    A folder called model, such as a demo's, has the name of the folder around it. If no character of the name is
    allowed, it is "model".
    """
    folder = folder.absolute()
    name = folder.parent.name if folder.name == "model" else folder.name
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:LONGEST_NAME].rstrip("-") or "model"


def stage_space(app: Path, models: list[SpaceModel], space: str = "") -> Staged:
    """Return the files of a Space, with `shared/` next to app.py; for the gallery, with the other Spaces' folders.

    Args:
        app: the folder of the app.
        models: the models of the app.
        space: "OWNER/NAME", for the address of the thumbnail; without it, the header has no thumbnail.

    Raises:
        DeployError: requirements are not pinned or do not agree, or the README's header cannot be read.
        CheckpointError: a model's folder is damaged.
    """
    patterns = [pattern for pattern in SPACE_FILES if not models[0].is_own or pattern not in OF_DEMOS]
    files: dict[str, Path | bytes] = {"LICENSE": ROOT / "LICENSE", **match_files(app, patterns)}
    pins = read_requirements(app)
    is_gallery = app.name == GALLERY
    for model in models:
        inside = f"{model.app.name}/" if is_gallery else ""
        if is_gallery:
            files |= {f"{inside}{path}": file for path, file in match_files(model.app, SPACE_FILES).items()}
            del files[f"{inside}requirements.txt"]  # pip reads the one in the root
            files.pop(f"{inside}thumbnail.png", None)
            pins = merge_requirements(pins, read_requirements(model.app), model.app.name)
        files |= {f"{inside}model/{path}": file for path, file in find_model_files(model.folder).items()}
    files |= {f"shared/{path}": file for path, file in match_files(ROOT / "shared", SHARED_FILES).items()}
    card = read_card(app)
    if models[0].is_own:
        describe_own_model(card, models[0])
    files["requirements.txt"] = "".join(f"{line}\n" for line in add_locked(pins)).encode()
    header = make_header(read_fields(card), pins, app, models)
    return Staged(header, add_readme(files, header, card.text, space), make_variables(models))


def add_readme(
    files: dict[str, Path | bytes], header: dict[str, Any], text: str, space: str
) -> dict[str, Path | bytes]:
    """Return the files of a Space with its README.md, whose header gets the address of the thumbnail."""
    if space and "thumbnail.png" in files:
        header["thumbnail"] = f"{constants.ENDPOINT}/spaces/{space}/resolve/main/thumbnail.png"
    return dict(sorted({**files, "README.md": f"---\n{dump_header(header)}---\n{text}".encode()}.items()))


def describe_own_model(card: SpaceCard, model: SpaceModel) -> None:
    """Replace the demo's description in a Space's card by that of the user's own model."""
    about = model.about
    colour = sum(about.title.encode()) % len(COLOURS)  # differs between most titles
    made = {
        "title": about.title,
        "emoji": EMOJIS.get(model.config.task),
        "colorFrom": COLOURS[colour],
        "colorTo": COLOURS[(colour + 3) % len(COLOURS)],
        "license": about.licence,
        "short_description": about.summary if len(about.summary) <= LONGEST_DESCRIPTION else None,
    }
    for name, value in made.items():
        setattr(card.data, name, value)
    found = next((name for name in TERMS if (model.folder / name).is_file()), None)
    terms = f"The model's licence and terms are in `model/{found}`; the" if found else "The"
    card.text = f"\n{escape_markdown(about.summary)}\n\n{terms} app is under Apache-2.0, see `LICENSE`.\n"


def match_files(folder: Path, patterns: Sequence[str]) -> dict[str, Path]:
    """Return the matching files of a folder by relative path, without hidden files."""
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    return {
        path.relative_to(folder).as_posix(): path
        for path in found
        if path.is_file()
        and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts[:-1])
        and not path.name.startswith(".")
    }


def find_model_files(folder: Path) -> dict[str, Path]:
    """Return the files of a checkpoint folder to upload with a Space: all except weights for torch.

    Raises:
        CheckpointError: the model is damaged, or a file is a link to one elsewhere or of a kind that a browser may run
            as a page of the Space.
    """
    kind = find_predictor_type(folder)
    listed = kind.config_type.read(folder, kind.required_files).files
    names = [*DOC_FILES, *(name for name in listed if not name.endswith(".safetensors"))]
    if unknown := [name for name in names if not name.lower().endswith(OF_MODELS)]:
        raise CheckpointError(
            f"{folder / unknown[0]} is not a model file ({', '.join(OF_MODELS)}); remove it from {CONFIG_FILE}."
        )
    found = {name: folder / name for name in names if (folder / name).is_file()}
    refuse_links(folder, found.values())
    return found


def refuse_links(folder: Path, files: Iterable[Path]) -> None:
    """Check that no file of a checkpoint folder is a link to one elsewhere, which would be published, too.

    Raises:
        CheckpointError: one is. Links of the Hub's cache, from a snapshot to its blobs, are allowed.
    """
    places = [folder.resolve()]
    if folder.parent.name == "snapshots":
        places.append(folder.parent.parent.resolve() / "blobs")  # "blobs" itself must be no link
    for file in files:
        real = file.resolve()
        if not any(real.is_relative_to(place) for place in places):
            raise CheckpointError(f"{file} is a link to a file outside the folder; replace it by a copy, or remove it.")


def read_fields(card: SpaceCard) -> dict[str, Any]:
    """Return the fields of a README's header."""
    fields: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    return fields


def read_card(folder: Path) -> SpaceCard:
    """Read the README.md of a Space's folder.

    Raises:
        DeployError: it has no header, or one that is not a YAML mapping.
    """
    path = folder / "README.md"
    try:
        card = SpaceCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=False)
        if read_fields(card):
            return card
    except (ValueError, yaml.YAMLError):
        pass
    raise DeployError(f"spaces/{folder.name}/README.md has no header between lines of ---; copy that of another Space.")


def read_requirements(folder: Path) -> dict[str, str]:
    """Return the pinned versions of a Space's packages.

    Raises:
        DeployError: a package is not pinned, or is needed only for training.
    """
    pins = {}
    for line in (folder / "requirements.txt").read_text(encoding="utf-8").splitlines():
        wanted = line.split("#")[0].strip()
        if not wanted:
            continue
        if not (match := re.fullmatch(r"([\w.-]+(?:\[[\w,-]+\])?)==(\d[\w.+!-]*)", wanted)):
            raise DeployError(f"spaces/{folder.name}/requirements.txt does not pin {wanted!r}; write package==version.")
        if match[1].lower() in TRAINING_ONLY:
            raise DeployError(f"spaces/{folder.name}/requirements.txt has {match[1]}, which only training needs.")
        pins[match[1]] = match[2]
    if "gradio" not in pins:
        raise DeployError(f"spaces/{folder.name}/requirements.txt does not pin gradio; write gradio==version.")
    return pins


def merge_requirements(pins: dict[str, str], more: dict[str, str], name: str) -> dict[str, str]:
    """Merge the pinned versions of two Spaces.

    Raises:
        DeployError: the versions differ.
    """
    for package, version in more.items():
        if pins.setdefault(package, version) != version:
            raise DeployError(
                f"spaces/{name} pins {package}=={version} and the gallery {package}=={pins[package]}; make them agree."
            )
    return pins


def add_locked(pins: dict[str, str]) -> list[str]:
    """Return the lines of a Space's requirements.txt: its own packages, and all that they need, in locked versions.

    They have no hashes. A hash for one package would make pip ask for one for every package that it installs in the
    same call, also for those that the Hub adds itself: gradio[oauth,mcp] with what it needs, and on ZeroGPU spaces.

    Raises:
        DeployError: a package has another version in the lock.
    """
    own = {normalise(package.split("[")[0]): version for package, version in pins.items()}
    lines = [f"{package}=={version}" for package, version in pins.items()]
    for package in find_needed(read_lock("demo"), own):
        if package.name not in own:
            lines.append(package.requirement)
        elif package.version != own[package.name]:
            raise DeployError(
                f"{package.name} is {own[package.name]} in the Space's requirements.txt, but {package.version} in "
                "locks/demo.txt; run make lock."
            )
    return sorted(lines)


def make_header(front: dict[str, Any], pins: dict[str, str], app: Path, models: list[SpaceModel]) -> dict[str, Any]:
    """Return the README header for the Hub: the Space's own fields and the computed ones.

    Raises:
        DeployError: the README names another version of Gradio than requirements.txt.
    """
    if front.get("sdk_version", pins["gradio"]) != pins["gradio"]:
        raise DeployError(
            f"spaces/{app.name}/README.md says sdk_version {front['sdk_version']} and its requirements.txt "
            f"gradio=={pins['gradio']}; make them agree, or the Hub cannot build the Space."
        )
    computed = {
        "sdk": "gradio",
        "sdk_version": pins["gradio"],
        "python_version": PYTHON,
        "app_file": "app.py",
        **make_common_fields(front, models),
        "preload_from_hub": [  # a build can only fetch public models, at a fixed commit
            f"{model.repo} {','.join(model.required_files)} {model.revision}"
            for model in models
            if model.repo and not model.private and SHA.fullmatch(model.revision or "")
        ],
    }
    return {name: value for name, value in {**front, **computed}.items() if value or name in front}


def make_common_fields(front: dict[str, Any], models: list[SpaceModel]) -> dict[str, Any]:
    """Return the computed fields of a README header that Gradio and static Spaces have."""
    return {
        "license": front.get("license", LICENCE),
        "models": [model.repo for model in models if model.repo],
        "datasets": sorted({data.hub for model in models for data in model.about.datasets if data.hub}),
    }


def dump_header(front: dict[str, Any]) -> str:
    """Format a README header as YAML, with the fields in their order."""
    text: str = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    return text


def make_variables(models: list[SpaceModel]) -> dict[str, str]:
    """Return the variables for the models that the Space loads from the Hub."""
    result = {}
    for model in models:
        if model.repo:
            result[f"MODEL_REPO{model.suffix}"] = model.repo
            result[f"MODEL_REVISION{model.suffix}"] = model.revision or "(the newest commit when it is deployed)"
    return result


def print_staged(staged: Staged) -> None:
    """Print the files, header and variables of a staged Space."""
    sizes = {path: len(staged.read(path)) for path in staged.files}
    for path, size in sizes.items():
        print(f"{size:>12,}  {path}")
    print(f"{sum(sizes.values()):>12,}  bytes in {len(sizes)} files\n\nREADME.md begins with\n---")
    print(f"{dump_header(staged.header)}---\n")
    print("Variables:" if staged.variables else "Variables: none, the models are in the Space itself")
    for name, value in staged.variables.items():
        print(f"  {name} = {value}")


def write_staged(staged: Staged, folder: Path) -> None:
    """Write a staged Space into an empty folder.

    Raises:
        DeployError: the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DeployError(f"{folder} is not empty; name a new folder.")
    for path in staged.files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(staged.read(path))
