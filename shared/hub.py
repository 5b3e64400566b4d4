"""Models from the Hugging Face Hub: the cache first, bounded in time, and every byte checked before it is used.

The client of the Hub waits up to a minute and a half for a server that does not answer, and does not notice a
damaged byte. So everything here runs in a thread that nobody has to wait for, and files are compared with the
SHA-256 that gallery.json has of them, and gallery.json with the name that the Hub gave its content.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OIDCError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .config import CARD, CONFIG_FILE, GalleryConfig, sha256
from .errors import CheckpointError, HubError

# The client asks this once, at the first request, and waits three seconds for an answer that nobody needs. An
# environment variable would come too late: Gradio has imported the client before.
constants.HF_HUB_DISABLE_TELEMETRY = True

T = TypeVar("T")

DEADLINE = 120.0  # seconds for a whole model, unless one asks for less
PROBE = 2.0  # seconds until the Hub must have said anything
SHA = re.compile("[0-9a-f]{40}")
STATUS = re.compile(rf"\b([45]\d\d) (?:{'|'.join(re.escape(status.phrase) for status in HTTPStatus)})")
NETWORK = (httpx2.HTTPError, ConnectionError, TimeoutError, ssl.SSLError)
HUB_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?([^/]+)/([^/@]+)/([^/@]+)(?:/(?:tree|blob|resolve|commit)/([^/]+).*)?", re.IGNORECASE
)
HUB_PATH = re.compile(r"hf://(?:models/)?([^/@]+)/([^/@]+)(?:@(.+))?", re.IGNORECASE)
NO_USERS = ("spaces", "datasets", "buckets", "collections", "papers", "docs")
FAILURES = (OSError, httpx2.HTTPError)  # what the client raises; httpx2's own errors are no OSErrors


def download(
    repo: str,
    revision: str | None = None,
    token: str | None = None,
    cache: str | Path | None = None,
    deadline: float = DEADLINE,
) -> Path:
    """The folder of a published model, on this machine.

    A revision that is a commit and lies in the cache whole and undamaged is used without asking the Hub. A branch
    or tag is asked for; where the Hub cannot be reached, what the cache has of it must do.

    Args:
        repo: "user/name" on the Hub, or the model's address; see `split_address`.
        revision: commit (40 hexadecimal digits), branch or tag; by default the address's, else the newest.
        token: for a private model; by default the one that this machine is logged in with.
        cache: folder of the cache, by default the client's own.
        deadline: seconds after which to give up; what has arrived by then is kept, so that a second try is faster.

    Raises:
        HubError: there is no such model, it may not be seen, or it does not arrive whole in time.
    """
    future: Future[Path] | None = None
    repo, named = split_address(repo)
    revision = revision or named
    try:
        if revision and SHA.fullmatch(revision) and (folder := cached(repo, revision, cache)):
            return folder
        future = in_background(lambda: fetch(repo, revision, token, cache))
        return future.result(deadline)
    except HFValidationError:
        raise HubError(f"{repo!r} is neither a folder nor the name of a model on the Hub, as in 'user/name'.") from None
    except CheckpointError:
        raise
    except Exception as error:  # the client's errors are of many kinds
        if isinstance(error, Late) and future and not future.done():
            raise HubError(
                f"{repo} did not arrive from the Hub within {deadline:.0f} s; try again, files that arrived are kept."
            ) from None
        known = isinstance(error, FAILURES)
        raise HubError(explained(error, repo, revision)) from (None if known else error)


def split_address(source: str) -> tuple[str, str | None]:
    """Split the address of a model on the Hub into the model's name and the revision, if the address has one.

    Args:
        source: "user/name", "https://huggingface.co/user/name", also with "/tree/REVISION" or "/blob/REVISION/FILE"
            appended, or "hf://user/name", also with "@REVISION" appended. A "/" at the end does not matter.

    Raises:
        HubError: it is the address of something else.
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


def cached(repo: str, revision: str, cache: str | Path | None = None) -> Path | None:
    """The folder of a revision in the cache, if all that serving needs is there and undamaged."""
    found = try_to_load_from_cache(repo, CONFIG_FILE, cache, revision)
    if not isinstance(found, str) or not same_content(Path(found)):
        return None
    folder = Path(found).parent
    try:
        files = GalleryConfig.read_common(folder).files
    except CheckpointError:
        return None
    whole = all(entry.optional or entry.matches(folder / name) for name, entry in files.items())
    return folder if whole else None


