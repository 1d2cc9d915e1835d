"""Sends server-sent events as a response: each event at once, comments while there is nothing to send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.failures import failure_of
from service.intake.disconnect import unless_disconnected
from service.protocols.openai.transcriptions_response import error_body

# Proxies commonly cut connections that are silent for 30 to 60 s.
_KEEP_ALIVE_S = 10.0


@dataclass(frozen=True, slots=True)
class NamedEvent:
    """Holds an event that has an id, by which a client that was cut off goes on, and a name."""

    id: int
    name: str
    data: str


class EventStream(Response):
    """Sends ``events`` as ``data: {json}``; closes them when they end, fail, or the client goes away.

    The status is sent with the first event (at the latest after _KEEP_ALIVE_S), so that a failure before
    it is raised and gets its true status. A later one becomes the last event.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[Any, None], headers: Mapping[str, str]) -> None:
        # Without X-Accel-Buffering nginx would collect events before it passes them on.
        super().__init__(headers={**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response; stops the events when the client goes away."""
        async with aclosing(self._events):
            await unless_disconnected(receive, self._send_events(send))

    async def _send_events(self, send: Send) -> None:
        try:
            while (event := await self._next_event(send)) is not None:
                await self._send(send, _data(event))
            if not self._started:  # a client that resumes after the last event; it tells EventSource to stop
                await Response(status_code=204)({"type": "http"}, _nothing, send)
                return
        except Exception as error:  # the edge: with the status sent, an event is all that can still tell
            if not self._started:
                raise
            await self._send(send, _data(error_body(failure_of(error))))
        await send({"type": "http.response.body", "body": b""})

    async def _next_event(self, send: Send) -> BaseModel | NamedEvent | None:
        """Returns the next event, None after the last; sends comments while it is awaited."""
        step = asyncio.ensure_future(_next(self._events))
        try:
            while not (await asyncio.wait({step}, timeout=_KEEP_ALIVE_S))[0]:
                await self._send(send, b": keep-alive\n\n")
            return step.result()
        finally:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)

    async def _send(self, send: Send, body: bytes) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _nothing() -> Message:
    raise NotImplementedError("a response without a body receives nothing")


async def _next(events: AsyncGenerator[Any, None]) -> BaseModel | NamedEvent | None:
    return await anext(events, None)


def _data(event: BaseModel | NamedEvent) -> bytes:
    if isinstance(event, NamedEvent):
        return f"id: {event.id}\nevent: {event.name}\ndata: {event.data}\n\n".encode()
    return b"data: " + event.model_dump_json().encode() + b"\n\n"
