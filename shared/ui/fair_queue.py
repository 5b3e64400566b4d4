"""Gradio's queue with limits for each page and each caller, and with a fix for a bug that stops it.

Gradio 6.31 keeps the messages of the 2,000 newest sessions. If a session is dropped while its event waits, the next
message to it raises KeyError. This ends the loop that starts all events: every endpoint answers 503 until a restart.
docs/gradio_reports.md describes the bug; tests/shared/ui/test_fair_queue.py says when this fix can be removed.
"""

import asyncio
import logging
import os
import re
import sys
import time
from collections import Counter, OrderedDict
from ipaddress import ip_address, ip_network
from itertools import zip_longest
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.queueing import Event, EventQueue, Queue
from gradio.route_utils import FnIndexInferError, get_fn
from gradio.server_messages import EventMessage, ProcessCompletedMessage
from gradio.utils import get_function_params, get_type_hints, get_upload_folder, run_coro_in_background
from starlette.exceptions import HTTPException
from starlette.types import Scope

from ..archives import TOO_MANY_FILES
from ..limits import LIMITS
from .languages import translate_answer
from .rates import EventRate
from .storage import CLIENT

QUIET_SECONDS = 5.0  # a session without messages for this long is not in use
IDLE_POLLING = 0.02  # seconds between two looks at a queue to which nobody has sent an event for QUIET_SECONDS
RETRY_AFTER = "5"  # seconds
LOST = "The queue failed, and this request was lost; send it again."
WITH_PORT = re.compile(r"\[([^]]*)\](?::\d*)?|([\d.]+):\d*")  # [2001:db8::1]:443 or 1.2.3.4:443
STUCK = "stuck"  # the concurrency_id of events that are given up
TOO_LONG = "This took longer than {} s and was given up; try it with less."
BLOCKED = "Earlier requests of this kind do not end, so it cannot be answered; try again later."
NOT_UPLOADED = (
    "There is no such upload; send the file to /gradio_api/upload first, then use the path that it returns. "
    "Web addresses are not fetched."
)
TOO_MANY_ITEMS = "Lists and mappings may have at most {:,} items in total."
MAX_PATH = 500  # characters of an upload's path in the upload folder: a hash, and a name of at most 255 bytes
MAX_FORWARDED = 2000  # characters at the end of X-Forwarded-For
ITEM_BYTES = 300  # of memory that an item of a list or mapping takes at most, without the characters of texts
WIDE_HEADER = sys.getsizeof("€") - 2  # bytes of a text of such characters, without them
SMALL = 100_000  # bytes of data that are always accepted
EVENT_ITEMS = 256  # of event_data: which part of a component was chosen, and its value
NO_EVENT = 'event_data must say what was chosen, such as {"index": 0, "value": ["text", null]}.'
NO_ENDPOINT = "There is no such endpoint; /gradio_api/info lists them."


def count_trusted_proxies() -> int:
    """Return the number of proxies in front of the app that append an address to X-Forwarded-For.

    This is GALLERY_TRUSTED_PROXIES; the default is 1 on a Space and 0 elsewhere.

    Raises:
        ValueError: the variable is not a whole number.
    """
    value = os.environ.get("GALLERY_TRUSTED_PROXIES") or ("1" if os.environ.get("SPACE_ID") else "0")
    if not value.isdecimal():
        raise ValueError(f"GALLERY_TRUSTED_PROXIES must be a whole number such as 1, not {value!r}.")
    return int(value)


def find_client_address(scope: Scope) -> str:
    """Return the address of the client that sent a request; for IPv6, its 64-bit network.

    Each trusted proxy appends the address of its caller to X-Forwarded-For. Without trusted proxies the header is
    ignored, because any client can send it (but uvicorn trusts it in requests from this machine).
    """
    proxies = count_trusted_proxies()
    address = scope["client"][0] if scope.get("client") else "unknown"  # at a Unix socket
    headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in ",".join(headers)[-MAX_FORWARDED:].split(",") if hop.strip()]
    if proxies and hops:
        address = hops[-min(proxies, len(hops))]
    return name_client(address)


