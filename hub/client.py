"""Send requests to the Hub, with time limits, waits after too many requests, and errors in one sentence."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as Late
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from huggingface_hub import logging as hub_logging
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import disable_progress_bars, parse_ratelimit_headers  # type: ignore[attr-defined]

from shared.console import guarded_output
from shared.errors import CheckpointError
from shared.hub import run_in_background
from shared.hub_errors import explain_error, find_causes, find_refusal, find_response, read_reason

T = TypeVar("T")

ANSWER, UPLOAD = 30.0, 1800.0  # time limits in seconds for a response and for an upload
MAX_WAITS, LONGEST_WAIT = 5, 300  # number, and seconds, of waits after "too many requests"
DEFAULT_WAIT = 30.0  # seconds, if the Hub does not give a time


class PublishError(RuntimeError):
    """Publishing failed or is incomplete; the message says what to do."""


def ask(request: Callable[[], T], repo: str, seconds: float | None = None, token: str | None = None) -> T:
    """Send a request to the Hub and return the result; after "too many requests", wait and try again.

    Args:
        request: sends the request and returns its result.
        repo: the repository, for error messages.
        seconds: time limit, by default ANSWER.
        token: the token, if the caller was given one, for error messages.

    Raises:
        PublishError: the Hub does not answer in time, or refuses.
    """
    seconds = ANSWER if seconds is None else seconds
    for attempt in range(MAX_WAITS + 1):
        future = run_in_background(request)
        try:
            return future.result(seconds)
        except HFValidationError as error:
            raise PublishError(f"The Hub does not accept the name {repo!r}: {error}") from None
        except Exception as error:  # the client raises many types of errors
            if isinstance(error, Late) and not future.done():
                raise PublishError(f"The Hub did not answer within {seconds:.0f} s; try again.") from error
            wait = get_wait(error)
            if wait is not None and wait > LONGEST_WAIT:
                raise PublishError(
                    f"The Hub requires a wait of {format_duration(wait)} ({format_refusal(error)}); try again then."
                ) from error
            if wait is None or attempt == MAX_WAITS:
                raise PublishError(explain_error(error, repo, writing=True, token=token)) from error
            print(f"Too many requests: waiting {wait:.0f} s for the Hub ...", flush=True)
            time.sleep(wait)
    raise AssertionError


def ask_if_there(request: Callable[[], T], repo: str) -> T | None:
    """Send a request about a repository and return the result; None if the repository does not exist.

    Raises:
        PublishError: the Hub does not answer in time, or refuses.
    """
    try:
        return ask(request, repo)
    except PublishError as error:
        causes = find_causes(error)
        is_missing = any(isinstance(one, RepositoryNotFoundError) for one in causes) or find_refusal(error)[0] == 404
        if is_missing and not any(isinstance(one, GatedRepoError) for one in causes):
            return None
        raise


def get_wait(error: Exception) -> float | None:
    """Return the seconds to wait after "too many requests"; None for any other error.

    For limits per hour or day, such as commits, the Hub gives the time in its message, and the rate limit headers are
    about another limit. If there is no time at all, return DEFAULT_WAIT.
    """
    response = next((found for one in find_causes(error) if (found := find_response(one)) is not None), None)
    if response is None or response.status_code != 429:
        return None
    unit = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
    words = read_reason(response).lower()
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
    return DEFAULT_WAIT


def format_refusal(error: Exception) -> str:
    """Return the HTTP status of a refusal with the Hub's reason."""
    status, why = find_refusal(error)
    return f"{status}: {why}" if why else str(status)


def format_duration(seconds: float) -> str:
    """Format a time in seconds as minutes or hours."""
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{round(minutes / 60)} hours"


@contextlib.contextmanager
def mention_leftover(repo: str, is_new: bool, kind: str = "model") -> Iterator[None]:
    """Add a hint to a PublishError if a new repository has been created.

    The repository is kept: the same command can continue with it, and the number of new ones per day is limited.
    """
    try:
        yield
    except PublishError as error:
        if is_new:
            remove = f"hf repos delete {repo}{'' if kind == 'model' else f' --type {kind}'}"
            error.args = (f"{error} {repo} has been created; run the same command to continue. To delete it: {remove}",)
        raise


def run_command(run: Callable[[], None], if_interrupted: str) -> int:
    """Run a command that uses the Hub; print errors as one sentence; return the exit code."""
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
