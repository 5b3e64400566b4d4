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
import contextlib
import dataclasses
import filecmp
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as Late
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelInfo,
    get_session,
    get_token,
    hf_hub_download,
)
from huggingface_hub import logging as hub_logging
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    disable_progress_bars,
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from shared import PREDICTORS, __version__
from shared.config import CONFIG_FILE, LICENCE, GalleryConfig
from shared.console import guarded_output
from shared.errors import CheckpointError
from shared.hub import chain, download, explained, in_background, reason, response_of, told
from training.card import CARD, OF_TRANSFORMERS, WEIGHTS, write_card

PROVENANCE = "PROVENANCE.md"  # of folders of the first edition

T = TypeVar("T")

# With the files that gallery.json lists, all that ever goes up. Older folders call their licence NOTICE.md.
PAPERS = (CONFIG_FILE, CARD, PROVENANCE, LICENCE, "NOTICE.md")
HUBS_OWN = ".gitattributes"
ANSWER, UPLOAD = 30.0, 1800.0  # seconds that the Hub may take for an answer, and for an upload
MOST_WAITS, LONGEST_WAIT = 5, 300  # after "too many requests"
UNSAID_WAIT = 30.0  # seconds, where the Hub does not say how long to wait
MAY_NOT_WRITE = {"read", "no_access"}  # roles in an organisation
SETTINGS = "https://huggingface.co/settings/tokens"


