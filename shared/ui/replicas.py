"""Run an app as one of several replicas behind a load balancer, and stop it without losing events.

With GALLERY_REPLICA=1 (see shared.ui.page.launch), a process that receives SIGTERM serves until all accepted events are
answered, and one second longer so that the last answers can be fetched; then it exits. Meanwhile, if the balancer marks
its requests (as deploy/gallery.conf does), it gets 404 for requests that another replica can answer, and tries that
one. It also gets 404 for an event that was started at another replica; Gradio would answer with a different error.
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

from .http_body import API

GRACE = 25.0  # seconds to wait for events before exit; an orchestrator's limit must be longer
IDLE = 1.0  # idle seconds before exit, since an answer is fetched in a second request
MARK = (b"x-replicas", b"several")  # the header of a balancer that will try another replica


class Replica:
    """The open requests and events of one app, and whether it is stopping."""

    def __init__(self, demo: gr.Blocks) -> None:
        self.demo = demo
        self.stopping = False
        self.requests = 0  # open requests, except streams that only keep a session alive
        self.push, demo._queue.push = demo._queue.push, self.accept

    async def accept(self, body: Any, request: Any, username: Any) -> Any:
        """Add a new event unless another replica can; events of one session share a stream and stay together."""
        if self.stopping and is_marked(request.scope) and not self.is_waiting(body.session_hash):
            raise HTTPException(404, "This replica is stopping.")
        return await self.push(body, request, username)

    def is_waiting(self, session: str | None) -> bool:
        """Return True if a session has events here with unfetched answers."""
        return bool(self.demo._queue.pending_event_ids_session.get(session))

    def belongs_elsewhere(self, scope: Scope) -> bool:
        """Return True if another replica should answer a request."""
        route = get_route_path(scope).removeprefix(API).strip("/").split("/")
        if route[:2] == ["queue", "data"]:
            return not self.is_waiting(parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0])
        if route[0] == "call" and scope["method"] == "GET":
            return not any(route[-1] in events for events in self.demo._queue.pending_event_ids_session.values())
        here = route[0] in ("call", "cancel") or route[:2] == ["queue", "join"] or route[0].startswith("file=")
        return self.stopping and not here  # `accept` checks new events; files are local

    def is_busy(self) -> bool:
        """Return True if requests or events are open."""
        return bool(self.requests or self.demo._queue.event_ids_to_events)

    def stop(self, *_: Any) -> None:
        """Exit once idle or after GRACE seconds; the handler of SIGTERM. A second SIGTERM exits at once."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.stopping = True
        end, last = time.monotonic() + GRACE, time.monotonic()
        while (now := time.monotonic()) < end and now < last + IDLE:
            last = now if self.is_busy() else last
            time.sleep(0.05)
        sys.exit(0)

    def listen(self) -> None:
        """Install the handler of SIGTERM; this is possible only in the main thread."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.stop)


def replica_middleware(demo: gr.Blocks) -> list[Middleware]:
    """Make SIGTERM stop the app gracefully; return the middleware for `launch(app_kwargs={"middleware": ...})`."""
    replica = Replica(demo)
    replica.listen()
    return [Middleware(Counter, replica=replica)]


class Counter:
    """ASGI middleware that counts open requests and rejects those for another replica."""

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
    """Return True if a request comes from a balancer that tries another replica after a 404."""
    return MARK in scope["headers"]
