"""Deploy a Space: upload its files in one commit, wait for the build, and compare its predictions with local ones.

    python spaces/deploy.py gallery --owner ME --dry-run                    # list the files, without network
    python spaces/deploy.py gallery --owner ME --hardware zero-a10g         # all models on one site, free of charge
    python spaces/deploy.py salary --owner ME --models-owner ME             # one model, loaded from the Hub
    python spaces/deploy.py runs/mine --owner ME --hardware zero-a10g       # your own model, in the app for its task
    python spaces/deploy.py runs/mine --owner ME --static                   # it runs in the browser; free of charge
    python spaces/deploy.py gallery --owner ME --rollback COMMIT            # as it was at an earlier commit

Run the same command again to update the Space. Log in first: hf auth login; or, in a CI job that an existing Space
trusts (its settings, Trusted Publishers), set HF_OIDC_RESOURCE=spaces/ME/NAME. With --models-owner, the Space NAME
serves the newest commit of the model OWNER/NAME, or --revision NAME=SHA; otherwise it serves the model in its folder.
The title, description, licence and examples of a Space for your own model are those in its folder. The kind of a Space
stays: a static one and a Gradio one need different names.
"""

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import zip_longest
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelInfo, SpaceInfo
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from hub.account import check_account, check_name, get_own_token
from hub.client import UPLOAD, PublishError, ask, ask_if_there, mention_leftover, run_command
from hub.live import check_space
from hub.live_static import check_static_space
from hub.repository import (
    HUBS_OWN,
    add_to_collection,
    check_card,
    commit_files,
    read_task,
    refuse_renamed,
    refuse_tokens,
)
from hub.staging import (
    GALLERY,
    DeployError,
    SpaceModel,
    Staged,
    make_name,
    make_variables,
    print_staged,
    read_card,
    read_fields,
    stage_space,
    write_staged,
)
from hub.static_site import stage_static
from shared.config import CONFIG_FILE, GalleryConfig
from shared.errors import CheckpointError
from shared.hub_errors import find_refusal
from shared.space import find_app, make_variable_suffix

SPACES = Path(__file__).resolve().parent
OURS = re.compile("MODEL_(REPO|REVISION)(_[A-Z0-9_]+)?")  # the variables that this script may set and remove
OUR_FILES = {"shared/ui/page.py", "shared/page.py", "js/checkpoint.js"}  # one of these is in every Space of ours
CONFLICTS = {  # options that exclude others, and why
    "static": (("hardware", "models_owner", "revision"), "a static Space has its models inside, and no hardware"),
    "rollback": (
        ("static", "hardware", "models_owner", "revision", "private", "dry_run", "stage"),
        "it restores the files and the models of a commit",
    ),
}
MODEL_CONFIG = f"(models/[^/]+|[^/]+/model|model)/{CONFIG_FILE}"  # in a static Space, in a gallery, in another Space
ZERO_GPU = "zero-a10g"


def choose(options: argparse.Namespace) -> tuple[Path, list[SpaceModel]]:
    """Return the folder of the app, and the models that the Space will serve.

    Raises:
        DeployError: a model is missing, or --revision names an unknown one.
    """
    folder = Path(options.space).resolve()
    if (folder / CONFIG_FILE).is_file():
        app, name = find_app_for(folder), make_name(folder)
        repo = f"{options.models_owner}/{name}" if options.models_owner else None
        return app, [SpaceModel(app, folder, "/predict", "", repo, parse_revisions(options, [name]).get(name))]
    app = SPACES / folder.name
    folders = [app]
    if app.name == GALLERY:
        others = [path.parent for path in sorted(SPACES.glob("*/app.py")) if path.parent.name != GALLERY]
        folders = [folder for folder in others if (folder / "model").is_dir()]
    chosen = parse_revisions(options, [folder.name for folder in folders])
    models = []
    for folder in folders:
        name = folder.name
        if not (folder / "model").is_dir():
            raise DeployError(f"spaces/{name} has no model yet; train it: python -m training.{name} --embed")
        repo = f"{options.models_owner}/{name}" if options.models_owner else None
        models.append(make_model(folder, app.name == GALLERY, repo, chosen.get(name)))
    return app, models


