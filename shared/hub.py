"""Download models from the Hugging Face Hub: cache first, with a deadline, and with every file verified.

The Hub client waits up to 90 seconds for a server that does not answer, and does not detect damaged files. So
downloads run in a background thread with a deadline. Files are compared with the SHA-256 listed in gallery.json, and
gallery.json itself with the hash by which the Hub names its content.
"""

import contextlib
import hashlib
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from .config import CARD, CONFIG_FILE, LARGEST_CONFIG, GalleryConfig, sha256
from .errors import CheckpointError, HubError
from .hub_errors import explain_error, find_refusal, is_local

# Telemetry would delay the first request by up to three seconds. An environment variable would come too late, because
# Gradio has already imported the client.
constants.HF_HUB_DISABLE_TELEMETRY = True

T = TypeVar("T")

DEADLINE = 120.0  # seconds for a whole model, by default
PROBE = 2.0  # seconds that the Hub may take for its first answer
CARD_SECONDS = 5.0  # for the card: the model works without it
SHA = re.compile("[0-9a-f]{40}")
HUB_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?([^/]+)/([^/@]+)/([^/@]+)(?:/(?:tree|blob|resolve|commit)/([^/]+).*)?", re.IGNORECASE
)
HUB_PATH = re.compile(r"hf://(?:models/)?([^/@]+)/([^/@]+)(?:@(.+))?", re.IGNORECASE)
NO_USERS = ("spaces", "datasets", "buckets", "collections", "papers", "docs")
FAILURES = (OSError, httpx2.HTTPError)  # raised by the client; httpx2's own errors are not OSErrors


def download(
    repo: str,
    revision: str | None = None,
    token: str | None = None,
    cache: str | Path | None = None,
    deadline: float = DEADLINE,
) -> Path:
    """Return the folder of a published model; download it if necessary.

    A commit that is complete and undamaged in the cache is used without a request to the Hub. A branch or tag is
    looked up on the Hub; if its newest version does not arrive undamaged, the last one that is complete in the cache is
    used.

    Args:
        repo: "user/name" on the Hub, or the model's address; see `split_address`.
        revision: commit (40 hexadecimal digits), branch or tag; by default the one in the address, else "main".
        token: for a private model; by default the token of this machine's login.
        cache: cache folder; by default the client's own.
        deadline: time limit in seconds; files downloaded by then stay in the cache, so a retry is faster.

    Raises:
        HubError: the model does not exist, access is denied, or it does not arrive undamaged in time.
    """
    future: Future[Path] | None = None
    repo, named = split_address(repo)
    revision = revision or named
    ends = time.monotonic() + min(deadline, threading.TIMEOUT_MAX)
    try:
        folder = find_cached(repo, revision, cache) if revision and SHA.fullmatch(revision) else None
        if folder is None:
            future = run_in_background(lambda: fetch(repo, revision, token, cache))
            folder = wait_for(future, ends, repo, revision, cache)
    except HFValidationError:
        raise HubError(f"{repo!r} is neither a folder nor the name of a model on the Hub, as in 'user/name'.") from None
    except CheckpointError:
        raise
    except Exception as error:  # the client raises many types of errors
        if isinstance(error, Late) and future and not future.done():
            raise HubError(
                f"{repo} did not arrive from the Hub within {deadline:.0f} s; try again, finished files are kept."
            ) from None
        known = isinstance(error, FAILURES)
        raise HubError(explain_error(error, repo, revision, token=token)) from (None if known else error)
    if try_to_load_from_cache(repo, CARD, cache, folder.name) is None:  # neither here nor known to be missing there
        card = run_in_background(lambda: fetch_card(repo, folder.name, token, cache))
        with contextlib.suppress(Late):
            card.result(max(0.0, min(ends - time.monotonic(), CARD_SECONDS)))
    return folder


def split_address(source: str) -> tuple[str, str | None]:
    """Split the Hub address of a model into its name and its revision (None if the address has none).

    Args:
        source: "user/name"; "https://huggingface.co/user/name", optionally with "/tree/REVISION" or
            "/blob/REVISION/FILE"; or "hf://user/name", optionally with "@REVISION". A trailing "/" is ignored.

    Raises:
        HubError: the address is not that of a model.
    """
    address = re.split("[?#]", source)[0].rstrip("/")
    hosts = ("huggingface.co", "hf.co", urlsplit(constants.ENDPOINT).netloc)
    page, path = HUB_PAGE.fullmatch(address), HUB_PATH.fullmatch(address)
    found = page.groups()[1:] if page and page[1].lower() in hosts else path.groups() if path else None
    if found and found[0] not in NO_USERS:
        return f"{found[0]}/{found[1]}", unquote(found[2]) if found[2] else None
    if "://" not in source and address.partition("/")[0] not in hosts:
        return source.rstrip("/"), None
    shown = re.sub("//[^/@]*@", "//", source)  # without a password or token
    raise HubError(
        f"{shown} is not the address of a model on the Hub; give one such as https://huggingface.co/user/name, "
        "the name alone, 'user/name', or a folder."
    )


