"""Does what every live protocol does alike: a connection with its time limits, a session in its place, their ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocket, WebSocketDisconnect

from service import observability
from service.audio.stream import AudioStream
from service.domain import SAMPLE_RATE_HZ, Pcm
from service.errors import IdleTooLong, NotReady, QueueFull, ServiceError, SlowReader
from service.failures import failure_of
from service.live.events import Event, SessionFailed
from service.live.session import NearFieldFilter, Session, SessionOptions
from service.serving import Serving, counted

log = logging.getLogger(__name__)

# A client that has not read for so long is given up: what it should read must not pile up here.
_SEND_S = 10.0
_SLICE_BYTES = 1 << 14
_CANCEL_AGAIN_S = 0.2

NORMAL_CLOSURE = 1000
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013


class Connection:
    """Talks to a client over a WebSocket.

    The client's key has been checked: see service/edge.py. Every method raises ClientDisconnect once the client has
    gone; receive from one task at a time.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket

    async def accept(self, *subprotocols: str) -> None:
        """Agrees to the first of ``subprotocols`` that the client offers, or to none."""
        offered = self.websocket.scope.get("subprotocols", [])
        await self.websocket.accept(next((name for name in subprotocols if name in offered), None))

    async def receive(self, idle_s: float | None = None) -> str | bytes:
        """Returns the next message: text or bytes, of any length the server lets through.

        Raises:
            IdleTooLong: nothing has come for ``idle_s``.
        """
        try:
            message = await asyncio.wait_for(self.websocket.receive(), idle_s)
        except asyncio.TimeoutError:
            raise IdleTooLong(f"Nothing has come for {idle_s:g} s.") from None
        if message["type"] == "websocket.disconnect":
            raise ClientDisconnect
        text: str | None = message.get("text")
        data: bytes = message.get("bytes") or b""
        return data if text is None else text

    async def send(self, text: str) -> None:
        """Sends a message; waits while the client is still reading.

        Raises:
            SlowReader: the client does not read what was sent before.
        """
        try:
            await asyncio.wait_for(self.websocket.send_text(text), _SEND_S)
        except asyncio.TimeoutError:
            raise SlowReader("The client does not read what it is sent.") from None
        except (WebSocketDisconnect, RuntimeError) as error:  # Starlette's words for a connection that is closed
            raise ClientDisconnect from error

    async def close(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Closes the connection; does nothing when it is closed already or can't be written to."""
        with suppress(asyncio.TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            await asyncio.wait_for(self.websocket.close(code, reason), _SEND_S)


@asynccontextmanager
async def report_failures(connection: Connection, render: Callable[[ServiceError], str]) -> AsyncIterator[None]:
    """Tells the client what fails in a whole conversation, as ``render`` has it, and closes the connection.

    It is closed when nothing fails, too. A client that has gone, or does not read, is told nothing.
    """
    code = NORMAL_CLOSURE
    try:
        yield
    except ClientDisconnect:
        return
    except SlowReader as slow:
        log.info("live client given up: %s", slow.message)
        return  # nor could it be told
    except Exception as error:  # the edge of a connection, as service/edge.py is that of a request
        failure = failure_of(error)
        code = _close_code(failure)
        try:
            await connection.send(render(failure))
        except (ClientDisconnect, SlowReader):
            return
    await connection.close(code)


def _close_code(failure: ServiceError) -> int:
    if isinstance(failure, (NotReady, QueueFull)):
        return TRY_AGAIN_LATER
    return POLICY_VIOLATION if failure.status < 500 else INTERNAL_ERROR


class IdleClock:
    """Knows how long a client that owes audio may still be silent."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.restart()

    def restart(self) -> None:
        """Allows the whole limit again, because something has come."""
        self._since = time.monotonic()

    @property
    def left_s(self) -> float:
        """Returns the seconds that are left, 0 once the limit has passed."""
        return max(0.0, self._since + self._limit_s - time.monotonic())


class LiveSession:
    """Feeds a session the audio that a client sends.

    Iterate for its events while another task feeds it.

    Attributes:
        session: What recognises.
    """

    def __init__(self, session: Session, audio: AudioStream, model: str) -> None:
        self.session = session
        self._audio = audio
        self._model = model

    async def feed(self, data: bytes) -> None:
        """Takes the stream's next bytes, as the client sent them; waits while the session is behind.

        Raises:
            UndecodableAudio: the bytes are not what the client said they are.
        """
        view = memoryview(data)
        for start in range(0, len(data), _SLICE_BYTES):
            await self._push(await self._audio.feed(bytes(view[start : start + _SLICE_BYTES])))

    async def finish(self) -> None:
        """Ends the audio: what has come is told to its end, then the iteration ends.

        Raises:
            UndecodableAudio: as ``feed``.
        """
        await self._push(await self._audio.finish())
        await self.session.finish()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yields the session's events; raises the failure of a session that could not go on."""
        async for event in self.session:
            if isinstance(event, SessionFailed):
                raise event.failure
            yield event

    async def _push(self, pcm: Pcm) -> None:
        if len(pcm):
            await self.session.push(pcm)
            observability.audio_seconds.labels(self._model).inc(len(pcm) / SAMPLE_RATE_HZ)


@asynccontextmanager
async def live_session(
    serving: Serving, protocol: str, options: SessionOptions, audio: AudioStream
) -> AsyncIterator[LiveSession]:
    """Holds a place among the live sessions and a session in it until the block ends, whatever ends it.

    How the block ends is counted under ``protocol``; ``audio`` is closed with the session, even where none begins.

    Raises:
        NotReady: models are still loading.
        QueueFull: there are MAX_LIVE_SESSIONS already.
    """
    try:
        with counted(protocol):
            await serving.check_ready()
            with serving.live_sessions.admit(protocol):
                settings = serving.settings
                near_field = NearFieldFilter(settings.asr_enable_nearfield_filter, settings.asr_nearfield_rms_threshold)
                session = Session(serving.runners, options, near_field)
                try:
                    yield LiveSession(session, audio, options.recognition.model.id)
                finally:
                    await session.close()
    finally:
        await audio.close()


async def converse(listening: Coroutine[Any, Any, None], telling: Coroutine[Any, Any, None]) -> None:
    """Runs both sides of a conversation until ``telling`` ends or one of them fails.

    ``telling`` sends what the session says and returns at its end; ``listening`` takes what the client says, and goes
    on after the last audio, to notice that the client leaves.
    """
    listener = asyncio.create_task(listening)
    teller = asyncio.create_task(telling)
    tasks = (teller, listener)
    try:
        while not teller.done():
            done, _ = await asyncio.wait([t for t in tasks if not t.done()], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        # Again and again: before Python 3.12 a task that is cancelled just as its wait_for ends goes on.
        while running := [task for task in tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
        await asyncio.gather(*tasks, return_exceptions=True)