def make_model(app: Path, in_gallery: bool, repo: str | None, revision: str | None) -> SpaceModel:
    """Return the model in the folder of an app."""
    api_name, suffix = (f"/{app.name}", make_variable_suffix(app.name)) if in_gallery else ("/predict", "")
    return SpaceModel(app, app / "model", api_name, suffix, repo, revision)


def find_app_for(folder: Path) -> Path:
    """Return the folder of the app for the task of a checkpoint folder.

    Raises:
        DeployError: there is no app for the task.
        CheckpointError: gallery.json is missing or damaged.
    """
    task = GalleryConfig.read_common(folder).task
    app = find_app((path.parent for path in sorted(SPACES.glob("*/app.py"))), task)
    if app is None:
        raise DeployError(f"{folder} has a model for {task!r}, which no app in spaces/ shows.")
    return app


def parse_revisions(options: argparse.Namespace, names: Sequence[str]) -> dict[str, str]:
    """Return the revisions given on the command line, by the names of the Space's models.

    Raises:
        DeployError: a revision belongs to no model of the Space, or --models-owner is missing.
    """
    found = dict(item.split("=", 1) for item in options.revision)
    if found and not options.models_owner:
        raise DeployError("--revision needs --models-owner: it is the commit of a model on the Hub.")
    if unknown := set(found) - set(names):
        raise DeployError(f"--revision {', '.join(sorted(unknown))} is none of {', '.join(names)}.")
    return found


def check_options(options: argparse.Namespace) -> None:
    """Check that no options exclude each other.

    Raises:
        DeployError: two do.
    """
    for option, (others, why) in CONFLICTS.items():
        if found := [other for other in others if getattr(options, option) and getattr(options, other)]:
            raise DeployError(f"--{option} cannot be combined with --{found[0].replace('_', '-')}: {why}.")


def get_name(options: argparse.Namespace) -> str:
    """Return the name of the Space on the Hub: --name, or the name of the local folder, made valid."""
    return options.name or make_name(Path(options.space))


def resolve_revision(model: SpaceModel, api: HfApi) -> SpaceModel:
    """Return a Hub model with its revision resolved to a commit.

    Raises:
        DeployError: the model does not exist or is incomplete.
    """
    try:
        info: ModelInfo = ask(lambda: api.model_info(str(model.repo), revision=model.revision), str(model.repo))
    except PublishError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            raise DeployError(
                f"{model.repo} has no revision {model.revision!r}; see its commits on the Hub."
            ) from error
        if isinstance(error.__cause__, RepositoryNotFoundError):
            raise DeployError(f"{error} Publish it first, or omit --models-owner.") from error
        raise
    there = {sibling.rfilename for sibling in info.siblings or []}
    if missing := [name for name in model.required_files if name not in there]:
        raise DeployError(f"{model.repo} lacks {', '.join(missing)}; publish it again.")
    if is_closed := bool(info.private or info.gated):
        kind = "private" if info.private else "gated"
        print(f"{model.repo} is {kind}: the Space needs a token that can read it, in its secret HF_TOKEN.")
    return replace(model, revision=info.sha, private=is_closed)


