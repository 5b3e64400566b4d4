"""Publish a checkpoint folder as a model on the Hugging Face Hub, and check that the copy there answers the same.

    python -m training.publish spaces/cat_dog/model USER/cat_dog             (log in first: hf auth login)
    python -m training.publish runs/cat_dog USER/cat_dog --private
    python -m training.publish runs/cat_dog USER/cat_dog --space USER/gallery    link the card to the Space
    python -m training.publish runs/cat_dog USER/cat_dog --dry-run           list what would be uploaded, offline

It needs no torch. If torch and transformers are installed, a transformers network without torch weights gets weights
converted from its ONNX file, so that `pipeline` loads it; --onnx-only skips this. Every training script can also
publish, with --push-to-hub USER/REPO. In a CI job that is a trusted publisher of the repository (see its settings),
HF_OIDC_RESOURCE=USER/cat_dog replaces a token.
"""

import argparse
import dataclasses
import filecmp
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import HfApi, ModelInfo, hf_hub_download

from hub.account import check_account, check_name
from hub.client import UPLOAD, PublishError, ask, ask_if_there, mention_leftover, run_command
from hub.repository import (
    HUBS_OWN,
    add_to_collection,
    check_card,
    check_existing,
    commit_files,
    find_stale,
    make_repository,
    read_task,
    refuse_tokens,
)
from hub.staging import refuse_links
from shared import __version__
from shared.config import CARD, CONFIG_FILE, DOC_FILES, METRICS, GalleryConfig
from shared.errors import CheckpointError
from shared.hub import download
from shared.load import load_folder
from training.card import AUTHOR, OF_TRANSFORMERS, WEIGHTS, write_card


class Unchecked(PublishError):
    """The published model could not be checked."""


def publish(
    folder: str | Path,
    repo: str,
    private: bool = False,
    token: str | None = None,
    replace: bool = False,
    spaces: Sequence[str] = (),
    onnx_only: bool = False,
) -> str:
    """Publish a checkpoint folder in one commit: the repository has the old files or the new, never a mixture.

    Files that are no longer in the folder are removed. Publishing the same folder again changes nothing.

    Args:
        folder: the checkpoint folder.
        repo: "user/name"; created if it does not exist.
        private: if the repository is created, make it private.
        token: a token with write access; by default that of `hf auth login`.
        replace: also replace a model for another task.
        spaces: names of the Spaces that show it, which its card links to.
        onnx_only: do not convert the ONNX file to torch weights if the folder has none.

    Returns:
        The commit (40 hexadecimal digits) that was downloaded again and gave the same answers.

    Raises:
        PublishError: it was not published, or the copy on the Hub differs.
        CheckpointError: the folder is incomplete.
    """
    for name in spaces:
        check_name(name)
    check_account(repo, token)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        staged = stage_model(folder, Path(place) / "model", repo, spaces, onnx_only)
        check_card(api, (staged / CARD).read_text(encoding="utf-8"), repo)
        names = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
        info, is_new = make_repository(api, repo, private)
        with mention_leftover(repo, is_new):
            before, there = info.sha, {entry.rfilename for entry in info.siblings or []}
            check_content(info, repo, None if replace else GalleryConfig.read_common(staged).task, token)
            files = {name: staged / name for name in names}
            title = f"{GalleryConfig.read_common(staged).about.title}, by model-gallery {__version__}"
            print(f"Uploading {len(names)} files, {measure_size(staged):.1f} MB, to {repo} ...")
            if gone := find_stale(info, files):
                them = "them" if len(gone) > 1 else "it"
                print(f"This removes {', '.join(gone)} from {repo}, since the folder does not have {them}.")
            commit = commit_files(api, repo, files, info, title)
        print(f"{repo} is at commit {commit}{', as before' if commit == before else ''}.")
        if CONFIG_FILE in there and commit != before:
            print(f"This replaces commit {before}.")
        print("Downloading it again to check that its answers are the same ...")
        try:
            verify(staged, names, repo, commit, token)
        except Unchecked as error:
            raise PublishError(
                f"{repo} was published as commit {commit}, but could not be checked: {error} Run the same command "
                "again to check it."
            ) from error
        except (PublishError, CheckpointError) as error:
            way_back = ""
            if CONFIG_FILE in there and before != commit:
                way_back = (
                    f" The previous commit is {before}; to restore it: hf download {repo} --revision {before} "
                    f"--local-dir before, then python -m training.publish before {repo}"
                )
            raise PublishError(
                f"{repo} was published as commit {commit}, but it differs from the local model: {error}{way_back}"
            ) from error
        try:
            set_tag(api, repo, commit)
        except PublishError as error:  # the model is published all the same
            print(
                f"warning: {repo} is published, but its tag v{__version__} could not be set: {error}", file=sys.stderr
            )
    remind_author(Path(folder))
    return commit


