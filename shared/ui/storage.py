"""Limit the space that visitors' files take on disk: those of each client, and all of them.

All counts what is in the folder, so several processes can share it. What belongs to a client is known only to the
process that wrote it: a client that reaches N processes may have N times its share, but never more than all.
"""

import contextlib
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import routes
from gradio.processing_utils import save_bytes_to_cache, save_file_to_cache
from gradio.utils import get_upload_folder
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from ..limits import LIMITS
from .retention import SWEEP_SECONDS, WRITTEN_BY_GRADIO

FILE_COST = 50_000  # bytes that a file counts at least: also tiny files take blocks, a folder, and time to delete
FILES = 100_000  # files whose clients are remembered, 300 bytes each
FRESH_SECONDS = 10.0  # the folder is measured at most this often,
MEASURING_SHARE = 0.02  # and for at most this share of the time

# The address of the client whose request or event this thread or task handles; "" for the app's own work.
CLIENT: ContextVar[str] = ContextVar("client", default="")
NO_ROOM = "The server has no room for more files; try again later."
receive_upload = routes.upload_fn


class Storage:
    """What visitors' files take, in bytes."""

    def __init__(self) -> None:
        self.lock, self.measuring = threading.Lock(), threading.Lock()
        self.owners: dict[int, tuple[str, int, float]] = {}  # by file: client, bytes, time; the oldest first
        self.used: Counter[str] = Counter()  # by client
        self.arriving: Counter[str] = Counter()  # of uploads that are not complete, by client
        self.unfinished = 0  # of all of these
        self.measured = 0  # all files when the folder was last measured
        self.added = 0  # files since then
        self.measure_at = 0.0

    def check(self, client: str, more: int = 0) -> None:
        """Check that a client may add `more` bytes.

        Raises:
            HTTPException: 429 if they are too many for the client, 507 if they are too many for the folder.
        """
        headers = {"Retry-After": str(int(SWEEP_SECONDS))}
        if self.used[client] + self.arriving[client] + more > LIMITS.client_file_bytes:
            most, minutes = LIMITS.client_file_bytes / 1e9, math.ceil(LIMITS.kept_seconds / 60)
            sentence = f"One visitor may have {most:g} GB of files here; yours are deleted {minutes} minutes after use."
            raise HTTPException(429, sentence, headers)
        if self.measured + self.added + self.unfinished + more > LIMITS.all_file_bytes:
            raise HTTPException(507, NO_ROOM, headers)

    def arrive(self, client: str, count: int) -> None:
        """Count bytes of an upload that is not complete; a negative number when it has ended.

        Raises:
            HTTPException: see `check`.
        """
        if count > 0:
            self.check(client, count)
        with self.lock:
            self.unfinished += count
            self.arriving[client] += count
            if not self.arriving[client]:
                del self.arriving[client]

    def add(self, client: str, paths: Iterable[str | Path]) -> None:
        """Count new files of a client; a file that it or somebody else wrote before is counted only once."""
        for path in paths:
            key = make_key(path)
            cost = estimate_cost(path)
            with self.lock:
                before = self.forget(key)
                self.added += cost - before
                self.owners[key] = client, cost, time.monotonic()
                self.used[client] += cost
                if len(self.owners) > FILES:
                    self.forget(next(iter(self.owners)))

    def forget(self, key: int) -> int:
        """Stop counting a file for its client; return the bytes that it had."""
        client, cost, _ = self.owners.pop(key, ("", 0, 0.0))
        self.used[client] -= cost
        if self.used[client] <= 0:
            del self.used[client]
        return cost

    def measure(self) -> None:
        """Count the files in the folder again if the last count is old, and forget those that are deleted."""
        if time.monotonic() < self.measure_at or not self.measuring.acquire(blocking=False):
            return
        try:
            began, self.added = time.monotonic(), 0
            unfinished = self.unfinished  # their temporary files are in the folder, too
            total, found = 0, set()
            for path, size in list_files(get_upload_folder()):
                total += max(size, FILE_COST)
                found.add(make_key(path))
            self.measured = max(0, total - unfinished)
            oldest = began - LIMITS.kept_seconds - SWEEP_SECONDS
            with self.lock:
                for key, (_, _, added) in list(self.owners.items()):
                    if added < oldest or (added < began and key not in found):
                        self.forget(key)
            now = time.monotonic()
            self.measure_at = now + max(FRESH_SECONDS, (now - began) / MEASURING_SHARE)
        finally:
            self.measuring.release()


STORAGE = Storage()


def make_key(path: str | Path) -> int:
    """Return a short name of a file: of its last two parts, since a folder may be written in several ways."""
    return hash(Path(path).parts[-2:])


def estimate_cost(path: str | Path) -> int:
    """Return the bytes that a file counts."""
    try:
        return max(Path(path).stat().st_size, FILE_COST)
    except OSError:  # it is moved in the background, or another process has deleted it
        return FILE_COST


def list_files(folder: str | Path) -> Iterator[tuple[str, int]]:
    """Yield the paths and sizes of the files that Gradio has written to its folder, and to the folders in it."""
    for place in scan(folder):
        if WRITTEN_BY_GRADIO.fullmatch(place.name):
            for entry in scan(place.path) if place.is_dir(follow_symlinks=False) else [place]:
                with contextlib.suppress(OSError):  # it has just been deleted
                    yield entry.path, entry.stat(follow_symlinks=False).st_size


def scan(folder: str | Path) -> "list[os.DirEntry[str]]":
    """Return the entries of a folder; none if it does not exist."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return list(entries)
    return []


# --- files of answers and of requests in JSON ---


def keep_bytes(content: bytes, name: str) -> str:
    """Save bytes in the upload folder, under a name whose extension gives the format; return the path.

    If the same bytes have been saved before, their age is reset.

    Raises:
        gr.Error: the client or the folder has no room for them.
    """
    require_room(len(content))
    return _count(save_bytes_to_cache(content, name, get_upload_folder()))


def keep_file(path: Path) -> str:
    """Copy a file to the upload folder, and return the path of the copy.

    Raises:
        gr.Error: the client or the folder has no room for it.
    """
    require_room(path.stat().st_size)
    return _count(save_file_to_cache(path, get_upload_folder()))


def require_room(count: int) -> None:
    """Check that there is room for a file of the client whose event this thread handles.

    Raises:
        gr.Error: there is none.
    """
    if client := CLIENT.get():
        STORAGE.measure()
        try:
            STORAGE.check(client, max(count, FILE_COST))
        except HTTPException as error:
            raise gr.Error(error.detail, title="That did not work", print_exception=False) from None


def _count(path: str) -> str:
    os.utime(path)
    if client := CLIENT.get():
        STORAGE.add(client, [path])
    return path


# --- uploads ---


async def check_upload() -> None:
    """Check that there is room for an upload, before it is read; its bytes are counted as they arrive.

    Raises:
        HTTPException: there is none; see Storage.check.
    """
    await run_in_threadpool(STORAGE.measure)
    STORAGE.check(CLIENT.get(), FILE_COST)


async def count_upload(*args: Any, **options: Any) -> Any:
    """Receive an upload as Gradio does, and count its files."""
    received = await receive_upload(*args, **options)
    if client := CLIENT.get():  # "" in another Gradio app of the process, which has no Guard
        await run_in_threadpool(STORAGE.add, client, received[0])
    return received