def upload_space(
    space: str, staged: Staged, models: list[SpaceModel], options: argparse.Namespace, api: HfApi
) -> tuple[str, bool]:
    """Create the Space, set its variables, and commit; return its commit, and True if anything changed.

    Raises:
        DeployError: another Space has this name, or a paid account is needed.
    """
    check_card(api, staged.read("README.md").decode(), space, "space")
    sdk = staged.header["sdk"]
    create = partial(api.create_repo, space, repo_type="space", space_sdk=sdk)
    info = ask_if_there(partial(api.space_info, space), space)
    is_new = info is None
    if is_new:
        with explain_payment(options.hardware):
            ask(partial(create, space_hardware=options.hardware, private=options.private or None), space)
    with mention_leftover(space, is_new, "space"), explain_payment(options.hardware):
        info = info or ask(partial(api.space_info, space), space)
        if is_new:
            print(f"The Space {space} is new on the Hub, and {'private' if info.private else 'public'}.")
        refuse_renamed(info, space)
        there = list_files(info)
        if there - {"README.md"} and not there.intersection(OUR_FILES) and not is_untouched(space, api):
            raise DeployError(f"{space} is another Space; choose another name with --name.")
        if info.sdk not in (None, sdk):
            raise DeployError(f"{space} is a {info.sdk} Space, not a {sdk} one; choose another name with --name.")
        if there and (content := find_content(space, str(info.sha), there)) not in (None, describe_content(models)):
            raise DeployError(f"{space} is a Space with {content}; choose another name with --name.")
        if options.private and not info.private:
            ask(partial(api.update_repo_settings, space, private=True, repo_type="space"), space)
            print(f"{space} is now private.")
        if not options.static:
            runtime = ask(partial(api.get_space_runtime, space), space)
            if options.hardware and options.hardware not in (runtime.requested_hardware, runtime.hardware):
                ask(partial(api.request_space_hardware, space, options.hardware), space)
        return commit_space(space, staged, info, f"Deploy {get_name(options)}", api)


def commit_space(space: str, staged: Staged, info: SpaceInfo, message: str, api: HfApi) -> tuple[str, bool]:
    """Set the variables of a Space, and commit its files; return its commit, and True if anything changed.

    If a variable or the commit fails, the variables become what they were.
    """
    # The variables come first, because a changed one restarts the Space.
    has_variables = staged.header["sdk"] == "gradio"
    before = find_variables(space, api) if has_variables else {}
    wanted = staged.variables if has_variables else {}
    try:
        set_variables(space, before, wanted, api)
        commit = commit_files(api, space, staged.files, info, message, "space")
    except BaseException:  # also Ctrl-C
        if before != wanted:
            try:
                set_variables(space, find_variables(space, api), before, api)
            except PublishError as error:
                print(f"warning: the variables of {space} could not be restored: {error}", file=sys.stderr)
        raise
    check_files(api, space, staged, commit)
    return commit, before != wanted or commit != info.sha


def list_files(info: SpaceInfo) -> set[str]:
    """Return the paths of the files of a Space, except the Hub's own."""
    return {sibling.rfilename for sibling in info.siblings or []} - {HUBS_OWN}


def is_untouched(space: str, api: HfApi) -> bool:
    """Return True if a Space has only the files with which the Hub creates it."""
    return len(ask(partial(api.list_repo_commits, space, repo_type="space"), space)) == 1


@contextlib.contextmanager
def explain_payment(hardware: str | None) -> Iterator[None]:
    """Explain which Spaces are free if the Hub requires a paid account for one on this hardware.

    Raises:
        DeployError: a paid account is needed.
    """
    try:
        yield
    except PublishError as error:
        status, reason = find_refusal(error)
        if status != HTTPStatus.PAYMENT_REQUIRED:
            raise
        way_out = f"Add --hardware {ZERO_GPU}, or use" if hardware != ZERO_GPU else "Use"
        raise DeployError(
            f"The Hub requires a paid account ({reason or 'it gives no reason'}). A free account can "
            "have static Spaces and, once it is 30 days old, two Gradio Spaces on ZeroGPU; Gradio on CPUs (cpu-basic) "
            f"needs PRO. {way_out} --static (the models run in the browser), or subscribe at https://huggingface.co/pro."
        ) from error


def describe_content(models: list[SpaceModel]) -> str:
    """Return a description of the Space to deploy."""
    return "the gallery" if models[0].suffix else f"a model for {models[0].config.task}"


def find_content(space: str, commit: str, files: set[str]) -> str | None:
    """Return the same description for a deployed Space; None if it is unknown, or its gallery.json cannot be read."""
    folders = [path.removesuffix(CONFIG_FILE) for path in files if re.fullmatch(MODEL_CONFIG, path)]
    if len(folders) > 1 or any(re.fullmatch("[^/]+/app.py", path) for path in files):
        return "the gallery"
    with contextlib.suppress(CheckpointError):
        return f"a model for {read_task(space, commit, kind='space', folder=folders[0])}" if folders else None
    return None


