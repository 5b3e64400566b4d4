"""Ask a target one case, and judge the answer or the error.

A case is answered, refused (BadInput, or HTTP 4xx, with one sentence), or it has failed: by any other exception, a
crash, a time-out, too much memory, a 5xx, an answer with NaN or with probabilities that do not sum to 1, or a message
that is not one sentence or shows the server's paths or stack. worker.py notices crashes, time-outs and memory.
"""

import functools
import math
import re
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import ROOT

SECRETS = re.compile(
    "|".join(map(re.escape, {str(ROOT), tempfile.gettempdir() + "/", sys.prefix, sysconfig.get_path("stdlib")}))
    + r'|Traceback \(most|File "|\.py\b| at 0x[0-9a-f]{6}'
)


@dataclass(frozen=True)
class Result:
    """The outcome of a case: "answered", "refused" or "failed".

    `signature` names the kind of a failure; of a crash or an exception, it has the place. `has_reached` tells if the
    case got as far as the target's decoder. `seconds` is the CPU time.
    """

    outcome: str
    detail: str = ""
    signature: str = ""
    has_reached: bool = False
    seconds: float = 0.0
    megabytes: float = 0.0


def fail(signature: str, detail: str = "") -> Result:
    return Result("failed", detail or signature, signature)


class Refused(Exception):
    """A target refuses a case with this sentence."""


reached: set[str] = set()  # stages that the present case has reached
unexpected: list[BaseException] = []  # errors that Gradio has caught


def mark(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that notes that a case has reached a stage."""

    @functools.wraps(function)
    def marked(*args: Any, **options: Any) -> Any:
        reached.add(stage)
        return function(*args, **options)

    return marked


def mark_first(stage: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Return a generator function that notes that a case has yielded something."""

    @functools.wraps(function)
    def marked(*args: Any, **options: Any) -> Iterator[Any]:
        for item in function(*args, **options):
            reached.add(stage)
            yield item

    return marked


def watch_stages() -> None:
    """Let the decoders of shared/ note what reaches them."""
    from shared import archives, config, images, session, tables

    images.decode = mark("pixels", images.decode)
    archives._read_content = mark("member", archives._read_content)
    tables.read_csv_rows = mark_first("row", tables.read_csv_rows)
    tables.read_text_rows = mark_first("row", tables.read_text_rows)
    config.upgrade = mark("config", config.upgrade)
    session.Session.run = mark("model", session.Session.run)
    session.Session.open = mark("session", session.Session.open)


def find_fault(value: Any, name: str = "answer") -> str:
    """Return what is wrong with an answer, such as a number that is not finite; "" if nothing is."""
    if hasattr(value, "as_dict"):
        value = [value.as_dict(), value.as_row() if hasattr(value, "as_row") else None, vars(value)]
    if isinstance(value, float | np.floating | np.ndarray):
        return "" if np.isfinite(value).all() else f"{name} has a number that is not finite"
    if isinstance(value, Mapping):
        if name in ("probabilities", "shares") and value and not math.isclose(sum(value.values()), 1, abs_tol=1e-4):
            return f"{name} sum to {sum(value.values())}"
        return next((fault for key, item in value.items() if (fault := find_fault(item, str(key)))), "")
    if isinstance(value, list | tuple):
        if name == "errors":  # of the rows or files of a batch
            return next((fault for error in value if (fault := find_wrong_words(error))), "")
        return next((fault for item in value if (fault := find_fault(item, name))), "")
    return ""


def find_wrong_words(message: str) -> str:
    """Return what is wrong with an error message; "" if it is one printable sentence without internal details."""
    if found := SECRETS.search(message):
        return f"the message shows {found[0]!r}"
    if not (10 < len(message) < 2_500 and message.encode("utf-8", "replace").decode().splitlines() == [message]):
        return "the message is not one sentence"
    return ""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return True if an error, or the one that it replaces, is a MemoryError."""
    return error is not None and (isinstance(error, MemoryError) or is_out_of_memory(error.__cause__))


def describe(error: BaseException) -> Result:
    """Return the result for an unexpected exception; the signature has its type and place."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(__file__)]
    own = [frame for frame in frames if str(ROOT) in frame.filename and "/tests/" not in frame.filename]
    place = (own or frames or [None])[-1]
    where = f" in {Path(place.filename).name}, {place.name}" if place else ""
    return fail(f"{type(error).__name__}{where}", "".join(traceback.format_exception(error))[-3_000:])


def judge(ask: Callable[..., Any], arguments: list[Any]) -> Result:
    """Ask, and judge the answer or the error."""
    from shared import BadInput, CheckpointError

    refusals: tuple[type[BaseException], ...] = (BadInput, Refused)
    if gradio := sys.modules.get("gradio"):
        refusals += (gradio.Error,)
    reached.clear()
    unexpected.clear()
    try:
        answer = ask(*arguments)
    except CheckpointError as error:  # its message is for the owner of the server, and names the file
        result = Result("refused", str(error))
        if is_out_of_memory(error):
            return fail("out of memory", str(error))
    except refusals as error:
        result = Result("refused", str(error))
        if fault := "out of memory" if is_out_of_memory(error) else find_wrong_words(str(error)):
            return fail(re.sub("'.*'", "...", fault), str(error))
    except BaseException as error:
        return describe(error)
    else:
        result = Result("answered", str(answer)[:200])
        if fault := find_fault(answer):
            return fail(re.sub("[-.0-9]+", "N", fault), f"{fault}: {str(answer)[:1_000]}")
    return describe(unexpected[0]) if unexpected else result
