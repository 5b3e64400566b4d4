"""Publish a checkpoint folder as a model on the Hugging Face Hub, and check that what arrived answers as it does here.

    python -m training.publish spaces/cat_dog/model USER/cat_dog             (log in first: hf auth login)
    python -m training.publish runs/cat_dog USER/cat_dog --private
    python -m training.publish runs/cat_dog USER/cat_dog --space USER/gallery    its card links to the Space
    python -m training.publish runs/cat_dog USER/cat_dog --dry-run           says what would go up; asks nobody

It needs no torch. Where torch and transformers are installed, a network of transformers that is published without
weights for torch gets those of its ONNX file, so that `pipeline` loads it; --onnx-only leaves them out. Every training
script publishes, too, with --push-to-hub USER/REPO. In a CI job that the repository trusts (its settings, Trusted
Publishers), HF_OIDC_RESOURCE=USER/cat_dog takes the place of a token.
"""

import argparse
import dataclasses
import filecmp
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download

from hub.account import check_account, check_name
from hub.client import UPLOAD, PublishError, ask, noting_what_stays, run_command
from hub.repository import check_card, collect, make_repository, task_there
from shared import __version__
from shared.config import CARD, CONFIG_FILE, DOC_FILES, GalleryConfig
from shared.errors import CheckpointError
from shared.hub import download
from shared.load import load_folder
from training.card import OF_TRANSFORMERS, WEIGHTS, write_card

HUBS_OWN = ".gitattributes"


class Unchecked(PublishError):
    """It cannot be told whether what was published is as it should be."""


def publish(
    folder: str | Path,
    repo: str,
    private: bool = False,
    token: str | None = None,
    replace: bool = False,
    spaces: Sequence[str] = (),
    onnx_only: bool = False,
) -> str:
    """Publish a checkpoint folder in one commit: the repository has the old files or the new, never some of both.

    Files that are gone from the folder are removed; the same folder published again changes nothing.

    Args:
        folder: the checkpoint folder.
        repo: "user/name"; made if it is not there.
        private: make it private, if it is made.
        token: with the right to write; by default the one that this machine is logged in with.
        replace: also if the repository has a model of another kind.
        spaces: names of the Spaces that show it, for its card to link to.
        onnx_only: make no weights for torch out of the ONNX file, where the folder has none.

    Returns:
        The commit (40 hexadecimal digits) under which the model was downloaded again, and answered as it does here.

    Raises:
        PublishError: it is not published, or it is and does not answer as it does here.
        CheckpointError: the folder is not whole.
    """
    for name in spaces:
        check_name(name)
    check_account(repo, token)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        staged = stage(folder, Path(place) / "model", repo, spaces, onnx_only)
        check_card(api, (staged / CARD).read_text(encoding="utf-8"), repo)
        names = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
        info, is_new = make_repository(api, repo, private)
        with noting_what_stays(repo, is_new):
            before, there = info.sha, {entry.rfilename for entry in info.siblings or []}
            if there - {HUBS_OWN, CARD} and CONFIG_FILE not in there:
                raise PublishError(f"{repo} holds something else, which would be gone; name another repository.")
            task = GalleryConfig.read_common(staged).task
            if CONFIG_FILE in there and not replace and (other := task_there(repo, str(before), token)) != task:
                raise PublishError(
                    f"{repo} has a model for {other}, and this is one for {task}; name another one, or --replace."
                )
            gone = there - {*names, HUBS_OWN}
            operations: list[CommitOperationAdd | CommitOperationDelete]
            operations = [CommitOperationAdd(name, staged / name) for name in names]
            operations += [CommitOperationDelete(name) for name in sorted(gone)]
            title = f"{GalleryConfig.read_common(staged).about.title}, by model-gallery {__version__}"
            print(f"Uploading {len(names)} files, {size_of(staged):.1f} MB, to {repo} ...")
            if gone:
                print(f"This removes {', '.join(sorted(gone))} there: the folder has no such file.")
            done = ask(
                lambda: api.create_commit(repo, operations, commit_message=title, parent_commit=before), repo, UPLOAD
            )
        print(f"{repo} is at commit {done.oid}{', as before' if done.oid == before else ''}.")
        if CONFIG_FILE in there and done.oid != before:
            print(f"This replaces commit {before}.")
        print("Downloading it again to see that it answers as it does here ...")
        try:
            verify(staged, names, repo, done.oid, token)
        except Unchecked as error:
            raise PublishError(
                f"{repo} was published as commit {done.oid}, but could not be checked: {error} The same command again "
                "checks it."
            ) from error
        except (PublishError, CheckpointError) as error:
            way_back = ""
            if CONFIG_FILE in there and before != done.oid:
                way_back = (
                    f" Its commit before that is {before}; to return to it: hf download {repo} --revision {before} "
                    f"--local-dir before, then python -m training.publish before {repo}"
                )
            raise PublishError(
                f"{repo} was published as commit {done.oid}, but it is not what is here: {error}{way_back}"
            ) from error
        try:
            tag(api, repo, done.oid)
        except PublishError as error:  # the model is there and is right without it
            print(f"warning: {repo} is published, but its tag v{__version__} is not set: {error}", file=sys.stderr)
    return str(done.oid)