def fetch(repo: str, revision: str | None, token: str | None, cache: str | Path | None) -> Path:
    """Download a model's files, each of them anew where it is damaged; see `download`, which bounds the time."""
    where: dict[str, Any] = {"repo_id": repo, "token": token, "cache_dir": cache}
    try:
        # The client would try six times to reach a server that refuses; this asks once.
        get_hf_file_metadata(hf_hub_url(repo, CONFIG_FILE, revision=revision), token=token, timeout=PROBE)
    except FAILURES as error:
        # A Hub that has no such model, or hides it, is believed; one that is in trouble is not waited for.
        in_trouble = not isinstance(error, HfHubHTTPError) or error.response.status_code in (429, *range(500, 600))
        found = cached(repo, revision or "main", cache) if in_trouble else None
        if found is None:
            raise
        return found

    def intact(name: str, revision: str | None, is_right: Callable[[Path], bool]) -> Path:
        for force in (False, True):
            path = Path(hf_hub_download(filename=name, revision=revision, force_download=force, **where))
            if is_right(path):
                return path
        raise HubError(f"{name} of {repo} arrives damaged from the Hub; try again later.")

    folder = intact(CONFIG_FILE, revision, same_content).parent
    for name, entry in GalleryConfig.read_common(folder).files.items():
        if not entry.optional:
            intact(name, folder.name, entry.matches)
    with contextlib.suppress(EntryNotFoundError):  # the card is for people: a model answers without it
        hf_hub_download(filename=CARD, revision=folder.name, **where)
    return folder


def same_content(path: Path) -> bool:
    """Whether a file in the cache is what its name says: there it links to the SHA-1 (as of git) or SHA-256 of it.

    True where a cache has no links, as on some Windows machines: then it cannot be told.
    """
    name = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", name):
        return sha256(path) == name
    if SHA.fullmatch(name):
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest() == name
    return True


def explained(error: BaseException, repo: str, revision: str | None = None, writing: bool = False) -> str:
    """Turn any error of the Hub's client into one sentence for a person.

    The client wraps errors in others, and fails in ways of its own when a server does not answer as the Hub does; so
    the whole chain of causes is looked at, and the first error in it that says something definite decides.

    Args:
        error: whatever the client raised.
        repo: the repository it was about.
        revision: the commit, branch or tag that was asked for, if any.
        writing: whether something was to be changed there, where the error itself does not say it.
    """
    causes = chain(error)
    for one in causes:
        if sentence := _refusal(one, repo, revision, writing) or _trouble_here(one, repo):
            return sentence
    if constants.is_offline_mode():
        return f"{repo} is not whole in the cache, and HF_HUB_OFFLINE forbids asking the Hub."
    # The innermost error of a connection says the most.
    if network := [one for one in causes if isinstance(one, NETWORK)]:
        return f"{_hub()} cannot be reached ({type(network[-1]).__name__}); check the network, or try again later."
    unreadable = (json.JSONDecodeError, UnicodeError, TypeError, LookupError, AttributeError, FileMetadataError)
    if broken := [one for one in causes if isinstance(one, unreadable)]:  # a page, a null, or a field that is missing
        return (
            f"{_hub()} gives an answer that its client cannot read ({type(broken[0]).__name__}: {clean(broken[0])}); "
            "see that HF_ENDPOINT is the address of a Hub, or try again later."
        )
    said = f"{type(error).__name__}: {clean(error)}" if clean(error) else type(error).__name__
    return f"The Hub's client failed ({said}); check the network, or try again later."


def chain(error: BaseException) -> list[BaseException]:
    """An error and what caused it, outermost first."""
    causes: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in causes:
        causes.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return causes


def told(error: BaseException) -> tuple[int | None, str]:
    """The HTTP status and the Hub's own reason in an error or its causes; (None, "") if no server has refused."""
    return next((found for one in chain(error) if (found := _told_by(one))[0]), (None, ""))


def _told_by(error: BaseException) -> tuple[int | None, str]:
    """The same of one error, whatever caused it."""
    if (response := response_of(error)) is not None:
        return response.status_code, reason(response)
    # Xet's storage has it in the text alone: "HTTP status client error (404 Not Found), domain: http://...".
    if type(error).__module__ in ("builtins", "hf_xet") and (match := STATUS.search(str(error))):
        return int(match[1]), ""
    return None, ""


def response_of(error: BaseException) -> httpx2.Response | None:
    """The answer with which a server refused, if that is what an error is about."""
    return error.response if isinstance(error, HfHubHTTPError | httpx2.HTTPStatusError) else None


