"""Put a Space online: upload what it needs in one commit, wait for the build, and see that it answers as here.

    python spaces/deploy.py gallery --owner ME --dry-run                    # what would go up; asks nobody
    python spaces/deploy.py gallery --owner ME --hardware zero-a10g         # all models on one site, free of charge
    python spaces/deploy.py salary --owner ME --models-owner ME             # one model, pulled from the Hub

The same command again updates the Space. Log in before: hf auth login; or, in a CI job that an existing Space trusts
(its settings, Trusted Publishers), set HF_OIDC_RESOURCE=spaces/ME/NAME. With --models-owner the Space NAME serves the
model OWNER/NAME as it is now, or at --revision NAME=SHA; without it the model that lies in its own folder.
"""

import argparse
import contextlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, constants, hf_hub_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import validate_repo_id

from shared import PREDICTORS
from shared.config import CONFIG_FILE, About, GalleryConfig
from shared.hub import SHA, clean, in_background, told
from shared.predictor import Predictor
from training.publish import (
    ANSWER,
    PAPERS,
    UPLOAD,
    PublishError,
    ask,
    check_account,
    check_card,
    collect,
    exit_code,
    if_there,
    noting_what_stays,
    own_token,
)

SPACES = Path(__file__).resolve().parent
ROOT = SPACES.parent
GALLERY = "gallery"

# What goes up, and nothing else. Of model/ it is what gallery.json lists, and its papers.
OWN_FILES = ("*.py", "requirements.txt", "README.md", "picture.svg", "thumbnail.png", "examples/*")
SHARED_FILES = ("*.py", "py.typed")

PYTHON = "3.12"  # the one version that plain CPUs, ZeroGPU and our packages have in common
LICENCE = "apache-2.0"  # of the code; each model's own is in its LICENSE.md
HEAVY = {"torch", "torchvision", "fastai", "transformers"}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours in a log
OURS = re.compile("MODEL_(REPO|REVISION)(_[A-Z_]+)?")  # the variables that this script may set and remove

SETTLE = 5.0  # seconds until a new commit is heeded
GRACE = 60.0  # seconds in which a Space that says it runs may still be the old one, or not be reachable yet
FALLBACK = "This page runs the model that came with it"  # what shared.hub.space_model has a page say
CLOSE = 1e-3  # probabilities and stars may differ by that much between machines
BROKEN = {"BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR", "NO_APP_FILE", "DELETING"}
LOGS = {"BUILD_ERROR": "build", "RUNTIME_ERROR": "run"}  # the log that says why
LOG_SECONDS, LOG_LINES, LOG_WIDTH = 15.0, 30, 200
# Nobody came for a while, and a visit wakes it; one that is PAUSED only its owner can start.
ASLEEP = {"SLEEPING", "STOPPED"}
PAYMENT = (
    "A free account may host static Spaces and two Gradio Spaces on ZeroGPU; Gradio on plain CPUs (cpu-basic) takes a "
    "PRO account. Add --hardware zero-a10g, or subscribe at https://huggingface.co/pro."
)


class DeployError(PublishError):
    """The Space is not deployed, or not as it should be; the text says what to do."""


@dataclass(frozen=True)
class Model:
    """A model that a Space serves.

    `kind` is its predictor, `folder` that of the Space, `api_name` the endpoint of its predict, `ending` that of its
    variables' names; `repo` is "OWNER/NAME" if the Space serves the Hub's model, at `revision`, not the folder's.
    """

    kind: type[Predictor[Any, Any, Any]]
    folder: Path
    api_name: str
    ending: str
    repo: str | None = None
    revision: str | None = None
    private: bool = False

    @property
    def needed(self) -> list[str]:
        """The files without which it cannot serve."""
        listed = GalleryConfig.read_common(self.folder / "model").files
        return [CONFIG_FILE, *(name for name, entry in listed.items() if not entry.optional)]

    def load(self) -> Predictor[Any, Any, Any]:
        """The same model here: the Hub's, or the folder's."""
        return self.load_model(self.repo or self.folder / "model", self.revision)

    @property
    def about(self) -> About:
        """What its gallery.json says of it."""
        return GalleryConfig.read_common(self.folder / "model").about


