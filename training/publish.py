"""Publish a checkpoint folder as a model on the Hugging Face Hub, and check that what arrived answers as it does here.

    python -m training.publish spaces/cat_dog/model USER/cat_dog             (log in first: hf auth login)
    python -m training.publish runs/cat_dog USER/cat_dog --private
    python -m training.publish runs/cat_dog USER/cat_dog --dry-run           says what would go up; asks nobody

It needs no torch. Every training script does the same with --push-to-hub USER/REPO.
"""

import argparse
import dataclasses
import filecmp
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as Late
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, get_token, hf_hub_download
from huggingface_hub import logging as hub_logging
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import disable_progress_bars, parse_ratelimit_headers  # type: ignore[attr-defined]

from shared import PREDICTORS, __version__
from shared.checkpoint import CONTRACT, Checkpoint
from shared.console import guarded_output
from shared.errors import CheckpointError
from shared.hub import FAILURES, download, explained, in_background, status_told
from training.card import CARD, PROVENANCE, write_card

T = TypeVar("T")

PAPERS = (CONTRACT, CARD, PROVENANCE, "NOTICE.md")  # with the files that gallery.json lists, all that ever goes up
HUBS_OWN = ".gitattributes"
ANSWER, UPLOAD = 30.0, 1800.0  # seconds that the Hub may take for an answer, and for an upload
MOST_WAITS, LONGEST_WAIT = 5, 300  # after "too many requests"


class PublishError(RuntimeError):
    """Nothing was published, or not as it should be; the text says what to do."""


class Unchecked(PublishError):
    """It cannot be told whether what was published is as it should be."""


def publish(
    folder: str | Path, repo: str, private: bool = False, token: str | None = None, replace: bool = False
) -> str:
    """Publish a checkpoint folder in one commit: the repository has the old files or the new, never some of both.

    Files that are gone from the folder are removed; the same folder published again changes nothing.

    Args:
        folder: the checkpoint folder.
        repo: "user/name"; made if it is not there.
        private: make it private, if it is made.
        token: with the right to write; by default the one that this machine is logged in with.
        replace: also if the repository has a model of another kind.

    Returns:
        The commit (40 hexadecimal digits) under which the model was downloaded again, and answered as it does here.

    Raises:
        PublishError: it is not published, or it is and does not answer as it does here.
        CheckpointError: the folder is not whole.
    """
    check_account(repo, token)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        staged = stage(folder, Path(place) / "model", repo)
        names = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
        info = repository(api, repo, private)
        before, there = info.sha, {entry.rfilename for entry in info.siblings or []}
        if there - {HUBS_OWN, CARD} and CONTRACT not in there:
            raise PublishError(f"{repo} holds something else, which would be gone; name another repository.")
        kind = Checkpoint.read_common(staged).model
        if CONTRACT in there and not replace and (other := kind_there(repo, str(before), token)) != kind:
            raise PublishError(
                f"{repo} holds a {other} model, and this is {kind}; name another repository, or --replace."
            )
        gone = there - {*names, HUBS_OWN}
        operations: list[CommitOperationAdd | CommitOperationDelete]
        operations = [CommitOperationAdd(name, staged / name) for name in names]
        operations += [CommitOperationDelete(name) for name in sorted(gone)]
        title = f"{Checkpoint.read_common(staged).about.title}, by model-gallery {__version__}"
        print(f"Uploading {len(names)} files, {size_of(staged):.1f} MB, to {repo} ...")
        done = ask(
            lambda: api.create_commit(repo, operations, commit_message=title, parent_commit=before), repo, UPLOAD
        )
        if CONTRACT in there:
            print("Nothing has changed." if done.oid == before else f"This replaces commit {before}.")
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
            if CONTRACT in there and before != done.oid:
                way_back = (
                    f" Its commit before that is {before}; to return to it: hf download {repo} --revision {before} "
                    f"--local-dir before, then python -m training.publish before {repo}"
                )
            raise PublishError(
                f"{repo} was published as commit {done.oid}, but it is not what is here: {error}{way_back}"
            ) from error
        tag(api, repo, done.oid)
    return str(done.oid)


