"""Changes the server's side of a connection where uvicorn's own won't do; service/api.py has uvicorn use it."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

log = logging.getLogger(__name__)

# A client that has read nothing of an answer for so long is given up.
_STALL_S = 60.0
# Alibaba Cloud's Python SDK sends these twice, with two different keys, and checks the answer against the first.
_SENT_TWICE = ("Sec-WebSocket-Key", "Sec-WebSocket-Version")
# What a client has not read, or still sends, so long after the end of its conversation is dropped.
_FLUSH_S = 10.0
# What is read ahead of a conversation, so that pings among it are answered: of one, and of all together.
_READ_AHEAD_BYTES = 16 << 20
_ALL_READ_AHEAD_BYTES = 256 << 20


class HttpProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Does what uvicorn's protocol does, and drops a connection whose client does not read its answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Takes a connection."""
        super().connection_made(transport)
        self._stall_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = math.inf

    def pause_writing(self) -> None:
        """Has the app wait: the client reads more slowly than it is written to."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Lets the app go on."""
        super().resume_writing()
        self._unread_bytes = math.inf

    def on_response_complete(self) -> None:
        """Takes note that an answer has been written, if not read."""
        super().on_response_complete()
        self._watch_closing()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection on which nothing is asked any more."""
        super().timeout_keep_alive_handler()
        self._watch_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Takes note that the connection is gone, so that nothing is left to drop."""
        super().connection_lost(exc)
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _watch_closing(self) -> None:
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._watch()

    def _watch(self) -> None:
        if self._stall_timer is None:
            self._unread_bytes = self.transport.get_write_buffer_size()
            self._stall_timer = self.loop.call_later(_STALL_S, self._look)

    def _look(self) -> None:
        self._stall_timer = None
        unread_bytes = self.transport.get_write_buffer_size()
        if unread_bytes >= self._unread_bytes:
            log.info("a client has not read its answer for %g s: the connection is dropped", _STALL_S)
            self.transport.abort()
        elif unread_bytes:
            self._watch()


class _Messages(asyncio.Queue[ASGIReceiveEvent]):
    """Holds the messages that were read ahead of a conversation, and counts their bytes.

    Attributes:
        held_bytes: Of this conversation.
        all_held_bytes: Of all.
    """

    all_held_bytes = 0

    def __init__(self) -> None:
        super().__init__()
        self.held_bytes = 0

    @property
    def is_full(self) -> bool:
        return self.held_bytes >= _READ_AHEAD_BYTES or (
            self.held_bytes > 0 and _Messages.all_held_bytes >= _ALL_READ_AHEAD_BYTES
        )

    def drop(self) -> None:
        """Throws away what nobody will ask for."""
        while not self.empty():
            self.get_nowait()

    def _put(self, item: ASGIReceiveEvent) -> None:
        super()._put(item)
        self._count(_size(item))

    def _get(self) -> ASGIReceiveEvent:
        item = super()._get()
        self._count(-_size(item))
        return item

    def _count(self, size: int) -> None:
        self.held_bytes += size
        _Messages.all_held_bytes += size


def _size(message: ASGIReceiveEvent) -> int:
    return len(message.get("bytes") or message.get("text") or ())  # type: ignore[arg-type]


class LiveWebSocketProtocol(WebSocketsSansIOProtocol):
    """Does what uvicorn's protocol does, with these differences.

    - Of the handshake headers that the official SDK sends twice the first counts.
    - It reads ahead of the conversation, within bounds: a client whose audio is not worked through yet has its pings
      answered, and one that leaves is noticed at once.
    - It sends no pings: a client that is busy sending answers them too late, and clients that are gone are found by
      the time limits of the live protocols.
    - It agrees to no compression, which would let a small message become a large one.
    - A client that sends too large a message is told so, even while it still sends.
    - A client that reads nothing can't keep the connection open after its conversation has ended, nor have it filled
      with answers to its pings.
    """

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        config.ws_per_message_deflate = False
        super().__init__(config, *args, **kwargs)
        self.ping_interval = None
        self.queue: _Messages = _Messages()
        self._abort_timer: asyncio.TimerHandle | None = None

    def handle_connect(self, event: Request) -> None:
        """Takes a handshake, with the first of what it has twice."""
        for name in _SENT_TWICE:
            values = event.headers.get_all(name)
            if len(values) > 1:
                del event.headers[name]
                event.headers[name] = values[0]
        super().handle_connect(event)

    def handle_ping(self) -> None:
        """Answers a ping, unless its client does not read, or has been told the end."""
        if self.writable.is_set() and not self.close_sent:
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_close(self, event: Frame) -> None:
        """Takes the client's leave: what it has said before can't be answered any more."""
        self.queue.drop()
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        """Tells what is wrong with a message, and takes what is on its way: a client cut off would not read it."""
        if self.close_sent:
            return
        assert self.conn.close_sent is not None
        self.close_sent = True
        self.queue.drop()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": self.conn.close_sent.code})
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_FLUSH_S, self.transport.close)

    def send_receive_event_to_app(self) -> None:
        """Passes a message on; reading goes on as long as not too much waits."""
        was_paused, self.read_paused = self.read_paused, True  # so that uvicorn's doesn't
        super().send_receive_event_to_app()
        self.read_paused = was_paused
        if self.queue.is_full and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def receive(self) -> ASGIReceiveEvent:
        """Returns the next message; reads on where there is room again."""
        message = await self.queue.get()
        if self.read_paused and not self.queue.is_full:
            self.read_paused = False
            self.transport.resume_reading()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Sends a message of the app's; a refusal ends the handshake too."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # it was refused with a whole response: nothing to log an error for

    async def run_asgi(self) -> None:
        """Runs the app for the conversation, and drops what the client has not read some seconds after its end."""
        await super().run_asgi()
        self.queue.drop()
        if not self.disconnected:
            self._abort_timer = self.loop.call_later(_FLUSH_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Takes note that the connection is gone, so that nothing is left to drop or to be worked through."""
        self.queue.drop()
        super().connection_lost(exc)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
