"""Gradio's queue, with a share for each page and each caller, and without the ways in which it stops for good.

Gradio 6.31 keeps the messages of its 2,000 newest sessions. When a session is dropped while its event waits, the next
message to it is a KeyError, which ends the loop that starts all events: every endpoint answers 503 until a restart.
docs/gradio_reports.md describes the fault; tests/shared/test_fair_queue.py says when this guard can go.
"""

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.queueing import Event, Queue
from gradio.server_messages import EventMessage, ProcessCompletedMessage
from gradio.utils import get_upload_folder, run_coro_in_background
from starlette.exceptions import HTTPException
from starlette.types import Scope

SESSIONS = 2000  # whose messages are kept, as in Gradio
PAGE_WAITING = 64  # events that may wait on one page
CALLER_WAITING = 48  # of these, from one address: a class behind one router still fits
SESSION_WAITING = 16  # of these, from one session
UNFETCHED_SECONDS = 300.0  # how long an answer that nobody fetches is kept
UNFETCHED_SESSIONS = 200  # how many sessions may have answers that nobody has fetched
RETRY_AFTER = "5"  # seconds
NO_ENDPOINT = "There is no such endpoint; /gradio_api/info lists them."
MAX_DEPTH = 32  # of lists and mappings in what an event is given


def client_address(scope: Scope) -> str:
    """Return the address of the client behind a request.

    GALLERY_TRUSTED_PROXIES is the number of proxies in front of the app, 0 by default and 1 on a Space; each of them
    appends the address it was asked from to X-Forwarded-For. Without proxies the header is ignored, since any client
    may send it.
    """
    default = "1" if os.environ.get("SPACE_ID") else "0"
    proxies = int(os.environ.get("GALLERY_TRUSTED_PROXIES") or default)
    peer = scope["client"][0] if scope.get("client") else ""
    headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in ",".join(headers).split(",") if hop.strip()]
    return hops[-min(proxies, len(hops))] if proxies and hops else peer


class PendingMessages(OrderedDict[str, Any]):
    """The messages of the newest sessions; a session with an event that waits or runs is never dropped."""

    def __init__(self, queue: "FairQueue") -> None:
        super().__init__()
        self.queue = queue

    def __setitem__(self, session: str, messages: Any) -> None:
        if session not in self and len(self) >= SESSIONS:
            self.queue.forget(next((old for old in self if not self.queue.is_waiting(old)), None))
        super().__setitem__(session, messages)