def reason(response: httpx2.Response) -> str:
    """What a server says about its refusal: in the header X-Error-Message, as JSON, or as plain text; "" if nothing."""
    if header := clean(response.headers.get("X-Error-Message", "")):
        return header
    try:
        text = response.content.decode(errors="replace")  # whatever charset the server claims: some are no text's
        body = json.loads(text)
    except (httpx2.ResponseNotRead, httpx2.StreamError):
        return ""
    except (ValueError, RecursionError):
        return "" if "<" in text[:200] else clean(text)  # a page is for browsers
    body = body if isinstance(body, dict) else {"error": body}
    parts = []
    for value in map(body.get, ("error", "error_description", "message", "detail", "errors")):
        for item in value if isinstance(value, list) else [value]:
            parts.append(item.get("message") if isinstance(item, dict) else item)
    return clean("; ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part)))


def clean(text: object, most: int = 300) -> str:
    """A server's or a library's words as part of one sentence: one line of printable characters, bounded."""
    words = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    words = words if len(words) <= most else f"{words[: most - 1]}…"
    return words.rstrip(".")


def _hub() -> str:
    """What the Hub is called in a sentence: with its address, where it is not the usual one."""
    usual = constants.ENDPOINT == constants._HF_DEFAULT_ENDPOINT
    return "The Hub" if usual else f"The Hub at {constants.ENDPOINT}"


def _refusal(error: BaseException, repo: str, revision: str | None, writing: bool) -> str | None:
    """A sentence for what a server refused; None if this error is no refusal."""
    (status, why), response = _told_by(error), response_of(error)
    writing = response.request.method not in ("GET", "HEAD") if response is not None else writing
    is_missing_file = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
    known: list[tuple[bool, str]] = [
        (isinstance(error, OIDCError), f"There is no token for keyless publishing: {clean(error, 600)}."),
        (isinstance(error, GatedRepoError), f"{repo} is gated: ask for access on its page on the Hub, and log in."),
        (
            isinstance(error, RepositoryNotFoundError),
            f"There is no {repo} on the Hub, or it is private: check the name, or give a token that may read it.",
        ),
        (
            isinstance(error, RevisionNotFoundError),
            f"{repo} has no revision {revision or 'main'!r}; give a commit, a branch or a tag of it.",
        ),
        (
            is_missing_file and not writing,
            f"{repo} is not a model of this gallery: a file it needs is not there; publish it again, whole.",
        ),
        (
            status in (404, 405, 501) and "/xet-" in str(error),
            f"{_hub()} has no Xet, the storage that the client uses for large files ({status}); set "
            "HF_HUB_DISABLE_XET=1, and try again.",
        ),
    ]
    for applies, sentence in known:
        if applies:
            return sentence
    if status is None:
        return None
    asked = f"{response.request.method} {clean(response.request.url.path, 120)}" if response is not None else repo
    return _sentence(status, f"{status}: {why}" if why else str(status), asked, repo, writing)


def _sentence(status: int, said: str, asked: str, repo: str, writing: bool) -> str:
    """What an HTTP status means for a request about a repository; `said` is the status with the Hub's reason."""
    hub = _hub()
    unable = f"{hub} cannot do what it was asked for ({said}): {asked}."
    sentences = {
        401: f"{hub} does not accept the token in HF_TOKEN ({said}); correct or unset it."
        if os.environ.get("HF_TOKEN")
        else f"{hub} does not accept the token ({said}); log in: hf auth login",
        402: f"{hub} asks for a paid plan to do this with {repo} ({said}).",
        403: f"The token may not write to {repo} ({said}); use one that may: hf auth login"
        if writing
        else f"This token may not read {repo} ({said}).",
        404: f"{hub} does not have what it was asked for ({said}): {asked}.",
        405: unable,
        409: f"{hub} sees a conflict with something else that happens to {repo} ({said}); look at it, and try again.",
        412: f"Somebody else changed {repo} meanwhile ({said}); look at it, and try again.",
        413: f"{hub}, or a proxy on the way to it, does not take as much at once ({said}): {asked}.",
        423: f"{repo} is locked on the Hub ({said}); try again later.",
        429: f"{hub} has been asked too often from here ({said}); wait some minutes.",
        501: unable,
        507: f"{hub} has no room left for {repo} ({said}); free some there.",
    }
    own = f"{hub} answers with an error of its own ({said}); try again later."
    return sentences.get(status, own if status >= 500 else f"{hub} refuses this for {repo} ({said}).")


def _trouble_here(error: BaseException, repo: str) -> str | None:
    """A sentence for what went wrong with files on this machine; None if this error is about something else."""
    if not isinstance(error, OSError) or isinstance(error, NETWORK):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"There is no room for {repo} in the cache {constants.HF_HUB_CACHE}; free some, or set HF_HOME."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return f"The cache {constants.HF_HUB_CACHE} cannot be written to; set HF_HOME to a folder that can."
    if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):  # on Windows also a path of more than 260 characters
        return f"{clean(error)}; set HF_HOME to a folder with a short path if it lies in the Hub's cache."
    return None


def in_background(work: Callable[[], T]) -> "Future[T]":
    """Run something in a thread that no exit of the process waits for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
