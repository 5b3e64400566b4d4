"""A process that may be one of several behind a load balancer, and may be stopped without losing what it has begun.

With GALLERY_REPLICA=1 (see shared.ui.page.launch) it goes on serving on SIGTERM until every event it has accepted
is answered, and a second longer for the last answers to be fetched; then it ends. Meanwhile a balancer that marks its
requests (deploy/gallery.conf does) is told 404 for whatever another replica can answer as well, and asks that one. Such
a balancer is also told 404 for an event that was begun at another replica, which Gradio would answer with an error of
its own.
"""

import signal
import sys
import threading
import time
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

GRACE = 25.0  # seconds that a stop waits for events; an orchestrator's own limit should be longer
IDLE = 1.0  # seconds without anything to do after which the process may end: an answer is fetched in a second request
MARK = (b"x-replicas", b"several")  # the header by which a balancer says that it will ask another replica
API = "/gradio_api"


class Replica:
    """Knows what one app has still to do, and whether it has been told to stop."""

    def __init__(self, demo: gr.Blocks) -> None:
        self.demo = demo
        self.stopping = False
        self.requests = 0  # being answered now, without the streams that only keep a session alive
        self.push, demo._queue.push = demo._queue.push, self.accept

    async def accept(self, body: Any, request: Any, username: Any) -> Any:
        """Take a new event, unless another replica can: events of one session share a stream and stay together."""
        if self.stopping and is_marked(request.scope) and not self.is_waiting(body.session_hash):
            raise HTTPException(404, "This replica is being stopped.")
        return await self.push(body, request, username)

    def is_waiting(self, session: str | None) -> bool:
        """Whether a session has events here whose answers it has not fetched."""
        return bool(self.demo._queue.pending_event_ids_session.get(session))

    def belongs_elsewhere(self, scope: Scope) -> bool:
        """Whether another replica should be asked for this."""
        route = get_route_path(scope).removeprefix(API).strip("/").split("/")
        if route[:2] == ["queue", "data"]:
            return not self.is_waiting(parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0])
        if route[0] == "call" and scope["method"] == "GET":
            return not any(route[-1] in events for events in self.demo._queue.pending_event_ids_session.values())
        here = route[0] in ("call", "cancel") or route[:2] == ["queue", "join"] or route[0].startswith("file=")
        return self.stopping and not here  # new events are looked at in `accept`, and files are where they were written

    def is_busy(self) -> bool:
        """Whether something is being answered."""
        return bool(self.requests or self.demo._queue.event_ids_to_events)

    def stop(self, *_: Any) -> None:
        """The handler of SIGTERM: end once idle, or when the time is over; at once on a second SIGTERM."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.stopping = True
        end, last = time.monotonic() + GRACE, time.monotonic()
        while (now := time.monotonic()) < end and now < last + IDLE:
            last = now if self.is_busy() else last
            time.sleep(0.05)
        sys.exit(0)

    def listen(self) -> None:
        """Let SIGTERM stop the process gracefully; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.stop)


def replica_middleware(demo: gr.Blocks) -> list[Middleware]:
    """Let SIGTERM stop the app gracefully; returns what `launch(app_kwargs={"middleware": ...})` takes."""
    replica = Replica(demo)
    replica.listen()
    return [Middleware(Counter, replica=replica)]


class Counter:
    """ASGI middleware: counts requests, and turns away what belongs to another replica."""

    def __init__(self, app: ASGIApp, replica: Replica) -> None:
        self.app, self.replica = app, replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if is_marked(scope) and self.replica.belongs_elsewhere(scope):
            return await PlainTextResponse("Not at this replica.", 404)(scope, receive, send)
        counted = "/heartbeat/" not in scope["path"]
        self.replica.requests += counted
        try:
            return await self.app(scope, receive, send)
        finally:
            self.replica.requests -= counted


def is_marked(scope: Scope) -> bool:
    """Whether a request comes from a balancer that will ask another replica after a 404."""
    return MARK in scope["headers"]
