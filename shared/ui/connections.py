"""Close connections that send no complete request; uvicorn keeps them open."""

import asyncio
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADER_SECONDS = 15.0  # in which the head of a request must have arrived, from the connection's or its own first byte


class TimedProtocol(AutoHTTPProtocol):
    """uvicorn's HTTP, which hangs up on a client that does not send the head of a request in HEADER_SECONDS."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADER_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        is_upgraded = self.transport.get_protocol() is not self  # to a WebSocket
        if self.cycle is not before or is_upgraded:  # a head has arrived; http_body watches its body
            self._stop_waiting()
        elif self._late is None and (before is None or before.response_complete):  # the next request has begun
            self._late = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def use_timed_protocol() -> None:
    """Have uvicorn use TimedProtocol where none is named, as in Gradio."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:TimedProtocol"
