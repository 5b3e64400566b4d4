"""Repositories on the Hub: make one, see what is there, check its card, put it into a collection."""

import tempfile
from collections.abc import Collection, Mapping
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
from shared.hub_errors import find_refusal

HUBS_OWN = ".gitattributes"  # the Hub makes it itself


def make_repository(api: HfApi, repo: str, private: bool) -> tuple[ModelInfo, bool]:
    """Return what the Hub has of a repository, and whether it was made just now because it was not there.

    Raises:
        PublishError: it cannot be made, or is public although it should be private.
    """
    info: ModelInfo | None = ask_if_there(lambda: api.model_info(repo), repo)
    is_new = info is None
    if info is None:
        ask(lambda: api.create_repo(repo, private=private or None, exist_ok=True), repo)
        with mention_leftover(repo, is_new):
            info = ask(lambda: api.model_info(repo), repo)
            if private and not info.private:  # a server that does not know how the client asks for it
                raise PublishError(f"The Hub has made {repo} public although it was to be private.")
        print(f"{repo} is new on the Hub, and {'private' if info.private else 'public'}.")
    if private and not info.private:
        raise PublishError(f"{repo} is there already, and public; make it private on its page, or name another.")
    return info, is_new


def check_card(api: HfApi, card: str, repo: str, kind: str = "model") -> None:
    """Check that the Hub accepts a README.md, before anything is made there.

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
        status, why = find_refusal(error)
        if status == 400:
            raise PublishError(
                f"The Hub does not accept the header of README.md: {why or 'it gives no reason'}."
            ) from error
        raise


def find_stale(info: ModelInfo | SpaceInfo, files: Collection[str]) -> list[str]:
    """Return the files of a repository that are not among these, but for the Hub's own."""
    return sorted({entry.rfilename for entry in info.siblings or []} - {*files, HUBS_OWN})


def commit_files(
    api: HfApi,
    repo: str,
    files: Mapping[str, Path | bytes],
    info: ModelInfo | SpaceInfo,
    message: str,
    kind: str = "model",
) -> str:
    """Let a repository have these files and no others, in one commit; return it, or the old one if nothing changed.

    The library's upload_folder may make several commits of many files.

    Args:
        api: the Hub's client.
        repo: the repository's name.
        files: by their paths there.
        info: what the Hub has now; if somebody changes it meanwhile, nothing is committed.
        message: of the commit.
        kind: "model" or "space".

    Raises:
        PublishError: the Hub does not answer, or refuses.
    """
    operations: list[CommitOperationAdd | CommitOperationDelete]
    operations = [CommitOperationDelete(path) for path in find_stale(info, files)]
    operations += [CommitOperationAdd(path, file) for path, file in files.items()]
    commit = partial(api.create_commit, repo, operations, repo_type=kind, commit_message=message)
    return str(ask(partial(commit, parent_commit=info.sha), repo, UPLOAD).oid)


def read_task(repo: str, commit: str, token: str | None = None, kind: str = "model", folder: str = "") -> str:
    """Return the task of the model in a repository.

    Args:
        repo: its name.
        commit: in it.
        token: by default the one that this machine is logged in with.
        kind: "model" or "space".
        folder: that the model lies in, such as "model/"; "" for the repository itself.
    """
    name = f"{folder}{CONFIG_FILE}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        fetch = partial(hf_hub_download, repo, name, repo_type=kind, revision=commit, cache_dir=cache, token=token)
        return GalleryConfig.read_common(Path(ask(fetch, repo)).parent).task


def add_to_collection(title: str, repo: str, kind: str) -> None:
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
