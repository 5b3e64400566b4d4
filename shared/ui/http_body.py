"""Limit HTTP request bodies in size and time, check them, and delete the files of incomplete uploads."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from gradio.route_utils import FileUploadProgress, GradioMultiPartParser, MultiPartException
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from ..limits import LIMITS
from .fair_queue import SMALL, TOO_MANY_ITEMS, check_data, estimate_memory
from .storage import FILE_COST, STORAGE

API = "/gradio_api"
FIRST_SECONDS = 60.0  # of a request, in which it may be slower than LIMITS.bytes_per_second
UPLOADS = 1_000  # uploads whose progress is remembered, up to 10 kB each
NO_MESSAGE = (
    'This is no message of MCP: send JSON-RPC 2.0, such as {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}.'
)
LARGE_MESSAGE = "The message is too large without the arguments of its tool; send a smaller _meta, id and so on."
ENVELOPE_ITEMS = 100  # of a request, besides its data
DISCARDED_BYTES = 20_000_000  # bytes read and discarded of a request that is too large


class BoundedReceive:
    """A receive function with limits for the size of a request, for its speed, and for the pauses within it."""

    def __init__(self, path: str, receive: Receive, client: str = "") -> None:
        self.receive = receive
        self.client = ""  # of an upload
        self.files = 0  # in the upload, as far as it has arrived
        self.counted = 0  # its bytes that take room in Storage
        self.most, self.instead = LIMITS.request_bytes, f"send less at a time, and files to {API}/upload"
        if path.startswith(f"{API}/run/"):
            self.most, self.instead = LIMITS.example_bytes, f"{API}/run only selects examples; use {API}/call"
        if path.rstrip("/") == f"{API}/upload":
            self.most, self.instead = min(LIMITS.upload_bytes, LIMITS.client_file_bytes), "send less at a time"
            self.client = client
        self.waited, self.seen, self.is_complete = 0.0, 0, False
        self.is_refused = False  # with a sentence on what is wrong with it

    def check_length(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Reject a request whose Content-Length is too large.

        Raises:
            HTTPException: 413.
        """
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        if length.isdigit() and int(length) > self.most:
            raise self.make_size_error()

    async def __call__(self) -> Message:
        """Receive the next message.

        Raises:
            HTTPException: 413, 408, or 429 or 507 for an upload without room; Starlette and FastAPI pass these on from
                the reader of a body.
        """
        if self.is_complete:  # later messages only report a disconnect
            return await self.receive()
        try:
            left = FIRST_SECONDS + self.seen / LIMITS.bytes_per_second - self.waited
            began = time.monotonic()
            message = await asyncio.wait_for(self.receive(), min(LIMITS.silence_seconds, left))
            self.waited += time.monotonic() - began  # and not while the server has been busy
        except TimeoutError:
            sentence = "The request did not arrive in time; send it again."
            raise HTTPException(408, sentence, {"Connection": "close"}) from None
        self.seen += len(message.get("body", b""))
        self.is_complete = not message.get("more_body", False)
        if self.seen > self.most:
            raise self.make_size_error()
        self.count()
        return message

    def count(self, files: int = 0) -> None:
        """Count what has arrived of an upload, and so many new files in it.

        Raises:
            HTTPException: 429 or 507 if there is no room.
        """
        if self.client:
            self.files += files
            cost = max(self.seen, self.files * FILE_COST)
            STORAGE.arrive(self.client, cost - self.counted)
            self.counted = cost

    def settle(self) -> None:
        """End the request: its bytes are on disk as files, or deleted."""
        if self.counted:
            STORAGE.arrive(self.client, -self.counted)
            self.counted = 0

    def make_size_error(self) -> HTTPException:
        """Return the error for a request that is too large."""
        sentence = f"The request is larger than {self.most / 1e6:g} MB; {self.instead}."
        return HTTPException(413, sentence, {"Connection": "close"})

    async def discard(self) -> None:
        """Read the rest of a request, up to limits of bytes and time.

        Otherwise the client gets a reset instead of the answer.
        """
        left = DISCARDED_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                while left > 0 and not self.is_complete:
                    message = await asyncio.wait_for(self.receive(), LIMITS.silence_seconds)
                    left -= len(message.get("body", b""))
                    self.is_complete = not message.get("more_body", False)


# The request that this task handles; None in another Gradio app of the process, which has no Guard.
REQUEST: ContextVar[BoundedReceive | None] = ContextVar("request", default=None)


