"""Middleware of both servers: log every request, and inject the faults that a test requests."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Response bodies of servers that are not a Hub.
BARE, NULL, LIST, WORDS = "", "null", '["not here"]', "upstream is gone"
PAGE = "<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"


@dataclass
class Fault:
    """A fault to inject.

    Args:
        kind: "delay": the response comes after `seconds`. "hang": there is no response. "status": the response has
            `status`, `headers` and `body`; BARE, PAGE, NULL, LIST and WORDS are bodies of other servers. "truncate":
            the response ends after `after` bytes, and the connection is closed. "corrupt": one byte of the response is
            changed. "drop": the connection is closed after `after` bytes of the request's body, or all of it.
        match: a regular expression, searched in "METHOD /path".
        server: "hub" or "cdn"; None for both.
        times: how often the fault occurs; None for always.
    """

    kind: str
    match: str = ""
    server: str | None = None
    times: int | None = None
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    seconds: float = 30.0
    after: int = 100_000

    def __post_init__(self) -> None:
        if self.kind not in ("delay", "hang", "status", "truncate", "corrupt", "drop"):
            raise ValueError(f"Unknown fault {self.kind!r}")


@dataclass
class Request:
    """A received request.

    Attributes:
        path: the path as sent, without the query.
        headers: the headers by lower-case name.
        status: the status of the response; None if there is none yet.
    """

    server: str
    method: str
    path: str
    headers: dict[str, str]
    status: int | None = None


class Door:
    """ASGI middleware of a server; routes match the path as sent, with %2F.

    Args:
        app: the server's app.
        server: "hub" or "cdn".
        faults: the faults to inject.
        log: the list to which requests are added.
    """

    def __init__(self, app: ASGIApp, server: str, faults: list[Fault], log: list[Request]) -> None:
        self.app, self.server, self.faults, self.log = app, server, faults, log
        self.listener = uvicorn.Server(
            uvicorn.Config(
                self,
                http="h11",
                ws="none",
                lifespan="off",
                proxy_headers=False,
                log_config=None,
                log_level=100,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=75,  # as servers have it; in uvicorn's 5 s a client may prepare its next request
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(self.server, scope["method"], scope["raw_path"].decode("latin-1"), headers)
        self.log.append(request)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
            await send(message)

        answer: Send = noted
        for fault in self._find_matching(request):
            match fault.kind:
                case "delay":
                    await asyncio.sleep(fault.seconds)
                case "truncate" | "corrupt" if request.method != "HEAD":
                    answer = _damage(fault, answer)
                case "status":
                    await _read(receive)
                    body = (
                        json.dumps({"error": f"Injected status {fault.status}"}) if fault.body is None else fault.body
                    )
                    is_json = not body or body[0] in '[{"n'
                    kind = "application/json" if is_json else "text/html" if body[0] == "<" else "text/plain"
                    await Response(body, fault.status, dict(fault.headers), kind)(scope, receive, noted)
                    return
                case "hang" | "drop":
                    if fault.kind == "drop":
                        await _read(receive, fault.after)
                        self.cut(scope["client"])
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    return
        await self.app({**scope, "path": request.path}, receive, answer)

    def cut(self, client: Any = None) -> None:
        """Close the connection of a client, or all connections, without a response; call it in the server thread."""
        for connection in list(self.listener.server_state.connections):
            if client in (None, getattr(connection, "client", None)):
                connection.transport.abort()

    def _find_matching(self, request: Request) -> list[Fault]:
        found = [
            fault
            for fault in self.faults
            if fault.server in (None, self.server)
            and fault.times != 0
            and re.search(fault.match, f"{request.method} {request.path}")
        ]
        for fault in found:
            if fault.times is not None:
                fault.times -= 1
        return found


async def _read(receive: Receive, limit: float = float("inf")) -> None:
    """Read a request's body, or at least `limit` bytes of it."""
    count = 0
    while count < limit:
        message = await receive()
        count += len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _damage(fault: Fault, send: Send) -> Send:
    """Send a response truncated or with one byte changed; uvicorn closes the connection of an incomplete one."""
    left = fault.after
    is_whole = True

    async def passed_on(message: Message) -> None:
        nonlocal left, is_whole
        body = message.get("body", b"")
        if fault.kind == "corrupt" and body and is_whole:
            is_whole = False
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            message = {**message, "body": body}
        elif fault.kind == "truncate" and message["type"] == "http.response.body":
            if not is_whole:
                return
            is_whole = len(body) <= left
            message = message if is_whole else {**message, "body": body[:left], "more_body": True}
            left -= len(body)
        await send(message)

    return passed_on
