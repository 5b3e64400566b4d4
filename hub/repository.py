"""Create repositories on the Hub, commit files, check cards, and add to collections."""

import gzip
import re
import tempfile
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelInfo,
    SpaceInfo,
    get_session,
    hf_hub_download,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from hub.client import UPLOAD, PublishError, ask, ask_if_there, mention_leftover
from shared.config import CONFIG_FILE, GalleryConfig
from shared.hub_errors import TOKEN, find_refusal

HUBS_OWN = ".gitattributes"  # created by the Hub
TOKEN_BYTES = re.compile(TOKEN.pattern.encode())


def make_repository(api: HfApi, repo: str, private: bool) -> tuple[ModelInfo, bool]:
    """Return the Hub's information about a repository, created if necessary, and True if it is new.

    Raises:
        PublishError: the repository cannot be created, has another name, or is public although it should be private.
    """
    info: ModelInfo | None = ask_if_there(lambda: api.model_info(repo), repo)
    is_new = info is None
    if info is None:
        ask(lambda: api.create_repo(repo, private=private or None), repo)
        with mention_leftover(repo, is_new):
            info = ask(lambda: api.model_info(repo), repo)
            if private and not info.private:  # another server may ignore the option
                raise PublishError(f"The Hub has created {repo} as public although it should be private.")
        print(f"The model {repo} is new on the Hub, and {'private' if info.private else 'public'}.")
    check_existing(info, repo, private)
    return info, is_new


def check_existing(info: ModelInfo, repo: str, private: bool) -> None:
    """Check that a repository has the name that was given, and is private if it should be.

    Raises:
        PublishError: it has another name, or is public although it should be private.
    """
    refuse_renamed(info, repo)
    if private and not info.private:
        raise PublishError(f"{repo} already exists and is public; make it private on its page, or use another name.")


def refuse_renamed(info: ModelInfo | SpaceInfo, repo: str) -> None:
    """Check that a repository has the name with which it was asked for; the Hub redirects from former names.

    Raises:
        PublishError: it has another name.
    """
    if info.id.casefold() != repo.casefold():
        raise PublishError(f"{repo} is now called {info.id}; use that name if you mean it, or else another one.")


def check_card(api: HfApi, card: str, repo: str, kind: str = "model") -> None:
    """Check that the Hub accepts a README.md, before anything is created there.

    Args:
        api: the Hub's client.
        card: the whole README.md.
        repo: the repository of the card.
        kind: "model" or "space".

    Raises:
        PublishError: the Hub does not accept it, or does not answer.
    """

    def request() -> None:
        body = {"content": card, "repoType": kind}
        address = f"{api.endpoint}/api/validate-yaml"
        hf_raise_for_status(get_session().post(address, json=body, headers=build_hf_headers(token=False)))

    try:
        ask(request, repo)
    except PublishError as error:
        status, why = find_refusal(error)
        if status == 400:
            raise PublishError(
                f"The Hub does not accept the header of README.md: {why or 'it gives no reason'}."
            ) from error
        raise


def find_stale(info: ModelInfo | SpaceInfo, files: Collection[str]) -> list[str]:
    """Return the files of a repository that are not in `files`, except the Hub's own."""
    return sorted({entry.rfilename for entry in info.siblings or []} - {*files, HUBS_OWN})


def refuse_tokens(files: Mapping[str, Path | bytes]) -> None:
    """Check that no file has a token of the Hub in it, because everybody who can read the repository could use it.

    Raises:
        PublishError: a file has one.
    """
    for path, file in files.items():
        content = file if isinstance(file, bytes) else file.read_bytes()
        if path.endswith(".gz"):
            with suppress(OSError, EOFError, zlib.error):  # it is not compressed
                content = gzip.decompress(content)
        if TOKEN_BYTES.search(content):
            raise PublishError(
                f"{path} has a token of the Hub in it; remove it, and revoke it if anybody else has seen it."
            )


def commit_files(
    api: HfApi,
    repo: str,
    files: Mapping[str, Path | bytes],
    info: ModelInfo | SpaceInfo,
    message: str,
    kind: str = "model",
) -> str:
    """Replace the files of a repository in one commit; return the commit, or the old one if nothing changed.

    The client's upload_folder may split many files into several commits.

    Args:
        api: the Hub's client.
        repo: the repository's name.
        files: the files by path in the repository.
        info: the current state; if the repository has changed since, nothing is committed.
        message: the commit message.
        kind: "model" or "space".

    Raises:
        PublishError: the Hub does not answer, or refuses, or a file has a token in it.
    """
    refuse_tokens(files)
    operations: list[CommitOperationAdd | CommitOperationDelete]
    operations = [CommitOperationDelete(path) for path in find_stale(info, files)]
    operations += [CommitOperationAdd(path, file) for path, file in files.items()]
    commit = partial(api.create_commit, repo, operations, repo_type=kind, commit_message=message)
    return str(ask(partial(commit, parent_commit=info.sha), repo, UPLOAD).oid)


def read_task(repo: str, commit: str, token: str | None = None, kind: str = "model", folder: str = "") -> str:
    """Return the task of the model in a repository.

    Args:
        repo: the repository's name.
        commit: a commit in it.
        token: by default the token of this machine's login.
        kind: "model" or "space".
        folder: the folder of the model, such as "model/"; "" for the root.
    """
    name = f"{folder}{CONFIG_FILE}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        fetch = partial(hf_hub_download, repo, name, repo_type=kind, revision=commit, cache_dir=cache, token=token)
        return GalleryConfig.read_common(Path(ask(fetch, repo)).parent).task


def add_to_collection(title: str, repo: str, kind: str) -> None:
    """Add a repository to its owner's collection with this title, which is created if necessary.

    An error is only printed, because the repository itself is already published.

    Args:
        title: the title of the collection.
        repo: the repository's name.
        kind: "model" or "space".
    """
    api = HfApi()
    try:
        made = partial(api.create_collection, title, namespace=repo.split("/", maxsplit=1)[0], exists_ok=True)
        collection = ask(made, repo)
        ask(lambda: api.add_collection_item(collection.slug, repo, kind, exists_ok=True), repo)  # type: ignore[arg-type]
    except PublishError as error:
        print(f"{repo} is published, but not in the collection {title!r}: {error}")
    else:
        print(f"It is in the collection {collection.url}")
