"""Close connections whose clients send an incomplete or endless header, or do not read; uvicorn keeps them open."""

import asyncio
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..limits import LIMITS

HAS_LIMIT = not hasattr(AutoHTTPProtocol, "on_body")  # of its own for a header: it is h11


class TimedProtocol(AutoHTTPProtocol):
    """uvicorn's HTTP protocol with two time limits and one for bytes.

    One time is for each request header, from the connection or its first byte. The other begins when a client has left
    so much unread that the answer waits for it, and ends when it has read most of that. The bytes are those in a row
    that complete neither a header nor a piece of a body: httptools keeps them all, and joins them anew with each
    packet, which blocks all clients.
    """

    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _incomplete = 0  # bytes
    _has_body = False  # a piece of a body was in the last packet

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(LIMITS.header_seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        before, self._has_body = self.cycle, False
        super().data_received(data)
        self._incomplete = 0 if self.cycle is not before or self._has_body else self._incomplete + len(data)
        if self._incomplete > LIMITS.header_bytes and not HAS_LIMIT:
            self.transport.abort()
        is_upgraded = self.transport.get_protocol() is not self  # to a WebSocket
        if self.cycle is not before or is_upgraded:  # the header has arrived; http_body limits the body
            self._stop_waiting()
        elif self._late is None and (before is None or before.response_complete):  # the next request starts
            self._late = self.loop.call_later(LIMITS.header_seconds, self.transport.close)

    def on_body(self, body: bytes) -> None:
        self._has_body = True
        super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        # close() would wait until everything is sent.
        self._unread = self.loop.call_later(LIMITS.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_counting()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_counting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _stop_counting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def use_timed_protocol() -> None:
    """Make TimedProtocol uvicorn's default HTTP protocol, which Gradio uses."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:TimedProtocol"
