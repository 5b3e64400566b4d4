"""Close connections that do not send a complete request header; uvicorn would keep them open."""

import asyncio
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..limits import LIMITS


class TimedProtocol(AutoHTTPProtocol):
    """uvicorn's HTTP protocol, with a time limit for each request header, from the connection or its first byte."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(LIMITS.header_seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        is_upgraded = self.transport.get_protocol() is not self  # to a WebSocket
        if self.cycle is not before or is_upgraded:  # the header has arrived; http_body limits the body
            self._stop_waiting()
        elif self._late is None and (before is None or before.response_complete):  # the next request starts
            self._late = self.loop.call_later(LIMITS.header_seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def use_timed_protocol() -> None:
    """Make TimedProtocol uvicorn's default HTTP protocol, which Gradio uses."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:TimedProtocol"
