"""Gradio's queue, with a share for each page and each caller, and without the ways in which it stops for good.

Gradio 6.31 keeps the messages of its 2,000 newest sessions. When a session is dropped while its event waits, the next
message to it is a KeyError, which ends the loop that starts all events: every endpoint answers 503 until a restart.
docs/gradio_reports.md describes the fault; tests/shared/test_fair_queue.py says when this guard can go.
"""

import asyncio
import logging
import os
import time
from collections import Counter, OrderedDict
from ipaddress import ip_network
from itertools import zip_longest
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.queueing import Event, Queue
from gradio.route_utils import FnIndexInferError, get_fn
from gradio.server_messages import EventMessage, ProcessCompletedMessage
from gradio.utils import get_function_params, get_upload_folder, run_coro_in_background
from starlette.exceptions import HTTPException
from starlette.types import Scope

SESSIONS = 2000  # whose messages are kept, as in Gradio
PAGE_WAITING = 64  # events that may wait on one page; half as many more for callers who have none there
CALLER_WAITING = 48  # of these, from one address: a class behind one router still fits
SESSION_WAITING = 40  # events of one session that wait, run, or have unfetched answers; gradio_client submits 40
UNFETCHED_SECONDS = 300.0  # how long an answer that nobody fetches is kept
UNFETCHED_ANSWERS = 200  # how many of them are kept
QUIET_SECONDS = 5.0  # without a message after which a session is not in use
RETRY_AFTER = "5"  # seconds
LOST = "The queue failed, and this question with it; ask it again."
NOT_UPLOADED = (
    "There is no such upload; send the file itself to /gradio_api/upload first, and then the path it returns. "
    "Web addresses are not fetched."
)
NO_ENDPOINT = "There is no such endpoint; /gradio_api/info lists them."
MAX_DEPTH = 32  # of lists and mappings in what an event is given
MAX_ITEMS = 20_000  # in them: more than ratings of every movie


def count_trusted_proxies() -> int:
    """Return how many proxies in front of the app append an address to X-Forwarded-For.

    It is GALLERY_TRUSTED_PROXIES, by default 0, and 1 on a Space.

    Raises:
        ValueError: the variable is no whole number.
    """
    value = os.environ.get("GALLERY_TRUSTED_PROXIES") or ("1" if os.environ.get("SPACE_ID") else "0")
    if not value.isdecimal():
        raise ValueError(f"GALLERY_TRUSTED_PROXIES must be a whole number such as 1, not {value!r}.")
    return int(value)


def find_client_address(scope: Scope) -> str:
    """Return the address of the client behind a request; of an IPv6 address its network of 64 bits.

    Each trusted proxy appends the address it was asked from to X-Forwarded-For. Where none is trusted the header says
    nothing, since any client may send it; uvicorn alone believes it of requests from this machine.
    """
    proxies = count_trusted_proxies()
    address = scope["client"][0] if scope.get("client") else ""
    headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in ",".join(headers).split(",") if hop.strip()]
    if proxies and hops:
        address = hops[-min(proxies, len(hops))]
    try:
        return str(ip_network((address, 64), strict=False)) if ":" in address else address
    except ValueError:
        return address


