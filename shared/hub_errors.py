"""Explain any error of the Hugging Face Hub client in one sentence."""

import errno
import json
import os
import re
import ssl
from http import HTTPStatus

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OIDCError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .errors import get_cause

STATUS = re.compile(rf"\b([45]\d\d) (?:{'|'.join(re.escape(status.phrase) for status in HTTPStatus)})")
# hf_… and hf_jwt_…, of the Hub. With \b at the beginning, the search takes 25 times as long.
TOKEN = re.compile(r"hf_(?<!\whf_)(?:[a-z]+_)?[A-Za-z0-9]{30,}[\w.-]*")
ABOUT_QUOTA = re.compile(r"\b(storage|quota|exceeded|upgrade|subscri\w+)\b", re.IGNORECASE)
NETWORK = (httpx2.HTTPError, ConnectionError, TimeoutError, ssl.SSLError)


def explain_error(
    error: BaseException, repo: str, revision: str | None = None, writing: bool = False, token: str | None = None
) -> str:
    """Return one sentence that explains an error of the Hub client and says what to do.

    The client wraps errors in other errors, and fails in other ways if a server does not behave like the Hub. So the
    whole chain of causes is searched, and the first specific error determines the sentence.

    Args:
        error: the error raised by the client.
        repo: the repository in question.
        revision: the requested commit, branch or tag, if any.
        writing: True if the request was a write; used if the error does not show it.
        token: the caller's token, if one was given instead of that of the login.
    """
    causes = find_causes(error)
    for one in causes:
        if sentence := _explain_refusal(one, repo, revision, writing, token) or _explain_local_error(one, repo):
            return sentence
    if constants.is_offline_mode():
        return f"{repo} is not complete in the cache, and HF_HUB_OFFLINE does not allow requests to the Hub."
    # The innermost connection error is the most informative.
    if network := [one for one in causes if isinstance(one, NETWORK)]:
        return f"{_name_hub()} cannot be reached ({type(network[-1]).__name__}); check the network, or try again later."
    unreadable = (json.JSONDecodeError, UnicodeError, TypeError, LookupError, AttributeError, FileMetadataError)
    if broken := [one for one in causes if isinstance(one, unreadable)]:  # HTML, null, or a missing field
        cause = f"{type(broken[0]).__name__}: {make_one_line(broken[0])}"
        return (
            f"{_name_hub()} sent a response that the client cannot read ({cause}); "
            "check that HF_ENDPOINT is the address of a Hub, or try again later."
        )
    text, kind = make_one_line(error), type(error).__name__
    return f"The Hub's client failed ({f'{kind}: {text}' if text else kind}); check the network, or try again later."


def find_causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, outermost first."""
    causes: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in causes:
        causes.append(one)
        one = get_cause(one)
    return causes


def is_local(error: BaseException) -> bool:
    """Return True if an error of the Hub's client is one with local files: a full disk, or a read-only cache."""
    return any(_explain_local_error(one, "") for one in find_causes(error))