def check_repository(repo: str, task: str | None, private: bool = False, token: str | None = None) -> None:
    """Check that a model can be published in a repository, and change nothing; call this before long work.

    Args:
        repo: "user/name"; it need not exist yet.
        task: the task of the model; any tabular one stands for both. None for any.
        private: the repository should be private.
        token: by default that of this machine's login.

    Raises:
        PublishError: nobody is logged in, write access is missing, or the repository has something else.
    """
    check_account(repo, token)
    info: ModelInfo | None = ask_if_there(lambda: HfApi(token=token).model_info(repo), repo)
    if info is None:
        return
    check_existing(info, repo, private)
    if task:
        check_content(info, repo, task.replace("regression", "classification"), token, is_early=True)


def check_content(
    info: ModelInfo, repo: str, task: str | None, token: str | None = None, is_early: bool = False
) -> None:
    """Check that a repository has nothing but, at most, a model for the same task.

    Args:
        info: what the Hub says of the repository.
        repo: its name.
        task: the task of the model to publish; None if it may replace a model for any.
        token: by default that of this machine's login.
        is_early: whether numbers or labels are predicted from tables is not known yet.

    Raises:
        PublishError: it has other files, or another model.
    """
    there = {entry.rfilename for entry in info.siblings or []}
    if there - {HUBS_OWN, CARD} and CONFIG_FILE not in there:
        raise PublishError(f"{repo} has other files, which would be deleted; choose another repository.")
    if CONFIG_FILE not in there or task is None:
        return
    way_out = "choose another one, or use --replace" + " of python -m training.publish" * is_early
    try:
        other = read_task(repo, str(info.sha), token)
    except CheckpointError as error:
        raise PublishError(f"{repo} has a model that cannot be read; {way_out}.") from error
    if (other.replace("regression", "classification") if is_early else other) != task:
        raise PublishError(f"{repo} has a model for {other}, but this one is for {task}; {way_out}.")


def stage_model(
    folder: str | Path, place: Path, repo: str, spaces: Sequence[str] = (), onnx_only: bool = False
) -> Path:
    """Copy the files to upload from a checkpoint folder to `place`, with a card for the repository.

    These are the files that gallery.json lists, and the documents; no others.

    Raises:
        CheckpointError: the folder is incomplete, or a file is a link to one elsewhere.
        PublishError: a file has a token of the Hub in it.
    """
    folder = Path(folder)
    load_folder(folder)
    names = sorted({*GalleryConfig.read_common(folder).files, *DOC_FILES})
    found = [name for name in names if (folder / name).is_file()]
    refuse_links(folder, [folder / name for name in found])
    for name in found:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, place / name)
    mention_other_card(folder, place, repo, spaces)
    if not onnx_only:
        make_weights(place)
    write_card(place, repo, spaces)
    refuse_tokens({path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()})
    return place


def mention_other_card(folder: Path, staged: Path, repo: str, spaces: Sequence[str]) -> None:
    """Print that a folder's card is not published if it is neither that of the folder nor of the repository."""
    if not (folder / CARD).is_file():
        return
    card = (folder / CARD).read_text(encoding="utf-8", errors="replace")
    if card not in [write_card(staged, *where).read_text(encoding="utf-8") for where in ((), (repo, spaces))]:
        print(
            f"{folder / CARD} is not published: the card is written from {CONFIG_FILE} and {METRICS}. "
            f"Text of your own belongs into summary, intended_use or limits of {CONFIG_FILE}."
        )


def make_weights(folder: Path) -> None:
    """Convert the ONNX file of a staged transformers network to torch weights if it has none and that is possible."""
    if GalleryConfig.read_common(folder).task not in OF_TRANSFORMERS or (folder / WEIGHTS).exists():
        return
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "onnx")):
        print(
            f"It is published without {WEIGHTS}, so `pipeline` cannot load it: torch, transformers or onnx is missing."
        )
        return
    from training.torch_weights import add_weights

    try:
        add_weights(folder)
    except Exception as error:  # the weights are optional: publish the model without them
        print(f"It is published without {WEIGHTS}, so `pipeline` cannot load it: {error or type(error).__name__}")