def name_client(address: str) -> str:
    """Return an address without brackets and port, an IPv4 address in IPv6 as IPv4, and else the network of an IPv6.

    Text that is no address is returned unchanged.
    """
    with_port = WITH_PORT.fullmatch(address)
    try:
        found = ip_address((with_port[1] or with_port[2] if with_port else address).partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped:
        return str(getattr(found, "ipv4_mapped", None) or found)
    return str(ip_network((str(found), 64), strict=False))


class PendingMessages(OrderedDict[str, Any]):
    """The messages of the newest sessions; a session in use is never dropped."""

    def __init__(self, queue: "FairQueue") -> None:
        super().__init__()
        self.queue = queue

    def __setitem__(self, session: str, messages: Any) -> None:
        if session not in self and len(self) >= LIMITS.sessions:
            self.queue.forget(next((old for old in self if not self.queue.is_in_use(old)), None))
        super().__setitem__(session, messages)


class FairQueue(Queue):
    """A queue for the events of `demo`; it replaces the one made by `demo.queue()`."""

    def __init__(self, demo: gr.Blocks) -> None:
        before = demo._queue
        self.pushed_at = time.monotonic()
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
        self.unfetched: dict[str, int] = {}  # number of unfetched answers by session, the oldest first
        self.active_at: dict[str, float] = {}  # time of a session's last request or message
        self.addresses: dict[str, str] = {}
        self.rate, self.page_rate = EventRate(), EventRate("pages_per_minute", "requests for pages")
        self.stuck: set[asyncio.Task[None]] = set()  # events that are given up, whose threads have not ended
        self.blocked: Counter[str] = Counter()  # those of them that keep their places, by concurrency_id
        self.event_queue_per_concurrency_id[STUCK] = EventQueue(STUCK, None)
        count_trusted_proxies()

    @property
    def sleep_when_free(self) -> float:
        """Seconds between two looks at an empty queue; a look every millisecond, as in Gradio, takes 6 % of a core."""
        is_idle = time.monotonic() - self.pushed_at > QUIET_SECONDS
        return IDLE_POLLING if is_idle else self.polling

    @sleep_when_free.setter
    def sleep_when_free(self, seconds: float) -> None:
        self.polling = seconds

    # --- sessions and their messages ---

    def is_waiting(self, session: str) -> bool:
        """Return True if an event of the session is waiting or running."""
        return any(event in self.event_ids_to_events for event in self.pending_event_ids_session.get(session, ()))

    def is_in_use(self, session: str, seconds: float = QUIET_SECONDS) -> bool:
        """Return True if an event of the session waits or runs, or a message was sent to it in the last `seconds`.

        The message may not have arrived yet; dropping the session would break the stream with its answer.
        """
        return self.is_waiting(session) or time.monotonic() - self.active_at.get(session, 0.0) < seconds

    def has_event(self, event: str) -> bool:
        """Return True if an event waits or runs, or its answer has not been fetched.

        This does not use `event_ids_to_events`, which keeps an event a moment longer than its answer: a second request
        for the answer would then get endless heartbeats.
        """
        return any(event in events for events in self.pending_event_ids_session.values())

    def forget(self, session: str | None) -> None:
        """Delete the data of a session whose events have ended."""
        if session is not None:
            self.pending_messages_per_session.pop(session, None)
            self.pending_event_ids_session.pop(session, None)
            for kept in (self.unfetched, self.active_at, self.addresses):
                kept.pop(session, None)

    async def leave(self, session: str) -> None:
        """Delete a session whose client has left, and its events that have not started."""
        await self.clean_events(session_hash=session)
        self.forget(session)

    def forget_unfetched(self) -> None:
        """Delete answers that have not been fetched in time, and those beyond the number that is kept.

        The latter are deleted from the address that has most of them, the oldest first.
        """
        for session, events in list(self.pending_event_ids_session.items()):
            messages = self.pending_messages_per_session.get(session)
            if messages is not None and messages.empty():  # everything has been fetched
                self.unfetched.pop(session, None)
                if not self.is_waiting(session):
                    events.clear()  # Gradio keeps the id of an event whose client has left
            elif not self.is_in_use(session, QUIET_SECONDS if messages is None else LIMITS.unfetched_seconds):
                self.forget(session)
        while sum(self.unfetched.values()) > LIMITS.unfetched_answers:
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
        """Send a message to the session of an event, if the session still exists; an answer in the page's language."""
        if event.alive and event.session_hash in self.pending_messages_per_session:
            if isinstance(event_message, ProcessCompletedMessage):
                kinds = (block.get_block_name() for block in event.fn.outputs)
                output = translate_answer(event.request.headers, kinds, event_message.output)
                if output is not event_message.output:
                    title = output.get("title", event_message.title)
                    event_message = event_message.model_copy(update={"output": output, "title": title})
            super().send_message(event, event_message)
            self.active_at[event.session_hash] = time.monotonic()
            if isinstance(event_message, ProcessCompletedMessage):
                self.unfetched[event.session_hash] = self.unfetched.get(event.session_hash, 0) + 1

    async def start_processing(self) -> None:
        """Start events until the app is closed; continue after an error in one event."""
        while not self.stopped:
            try:
                await super().start_processing()
                return
            except Exception:
                logging.exception("The queue failed; it continues.")
                for event in [event for events in self.active_jobs if events for event in events]:
                    self.send_message(event, ProcessCompletedMessage(output={"error": LOST}, success=False))
                self.stopped = False  # set at once: other loops and open streams end if it is True
                await asyncio.sleep(1)  # do not block everything else if the error persists

    def start(self) -> None:
        """Start the queue's loops."""
        super().start()
        run_coro_in_background(self.forget_in_time)

    async def forget_in_time(self) -> None:
        """Call forget_unfetched every second."""
        while not self.stopped:
            self.forget_unfetched()
            await asyncio.sleep(1)

    # --- the time of an event ---

    async def process_events(self, events: list[Event], batch: bool, begin_time: float, fn: BlockFunction) -> None:
        """Run events, and give them up after LIMITS.event_seconds.

        Python cannot stop a thread: that of an event given up runs on, and keeps its memory and one of Gradio's 40
        threads until its function returns. The event's place in the queue is free at once, for up to
        LIMITS.stuck_events threads in all. Beyond them, an event keeps its place until its thread ends, or all threads
        would be lost one after the other; if an endpoint has no place left, it refuses new events. GET /health is 503
        from then on, and only a restart helps if the threads never end.
        """
        CLIENT.set(getattr(events[0], "address", ""))
        work = asyncio.ensure_future(super().process_events(events, batch, begin_time, fn))
        try:
            await asyncio.wait({work}, timeout=LIMITS.event_seconds)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if work.done():
            work.result()
        else:
            self.give_up(events, work, begin_time, fn)

    def give_up(self, events: list[Event], work: "asyncio.Task[None]", begin_time: float, fn: BlockFunction) -> None:
        """Tell the clients of events that take too long, and free the place of these events if threads are left."""
        logging.error("/%s did not end within %d s; it is given up.", fn.api_name, LIMITS.event_seconds)
        for event in events:
            self.end(event, TOO_LONG.format(LIMITS.event_seconds))
        place, stuck = events[0].concurrency_id, self.event_queue_per_concurrency_id[STUCK]
        if len(self.stuck) < LIMITS.stuck_events:
            # When its thread ends, Gradio frees the place of the event's concurrency_id. It is free already, so the
            # event is moved to another queue.
            queue = self.event_queue_per_concurrency_id[place]
            queue.current_concurrency -= 1
            stuck.current_concurrency += 1
            queue.start_times_per_fn[fn].discard(begin_time)
            stuck.start_times_per_fn[fn].add(begin_time)
            for event in events:
                event.concurrency_id = STUCK
            for index, job in enumerate(self.active_jobs):
                if job and events[0] in job:
                    self.active_jobs[index] = None
        else:
            self.blocked[place] += 1
            work.add_done_callback(lambda _: self.blocked.subtract([place]))
            if self.is_blocked(place):
                waiting = self.event_queue_per_concurrency_id[place].queue
                for event in waiting:
                    self.end(event, BLOCKED)
                waiting.clear()
        self.stuck.add(work)
        work.add_done_callback(self.stuck.discard)

    def end(self, event: Event, sentence: str) -> None:
        """Answer an event with an error; nothing is sent to it later."""
        self.send_message(event, ProcessCompletedMessage(output={"error": sentence}, success=False))
        event.alive = False
        self.event_ids_to_events.pop(event._id, None)

    def is_blocked(self, place: str) -> bool:
        """Return True if all places of a concurrency_id are taken by events that are given up."""
        queue = self.event_queue_per_concurrency_id.get(place)
        most = queue.concurrency_limit if queue else None
        return most is not None and self.blocked[place] >= most

    # --- limits for new events ---

    async def push(self, body: Any, request: Any, username: str | None, kept: int = 0) -> Any:
        """Add an event if it is valid and within the limits for its page, session and caller.

        Args:
            body: what the caller sent.
            request: the request that it came with.
            username: None, since nobody logs in.
            kept: bytes of memory that wait with the event, besides its data.

        Raises:
            HTTPException: 404 for an unknown endpoint, 403 for a file that was not uploaded, 422 for a wrong number of
                arguments or for data that is too large or too deeply nested, 429 if the caller has too many events,
                503 if the page has too many or the endpoint is stuck.
        """
        self.pushed_at = time.monotonic()
        if self.server_app is not None:
            self.blocks = self.server_app.get_blocks()  # `gradio app.py` replaces it when a file changes
            self.blocks.app = self.server_app  # which Gradio reads for functions with a validator or a cache
        try:
            fn = get_fn(self.blocks, None, body)
        except (KeyError, FnIndexInferError):
            raise HTTPException(404, NO_ENDPOINT) from None
        if fn.fn is None:  # it runs in the browser only
            raise HTTPException(404, NO_ENDPOINT)
        body.session_hash = body.session_hash or None  # Gradio would never answer an event of the session ""
        address = find_client_address(request.scope)
        self.check_room(fn.page, body.session_hash, address)
        if self.is_blocked(fn.concurrency_id):
            raise HTTPException(503, BLOCKED, {"Retry-After": "60"})
        # A picture in a data URL is saved when the event starts; see shared/ui/requests.py.
        pairs = zip_longest(fn.inputs, body.data)
        check_data([remove_content(value) if isinstance(block, gr.Image) else value for block, value in pairs])
        memory = estimate_memory(body.data) + kept
        self.check_memory(memory, address)
        if len(body.data) != len(fn.inputs):
            names = [name for name, *_ in get_function_params(fn.fn)]  # gr.Progress comes last
            count = f"{len(fn.inputs)} argument{'' if len(fn.inputs) == 1 else 's'}"
            listed = f": {', '.join(names[: len(fn.inputs)])}" if fn.inputs else ""
            raise HTTPException(422, f"The endpoint takes {count}, not {len(body.data)}{listed}.")
        if fn.collects_event_data:
            check_event_data(fn, body.event_data)
        else:
            body.event_data = None  # which nobody would read, but the queue would keep
        body.oauth_token = None  # nor this
        return await self.add(body, request, username, memory)

    def list_waiting(self) -> list[Event]:
        """Return the events that wait on all pages."""
        return [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]

    def check_room(self, page: str, session: str | None, address: str) -> None:
        """Check the limits for a new event.

        Raises:
            HTTPException: 429 if the session or the address has too many events, 503 if the page has too many.
        """
        here = [event for event in self.list_waiting() if event.fn.page == page]
        ours = sum(event.address == address for event in here)
        in_session = len(self.pending_event_ids_session.get(session or "", ()))
        wait = {"Retry-After": RETRY_AFTER}
        if in_session >= LIMITS.session_waiting or ours >= LIMITS.client_waiting:
            raise HTTPException(429, "You have too many requests waiting here; try again when they are answered.", wait)
        if len(here) >= (LIMITS.page_waiting if ours else 3 * LIMITS.page_waiting // 2):
            raise HTTPException(503, "The queue is full: this page has many visitors. Try again in a moment.", wait)

    def check_memory(self, size: int, address: str) -> None:
        """Check the limits for the data of waiting events; a small request is never refused.

        Raises:
            HTTPException: 429 if the data of the address take too much memory, 503 if those of all do.
        """
        if size <= SMALL:
            return
        waiting = self.list_waiting()
        wait = {"Retry-After": RETRY_AFTER}
        if size + sum(event.memory for event in waiting if event.address == address) > LIMITS.client_waiting_bytes:
            raise HTTPException(429, "Your waiting requests are too large; try again when they are answered.", wait)
        if size + sum(event.memory for event in waiting) > LIMITS.all_waiting_bytes:
            raise HTTPException(503, "The waiting requests are too large. Try again in a moment.", wait)

    async def add(self, body: Any, request: Any, username: str | None, memory: int = 0) -> Any:
        """Add an event without checking limits; its data take about so many bytes of memory."""
        answer = await super().push(body, request, username)
        for copy in ("_body", "_json"):  # of the whole request, with fields that nobody reads and no limit counts
            vars(request).pop(copy, None)
        event = self.event_ids_to_events.get(answer[1]) if answer[0] else None
        if event is not None:
            event.address = self.addresses[event.session_hash] = find_client_address(request.scope)
            event.memory = memory
            self.take_turns(event)
        return answer

    def take_turns(self, newest: Event) -> None:
        """Move the newest event forward so that callers take turns."""
        waiting = self.event_queue_per_concurrency_id[newest.concurrency_id].queue
        if not waiting or waiting[-1] is not newest:
            return  # it has already started
        waiting.pop()
        now = waiting[0].turn if waiting else 0
        newest.turn = max([now, *(event.turn + 1 for event in waiting if event.address == newest.address)])
        place = next((index for index, event in enumerate(waiting) if event.turn > newest.turn), len(waiting))
        waiting.insert(place, newest)


def check_event_data(fn: BlockFunction, data: Any) -> None:
    """Check what an event says of its component, for a function that takes it.

    Raises:
        HTTPException: 422 if it is too large or not what the function takes; 403, see check_data.
    """
    check_data(data, EVENT_ITEMS)
    for kind in get_type_hints(fn.fn).values():
        if isinstance(kind, type) and issubclass(kind, gr.EventData):
            try:
                kind(None, data)
            except (TypeError, LookupError, AttributeError):
                raise HTTPException(422, NO_EVENT) from None


def estimate_memory(data: Any) -> int:
    """Return about how many bytes of memory data parsed from JSON take."""
    pending, size = [data], 0
    while pending:
        value = pending.pop()
        size += ITEM_BYTES
        if isinstance(value, str):  # one character beyond the alphabet makes all of a text take 2 or 4 bytes
            size += max(len(value), sys.getsizeof(value) - WIDE_HEADER)
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            pending += value
    return size


def check_data(data: Any, most: int | None = None) -> None:
    """Check the data of an event: files must be uploads, and nesting and size are limited.

    Every mapping with a `path` counts as a file, for any component, with or without Gradio's `meta`.

    Args:
        data: the data.
        most: how many items they may have; by default LIMITS.data_items.

    Raises:
        HTTPException: 403 for a file that was not uploaded, 422 for data that is too deeply nested or too large, or has
            too many files.
    """
    pending, items, most = [(data, 0)], 0, most or LIMITS.data_items
    files = 0
    while pending:
        value, depth = pending.pop()
        if depth > LIMITS.data_depth:
            raise HTTPException(422, f"Lists and mappings may be nested at most {LIMITS.data_depth} levels deep.")
        if isinstance(value, dict):
            path = value.get("path")
            files += path is not None
            if files > LIMITS.batch_files:
                raise HTTPException(422, TOO_MANY_FILES.format(LIMITS.batch_files))
            if path is not None and not is_uploaded(path):
                raise HTTPException(403, NOT_UPLOADED)
            value = list(value.values())
        if isinstance(value, list | tuple):
            items += len(value)
            if items > most:
                raise HTTPException(422, TOO_MANY_ITEMS.format(most))
            pending += [(item, depth + 1) for item in value if isinstance(item, dict | list | tuple)]


def is_data_url(text: object) -> bool:
    """Return True for text that begins with "data:"."""
    return isinstance(text, str) and text[:5].lower() == "data:"


def remove_content(value: object) -> object:
    """Return a picture without its `path` if that is a data URL instead of a path."""
    return {**value, "path": None} if isinstance(value, dict) and is_data_url(value.get("path")) else value


def is_uploaded(path: object) -> bool:
    """Return True if `path`, with links resolved, is a file in Gradio's upload folder.

    This excludes web addresses, which Gradio would fetch into memory at any size.
    """
    # To resolve a long path, or one with many "..", takes time with the square of its length.
    if not isinstance(path, str) or len(path) > MAX_PATH + len(get_upload_folder()) or ".." in Path(path).parts:
        return False
    try:
        real = Path(path).resolve(strict=True)
        return real.is_file() and real.is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError):
        return False
