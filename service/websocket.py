"""Changes the server's side of a WebSocket where uvicorn's own won't do; service/api.py has uvicorn use it."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

# Alibaba Cloud's Python SDK sends these twice, with two different keys, and checks the answer against the first.
_SENT_TWICE = ("Sec-WebSocket-Key", "Sec-WebSocket-Version")
# What a client has not read so long after the end of its conversation is dropped.
_FLUSH_S = 10.0


class LiveWebSocketProtocol(WebSocketsSansIOProtocol):
    """Does what uvicorn's protocol does, with three differences.

    - Of the handshake headers that the official SDK sends twice the first counts.
    - It sends no pings: a connection that is read slowly, because recognition is behind, answers them too late,
      and clients that are gone are found by the time limits of the live protocols.
    - A client that reads nothing can't keep the connection open after its conversation has ended.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ping_interval = None
        self._abort_timer: asyncio.TimerHandle | None = None

    def handle_connect(self, event: Request) -> None:
        """Takes a handshake, with the first of what it has twice."""
        for name in _SENT_TWICE:
            values = event.headers.get_all(name)
            if len(values) > 1:
                del event.headers[name]
                event.headers[name] = values[0]
        super().handle_connect(event)

    async def send(self, message: ASGISendEvent) -> None:
        """Sends a message of the app's; a refusal ends the handshake too."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # it was refused with a whole response: nothing to log an error for

    async def run_asgi(self) -> None:
        """Runs the app for the conversation, and drops what the client has not read some seconds after its end."""
        await super().run_asgi()
        if not self.disconnected:
            self._abort_timer = self.loop.call_later(_FLUSH_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Takes note that the connection is gone, so that nothing is left to drop."""
        super().connection_lost(exc)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