def repository(api: HfApi, repo: str, private: bool) -> ModelInfo:
    """What the Hub has of a repository, which is made if it is not there.

    Raises:
        PublishError: it cannot be made, or is public although it should be private.
    """
    ask(lambda: api.create_repo(repo, private=private or None, exist_ok=True), repo)
    info: ModelInfo = ask(lambda: api.model_info(repo), repo)
    if private and not info.private:
        raise PublishError(f"{repo} is there already, and public; make it private on its page, or name another.")
    return info


def kind_there(repo: str, commit: str, token: str | None) -> str:
    """Of which kind the model in a repository is."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        fetch = partial(hf_hub_download, repo, CONTRACT, revision=commit, cache_dir=cache, token=token)
        return Checkpoint.read_common(Path(ask(fetch, repo)).parent).model


def stage(folder: str | Path, place: Path, repo: str) -> Path:
    """Copy what may go up from a checkpoint folder to `place`, with a card that names the repository.

    That is what gallery.json lists, and its papers: neither a hidden file nor a stray one.

    Raises:
        CheckpointError: the folder is not whole.
    """
    folder = Path(folder)
    predictor(folder)
    for name in sorted({*Checkpoint.read_common(folder).files, *PAPERS}):
        if (folder / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, place / name)
    write_card(place, repo)
    return place


def predictor(folder: Path) -> Any:
    """The predictor for a checkpoint folder of whichever kind.

    Raises:
        CheckpointError: there is none, or the folder is not whole.
    """
    kind = Checkpoint.read_common(folder).model
    if kind not in PREDICTORS:
        raise CheckpointError(f"{folder} has a model of the unknown kind {kind!r}; there are {', '.join(PREDICTORS)}.")
    return PREDICTORS[kind](folder)


def size_of(folder: Path) -> float:
    """Megabytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def check_account(repo: str, token: str | None = None) -> None:
    """See that somebody is logged in who may write to a repository; call it before long work begins.

    Raises:
        PublishError: nobody is, or they may not.
    """
    check_name(repo)
    if not (token or get_token()):
        raise PublishError("Nobody is logged in to the Hub here: hf auth login, with a token that may write.")
    account = ask(lambda: HfApi(token=token).whoami(), repo)
    readers = [group["name"] for group in account.get("orgs", []) if group.get("roleInOrg") == "read"]
    owners = [account["name"], *(group["name"] for group in account.get("orgs", []) if group["name"] not in readers)]
    if repo.split("/", maxsplit=1)[0] not in owners:
        raise PublishError(f"You are {account['name']} on the Hub and may not write to {repo}; use {owners[0]}/….")
    access = account.get("auth", {}).get("accessToken", {})
    rights = [right for scope in access.get("fineGrained", {}).get("scoped", []) for right in scope["permissions"]]
    if access.get("role") == "read" or (rights and "repo.write" not in rights):
        raise PublishError("The token may only read; make one that may write in the settings, and: hf auth login")


