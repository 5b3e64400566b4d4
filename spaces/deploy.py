"""Put a Space online: upload what it needs in one commit, wait for the build, and see that it answers as here.

    python spaces/deploy.py gallery --owner ME --dry-run                    # what would go up; asks nobody
    python spaces/deploy.py gallery --owner ME --hardware zero-a10g         # all models on one site, free of charge
    python spaces/deploy.py salary --owner ME --models-owner ME             # one model, pulled from the Hub
    python spaces/deploy.py runs/mine --owner ME --hardware zero-a10g       # your own, in the app of its task

The same command again updates the Space. Log in before: hf auth login; or, in a CI job that an existing Space trusts
(its settings, Trusted Publishers), set HF_OIDC_RESOURCE=spaces/ME/NAME. With --models-owner the Space NAME serves the
model OWNER/NAME as it is now, or at --revision NAME=SHA; without it the model that lies in its own folder.
"""

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, ModelInfo
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from hub.account import check_account, check_name, get_own_token
from hub.client import PublishError, ask, ask_if_there, mention_leftover, run_command
from hub.live import check_space
from hub.repository import HUBS_OWN, add_to_collection, check_card, commit_files, read_task
from hub.staging import GALLERY, DeployError, SpaceModel, Staged, print_staged, stage_space, write_staged
from shared.config import CONFIG_FILE, GalleryConfig
from shared.hub_errors import find_refusal
from shared.space import make_variable_suffix

SPACES = Path(__file__).resolve().parent
OURS = re.compile("MODEL_(REPO|REVISION)(_[A-Z0-9_]+)?")  # the variables that this script may set and remove
OUR_FILES = {"shared/ui/page.py", "shared/page.py"}  # of a Space of any edition
PAYMENT = (
    "A free account may host static Spaces and two Gradio Spaces on ZeroGPU; Gradio on plain CPUs (cpu-basic) takes a "
    "PRO account. Add --hardware zero-a10g, or subscribe at https://huggingface.co/pro."
)


def choose(options: argparse.Namespace) -> tuple[Path, list[SpaceModel]]:
    """Return the folder of the app, and the models that the Space will serve.

    Raises:
        DeployError: there is no model, or --revision names something else.
    """
    folder = Path(options.space).resolve()
    if (folder / CONFIG_FILE).is_file():
        app, revision = find_app(folder), parse_revisions(options, [folder]).get(folder.name)
        repo = f"{options.models_owner}/{folder.name}" if options.models_owner else None
        return app, [SpaceModel(app, folder, "/predict", "", repo, revision)]
    app = SPACES / folder.name
    folders = [app]
    if app.name == GALLERY:
        others = [path.parent for path in sorted(SPACES.glob("*/app.py")) if path.parent.name != GALLERY]
        folders = [folder for folder in others if (folder / "model").is_dir()]
    chosen = parse_revisions(options, folders)
    models = []
    for folder in folders:
        name = folder.name
        if not (folder / "model").is_dir():
            raise DeployError(f"spaces/{name} has no model yet; train it: python -m training.{name} --embed")
        api_name, suffix = (f"/{name}", make_variable_suffix(name)) if app.name == GALLERY else ("/predict", "")
        repo = f"{options.models_owner}/{name}" if options.models_owner else None
        models.append(SpaceModel(folder, folder / "model", api_name, suffix, repo, chosen.get(name)))
    return app, models


def find_app(folder: Path) -> Path:
    """Return the folder of the app that shows models for the task of a checkpoint folder.

    Raises:
        DeployError: there is none.
    """
    task = GalleryConfig.read_common(folder).task
    for path in sorted(SPACES.glob(f"*/model/{CONFIG_FILE}")):
        if GalleryConfig.read_common(path.parent).task == task:
            return path.parent.parent
    raise DeployError(f"{folder} has a model for {task!r}, which no app in spaces/ shows.")


def parse_revisions(options: argparse.Namespace, folders: Sequence[Path]) -> dict[str, str]:
    """Return the revisions that the command line names, by the model's name.

    Raises:
        DeployError: they are of other models.
    """
    found = dict(item.split("=", 1) for item in options.revision)
    if found and not options.models_owner:
        raise DeployError("--revision goes with --models-owner: it is the commit of a model on the Hub.")
    if unknown := set(found) - {folder.name for folder in folders}:
        raise DeployError(f"--revision {', '.join(sorted(unknown))} is none of {', '.join(f.name for f in folders)}.")
    return found


def get_name(options: argparse.Namespace) -> str:
    """Return what the Space is called on the Hub: --name, or the name of the folder here."""
    return options.name or Path(options.space).resolve().name