class PendingMessages(OrderedDict[str, Any]):
    """The messages of the newest sessions; one that is in use is never dropped, however many there are."""

    def __init__(self, queue: "FairQueue") -> None:
        super().__init__()
        self.queue = queue

    def __setitem__(self, session: str, messages: Any) -> None:
        if session not in self and len(self) >= SESSIONS:
            self.queue.forget(next((old for old in self if not self.queue.is_in_use(old)), None))
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
        self.unfetched: dict[str, int] = {}  # answers of a session that are not known to be fetched, the oldest first
        self.active_at: dict[str, float] = {}  # when a session last asked or was sent something
        self.addresses: dict[str, str] = {}
        count_trusted_proxies()

    # --- what keeps the queue going ---

    def is_waiting(self, session: str) -> bool:
        """Return True if an event of the session waits or runs."""
        return any(event in self.event_ids_to_events for event in self.pending_event_ids_session.get(session, ()))

    def is_in_use(self, session: str, seconds: float = QUIET_SECONDS) -> bool:
        """Return True if an event of the session waits or runs, or something was sent to it in the last seconds.

        What was sent may be on its way: to drop the session then would break off the stream with its answer.
        """
        return self.is_waiting(session) or time.monotonic() - self.active_at.get(session, 0.0) < seconds

    def has_event(self, event: str) -> bool:
        """Return True if an event waits or runs, or its answer has not been fetched.

        Gradio removes an event from these when its answer is delivered; `event_ids_to_events` has it a moment longer.
        Whoever then asked for the answer once more would get heartbeats without end.
        """
        return any(event in events for events in self.pending_event_ids_session.values())

    def forget(self, session: str | None) -> None:
        """Drop what is kept for a session whose events are over."""
        if session is not None:
            self.pending_messages_per_session.pop(session, None)
            self.pending_event_ids_session.pop(session, None)
            for kept in (self.unfetched, self.active_at, self.addresses):
                kept.pop(session, None)

    async def leave(self, session: str) -> None:
        """Drop a session that nobody waits for any more, and its events that have not begun."""
        await self.clean_events(session_hash=session)
        self.forget(session)

    def forget_unfetched(self) -> None:
        """Drop the answers that nobody has fetched for UNFETCHED_SECONDS, and those beyond UNFETCHED_ANSWERS.

        The latter go from the address that has most of them, the oldest first.
        """
        for session, events in list(self.pending_event_ids_session.items()):
            messages = self.pending_messages_per_session.get(session)
            if messages is not None and messages.empty():  # all that was sent is fetched
                self.unfetched.pop(session, None)
                if not self.is_waiting(session):
                    events.clear()  # Gradio leaves an event's id behind when its client hangs up
            elif not self.is_in_use(session, QUIET_SECONDS if messages is None else UNFETCHED_SECONDS):
                self.forget(session)
        while sum(self.unfetched.values()) > UNFETCHED_ANSWERS:
            counts: Counter[str] = Counter()
            for session, answers in self.unfetched.items():
                if not self.is_in_use(session):
                    counts[self.addresses.get(session, "")] += answers
            if not counts:
                break
            greedy = counts.most_common(1)[0][0]
            oldest = (each for each in self.unfetched if self.addresses.get(each, "") == greedy)
            self.forget(next(session for session in oldest if not self.is_in_use(session)))

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Send a message to the session of an event, if the session still exists."""
        if event.session_hash in self.pending_messages_per_session:
            super().send_message(event, event_message)
            self.active_at[event.session_hash] = time.monotonic()
            if isinstance(event_message, ProcessCompletedMessage):
                self.unfetched[event.session_hash] = self.unfetched.get(event.session_hash, 0) + 1

    async def start_processing(self) -> None:
        """Start events until the app is closed; an error in one event does not end this."""
        while not self.stopped:
            try:
                await super().start_processing()
                return
            except Exception:
                logging.exception("The queue failed; it goes on.")
                for event in [event for events in self.active_jobs if events for event in events]:
                    self.send_message(event, ProcessCompletedMessage(output={"error": LOST}, success=False))
                self.stopped = False  # before anything else looks: the other loops and open streams end where it is set
                await asyncio.sleep(1)  # an error that stays must not keep everything else from running

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
            HTTPException: 404 for an unknown endpoint, 403 for a file that was not uploaded, 422 for a wrong number of
                arguments and for data that is too large or nested too deeply, 429 where a caller has too many events,
                and 503 where the page is full.
        """
        if self.server_app is not None:
            self.blocks = self.server_app.get_blocks()  # which `gradio app.py` replaces when a file changes
        try:
            fn = get_fn(self.blocks, None, body)
        except (KeyError, FnIndexInferError):
            raise HTTPException(404, NO_ENDPOINT) from None
        self.check_room(fn.page, body.session_hash, find_client_address(request.scope))
        # A picture that is a data URL is saved when its turn comes: see shared/ui/requests.py.
        pairs = zip_longest(fn.inputs, body.data)
        check_data([remove_content(value) if isinstance(block, gr.Image) else value for block, value in pairs])
        if len(body.data) != len(fn.inputs):
            names = [name for name, *_ in get_function_params(fn.fn)] if fn.fn else []  # gr.Progress comes last
            count = f"{len(fn.inputs)} argument{'' if len(fn.inputs) == 1 else 's'}"
            listed = f": {', '.join(names[: len(fn.inputs)])}" if fn.inputs else ""
            raise HTTPException(422, f"The endpoint takes {count}, not {len(body.data)}{listed}.")
        return await self.add(body, request, username)

    def check_room(self, page: str, session: str | None, address: str) -> None:
        """Refuse an event for which there is no room.

        Raises:
            HTTPException: 429 where the session or the address has too many events, 503 where the page is full.
        """
        here = [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]
        here = [event for event in here if event.fn.page == page]
        ours = sum(event.address == address for event in here)
        in_session = len(self.pending_event_ids_session.get(session or "", ()))
        wait = {"Retry-After": RETRY_AFTER}
        if in_session >= SESSION_WAITING or ours >= CALLER_WAITING:
            raise HTTPException(429, "You have many questions waiting here; ask again when they are answered.", wait)
        if len(here) >= (PAGE_WAITING if ours else 3 * PAGE_WAITING // 2):
            raise HTTPException(503, "Queue is full: this page has many visitors. Try again in a moment.", wait)

    async def add(self, body: Any, request: Any, username: str | None) -> Any:
        """Add an event, whoever asks."""
        answer = await super().push(body, request, username)
        event = self.event_ids_to_events.get(answer[1]) if answer[0] else None
        if event is not None:
            event.address = self.addresses[event.session_hash] = find_client_address(request.scope)
            self.take_turns(event)
        return answer

    def take_turns(self, newest: Event) -> None:
        """Move the newest event forward, so that callers take turns: nobody waits behind all events of another."""
        waiting = self.event_queue_per_concurrency_id[newest.concurrency_id].queue
        if not waiting or waiting[-1] is not newest:
            return  # it has been started already
        waiting.pop()
        now = waiting[0].turn if waiting else 0
        newest.turn = max([now, *(event.turn + 1 for event in waiting if event.address == newest.address)])
        place = next((index for index, event in enumerate(waiting) if event.turn > newest.turn), len(waiting))
        waiting.insert(place, newest)


def check_data(data: Any) -> None:
    """Refuse what no page sends: files that were not uploaded, and data nested without end.

    Every mapping with a `path` counts as a file, whatever component it is for, and with or without Gradio's `meta`.

    Raises:
        HTTPException: 403 for such a file, 422 for data that is nested too deeply or has too many items.
    """
    pending, items = [(data, 0)], 0
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise HTTPException(422, f"Lists and mappings may be nested {MAX_DEPTH} deep at most.")
        if isinstance(value, dict):
            path = value.get("path")
            if path is not None and not is_uploaded(path):
                raise HTTPException(403, NOT_UPLOADED)
            value = list(value.values())
        if isinstance(value, list | tuple):
            items += len(value)
            if items > MAX_ITEMS:
                raise HTTPException(422, f"Lists and mappings may have {MAX_ITEMS:,} items in all.")
            pending += [(item, depth + 1) for item in value if isinstance(item, dict | list | tuple)]


def is_data_url(text: object) -> bool:
    """Return True for text that begins as a data URL does."""
    return isinstance(text, str) and text[:5].lower() == "data:"


def remove_content(value: object) -> object:
    """Return a picture without its `path` where that is not a path but the content, as a data URL."""
    return {**value, "path": None} if isinstance(value, dict) and is_data_url(value.get("path")) else value


def is_uploaded(path: object) -> bool:
    """Return True if `path` is a file in Gradio's folder of uploads, whatever links lead there.

    A web address is none: Gradio would fetch it whole into memory, whatever its size.
    """
    if not isinstance(path, str):
        return False
    try:
        real = Path(path).resolve(strict=True)
        return real.is_file() and real.is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError):
        return False