def measure_size(folder: Path) -> float:
    """Return the megabytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def verify(staged: Path, names: list[str], repo: str, commit: str, token: str | None) -> None:
    """Download a commit into an empty cache; compare every file and an answer of the model.

    Raises:
        PublishError: something differs.
        Unchecked: it cannot be downloaded.
        CheckpointError: it cannot be loaded.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        for name in names:
            fetch = partial(hf_hub_download, repo, name, revision=commit, cache_dir=cache, token=token)
            try:
                path = ask(fetch, repo, UPLOAD)
            except PublishError as error:
                raise Unchecked(str(error)) from error
            if not filecmp.cmp(path, staged / name, shallow=False):
                raise PublishError(f"{name} differs.")
        arrived = download(repo, commit, token, cache)
        here, there = load_folder(staged), load_folder(arrived)
        probe = here.example()
        if not are_equal(here.predict_batch([probe])[0], there.predict_batch([probe])[0]):
            raise PublishError("It answers differently.")


def are_equal(one: Any, other: Any) -> bool:
    """Return True if two predictions are equal in every field, including arrays."""
    try:
        np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))
    except AssertionError:
        return False
    return True


def set_tag(api: HfApi, repo: str, commit: str) -> None:
    """Set the tag of this project's version to a commit, and print from where an existing tag is moved."""
    name = f"v{__version__}"
    tags = {entry.name: entry.target_commit for entry in ask(lambda: api.list_repo_refs(repo), repo).tags}
    before = tags.get(name)
    if before == commit:
        return
    if before:
        ask(lambda: api.delete_tag(repo, tag=name), repo)
    try:
        ask(lambda: api.create_tag(repo, tag=name, revision=commit), repo)
    except PublishError:
        if before:
            with suppress(PublishError):
                ask(lambda: api.create_tag(repo, tag=name, revision=before), repo)
        raise
    if before:
        print(f"The tag {name}, which was at commit {before}, is at this one now.")


def main(argv: Sequence[str] = ()) -> int:
    """Publish a folder; `argv` are the command-line options. Return the exit code.

    An error is printed as one sentence. From Python, call `publish`, which raises it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m training.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="a checkpoint folder, such as spaces/salary/model")
    parser.add_argument("repo", metavar="USER/REPO", help="the repository on the Hub")
    parser.add_argument("--private", action="store_true", help="if the repository is created, make it private")
    parser.add_argument("--replace", action="store_true", help="also replace a model for another task")
    parser.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="USER/SPACE",
        help="a Space that shows it; its card links to it",
    )
    parser.add_argument("--collection", metavar="TITLE", help="put it into your collection of this title")
    parser.add_argument("--onnx-only", action="store_true", help="do not convert the ONNX file to torch weights")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be uploaded")
    options = parser.parse_args(argv)

    def run() -> None:
        if options.dry_run:
            print_model(options.folder, options.repo, options.space, options.onnx_only)
        else:
            commit = publish(
                options.folder,
                options.repo,
                options.private,
                replace=options.replace,
                spaces=options.space,
                onnx_only=options.onnx_only,
            )
            announce(options.repo, commit)
            if options.collection:
                add_to_collection(options.collection, options.repo, "model")

    return run_command(run, "running the same command again is safe.")


def print_model(folder: str, repo: str, spaces: Sequence[str] = (), onnx_only: bool = False) -> None:
    """Print what `publish` would upload."""
    for name in (repo, *spaces):
        check_name(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        staged = stage_model(folder, Path(place) / "model", repo, spaces, onnx_only)
        for path in sorted(path for path in staged.rglob("*") if path.is_file()):
            print(f"{path.stat().st_size:>12,}  {path.relative_to(staged).as_posix()}")
        print(
            f"{measure_size(staged):.1f} MB would be uploaded to {repo}, and nothing else. The metadata of its card:\n"
        )
        print((staged / CARD).read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)[0])
    remind_author(Path(folder), "then publish")


def remind_author(folder: Path, then: str = "then publish it again") -> None:
    """Print how to fill in the intended use of a model if nobody has, and what to do then."""
    if GalleryConfig.read_common(folder).about.intended_use == AUTHOR:
        print(
            f'Its card says "{AUTHOR}" where its intended use belongs: write that as intended_use in '
            f"{folder / CONFIG_FILE}, {then}."
        )


def announce(repo: str, commit: str) -> None:
    """Print where a model was published, and how to load this commit."""
    print(f"Published and checked: {HfApi().endpoint}/{repo} at commit {commit}")
    print(f'Load it: from model_gallery import load_model; model = load_model("{repo}", revision="{commit}")')


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