@dataclass
class Staged:
    """A Space ready to go up: `files` maps a path in its repository to a file here, or to what to write there."""

    header: dict[str, Any]
    files: dict[str, Path | bytes]
    variables: dict[str, str] = field(default_factory=dict)


# --- what goes up ---


def stage(name: str, models: list[Model], space: str = "") -> Staged:
    """A Space's folder with `shared/` beside its app.py, and the other Spaces' folders inside the gallery.

    Args:
        name: of the folder.
        models: that it serves.
        space: "OWNER/NAME", by which its thumbnail is found on the Hub; without it the header names none.

    Raises:
        DeployError: requirements are not pinned or do not agree, or the README's header cannot be read.
        CheckpointError: a model's folder is damaged.
    """
    home = SPACES / name
    files: dict[str, Path | bytes] = {"LICENSE": ROOT / "LICENSE", **space_files(home)}
    pins = requirements(home)
    for model in models if name == GALLERY else []:
        inside = model.folder.name
        files |= {f"{inside}/{path}": file for path, file in space_files(model.folder).items()}
        del files[f"{inside}/requirements.txt"]  # pip reads the one at the top
        files.pop(f"{inside}/thumbnail.png", None)
        pins = merged(pins, requirements(model.folder), model.folder.name)
    files |= {f"shared/{path}": file for path, file in matching(ROOT / "shared", SHARED_FILES).items()}
    front, text = readme(home)
    written = header(front, pins, home, models)
    if space and (home / "thumbnail.png").is_file():
        written["thumbnail"] = f"{constants.ENDPOINT}/spaces/{space}/resolve/main/thumbnail.png"
    files["README.md"] = f"---\n{dump(written)}---\n{text}".encode()
    files["requirements.txt"] = "".join(f"{package}=={version}\n" for package, version in sorted(pins.items())).encode()
    return Staged(written, dict(sorted(files.items())), variables(models))