class PublishError(RuntimeError):
    """Nothing was published, or not as it should be; the text says what to do."""


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
        info, is_new = repository(api, repo, private)
        with noting_what_stays(repo, is_new):
            before, there = info.sha, {entry.rfilename for entry in info.siblings or []}
            if there - {HUBS_OWN, CARD} and CONFIG_FILE not in there:
                raise PublishError(f"{repo} holds something else, which would be gone; name another repository.")
            kind = GalleryConfig.read_common(staged).model
            if CONFIG_FILE in there and not replace and (other := kind_there(repo, str(before), token)) != kind:
                raise PublishError(
                    f"{repo} holds a {other} model, and this is {kind}; name another repository, or --replace."
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


def repository(api: HfApi, repo: str, private: bool) -> tuple[ModelInfo, bool]:
    """What the Hub has of a repository, and whether it was made just now because it was not there.

    Raises:
        PublishError: it cannot be made, or is public although it should be private.
    """
    info: ModelInfo | None = if_there(lambda: api.model_info(repo), repo)
    is_new = info is None
    if info is None:
        ask(lambda: api.create_repo(repo, private=private or None, exist_ok=True), repo)
        with noting_what_stays(repo, is_new):
            info = ask(lambda: api.model_info(repo), repo)
            if private and not info.private:  # a server that does not know how the client asks for it
                raise PublishError(f"The Hub has made {repo} public although it was to be private.")
        print(f"{repo} is new on the Hub, and {'private' if info.private else 'public'}.")
    if private and not info.private:
        raise PublishError(f"{repo} is there already, and public; make it private on its page, or name another.")
    return info, is_new


def if_there(request: Callable[[], T], repo: str) -> T | None:
    """What the Hub answers about a repository; None if there is none of that name.

    Raises:
        PublishError: it does not answer, or refuses.
    """
    try:
        return ask(request, repo)
    except PublishError as error:
        causes = chain(error)
        is_missing = any(isinstance(one, RepositoryNotFoundError) for one in causes) or told(error)[0] == 404
        if is_missing and not any(isinstance(one, GatedRepoError) for one in causes):
            return None
        raise


@contextlib.contextmanager
def noting_what_stays(repo: str, is_new: bool, kind: str = "model") -> Iterator[None]:
    """Have whatever fails inside say that it leaves a repository behind, if the repository was made just now.

    It is not removed: the same command goes on with it, and an account may make only so many a day.
    """
    try:
        yield
    except PublishError as error:
        if is_new:
            remove = f"hf repos delete {repo}{'' if kind == 'model' else f' --type {kind}'}"
            error.args = (f"{error} {repo} has been made and stays; the same command uses it. To remove it: {remove}",)
        raise


def check_card(api: HfApi, card: str, repo: str, kind: str = "model") -> None:
    """See that the Hub accepts a README.md, before anything is made there.

    Args:
        api: the Hub's client.
        card: the whole README.md.
        repo: the repository that it is for.
        kind: "model" or "space".

    Raises:
        PublishError: it does not, or cannot be asked.
    """

    def request() -> None:
        body = {"content": card, "repoType": kind}
        address = f"{api.endpoint}/api/validate-yaml"
        hf_raise_for_status(get_session().post(address, json=body, headers=build_hf_headers(token=False)))

    try:
        ask(request, repo)
    except PublishError as error:
        status, why = told(error)
        if status == 400:
            raise PublishError(
                f"The Hub does not accept the header of README.md: {why or 'it gives no reason'}."
            ) from error
        raise


def kind_there(repo: str, commit: str, token: str | None) -> str:
    """Of which kind the model in a repository is."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        fetch = partial(hf_hub_download, repo, CONFIG_FILE, revision=commit, cache_dir=cache, token=token)
        return GalleryConfig.read_common(Path(ask(fetch, repo)).parent).model


def stage(folder: str | Path, place: Path, repo: str, spaces: Sequence[str] = (), onnx_only: bool = False) -> Path:
    """Copy what may go up from a checkpoint folder to `place`, with a card that names the repository.

    That is what gallery.json lists, and its papers: neither a hidden file nor a stray one.

    Raises:
        CheckpointError: the folder is not whole.
    """
    folder = Path(folder)
    predictor(folder)
    for name in sorted({*GalleryConfig.read_common(folder).files, *PAPERS}):
        if (folder / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, place / name)
    if not onnx_only:
        make_weights(place)
    write_card(place, repo, spaces)
    return place


def make_weights(folder: Path) -> None:
    """Give a staged network of transformers that has no weights for torch those of its ONNX file, if it can be done."""
    kind = GalleryConfig.read_common(folder).model
    if kind not in OF_TRANSFORMERS or (folder / WEIGHTS).exists():
        return
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "onnx")):
        print(f"Without torch, transformers and onnx here it goes up without {WEIGHTS}, and `pipeline` cannot load it.")
        return
    from training.torch_weights import add_weights

    try:
        add_weights(folder)
    except Exception as error:  # they are an extra: a graph of another shape, say, must not stop the model
        print(f"It goes up without {WEIGHTS}, and `pipeline` cannot load it: {error or type(error).__name__}")


def predictor(folder: Path) -> Any:
    """The predictor for a checkpoint folder of whichever kind.

    Raises:
        CheckpointError: there is none, or the folder is not whole.
    """
    kind = GalleryConfig.read_common(folder).model
    if kind not in PREDICTORS:
        raise CheckpointError(f"{folder} has a model of the unknown kind {kind!r}; there are {', '.join(PREDICTORS)}.")
    return PREDICTORS[kind](folder)


def size_of(folder: Path) -> float:
    """Megabytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def check_account(repo: str, token: str | None = None, kind: str = "model") -> None:
    """See that whoever is logged in may write to a repository; call it before long work begins.

    A token of an unknown shape passes: it might be one that may.

    Args:
        repo: "user/name", which need not exist yet.
        token: by default the one that this machine is logged in with.
        kind: "model" or "space".

    Raises:
        PublishError: nobody is logged in, or they may not write there.
    """
    check_name(repo)
    token = token or own_token(repo, kind)
    api = HfApi(token=token)
    if token.startswith("hf_jwt_"):  # a trusted publisher's: it belongs to one repository, and to no account
        if if_there(lambda: api.repo_info(repo, repo_type=kind), repo) is None:
            raise PublishError(
                f"There is no {repo} on the Hub yet, and a trusted publisher cannot make it: make it on the Hub, and "
                "name this job in its settings, under Trusted Publishers."
            )
        return
    account = ask(api.whoami, repo)
    try:
        missing = lacking(account, repo, kind)
    except (AttributeError, TypeError, LookupError):  # another shape than the Hub's
        return
    if missing:
        raise PublishError(missing)


def own_token(repo: str, kind: str = "model") -> str:
    """The token that this machine is logged in with, or the one that a CI job gets in exchange for its identity.

    Raises:
        PublishError: there is none, or it is for something else.
    """
    resource = os.environ.get("HF_OIDC_RESOURCE", "")
    wanted = f"spaces/{repo}" if kind == "space" else repo
    if resource and resource.casefold().removeprefix("models/") != wanted.casefold():
        kind_of_token = "may write to that alone" if "/" in resource else "may only read"
        raise PublishError(f"HF_OIDC_RESOURCE is {resource}, whose token {kind_of_token}; set it to {wanted}")
    try:
        token = ask(get_token, repo)
    except PublishError as error:
        if not resource:
            raise
        raise PublishError(
            f"{error} HF_OIDC_RESOURCE is {resource}: that repository must exist and name this job in its settings, "
            "under Trusted Publishers."
        ) from error
    if not token:
        raise PublishError("Nobody is logged in to the Hub here: hf auth login, with a token that may write.")
    return token


def lacking(account: dict[str, Any], repo: str, kind: str) -> str:
    """What an account or its token lacks to write to a repository, in a sentence with the cure; "" if nothing.

    Args:
        account: the Hub's answer to whoami.
        repo: "user/name".
        kind: "model" or "space".
    """
    if account.get("type", "user") not in ("user", "org"):
        return ""
    owner, name = repo.split("/", maxsplit=1)[0], account["name"]
    token = (account.get("auth") or {}).get("accessToken") or {}
    fine = token.get("fineGrained") or {}
    scopes = [scope["entity"] for scope in fine.get("scoped") or [] if is_writing(scope["permissions"])]
    may = any(covers(entity, repo, kind) for entity in scopes) or is_writing(fine.get("global") or [])
    groups = {group["name"].casefold(): group for group in account.get("orgs") or []}
    group = groups.get(owner.casefold())
    if token.get("role") == "read":
        return f"The token may only read; make one with the role write at {SETTINGS}, then: hf auth login"
    if group:
        role = group.get("roleInOrg")
        if role and {role, *(one.get("role") for one in group.get("resourceGroups") or [])} <= MAY_NOT_WRITE:
            return (
                f"Your role in {owner} is {role}, which may not write to {repo}; ask its administrators for the role "
                f"contributor or write, or use {name}/…."
            )
    elif owner.casefold() != name.casefold() and not may:
        return f"You are {name} on the Hub and may not write to {repo}; use {name}/…."
    if token.get("role") == "fineGrained" and isinstance(fine.get("scoped"), list) and not may:
        return (
            f"The token lacks the permission repo.write for {repo}; add it at {SETTINGS}, for that repository if it is "
            f"there already or for all of {owner}, or use a token with the role write: hf auth login"
        )
    return ""


def is_writing(permissions: list[str]) -> bool:
    """Whether one of a token's permissions is to write to repositories."""
    return any(permission.startswith("repo.") and permission.endswith("write") for permission in permissions)


def covers(entity: dict[str, Any], repo: str, kind: str) -> bool:
    """Whether what a token's permissions are about is a repository, or all of its owner's."""
    owner = repo.split("/", maxsplit=1)[0]
    named = {"user": owner, "org": owner, kind: repo}
    others = {"model", "dataset", "space", "kernel", "bucket", "collection", "oauth-app"} - {kind}
    if entity["type"] in others:
        return False
    wanted = named.get(entity["type"])  # of another kind, such as a resource group, it cannot be told
    return wanted is None or not entity.get("name") or entity["name"].casefold() == wanted.casefold()


def check_name(repo: str) -> None:
    """See that a repository is named as the Hub names them.

    Raises:
        PublishError: it is not.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise PublishError(f"{repo!r} is no name on the Hub; it must be like USER/cat_dog.")


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
        except HFValidationError as error:
            raise PublishError(f"{repo!r} is no name the Hub accepts: {error}") from None
        except Exception as error:  # the client's errors are of many kinds
            if isinstance(error, Late) and not future.done():
                raise PublishError(f"The Hub did not answer within {seconds:.0f} s; try again.") from error
            wait = seconds_to_wait(error)
            if wait is not None and wait > LONGEST_WAIT:
                raise PublishError(
                    f"The Hub asks to wait {lasting(wait)} ({too_often(error)}); try again then."
                ) from error
            if wait is None or attempt == MOST_WAITS:
                raise PublishError(explained(error, repo, writing=True)) from error
            print(f"Asked too often: waiting {wait:.0f} s for the Hub ...", flush=True)
            time.sleep(wait)
    raise AssertionError


def seconds_to_wait(error: Exception) -> float | None:
    """How long to wait after a refusal because of too many requests; None if waiting does not help.

    The Hub says it in its words for what it counts by the hour or day, such as commits; there the headers, which
    every answer has, are about something else. Where it says nothing, UNSAID_WAIT.
    """
    response = next((found for one in chain(error) if (found := response_of(one)) is not None), None)
    if response is None or response.status_code != 429:
        return None
    unit = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
    words = reason(response).lower()
    if said := re.search(r"retry.{0,20} (?:in|after) (?:about )?(an?|\d+) (second|minute|hour|day)", words):
        return float(1 if said[1].startswith("a") else said[1]) * unit[said[2]] + 1
    limit = parse_ratelimit_headers(response.headers)
    if limit and limit.remaining == 0:
        return float(limit.reset_in_seconds + 1)
    header = response.headers.get("Retry-After", "")
    if header.isdecimal():
        return float(header) + 1
    with contextlib.suppress(ValueError, TypeError):  # a date without a zone cannot be compared
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()) + 1
    return UNSAID_WAIT


def too_often(error: Exception) -> str:
    """Why the Hub wants a pause: the status with the Hub's own reason."""
    status, why = told(error)
    return f"{status}: {why}" if why else str(status)


def lasting(seconds: float) -> str:
    """A time of some minutes or more, in words."""
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{round(minutes / 60)} hours"


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


def collect(title: str, repo: str, kind: str) -> None:
    """Put a repository into its owner's collection of that title, which is made if it is not there.

    A refusal is printed: what was to be collected is published all the same.

    Args:
        title: of the collection.
        repo: the repository's name.
        kind: "model" or "space".
    """
    api = HfApi()
    try:
        made = partial(api.create_collection, title, namespace=repo.split("/", maxsplit=1)[0], exists_ok=True)
        collection = ask(made, repo)
        ask(lambda: api.add_collection_item(collection.slug, repo, kind, exists_ok=True), repo)  # type: ignore[arg-type]
    except PublishError as error:
        print(f"{repo} is there, but not in the collection {title!r}: {error}")
    else:
        print(f"It is in the collection {collection.url}")


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
            announce(options.folder, options.repo, commit)
            if options.collection:
                collect(options.collection, options.repo, "model")

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


def announce(folder: str, repo: str, commit: str) -> None:
    """Say where a model is now, and how to load just this one."""
    kind = PREDICTORS[GalleryConfig.read_common(folder).model]
    print(f"Published and checked: {HfApi().endpoint}/{repo} at commit {commit}")
    print(f'Load it anywhere: {kind.__name__}.from_pretrained("{repo}", revision="{commit}")')


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