def stage(folder: str | Path, place: Path, repo: str, spaces: Sequence[str] = (), onnx_only: bool = False) -> Path:
    """Copy what may go up from a checkpoint folder to `place`, with a card that names the repository.

    That is what gallery.json lists, and its papers: neither a hidden file nor a stray one.

    Raises:
        CheckpointError: the folder is not whole.
    """
    folder = Path(folder)
    load_folder(folder)
    for name in sorted({*GalleryConfig.read_common(folder).files, *DOC_FILES}):
        if (folder / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, place / name)
    if not onnx_only:
        make_weights(place)
    write_card(place, repo, spaces)
    return place


def make_weights(folder: Path) -> None:
    """Give a staged network of transformers that has no weights for torch those of its ONNX file, if it can be done."""
    if GalleryConfig.read_common(folder).task not in OF_TRANSFORMERS or (folder / WEIGHTS).exists():
        return
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "onnx")):
        print(f"Without torch, transformers and onnx here it goes up without {WEIGHTS}, and `pipeline` cannot load it.")
        return
    from training.torch_weights import add_weights

    try:
        add_weights(folder)
    except Exception as error:  # they are an extra: a graph of another shape, say, must not stop the model
        print(f"It goes up without {WEIGHTS}, and `pipeline` cannot load it: {error or type(error).__name__}")


def size_of(folder: Path) -> float:
    """Megabytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def verify(staged: Path, names: list[str], repo: str, commit: str, token: str | None) -> None:
    """Download a commit into an empty cache, and compare every file, and what the model answers.

    Raises:
        PublishError: something differs.
        Unchecked: it does not arrive.
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
    """Return True if two predictions are equal in every field, arrays and all."""
    try:
        np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))
    except AssertionError:
        return False
    return True


def tag(api: HfApi, repo: str, commit: str) -> None:
    """Let this project's version, as a tag, name a commit, whatever it named before."""
    name = f"v{__version__}"
    tags = {entry.name: entry.target_commit for entry in ask(lambda: api.list_repo_refs(repo), repo).tags}
    if tags.get(name) == commit:
        return
    if name in tags:
        ask(lambda: api.delete_tag(repo, tag=name), repo)
    ask(lambda: api.create_tag(repo, tag=name, revision=commit), repo)


def main(argv: Sequence[str] = ()) -> int:
    """Publish with the options of the command line, given as a list; returns the exit code.

    Whatever goes wrong ends in one sentence. From Python, call `publish`, which raises it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m training.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="a checkpoint folder, such as spaces/salary/model")
    parser.add_argument("repo", metavar="USER/REPO", help="where to")
    parser.add_argument("--private", action="store_true", help="if the repository is made, make it private")
    parser.add_argument("--replace", action="store_true", help="also a model for another task that is there")
    parser.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="USER/SPACE",
        help="a Space that shows it; its card links to it",
    )
    parser.add_argument("--collection", metavar="TITLE", help="put it into your collection of this title")
    parser.add_argument("--onnx-only", action="store_true", help="make no weights for torch out of the ONNX file")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go up")
    options = parser.parse_args(argv)

    def run() -> None:
        if options.dry_run:
            show(options.folder, options.repo, options.space, options.onnx_only)
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
                collect(options.collection, options.repo, "model")

    return run_command(run, "the same command again is safe, and leaves all as if it had run once.")


def show(folder: str, repo: str, spaces: Sequence[str] = (), onnx_only: bool = False) -> None:
    """Print what `publish` would upload."""
    for name in (repo, *spaces):
        check_name(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        staged = stage(folder, Path(place) / "model", repo, spaces, onnx_only)
        for path in sorted(path for path in staged.rglob("*") if path.is_file()):
            print(f"{path.stat().st_size:>12,}  {path.relative_to(staged).as_posix()}")
        print(f"{size_of(staged):.1f} MB would go to {repo}, and nothing else; with this at the top of its card:\n")
        print((staged / CARD).read_text(encoding="utf-8").split("---")[1].strip())


def announce(repo: str, commit: str) -> None:
    """Say where a model is now, and how to load just this one."""
    print(f"Published and checked: {HfApi().endpoint}/{repo} at commit {commit}")
    print(f'Load it anywhere: load_model("{repo}", revision="{commit}")')


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