async def check_body(receive: Receive, path: str) -> Receive:
    """Read a whole request that sends JSON, check it, and return a receive function that returns it again.

    What has too many items is refused before it is parsed, which would take long. Of the data, only those of /run are
    checked here; the queue checks the others. Of a message of MCP, its form is checked.

    Raises:
        HTTPException: 400 if the client disconnects before the end, or see check_message; 403 or 422, see check_data.
    """
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "The request is incomplete; send it again.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if count_items(body) > LIMITS.data_items + ENVELOPE_ITEMS:
        raise HTTPException(422, TOO_MANY_ITEMS.format(LIMITS.data_items))
    check = next((check for route, check in BODY_CHECKS.items() if path.startswith(route)), None)
    try:
        data = json.loads(body) if check else None
    except json.JSONDecodeError:
        pass  # FastAPI and MCP report the error
    except (RecursionError, ValueError):
        raise HTTPException(422, "The JSON is nested too deeply, has too long a number, or is not UTF-8.") from None
    else:
        if check:
            check(data)
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return given.pop() if given else await receive()  # it keeps no copy of the body

    return receive_again


def count_items(body: bytes) -> int:
    """Return the number of items in the lists and mappings of JSON, where an empty one counts, too.

    Nothing is parsed. What no JSON in UTF-8 has is refused, since it may be in UTF-16, which is counted wrongly.

    Raises:
        HTTPException: 422.
    """
    if b"\0" in body:
        raise HTTPException(422, "The JSON is not UTF-8.")
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(unescaped.split(b'"')[::2])  # of texts
    return sum(map(outside.count, (b",", b"[", b"{")))


def check_message(data: Any) -> None:
    """Reject what is no request or notification of MCP; the MCP package would answer with a page about its own types.

    What comes besides the arguments of a tool, such as `_meta`, waits in memory with the message, so it must be small.

    Raises:
        HTTPException: 400; 422 if there is too much besides the arguments.
    """
    is_message = isinstance(data, dict) and data.get("jsonrpc") == "2.0" and isinstance(data.get("method"), str)
    if not (is_message and isinstance(data.get("params"), dict | None)):
        raise HTTPException(400, NO_MESSAGE)
    params = {name: value for name, value in (data.get("params") or {}).items() if name != "arguments"}
    if estimate_memory(data | {"params": params}) > SMALL:
        raise HTTPException(422, LARGE_MESSAGE)


BODY_CHECKS = {f"{API}/run/": check_data, f"{API}/mcp": check_message}


class UploadParser(GradioMultiPartParser):
    """Gradio's form parser with a limit for form fields; it deletes the files of incomplete uploads."""

    def on_headers_finished(self) -> None:
        """Start a form field or file.

        Raises:
            HTTPException: 429 or 507 if there is no room for another file.
        """
        before = self._current_files
        super().on_headers_finished()
        if (request := REQUEST.get()) is not None:
            request.count(self._current_files - before)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Process a piece of a form field or file.

        Raises:
            MultiPartException: the form field is larger than LIMITS.field_bytes.
        """
        part = self._current_part
        if part.file is None and len(part.data) + end - start > LIMITS.field_bytes:
            raise MultiPartException(f"A form field exceeds the maximum allowed size of {LIMITS.field_bytes:,} bytes.")
        super().on_part_data(data, start, end)

    async def parse(self) -> Any:
        """Parse the form; delete all temporary files after an error."""
        try:
            form = await super().parse()
            if "files" not in form:
                raise MultiPartException("Send every file in a form field called files.")
            return form
        except BaseException:
            for file in self._files_to_close_on_error:
                with contextlib.suppress(OSError):
                    file.close()
                    Path(file.name).unlink(missing_ok=True)
            raise


class Newest(dict[str, Any]):
    """A mapping that keeps only the UPLOADS newest items, and has a new asyncio.Event for a key that is missing."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self and len(self) >= UPLOADS:
            del self[next(iter(self))]
        super().__setitem__(key, value)

    def __missing__(self, key: str) -> asyncio.Event:
        self[key] = event = asyncio.Event()
        return event


class UploadProgress(FileUploadProgress):
    """Gradio's progress of uploads, of the newest only; Gradio keeps that of every refused upload for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._statuses, self._signals = Newest(), Newest()


UPLOAD_PROGRESS = UploadProgress()