def find_refusal(error: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status and the server's reason from an error or its causes; (None, "") if there is none."""
    return next((found for one in find_causes(error) if (found := _read_refusal(one))[0]), (None, ""))


def _read_refusal(error: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status and the reason from one error, without its causes."""
    if (response := find_response(error)) is not None:
        return response.status_code, read_reason(response)
    # Xet errors have the status only in their text: "HTTP status client error (404 Not Found), domain: http://...".
    if type(error).__module__ in ("builtins", "hf_xet") and (match := STATUS.search(str(error))):
        return int(match[1]), ""
    return None, ""


def find_response(error: BaseException) -> httpx2.Response | None:
    """Return the HTTP response attached to an error, if there is one."""
    return error.response if isinstance(error, HfHubHTTPError | httpx2.HTTPStatusError) else None


def read_reason(response: httpx2.Response) -> str:
    """Return the server's reason from X-Error-Message, JSON or plain text; "" if there is none."""
    if header := make_one_line(response.headers.get("X-Error-Message", "")):
        return header
    try:
        text = response.content.decode(errors="replace")  # ignore the server's charset: some are not text encodings
        body = json.loads(text)
    except (httpx2.ResponseNotRead, httpx2.StreamError):
        return ""
    except (ValueError, RecursionError):
        return "" if "<" in text[:200] else make_one_line(text)  # an HTML page
    body = body if isinstance(body, dict) else {"error": body}
    parts = []
    for value in map(body.get, ("error", "error_description", "message", "detail", "errors")):
        for item in value if isinstance(value, list) else [value]:
            parts.append(item.get("message") if isinstance(item, dict) else item)
    return make_one_line("; ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part)))


def make_one_line(text: object, most: int = 300) -> str:
    """Return a text as one line of at most `most` printable characters, without a final full stop, and without tokens.

    A server, or a proxy before it, may repeat the token that it refuses.
    """
    words = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    words = TOKEN.sub("hf_…", words)
    words = words if len(words) <= most else f"{words[: most - 1]}…"
    return words.rstrip(".")


def _name_hub() -> str:
    """Return the Hub's name for a sentence, with its address if it is not the default one."""
    usual = constants.ENDPOINT == constants._HF_DEFAULT_ENDPOINT
    return "The Hub" if usual else f"The Hub at {constants.ENDPOINT}"


def _explain_refusal(
    error: BaseException, repo: str, revision: str | None, writing: bool, token: str | None
) -> str | None:
    """Return a sentence for a refused request; None for any other error."""
    (status, why), response = _read_refusal(error), find_response(error)
    writing = response.request.method not in ("GET", "HEAD") if response is not None else writing
    is_missing_file = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
    known: list[tuple[bool, str]] = [
        (
            isinstance(error, OIDCError),
            f"There is no token for keyless publishing: {make_one_line(error, 600)}.",
        ),
        (isinstance(error, GatedRepoError), f"{repo} is gated: request access on its Hub page, and log in."),
        (
            isinstance(error, RepositoryNotFoundError),
            f"{repo} does not exist on the Hub, or is private: check the name, or give a token that can read it.",
        ),
        (
            isinstance(error, RevisionNotFoundError),
            f"{repo} has no revision {revision or 'main'!r}; give one of its commits, branches or tags.",
        ),
        (
            is_missing_file and not writing,
            f"{repo} is not a model of this gallery: a required file is missing; publish it again.",
        ),
        (
            status in (404, 405, 501) and "/xet-" in str(error),
            f"{_name_hub()} does not support Xet, the client's storage for large files ({status}); set "
            "HF_HUB_DISABLE_XET=1, and try again.",
        ),
    ]
    for applies, sentence in known:
        if applies:
            return sentence
    if status is None:
        return None
    asked = (
        f"{response.request.method} {make_one_line(response.request.url.path, 120)}" if response is not None else repo
    )
    return _explain_status(status, f"{status}: {why}" if why else str(status), asked, repo, writing, token)


def _explain_status(status: int, reason: str, asked: str, repo: str, writing: bool, token: str | None) -> str:
    """Return a sentence for an HTTP status; `reason` begins with the status."""
    hub = _name_hub()
    unable = f"{hub} does not support this request ({reason}): {asked}."
    sentences = {
        401: f"{hub} does not accept the given token ({reason}); give another, or none to use that of the login."
        if token
        else f"{hub} does not accept the token in HF_TOKEN ({reason}); correct or unset it."
        if os.environ.get("HF_TOKEN")
        else f"{hub} does not accept the token ({reason}); log in: hf auth login",
        402: f"{hub} requires a paid plan for this request to {repo} ({reason}).",
        403: _explain_forbidden(repo, reason, writing, token),
        404: f"{hub} cannot find what was requested ({reason}): {asked}.",
        405: unable,
        409: f"{hub} reports a conflict with another change to {repo} ({reason}); check its page, and try again.",
        412: f"{repo} was changed by somebody else in the meantime ({reason}); check its page, and try again.",
        413: f"{hub}, or a proxy in front of it, rejects a request of this size ({reason}): {asked}.",
        423: f"{repo} is locked on the Hub ({reason}); try again later.",
        429: f"{hub} has received too many requests from here ({reason}); wait a few minutes.",
        501: unable,
        507: f"{hub} has no storage left for {repo} ({reason}); free some there.",
    }
    own = f"{hub} has an internal error ({reason}); try again later."
    return sentences.get(status, own if status >= 500 else f"{hub} refused the request for {repo} ({reason}).")


def _explain_forbidden(repo: str, reason: str, writing: bool, token: str | None) -> str:
    """Return a sentence for status 403, which a token without rights gets, and an account whose storage is full."""
    if not writing:
        return f"The token cannot read {repo} ({reason})."
    if ABOUT_QUOTA.search(reason):
        return f"{_name_hub()} refuses to write to {repo} ({reason})."
    # A given token counts more than HF_TOKEN, and that more than a login.
    other = "give one that can." if token else "use one that can: hf auth login"
    if not token and os.environ.get("HF_TOKEN"):
        other = "set HF_TOKEN to one that can, or unset it."
    return f"The token cannot write to {repo} ({reason}); {other}"


def _explain_local_error(error: BaseException, repo: str) -> str | None:
    """Return a sentence for an error with local files; None for any other error."""
    if not isinstance(error, OSError) or isinstance(error, NETWORK):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"There is no space for {repo} in the cache {constants.HF_HUB_CACHE}; free some, or set HF_HOME."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return f"The cache {constants.HF_HUB_CACHE} is not writable; set HF_HOME to a writable folder."
    if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):  # on Windows also a path of more than 260 characters
        return f"{make_one_line(error)}; set HF_HOME to a folder with a short path if the file is in the Hub's cache."
    return None