def check_name(repo: str) -> None:
    """See that a repository is named as the Hub names them.

    Raises:
        PublishError: it is not.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise PublishError(f"{repo!r} is no name of a model on the Hub; it must be like USER/cat_dog.")


def ask(request: Callable[[], T], repo: str, seconds: float | None = None) -> T:
    """What the Hub answers, within some seconds; waits and asks again where it says that it was asked too often.

    Raises:
        PublishError: it does not answer, or refuses.
    """
    seconds = ANSWER if seconds is None else seconds
    for attempt in range(MOST_WAITS + 1):
        future = in_background(request)
        try:
            return future.result(seconds)
        except Late as error:
            said = (
                refused(error, repo) if future.done() else f"The Hub did not answer within {seconds:.0f} s; try again."
            )
            raise PublishError(said) from error
        except HFValidationError as error:
            raise PublishError(f"{repo!r} is no name the Hub accepts: {error}") from None
        except FAILURES as error:
            wait = seconds_to_wait(error)
            if wait is not None and wait > LONGEST_WAIT:
                raise PublishError(f"The Hub asks to wait {wait / 60:.0f} minutes; try again then.") from error
            if wait is None or attempt == MOST_WAITS:
                raise PublishError(refused(error, repo)) from error
            print(f"The Hub asks to wait {wait:.0f} s ...", flush=True)
            time.sleep(wait)
        except RuntimeError as error:  # the client's, around what went wrong with a large file
            raise PublishError(refused(error.__cause__ or error, repo)) from error
        except ValueError as error:  # the Hub found fault with the card's metadata, or with a file
            raise PublishError(f"The Hub does not accept it: {error}") from error
    raise AssertionError


def seconds_to_wait(error: Exception) -> float | None:
    """How long a refusal asks to wait; None if waiting does not help."""
    if not isinstance(error, HfHubHTTPError) or error.response.status_code != 429:
        return None
    headers = error.response.headers
    if limit := parse_ratelimit_headers(headers):
        return float(limit.reset_in_seconds + 1)
    said = headers.get("Retry-After", "")
    return float(said) + 1 if said.isdecimal() else 30.0


def refused(error: BaseException, repo: str) -> str:
    """What a refusal to write means to a person, in a sentence."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else status_told(error)
    if status == 402:
        return f"The Hub asks for a paid plan to do this with {repo}: a private repository beyond the free space?"
    if status == 403:
        return f"The token may not write to {repo}; make one that may in the settings, and: hf auth login"
    if status == 412:
        return f"Somebody else changed {repo} meanwhile; look at it, and try again."
    return explained(error, repo, None)


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
        here, there = predictor(staged), predictor(arrived)
        probe = here.example()
        if not same(here.predict_batch([probe])[0], there.predict_batch([probe])[0]):
            raise PublishError("It answers otherwise.")


def same(one: Any, other: Any) -> bool:
    """Whether two predictions are equal in every field, arrays and all."""
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
    parser.add_argument("--replace", action="store_true", help="also a model of another kind that is there")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go up")
    options = parser.parse_args(argv)

    def run() -> None:
        if options.dry_run:
            show(options.folder, options.repo)
        else:
            commit = publish(options.folder, options.repo, options.private, replace=options.replace)
            announce(options.folder, options.repo, commit)

    return exit_code(run, "the same command again is safe, and leaves all as if it had run once.")


def exit_code(run: Callable[[], None], if_interrupted: str) -> int:
    """Run a command that asks the Hub; returns the process's exit code, after one sentence if it is not 0."""
    with guarded_output():
        hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        if not sys.stderr.isatty():
            disable_progress_bars()
        try:
            run()
        except (PublishError, CheckpointError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"\nInterrupted; {if_interrupted}", file=sys.stderr)
            return 130
    return 0


def show(folder: str, repo: str) -> None:
    """Print what `publish` would upload."""
    check_name(repo)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        staged = stage(folder, Path(place) / "model", repo)
        for path in sorted(path for path in staged.rglob("*") if path.is_file()):
            print(f"{path.stat().st_size:>12,}  {path.relative_to(staged).as_posix()}")
        print(f"{size_of(staged):.1f} MB would go to {repo}, and nothing else; with this at the top of its card:\n")
        print((staged / CARD).read_text(encoding="utf-8").split("---")[1].strip())


def announce(folder: str, repo: str, commit: str) -> None:
    """Say where a model is now, and how to load just this one."""
    kind = PREDICTORS[Checkpoint.read_common(folder).model]
    print(f"Published and checked: {HfApi().endpoint}/{repo} at commit {commit}")
    print(f'Load it anywhere: {kind.__name__}.from_pretrained("{repo}", revision="{commit}")')


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