def wait_for(
    future: "Future[Path]", ends: float, repo: str, revision: str | None = None, cache: str | Path | None = None
) -> Path:
    """Return the folder that a download ends with, or the last complete version in the cache if it takes too long.

    Args:
        future: the download.
        ends: when to stop waiting, in the seconds of time.monotonic().
        repo: "user/name" on the Hub or the model's address; revision and cache are those of `download`.

    Raises:
        Late: it takes longer, and no version is complete in the cache.
        Exception: the download failed.
    """
    try:
        return future.result(max(0.0, ends - time.monotonic()))
    except Late:
        repo, named = split_address(repo)
        if future.done() or (found := find_cached(repo, revision or named, cache)) is None:
            raise
        say_it_is_old(repo, found, "The newest version did not arrive from the Hub in time.")
        return found


def say_it_is_old(repo: str, folder: Path, why: str) -> None:
    """Log that a version in the cache is used, and why the newest one is not."""
    logging.getLogger(__name__).warning("%s Using commit %s of %s in the cache.", why, folder.name[:7], repo)


def find_cached(repo: str, revision: str | None, cache: str | Path | None = None) -> Path | None:
    """Return the cached folder of a revision if all files that serving needs are undamaged, else None."""
    found = try_to_load_from_cache(repo, CONFIG_FILE, cache, revision)
    if not isinstance(found, str) or not is_intact(Path(found)):
        return None
    folder = Path(found).parent
    try:
        files = GalleryConfig.read_common(folder).files
    except CheckpointError:
        return None
    whole = all(entry.optional or entry.matches(folder / name) for name, entry in files.items())
    return folder if whole else None


def fetch(repo: str, revision: str | None, token: str | None, cache: str | Path | None) -> Path:
    """Download a model's files, a damaged file a second time; `download` adds the deadline.

    The cache's record of which commit a branch is at changes last, so that a failed update leaves the commit before it
    in use.
    """
    where: dict[str, Any] = {"repo_id": repo, "token": token, "cache_dir": cache}
    is_there = False
    try:
        # The client would try six times to reach an unreachable server; this request is made once.
        found = get_hf_file_metadata(hf_hub_url(repo, CONFIG_FILE, revision=revision), token=token, timeout=PROBE)
        is_there = True
        if (found.size or 0) > LARGEST_CONFIG:
            raise HubError(f"{CONFIG_FILE} of {repo} is larger than {LARGEST_CONFIG / 1e6:.0f} MB; publish it again.")
        folder = fetch_intact(CONFIG_FILE, is_intact, revision=found.commit_hash or revision, **where).parent
        for name, entry in GalleryConfig.read_common(folder).files.items():
            if not entry.optional:
                fetch_intact(name, entry.matches, revision=folder.name, **where)
    except (*FAILURES, HubError) as error:
        # If the Hub says that the model does not exist, report that. If the Hub has a problem, use the cache.
        cached = find_cached(repo, revision, cache) if is_there or is_transient(error) else None
        if cached is None:
            raise
        if is_there:
            why = str(error) if isinstance(error, HubError) else explain_error(error, repo, revision, token=token)
            say_it_is_old(repo, cached, why)
        return cached
    record_branch(folder, revision)
    return folder


def record_branch(folder: Path, revision: str | None) -> None:
    """Write into the cache, where the client does it, that a branch or tag is at the commit of this folder.

    The client would ask the Hub again, and record a commit of which nothing is here yet if the branch moved meanwhile.
    """
    if revision == folder.name:
        return
    record = folder.parent.parent / "refs" / (revision or constants.DEFAULT_REVISION)
    part = record.with_name(f"{record.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):  # a read-only cache: the model is complete all the same
        if not record.exists() or record.read_text(encoding="utf-8") != folder.name:
            record.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(folder.name, encoding="utf-8")
            part.replace(record)


def is_transient(error: BaseException) -> bool:
    """Return True if an error says nothing about the model: the Hub or the network has a problem."""
    status, _ = find_refusal(error)
    return not is_local(error) if status is None else status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500


def fetch_card(repo: str, revision: str, token: str | None, cache: str | Path | None) -> None:
    """Download a model's card, if there is one; a failure does not matter."""
    with contextlib.suppress(*FAILURES, HubError):
        fetch_intact(CARD, is_intact, repo_id=repo, revision=revision, token=token, cache_dir=cache)


def fetch_intact(name: str, is_right: Callable[[Path], bool], **where: Any) -> Path:
    """Download a file, a second time if it was damaged; return its path.

    Args:
        name: the file's path in the repository.
        is_right: returns True if the file at a path is undamaged.
        where: arguments of hf_hub_download: the repository, revision, token and cache.

    Raises:
        HubError: the file was damaged both times.
    """
    for force in (False, True):
        path = Path(hf_hub_download(filename=name, force_download=force, **where))
        if is_right(path):
            return path
    raise HubError(f"{name} of {where['repo_id']} was damaged in the download; try again later.")


def is_intact(path: Path) -> bool:
    """Return True if a cached file matches the git SHA-1 or SHA-256 in the name of the file it links to.

    Return True as well if the cache has no links, as on some Windows machines: then the file cannot be checked.
    """
    name = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", name):
        return sha256(path) == name
    if SHA.fullmatch(name):
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest() == name
    return True


def run_in_background(work: Callable[[], T]) -> "Future[T]":
    """Run a function in a daemon thread and return its future."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