def resolve_revision(model: SpaceModel, api: HfApi) -> SpaceModel:
    """Return a model of the Hub at the commit that its revision is now.

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
    if missing := [name for name in model.required_files if name not in there]:
        raise DeployError(f"{model.repo} lacks {', '.join(missing)}; publish it again.")
    if info.private:
        print(f"{model.repo} is private: the Space needs a token that may read it, as its secret HF_TOKEN.")
    return replace(model, revision=info.sha, private=bool(info.private))


def upload_space(
    space: str, staged: Staged, models: list[SpaceModel], options: argparse.Namespace, api: HfApi
) -> tuple[str, bool]:
    """Make the Space, set its variables, and commit; return the commit it is at, and whether anything changed.

    Raises:
        DeployError: there is something else of that name, or it takes a paid account.
    """
    card = staged.files["README.md"]
    check_card(api, (card if isinstance(card, bytes) else card.read_bytes()).decode(), space, "space")
    create = partial(api.create_repo, space, repo_type="space", space_sdk="gradio", exist_ok=True)
    info = ask_if_there(partial(api.space_info, space), space)
    is_new = info is None
    if is_new:
        with explain_payment():
            ask(partial(create, space_hardware=options.hardware, private=options.private or None), space)
        print(f"{space} is new on the Hub, and {'private' if options.private else 'public'}.")
    with mention_leftover(space, is_new, "space"), explain_payment():
        info = info or ask(partial(api.space_info, space), space)
        there = {sibling.rfilename for sibling in info.siblings or []} - {HUBS_OWN}
        if there - {"README.md"} and not there.intersection(OUR_FILES):
            raise DeployError(f"{space} is a Space of something else; choose another name with --name.")
        if there and (content := find_content(space, str(info.sha), there)) not in (None, describe_content(models)):
            raise DeployError(f"{space} is a Space with {content}; choose another name with --name.")
        if options.private and not info.private:
            print(f"{space} becomes private.")
            ask(partial(api.update_repo_settings, space, private=True, repo_type="space"), space)
        runtime = ask(partial(api.get_space_runtime, space), space)
        if options.hardware and options.hardware not in (runtime.requested_hardware, runtime.hardware):
            ask(partial(api.request_space_hardware, space, options.hardware), space)
        # Before the commit: a changed variable restarts a Space.
        changed = set_variables(space, staged.variables, api)
        commit = commit_files(api, space, staged.files, info, f"Deploy {get_name(options)}", "space")
        check_files(api, space, staged, commit)
    return commit, changed or commit != info.sha


@contextlib.contextmanager
def explain_payment() -> Iterator[None]:
    """Replace a refusal for want of a paid account by a sentence on what is free.

    Raises:
        DeployError: the account must pay for this.
    """
    try:
        yield
    except PublishError as error:
        if find_refusal(error)[0] == 402:
            raise DeployError(PAYMENT) from error
        raise


def describe_content(models: list[SpaceModel]) -> str:
    """Return what a Space here shows, in words."""
    return "the gallery" if models[0].suffix else f"a model for {models[0].config.task}"


def find_content(space: str, commit: str, files: set[str]) -> str | None:
    """Return what a Space that is deployed shows, in words; None if it cannot be told."""
    if any(re.fullmatch("[^/]+/app.py", path) for path in files):
        return "the gallery"
    if f"model/{CONFIG_FILE}" not in files:
        return None
    return f"a model for {read_task(space, commit, kind='space', folder='model/')}"


def check_files(api: HfApi, space: str, staged: Staged, commit: str) -> None:
    """Check that a commit has the files that were staged, and no others.

    Raises:
        DeployError: it has not.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        write_staged(staged, Path(folder))
        verify = partial(api.verify_repo_checksums, space, repo_type="space", revision=commit, local_dir=folder)
        found = ask(verify, space)
    differing = {mismatch["path"] for mismatch in found.mismatches} | {*found.missing_paths, *found.extra_paths}
    if names := ", ".join(sorted(differing - {HUBS_OWN})):
        raise DeployError(f"Commit {commit} of {space} differs from what was uploaded: {names}.")


def set_variables(space: str, wanted: dict[str, str], api: HfApi) -> bool:
    """Make the Space's MODEL_… variables these and no others; return whether that changed any."""
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


def run(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    space = f"{options.owner}/{get_name(options)}"
    check_name(space)
    app, models = choose(options)
    for model in models:
        if model.repo:
            check_name(model.repo)
    if options.dry_run or options.stage:
        staged = stage_space(app, models, space)
        if options.stage:
            write_staged(staged, Path(options.stage))
        print(f"{'Staged' if options.stage else 'Would deploy'} {space}:\n")
        print_staged(staged)
        return
    check_account(space, kind="space")
    api = HfApi(token=get_own_token(space, "space"))
    if options.models_owner:
        models = [resolve_revision(model, api) for model in models]
    for model in models:  # what cannot be loaded here cannot be compared, and must not be deployed
        model.load()
    staged = stage_space(app, models, space)
    commit, changed = upload_space(space, staged, models, options, api)
    print(f"{space} is at commit {commit}{'' if changed else ', as before'}.", flush=True)
    url = check_space(space, models, commit, options.timeout, api)
    print(f"It answers as here, at {url}\nIts page is {api.endpoint}/spaces/{space}")
    if options.collection:
        add_to_collection(options.collection, space, "space")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(
        prog="python spaces/deploy.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted(path.parent.name for path in SPACES.glob("*/app.py"))
    result.add_argument("space", type=check_space_argument, help=f"{', '.join(names)}, or a checkpoint folder")
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


def check_space_argument(text: str) -> str:
    """Check that a Space of that name is here, or a checkpoint folder.

    Raises:
        argparse.ArgumentTypeError: there is neither.
    """
    if (Path(text) / CONFIG_FILE).is_file() or (SPACES / Path(text).name / "app.py").is_file():
        return text
    names = ", ".join(sorted(path.parent.name for path in SPACES.glob("*/app.py")))
    raise argparse.ArgumentTypeError(f"{text} is neither a Space ({names}) nor a checkpoint folder")


def main(argv: Sequence[str] = ()) -> int:
    """Deploy with the options of the command line, given as a list; return the exit code.

    What a person can mend ends in one sentence instead of a stack trace.
    """
    commands = make_parser()
    options = commands.parse_args(argv)
    if wrong := [item for item in options.revision if not re.fullmatch(r"\w+=[\w./-]+", item)]:
        commands.error(f"--revision {wrong[0]}: write NAME=SHA, such as salary=1a2b3c….")
    return run_command(partial(run, options), "the same command goes on where it stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