def matching(folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder that match, hidden ones left out; by their paths in it."""
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    return {
        path.relative_to(folder).as_posix(): path for path in found if path.is_file() and not path.name.startswith(".")
    }


def space_files(folder: Path) -> dict[str, Path]:
    """What a Space's folder has that may go up; weights for torch stay here.

    Raises:
        CheckpointError: the model is damaged.
    """
    files = matching(folder, OWN_FILES)
    if (folder / "model").is_dir():
        kind = kind_of(folder)
        listed = kind.spec.read(folder / "model", kind.needed).files
        names = [*PAPERS, *(name for name in listed if not name.endswith(".safetensors"))]
        files |= {f"model/{name}": folder / "model" / name for name in names if (folder / "model" / name).is_file()}
    return files


def kind_of(folder: Path) -> type[Predictor[Any, Any, Any]]:
    """The predictor of a Space's model.

    Raises:
        DeployError: there is no model yet, or it is none of the gallery's.
    """
    if not (folder / "model").is_dir():
        raise DeployError(f"spaces/{folder.name} has no model yet; train it: python -m training.{folder.name} --embed")
    model = GalleryConfig.read_common(folder / "model").model
    if model not in PREDICTORS:
        raise DeployError(f"spaces/{folder.name}/model is a {model!r}; there are {', '.join(PREDICTORS)}.")
    return PREDICTORS[model]


def requirements(folder: Path) -> dict[str, str]:
    """The versions that a Space pins.

    Raises:
        DeployError: something is not pinned, or belongs to training.
    """
    pins = {}
    for line in (folder / "requirements.txt").read_text(encoding="utf-8").splitlines():
        wanted = line.split("#")[0].strip()
        if not wanted:
            continue
        if not (match := re.fullmatch(r"([\w.-]+(?:\[[\w,-]+\])?)==(\d[\w.+!-]*)", wanted)):
            raise DeployError(f"spaces/{folder.name}/requirements.txt does not pin {wanted!r}; write package==version.")
        if match[1].lower() in HEAVY:
            raise DeployError(f"spaces/{folder.name}/requirements.txt asks for {match[1]}, which only training needs.")
        pins[match[1]] = match[2]
    if "gradio" not in pins:
        raise DeployError(f"spaces/{folder.name}/requirements.txt does not pin gradio; write gradio==version.")
    return pins


def merged(pins: dict[str, str], more: dict[str, str], name: str) -> dict[str, str]:
    """Both, where they agree.

    Raises:
        DeployError: they do not.
    """
    for package, version in more.items():
        if pins.setdefault(package, version) != version:
            raise DeployError(
                f"spaces/{name} pins {package}=={version} and the gallery {package}=={pins[package]}; make them agree."
            )
    return pins


def readme(folder: Path) -> tuple[dict[str, Any], str]:
    """The header of a Space's README.md, and its text.

    Raises:
        DeployError: it has no header, or one that is no YAML mapping.
    """
    match = re.fullmatch(r"---\n(.*?\n)---\n(.*)", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    try:
        front = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        front = None
    if not match or not isinstance(front, dict):
        raise DeployError(f"spaces/{folder.name}/README.md has no header between two lines of ---; copy another's.")
    return front, match[2]


def header(front: dict[str, Any], pins: dict[str, str], home: Path, models: list[Model]) -> dict[str, Any]:
    """The header that the Hub reads: what only the Space knows, and what follows from the rest.

    Raises:
        DeployError: the README names another version of Gradio than requirements.txt.
    """
    if front.get("sdk_version", pins["gradio"]) != pins["gradio"]:
        raise DeployError(
            f"spaces/{home.name}/README.md says sdk_version {front['sdk_version']} and its requirements.txt "
            f"gradio=={pins['gradio']}; make them agree, or the Hub cannot build the Space."
        )
    computed = {
        "sdk": "gradio",
        "sdk_version": pins["gradio"],
        "python_version": PYTHON,
        "app_file": "app.py",
        "license": front.get("license", LICENCE),
        "models": [model.repo for model in models if model.repo],
        "datasets": sorted({data.hub for model in models for data in model.about.datasets if data.hub}),
        "preload_from_hub": [  # a build can fetch only what is public, and must not fetch what will change
            f"{model.repo} {','.join(model.needed)} {model.revision}"
            for model in models
            if model.repo and not model.private and SHA.fullmatch(model.revision or "")
        ],
    }
    return {name: value for name, value in {**front, **computed}.items() if value or name in front}


def dump(front: dict[str, Any]) -> str:
    """A README's header as YAML, in its own order."""
    text: str = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    return text


def variables(models: list[Model]) -> dict[str, str]:
    """The Space's variables that say which models of the Hub it serves; none for those it carries."""
    result = {}
    for model in models:
        if model.repo:
            result[f"MODEL_REPO{model.ending}"] = model.repo
            result[f"MODEL_REVISION{model.ending}"] = model.revision or "(the newest commit when it is deployed)"
    return result


def show(staged: Staged) -> None:
    """Print what would go up."""
    sizes = {path: len(file) if isinstance(file, bytes) else file.stat().st_size for path, file in staged.files.items()}
    for path, size in sizes.items():
        print(f"{size:>12,}  {path}")
    print(f"{sum(sizes.values()):>12,}  bytes in {len(sizes)} files\n\nREADME.md begins with\n---")
    print(f"{dump(staged.header)}---\n")
    print("Variables: none, the Space serves what it carries" if not staged.variables else "Variables:")
    for name, value in staged.variables.items():
        print(f"  {name} = {value}")


def write(staged: Staged, folder: Path) -> None:
    """Write a staged Space into an empty folder.

    Raises:
        DeployError: the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DeployError(f"{folder} is not empty; name a new folder.")
    for path, file in staged.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file if isinstance(file, bytes) else file.read_bytes())


# --- to the Hub ---


def resolve(model: Model, api: HfApi) -> Model:
    """A model of the Hub at the commit that its revision is now.

    Raises:
        DeployError: there is no such model, or it is not whole.
    """
    try:
        info: ModelInfo = ask(lambda: api.model_info(str(model.repo), revision=model.revision), str(model.repo))
    except PublishError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            raise DeployError(
                f"{model.repo} has no revision {model.revision!r}; see its commits on the Hub."
            ) from error
        if isinstance(error.__cause__, RepositoryNotFoundError):
            raise DeployError(f"{error} Publish it first, or leave --models-owner out.") from error
        raise
    there = {sibling.rfilename for sibling in info.siblings or []}
    if missing := [name for name in model.needed if name not in there]:
        raise DeployError(f"{model.repo} lacks {', '.join(missing)}; publish it again.")
    if info.private:
        print(f"{model.repo} is private: the Space needs a token that may read it, as its secret HF_TOKEN.")
    return replace(model, revision=info.sha, private=bool(info.private))


def upload(
    space: str, staged: Staged, models: list[Model], options: argparse.Namespace, api: HfApi
) -> tuple[str, bool]:
    """Make the Space, set its variables, and commit; returns the commit it is at, and whether anything changed.

    Raises:
        DeployError: there is something else of that name, or it takes a paid account.
    """
    card = staged.files["README.md"]
    check_card(api, (card if isinstance(card, bytes) else card.read_bytes()).decode(), space, "space")
    create = partial(api.create_repo, space, repo_type="space", space_sdk="gradio", exist_ok=True)
    info = if_there(partial(api.space_info, space), space)
    is_new = info is None
    if is_new:
        with payment_explained():
            ask(partial(create, space_hardware=options.hardware, private=options.private or None), space)
        print(f"{space} is new on the Hub, and {'private' if options.private else 'public'}.")
    with noting_what_stays(space, is_new, "space"), payment_explained():
        info = info or ask(partial(api.space_info, space), space)
        there = {sibling.rfilename for sibling in info.siblings or []} - {".gitattributes"}
        if there - {"README.md"} and "shared/ui/page.py" not in there:
            raise DeployError(f"{space} is a Space of something else; choose another name with --name.")
        if there and (kind := kind_there(space, info.sha, there)) not in (None, served(options.space, models)):
            raise DeployError(f"{space} is a Space of {kind}; choose another name with --name.")
        if options.private and not info.private:
            print(f"{space} becomes private.")
            ask(partial(api.update_repo_settings, space, private=True, repo_type="space"), space)
        runtime = ask(partial(api.get_space_runtime, space), space)
        if options.hardware and options.hardware not in (runtime.requested_hardware, runtime.hardware):
            ask(partial(api.request_space_hardware, space, options.hardware), space)
        # Before the commit: a changed variable restarts a Space.
        changed = set_variables(space, staged.variables, api)
        operations: list[CommitOperationAdd | CommitOperationDelete]
        operations = [CommitOperationDelete(path) for path in sorted(there - set(staged.files))]
        operations += [CommitOperationAdd(path, file) for path, file in staged.files.items()]
        message = f"Deploy {options.space}"
        commit = partial(api.create_commit, space, operations, repo_type="space", commit_message=message)
        made = ask(partial(commit, parent_commit=info.sha), space, UPLOAD)
    return made.oid, changed or made.oid != info.sha


@contextlib.contextmanager
def payment_explained() -> Iterator[None]:
    """Have a refusal for want of a paid account say what is free.

    Raises:
        DeployError: in place of that refusal.
    """
    try:
        yield
    except PublishError as error:
        if told(error)[0] == 402:
            raise DeployError(PAYMENT) from error
        raise


def served(name: str, models: list[Model]) -> str:
    """What a Space here serves: the gallery, or the kind of its model."""
    return GALLERY if name == GALLERY else models[0].kind.name


def kind_there(space: str, commit: str, files: set[str]) -> str | None:
    """What a Space that is deployed serves; None if it cannot be told."""
    if any(re.fullmatch("[^/]+/app.py", path) for path in files):
        return GALLERY
    if f"model/{CONFIG_FILE}" not in files:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        name = f"model/{CONFIG_FILE}"
        fetch = partial(hf_hub_download, space, name, repo_type="space", revision=commit, cache_dir=cache)
        return GalleryConfig.read_common(Path(ask(fetch, space)).parent).model


def set_variables(space: str, wanted: dict[str, str], api: HfApi) -> bool:
    """Make the Space's MODEL_… variables these and no others; returns whether that changed any."""
    there = {name: item.value for name, item in ask(partial(api.get_space_variables, space), space).items()}
    stale = [name for name in there if OURS.fullmatch(name) and name not in wanted]
    new = {name: value for name, value in wanted.items() if there.get(name) != value}
    for name in stale:
        print(f"{name} is unset; it was {there[name]}")
        ask(partial(api.delete_space_variable, space, name), space)
    for name, value in new.items():
        print(f"{name} is set to {value}")
        ask(partial(api.add_space_variable, space, name, value), space)
    return bool(stale or new)


# --- is it up, and does it answer? ---


def wait_until_running(space: str, commit: str, deadline: float, api: HfApi, shown: str = "") -> str:
    """Wait until the Space runs a commit, showing each stage after the one that has been `shown`.

    Returns:
        "RUNNING", or one of ASLEEP: then a visit starts it.

    Raises:
        DeployError: it cannot be built or started, or is not there at `deadline` (of time.monotonic).
    """
    began = time.monotonic()
    while True:
        try:
            runtime = ask(partial(api.get_space_runtime, space), space)
            stage, sha = str(runtime.stage), runtime.raw.get("sha")
            message = str(runtime.raw.get("errorMessage") or "").strip()
        except PublishError as error:  # an outage of seconds must not end a wait of minutes
            if told(error)[0] in (401, 403, 404):
                raise
            stage, sha, message = "the Hub does not answer", None, ""
        elapsed = time.monotonic() - began
        if stage != shown:
            print(f"{elapsed:4.0f} s  {stage.lower().replace('_', ' ')}", flush=True)
            shown = stage
        elif sys.stdout.isatty():
            print(f"{elapsed:4.0f} s", end="\r", flush=True)
        # RUNNING, or an error, may be said of the commit before this one.
        old = sha not in (None, commit) or (sha is None and stage in BROKEN and elapsed < SETTLE)
        if not old and stage in ("RUNNING", "PAUSED", *ASLEEP, *BROKEN):
            break
        if time.monotonic() > deadline:
            what = "still has its old files" if old else f"is still at {stage!r}"
            logs = f"hf spaces logs {space}{' --build' if 'BUILDING' in stage else ''}"
            raise DeployError(f"{space} {what} after {elapsed:.0f} s; look at it with: {logs}")
        time.sleep(min(5.0, 0.5 + elapsed / 10))
    if stage in BROKEN:
        raise DeployError(
            f"{space} ended in {stage}{f': {clean(message)}' if message else ''}.{log_of(space, stage, api)}"
        )
    if stage == "PAUSED":
        raise DeployError(f"{space} is up to date, but paused; start it: hf spaces restart {space}")
    return stage


def log_of(space: str, stage: str, api: HfApi) -> str:
    """Print the end of the log that says why a Space is broken; returns the sentence that says where to read all of it.

    What does not come within LOG_SECONDS is left out: the Hub keeps the connection to a log open.
    """
    if stage not in LOGS:
        return f" Its page says more: {api.endpoint}/spaces/{space}"
    lines: list[str] = []

    def read() -> None:
        for text in api.fetch_space_logs(space, build=LOGS[stage] == "build"):
            lines.extend(clean(ESCAPES.sub("", line), LOG_WIDTH) for line in text.splitlines())
            del lines[:-LOG_LINES]

    with contextlib.suppress(Exception):  # the log is an extra
        in_background(read).result(LOG_SECONDS)
    if found := [line for line in list(lines) if line]:
        print(f"The end of its {LOGS[stage]} log:", *found, sep="\n  ", file=sys.stderr, flush=True)
    return f" See the log: hf spaces logs {space}{' --build' if LOGS[stage] == 'build' else ''}"


def probe(models: list[Model], address: str, token: str | None) -> list[str]:
    """Ask the live Space and the same models here; returns what differs, in sentences.

    By plain HTTP, as curl would: each request ends in time, whatever the Space does.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    differences = []
    with httpx2.Client(base_url=address, headers=headers, timeout=ANSWER, follow_redirects=True) as space:
        for model in models:
            local = model.load()
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                item, data = question(local, Path(folder), space)
                expected = facts(local.predict(*item))
            got = answer(space, model.api_name, data)
            differences += [f"{model.api_name}: {line}" for line in compared(expected, got)]
            page = "/" if model.api_name == "/predict" else model.api_name
            fallen_back = re.search(f'{FALLBACK}[^"<]*', space.get(page).text) if model.repo else None
            differences += [f"{model.api_name}: {fallen_back[0]}"] if fallen_back else []
    return differences


def question(local: Any, folder: Path, space: httpx2.Client) -> tuple[tuple[Any, ...], list[Any]]:
    """A model's example as the arguments of predict here, and as those of the endpoint; a picture is uploaded."""
    example = local.example()
    if hasattr(example, "save"):
        path = folder / "example.png"
        example.save(path)
        with path.open("rb") as picture:
            found = space.post("/gradio_api/upload", files={"files": picture}).raise_for_status().json()
        return (str(path),), [{"path": found[0], "meta": {"_type": "gradio.FileData"}}]
    if isinstance(example, Mapping):
        return (example,), [example[column] for column in local.config.columns]
    several = example if isinstance(example, tuple) else (example,)
    return several, list(several)


def answer(space: httpx2.Client, api_name: str, data: list[Any]) -> Any:
    """The first output of an endpoint.

    Raises:
        DeployError: the app fails, or takes too long.
    """
    call, deadline = f"/gradio_api/call{api_name}", time.monotonic() + ANSWER
    event = space.post(call, json={"data": data}).raise_for_status().json()["event_id"]
    kind = ""
    with space.stream("GET", f"{call}/{event}") as lines:
        for line in lines.iter_lines():
            name, _, value = line.partition(": ")
            kind = value if name == "event" else kind
            if name == "data" and kind == "complete":
                return json.loads(value)[0]
            if kind == "error" or time.monotonic() > deadline:
                break
    raise DeployError(f"{api_name} {'fails' if kind == 'error' else f'takes more than {ANSWER:.0f} s'}.")


def facts(prediction: Any) -> dict[str, Any]:
    """What of a prediction the endpoint's first output must say, too."""
    names = {"label": "label", "probabilities": "probabilities", "share": "shares", "rating": "rating"}
    return {there: getattr(prediction, here) for here, there in names.items() if hasattr(prediction, here)}


def compared(expected: Any, got: Any, where: str = "the answer") -> list[str]:
    """What differs, in words; numbers may by CLOSE, and `got` may have more than is expected."""
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            return [f"{where} is {json.dumps(got)[:80]}, here it is {json.dumps(expected)[:80]}."]
        return [line for name in expected for line in compared(expected[name], got.get(name), str(name))]
    if isinstance(expected, float) and isinstance(got, int | float):
        same = abs(expected - got) <= CLOSE
    else:
        same = expected == got
    return [] if same else [f"{where} is {got!r}, here it is {expected!r}."]


def check(space: str, models: list[Model], commit: str, timeout: float, api: HfApi) -> str:
    """Wait for the Space and compare its answers; returns its address.

    Raises:
        DeployError: it does not come up, or does not answer as the models here do.
    """
    deadline = time.monotonic() + timeout
    stage = wait_until_running(space, commit, deadline, api)
    until = min(deadline, time.monotonic() + GRACE)
    while True:
        info = ask(partial(api.space_info, space), space)  # anew: one that wakes up may have moved
        token = str(api.token) if info.private else None
        try:
            wrong = probe(models, str(info.host), token)
        except (DeployError, httpx2.HTTPError, ValueError, LookupError) as error:  # still building: a page of the Hub's
            wrong = [f"it does not answer ({type(error).__name__}: {error})."]
        if not wrong:
            return str(info.host)
        if any(model.private for model in models) and FALLBACK in " ".join(wrong):
            raise DeployError(
                f"{space} is deployed, but may not read the private model: {' '.join(wrong)} Give it a token that may, "
                f"then the same command again: hf spaces secrets add {space} -s HF_TOKEN"
            )
        if time.monotonic() > until:
            if stage in ASLEEP:
                raise DeployError(
                    f"{space} is up to date, but {stage.lower()}, and a visit does not wake it; start it: "
                    f"hf spaces restart {space}"
                )
            raise DeployError(
                f"{space} is deployed at {info.host}, but does not answer as the models here: {' '.join(wrong)} "
                f"See the log: hf spaces logs {space}"
            )
        time.sleep(3)
        before, stage = stage, wait_until_running(space, commit, deadline, api, shown=stage)
        if before in ASLEEP and stage not in ASLEEP:
            until = min(deadline, time.monotonic() + GRACE)


# --- the command ---


def chosen(options: argparse.Namespace) -> list[Model]:
    """The models that the Space will serve.

    Raises:
        DeployError: there is no model, or --revision names something else.
    """
    folders = [SPACES / options.space]
    if options.space == GALLERY:
        others = [path.parent for path in sorted(SPACES.glob("*/app.py")) if path.parent.name != GALLERY]
        folders = [folder for folder in others if (folder / "model").is_dir()]
    revisions = dict(item.split("=", 1) for item in options.revision)
    if revisions and not options.models_owner:
        raise DeployError("--revision goes with --models-owner: it is the commit of a model on the Hub.")
    if unknown := set(revisions) - {folder.name for folder in folders}:
        raise DeployError(f"--revision {', '.join(sorted(unknown))} is none of {', '.join(f.name for f in folders)}.")
    models = []
    for folder in folders:
        kind, name = kind_of(folder), folder.name
        api_name, ending = (f"/{name}", f"_{kind.name.upper()}") if options.space == GALLERY else ("/predict", "")
        repo = f"{options.models_owner}/{name}" if options.models_owner else None
        models.append(Model(kind, folder, api_name, ending, repo, revisions.get(name)))
    if options.models_owner and len({model.ending for model in models}) < len(models):
        raise DeployError("Two Spaces here have models of the same kind: a gallery can pull only one of each kind.")
    return models


def run(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    space = f"{options.owner}/{options.name or options.space}"
    try:
        for name in (space, f"{options.models_owner or options.owner}/{options.space}"):
            validate_repo_id(name)
    except HFValidationError as error:
        raise DeployError(str(error)) from None
    models = chosen(options)
    if options.dry_run or options.stage:
        staged = stage(options.space, models, space)
        if options.stage:
            write(staged, Path(options.stage))
        print(f"{'Staged' if options.stage else 'Would deploy'} {space}:\n")
        show(staged)
        return
    check_account(space, kind="space")
    api = HfApi(token=own_token(space, "space"))
    if options.models_owner:
        models = [resolve(model, api) for model in models]
    for model in models:  # what cannot be loaded here cannot be compared, and must not be deployed
        model.load()
    staged = stage(options.space, models, space)
    commit, changed = upload(space, staged, models, options, api)
    print(f"{space} is at commit {commit}{'' if changed else ', as before'}.", flush=True)
    address = check(space, models, commit, options.timeout, api)
    print(f"It answers as here, at {address}\nIts page is {api.endpoint}/spaces/{space}")
    if options.collection:
        collect(options.collection, space, "space")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python spaces/deploy.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "space", type=lambda text: Path(text).name, choices=sorted(path.parent.name for path in SPACES.glob("*/app.py"))
    )
    result.add_argument("--owner", required=True, help="your user name on the Hub, or an organisation's")
    result.add_argument("--name", help="of the Space there (default: as here)")
    result.add_argument("--models-owner", metavar="OWNER", help="serve OWNER's models on the Hub")
    result.add_argument(
        "--revision", action="append", default=[], metavar="NAME=SHA", help="of a model (default: its newest commit)"
    )
    result.add_argument("--private", action="store_true", help="for your eyes only")
    result.add_argument("--hardware", metavar="FLAVOUR", help="zero-a10g (free accounts), cpu-basic (PRO), …")
    result.add_argument("--collection", metavar="TITLE", help="put it into your collection of this title")
    result.add_argument("--timeout", type=float, default=1200, metavar="SECONDS", help="for build and start")
    result.add_argument("--dry-run", action="store_true", help="print what would go up; asks nobody")
    result.add_argument("--stage", metavar="DIR", help="write what would go up into a new folder; asks nobody")
    return result


def main(argv: Sequence[str] = ()) -> int:
    """Deploy with the options of the command line, given as a list; returns the exit code.

    What a person can mend ends in one sentence instead of a stack trace.
    """
    commands = parser()
    options = commands.parse_args(argv)
    if wrong := [item for item in options.revision if not re.fullmatch(r"\w+=[\w./-]+", item)]:
        commands.error(f"--revision {wrong[0]}: write NAME=SHA, such as salary=1a2b3c….")
    return exit_code(partial(run, options), "the same command goes on where it stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