class FairQueue(Queue):
    """A queue for the events of `demo`, to be set in place of the one that `demo.queue()` makes."""

    def __init__(self, demo: gr.Blocks) -> None:
        before = demo._queue
        super().__init__(
            live_updates=before.live_updates,
            concurrency_count=before.max_thread_count,
            update_intervals=before.update_intervals,
            max_size=None,
            blocks=demo,
            default_concurrency_limit=before.default_concurrency_limit,
        )
        self.stopped = False
        self.pending_messages_per_session = PendingMessages(self)
        self.finished_at: dict[str, float] = {}  # of sessions with answers that may be unfetched, the oldest first

    # --- what keeps the queue going ---

    def is_waiting(self, session: str) -> bool:
        """Return True if an event of the session waits or runs."""
        return any(event in self.event_ids_to_events for event in self.pending_event_ids_session.get(session, ()))

    def forget(self, session: str | None) -> None:
        """Drop what is kept for a session whose events are over."""
        if session is not None:
            self.pending_messages_per_session.pop(session, None)
            self.pending_event_ids_session.pop(session, None)
            self.finished_at.pop(session, None)

    def forget_unfetched(self) -> None:
        """Drop the answers that nobody has fetched for UNFETCHED_SECONDS, and the oldest beyond UNFETCHED_SESSIONS."""
        for session, finished in list(self.finished_at.items()):
            if not self.pending_event_ids_session.get(session):  # everything was fetched
                self.finished_at.pop(session)
            elif self.is_waiting(session):
                continue
            elif time.monotonic() - finished > UNFETCHED_SECONDS or len(self.finished_at) > UNFETCHED_SESSIONS:
                self.forget(session)

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Send a message to the session of an event, if the session still exists."""
        if event.session_hash in self.pending_messages_per_session:
            super().send_message(event, event_message)
            if isinstance(event_message, ProcessCompletedMessage):
                self.finished_at.pop(event.session_hash, None)
                self.finished_at[event.session_hash] = time.monotonic()

    async def start_processing(self) -> None:
        """Start events until the app is closed; an error in one event does not end this."""
        while not self.stopped:
            try:
                await super().start_processing()
                return
            except Exception:
                logging.exception("The queue failed; it goes on.")
                self.stopped = False

    def start(self) -> None:
        """Start the queue's loops."""
        super().start()
        run_coro_in_background(self.forget_in_time)

    async def forget_in_time(self) -> None:
        """Call forget_unfetched every second."""
        while not self.stopped:
            self.forget_unfetched()
            await asyncio.sleep(1)

    # --- who may add an event ---

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Add an event, if it is well formed and its page, its session and its caller have room for it.

        Raises:
            HTTPException: 404 for an unknown endpoint, 403 for a file that was not uploaded, 422 for data that is
                nested too deeply, 429 where a caller has too many events waiting, and 503 where the page is full.
        """
        fn = self.blocks.fns.get(body.fn_index)
        if fn is None:
            raise HTTPException(404, NO_ENDPOINT)
        check_data(body.data)
        address = client_address(request.scope)
        events = [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]
        here = [event for event in events if event.fn.page == fn.page]
        ours = [event for event in here if event.address == address]
        in_session = [event for event in ours if body.session_hash and event.session_hash == body.session_hash]
        wait = {"Retry-After": RETRY_AFTER}
        if len(in_session) >= SESSION_WAITING or len(ours) >= CALLER_WAITING:
            raise HTTPException(429, "You have many questions waiting here; ask again when they are answered.", wait)
        if len(here) >= PAGE_WAITING:
            raise HTTPException(503, "Queue is full: this page has many visitors. Try again in a moment.", wait)
        return await self.add(body, request, username)

    async def add(self, body: Any, request: Any, username: str | None) -> Any:
        """Add an event, whoever asks."""
        answer = await super().push(body, request, username)
        if answer[0]:
            self.take_turns(self.blocks.fns[body.fn_index].concurrency_id, client_address(request.scope))
        return answer

    def take_turns(self, concurrency_id: str, address: str) -> None:
        """Move the newest event forward, so that callers take turns: nobody waits behind all events of another."""
        waiting = self.event_queue_per_concurrency_id[concurrency_id].queue
        newest = waiting.pop()
        now = waiting[0].turn if waiting else 0
        newest.address = address
        newest.turn = max([now, *(event.turn + 1 for event in waiting if event.address == address)])
        place = next((index for index, event in enumerate(waiting) if event.turn > newest.turn), len(waiting))
        waiting.insert(place, newest)


def check_data(data: Any) -> None:
    """Refuse what no page sends: files that were not uploaded, and data nested without end.

    Every mapping with a `path` counts as a file, whatever component it is for, and with or without Gradio's `meta`.

    Raises:
        HTTPException: 403 for such a file, 422 for such data.
    """
    for value in walk(data):
        path = value.get("path")
        if path is not None and not is_uploaded(path):
            raise HTTPException(
                403, "There is no such upload; send the file to /gradio_api/upload first, and then the path it returns."
            )


def walk(data: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield every mapping in nested lists and mappings.

    Raises:
        HTTPException: 422 where they are nested more than MAX_DEPTH deep.
    """
    if depth > MAX_DEPTH:
        raise HTTPException(422, f"Lists and mappings may be nested {MAX_DEPTH} deep at most.")
    if isinstance(data, dict):
        yield data
        data = list(data.values())
    if isinstance(data, list | tuple):
        for item in data:
            if isinstance(item, dict | list | tuple):
                yield from walk(item, depth + 1)


def is_uploaded(path: object) -> bool:
    """Return True if `path` is a file in Gradio's folder of uploads, whatever links lead there, or a web address.

    Gradio fetches web addresses itself, from public hosts alone.
    """
    if not isinstance(path, str):
        return False
    if path.startswith(("http://", "https://")):
        return path.isprintable()
    try:
        real = Path(path).resolve(strict=True)
        return real.is_file() and real.is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError):
        return False