def check_files(api: HfApi, space: str, staged: Staged, commit: str) -> None:
    """Check that a commit has exactly the staged files.

    Raises:
        DeployError: files are missing, different or additional.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        write_staged(staged, Path(folder))
        verify = partial(api.verify_repo_checksums, space, repo_type="space", revision=commit, local_dir=folder)
        found = ask(verify, space)
    differing = {mismatch["path"] for mismatch in found.mismatches} | {*found.missing_paths, *found.extra_paths}
    if names := ", ".join(sorted(differing - {HUBS_OWN})):
        raise DeployError(f"Commit {commit} of {space} differs from what was uploaded: {names}.")


def find_variables(space: str, api: HfApi) -> dict[str, str]:
    """Return the MODEL_… variables of the Space."""
    there = ask(partial(api.get_space_variables, space), space)
    return {name: item.value for name, item in there.items() if OURS.fullmatch(name)}


def set_variables(space: str, there: dict[str, str], wanted: dict[str, str], api: HfApi) -> None:
    """Set exactly these MODEL_… variables of a Space that has those of `there`, and print what changed."""
    for name, value in there.items():
        if name not in wanted:
            ask(partial(api.delete_space_variable, space, name), space)
            print(f"{name} is deleted; it was {value}")
    for name, value in wanted.items():
        if there.get(name) != value:
            ask(partial(api.add_space_variable, space, name, value), space)
            print(f"{name} is set to {value}")


def run(options: argparse.Namespace) -> None:
    """Deploy, stage or list a Space with parsed options."""
    space = f"{options.owner}/{get_name(options)}"
    check_name(space)
    check_options(options)
    if options.rollback:
        check_account(space, kind="space")
        roll_back(space, options, HfApi(token=get_own_token(space, "space")))
        return
    app, models = choose(options)
    for model in models:
        if model.repo:
            check_name(model.repo)
    stage = stage_static if options.static else stage_space
    if options.dry_run or options.stage:
        staged = stage(app, models, space)
        refuse_tokens(staged.files)
        if options.stage:
            write_staged(staged, Path(options.stage))
        print(f"{'Staged' if options.stage else 'Would deploy'} {space}:\n")
        print_staged(staged)
        return
    check_account(space, kind="space")
    api = HfApi(token=get_own_token(space, "space"))
    if options.models_owner:
        models = [resolve_revision(model, api) for model in models]
    staged = stage(app, models, space)
    refuse_tokens(staged.files)
    for model in models:
        model.check()
    commit, changed = upload_space(space, staged, models, options, api)
    check_live(space, staged, models, commit, changed, options.timeout, api)
    if options.collection:
        add_to_collection(options.collection, space, "space")


def check_live(
    space: str, staged: Staged, models: list[SpaceModel], commit: str, changed: bool, timeout: float, api: HfApi
) -> None:
    """Check that a Space serves a commit, and print what was checked."""
    print(f"{space} is at commit {commit}{'' if changed else ', unchanged'}.", flush=True)
    if staged.header["sdk"] == "static":
        print(check_static_space(space, staged, timeout, api))
    else:
        url = check_space(space, models, commit, timeout, api, changed)
        print(f"Its predictions at {url} match the local ones.")
    print(f"Its page is {api.endpoint}/spaces/{space}")


def roll_back(space: str, options: argparse.Namespace, api: HfApi) -> None:
    """Restore the files and variables of a Space at an earlier commit, in a new commit, and check that it serves them.

    Raises:
        DeployError: there is no such commit or Space, or this script did not deploy it.
    """
    info = ask_if_there(partial(api.space_info, space), space)
    if info is None:
        raise DeployError(f"There is no Space {space} on the Hub.")
    try:
        old = ask(partial(api.space_info, space, revision=options.rollback), space)
    except PublishError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            listed = f"{api.endpoint}/spaces/{space}/commits/main"
            raise DeployError(f"{space} has no commit {options.rollback!r}; its commits are at {listed}") from error
        raise
    files = list_files(old)
    if not files.intersection(OUR_FILES):
        raise DeployError(f"This script did not deploy {space} at {options.rollback}; choose a later commit.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        fetch = partial(api.snapshot_download, space, repo_type="space", revision=old.sha, local_dir=folder)
        ask(fetch, space, UPLOAD)
        header = read_fields(read_card(folder))
        models = [] if header.get("sdk") == "static" else list_deployed_models(folder, files, header, api)
        for model in models:
            model.check()
        staged = Staged(header, {path: folder / path for path in files}, make_variables(models))
        commit, changed = commit_space(space, staged, info, f"Roll back to {str(old.sha)[:7]}", api)
        check_live(space, staged, models, commit, changed, options.timeout, api)


def list_deployed_models(folder: Path, files: set[str], header: dict[str, Any], api: HfApi) -> list[SpaceModel]:
    """Return the models of a deployed Gradio Space in a folder, with the commits on the Hub that its header names."""
    apps = [(folder / path).parents[1] for path in sorted(files) if re.fullmatch(f"([^/]+/)?model/{CONFIG_FILE}", path)]
    revisions = {words[0]: words[-1] for line in header.get("preload_from_hub", []) if (words := line.split())}
    repos = header.get("models") or []
    pairs = zip_longest(apps, repos[: len(apps)])
    models = [make_model(app, app != folder, repo, revisions.get(str(repo))) for app, repo in pairs]
    return [resolve_revision(model, api) if model.repo else model for model in models]


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python spaces/deploy.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted(path.parent.name for path in SPACES.glob("*/app.py"))
    result.add_argument("space", type=check_space_argument, help=f"{', '.join(names)}, or a checkpoint folder")
    result.add_argument("--owner", required=True, help="your user name on the Hub, or an organisation's")
    result.add_argument("--name", help="name of the Space (default: the folder's)")
    result.add_argument("--models-owner", metavar="OWNER", help="serve OWNER's models on the Hub")
    result.add_argument(
        "--revision", action="append", default=[], metavar="NAME=SHA", help="commit of a model (default: the newest)"
    )
    result.add_argument("--private", action="store_true", help="make the Space private")
    result.add_argument("--hardware", metavar="FLAVOUR", help="zero-a10g (free accounts), cpu-basic (PRO), …")
    result.add_argument("--static", action="store_true", help="run the models in the visitor's browser; always free")
    result.add_argument("--rollback", metavar="COMMIT", help="restore the Space as it was at an earlier commit")
    result.add_argument("--collection", metavar="TITLE", help="add it to your collection with this title")
    result.add_argument("--timeout", type=float, default=1200, metavar="SECONDS", help="time limit for build and start")
    result.add_argument("--dry-run", action="store_true", help="list the files and variables, without network")
    result.add_argument("--stage", metavar="DIR", help="write the files to a new folder, without network")
    return result


def check_space_argument(text: str) -> str:
    """Check that a text is the name or folder of a Space, or a checkpoint folder; return it.

    Raises:
        argparse.ArgumentTypeError: the text is neither. The path of a missing folder is not taken for a Space of its
            name, which would be published in its place.
    """
    folder = Path(text)
    space = SPACES / folder.name
    is_space = (space / "app.py").is_file() and (text == folder.name or folder.resolve() == space.resolve())
    if is_space or (folder / CONFIG_FILE).is_file():
        return text
    names = ", ".join(sorted(path.parent.name for path in SPACES.glob("*/app.py")))
    raise argparse.ArgumentTypeError(f"{text} is neither a Space ({names}) nor a checkpoint folder")


def main(argv: Sequence[str] = ()) -> int:
    """Deploy a Space with the options in `argv`; return the exit code.

    Errors that the user can fix are shown as one sentence instead of a stack trace.
    """
    commands = make_parser()
    options = commands.parse_args(argv)
    if wrong := [item for item in options.revision if not re.fullmatch(r"[\w.-]+=[\w./-]+", item)]:
        commands.error(f"--revision {wrong[0]}: write NAME=SHA, such as salary=1a2b3c….")
    return run_command(partial(run, options), "run the same command again to continue.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
