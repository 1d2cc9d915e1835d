"""Does what every live protocol does alike: a connection with its time limits, a session in its place, their ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocket, WebSocketDisconnect

from service import observability
from service.audio.stream import AudioStream
from service.auth import caller
from service.domain import SAMPLE_RATE_HZ, Pcm
from service.errors import (
    AudioTooLarge,
    IdleTooLong,
    NotReady,
    QueueFull,
    ServiceError,
    SlowReader,
    StorageFull,
)
from service.failures import failure_of
from service.live.events import Event, SentenceEnded, SessionFailed, moved
from service.live.session import NearFieldFilter, Session, SessionOptions
from service.serving import counted, serving_of

log = logging.getLogger(__name__)

# A client that has not read for so long is given up: what it should read must not pile up here.
_SEND_S = 10.0
_SLICE_BYTES = 1 << 14
# A connection on which nothing is heard costs little: people pause, mute their microphones, open a page early.
LONGEST_REST_S = 600.0
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
        self._has_ignored = False

    def ignore(self, what: str) -> None:
        """Passes over a message that changes nothing; of a connection's many, the first is logged."""
        if not self._has_ignored:
            self._has_ignored = True
            log.info("ignored: %s", what)

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
    if isinstance(failure, (NotReady, QueueFull, StorageFull)):
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
    """Feeds sessions the audio that a client sends, and tells their events as if they were one.

    Iterate for the events while another task feeds it. After a ``rest`` a session of its own hears what comes then;
    times and indexes count on.
    """

    def __init__(self, begin: Callable[[], Session], audio: AudioStream, model: str, max_duration_s: float) -> None:
        """Takes ``begin``, which begins a session."""
        self._begin = begin
        self._audio = audio
        self._model = model
        self._max_duration_s = max_duration_s
        self._begun: asyncio.Queue[tuple[Session, int] | None] = asyncio.Queue()  # with ms of audio before it
        self._untold: set[Session] = set()
        self._silenced: set[Session] = set()  # those that ended in a rest
        self._warnings: dict[str, None] = {}  # in order
        self._samples = 0
        self._is_finished = False
        self._session: Session | None = self._hear()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Returns what the client should know so far beside the events; at any time, also after a failure."""
        untold = (warning for session in self._untold for warning in session.warnings)
        return tuple(dict.fromkeys((*self._audio.warnings, *self._warnings, *untold)))

    async def feed(self, data: bytes) -> None:
        """Takes the stream's next bytes, as the client sent them; waits while the session is behind.

        Raises:
            UndecodableAudio: the bytes are not what the client said they are.
            AudioTooLarge: they are more audio than MAX_AUDIO_DURATION_SEC, or than bytes can hold.
            NotReady: there can be no process to decode them.
        """
        view = memoryview(data)
        for start in range(0, len(data), _SLICE_BYTES):
            async for pcm in self._audio.feed(bytes(view[start : start + _SLICE_BYTES])):
                await self._push(pcm)

    async def rest(self) -> None:
        """Ends the sentence that is open: the client is silent, and may go on later."""
        if self._session is not None:
            session, self._session = self._session, None
            if not self._is_finished:
                self._silenced.add(session)
            await session.finish()

    async def finish(self) -> None:
        """Ends the audio: what has come is told to its end, then the iteration ends.

        Raises:
            UndecodableAudio, AudioTooLarge: as ``feed``; what could be decoded is told all the same.
        """
        if self._is_finished:
            return
        self._is_finished = True
        try:
            async for pcm in self._audio.finish():
                await self._push(pcm)
        finally:
            await self.rest()
            self._begun.put_nowait(None)

    async def close(self) -> None:
        """Stops all work; safe at any time, more than once."""
        await asyncio.gather(*(session.close() for session in self._untold))

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yields the events; raises the failure of a session that could not go on."""
        told = 0
        while (begun := await self._begun.get()) is not None:
            session, start_ms = begun
            sentences = 0
            async for event in session:
                if isinstance(event, SessionFailed):
                    raise event.failure
                sentences += isinstance(event, SentenceEnded)
                if isinstance(event, SentenceEnded) and event.reason == "stop" and session in self._silenced:
                    event = replace(event, reason="silence")
                yield moved(event, told, start_ms)
            told += sentences
            self._warnings |= dict.fromkeys(session.warnings)
            await session.close()
            self._untold.discard(session)
            self._silenced.discard(session)

    async def converse(self, listening: Coroutine[Any, Any, None], telling: Coroutine[Any, Any, None]) -> None:
        """Runs both sides of the session until everything that was heard has been told.

        Whatever ends ``listening``, the sentence that is open is finished and told before the reason.
        """
        reason: ServiceError | None = None

        async def listen() -> None:
            nonlocal reason
            try:
                await listening
            except ServiceError as failure:
                reason = failure
                with suppress(ServiceError):  # of the same audio; the first is the reason
                    await self.finish()

        await converse(listen(), telling)
        if reason is not None:
            raise reason

    async def listen(
        self,
        connection: Connection,
        idle_s: float,
        ends: Callable[[str], bool],
        *,
        rests: bool = False,
        to_the_end: bool = False,
    ) -> None:
        """Hears what the client sends, and goes on after the last audio, to notice that the client leaves.

        Returns at the end of the audio where ``to_the_end``.

        ``ends`` understands a text message: whether it ends the audio. Audio after the end is thrown away: a client
        may still have had some on its way. After ``idle_s`` without audio the session rests where ``rests``, for
        minutes.

        Raises:
            IdleTooLong: no audio has come for too long.
            ServiceError: what ``ends`` raises; UndecodableAudio for what is no audio.
        """
        idle = IdleClock(idle_s)
        while True:
            try:
                message = await connection.receive(None if self._is_finished else idle.left_s)
            except IdleTooLong:
                if not rests or self._session is None:
                    raise
                await self.rest()
                idle = IdleClock(LONGEST_REST_S)
                continue
            if isinstance(message, str):
                if ends(message):
                    await self.finish()
                    if to_the_end:
                        return
            elif message and not self._is_finished:
                await self.feed(message)
                idle = IdleClock(idle_s)

    async def _push(self, pcm: Pcm) -> None:
        room = int(self._max_duration_s * SAMPLE_RATE_HZ) - self._samples
        heard = pcm[:room]
        if len(heard):
            self._session = self._session or self._hear()
            self._samples += len(heard)
            await self._session.push(heard)
            observability.audio_seconds.labels(self._model).inc(len(heard) / SAMPLE_RATE_HZ)
        if len(heard) < len(pcm):
            raise AudioTooLarge(f"The audio is longer than the limit of {self._max_duration_s:g} s.")

    def _hear(self) -> Session:
        session = self._begin()
        self._untold.add(session)
        self._begun.put_nowait((session, self._samples * 1000 // SAMPLE_RATE_HZ))
        return session


@asynccontextmanager
async def live_session(
    websocket: WebSocket, protocol: str, options: SessionOptions, audio: AudioStream
) -> AsyncIterator[LiveSession]:
    """Holds a place among the live sessions and a session of the caller's in it until the block ends, whatever ends it.

    How the block ends is counted under ``protocol``; ``audio`` is closed with the session, even where none begins.

    Raises:
        NotReady: models are still loading.
        QueueFull: there are MAX_LIVE_SESSIONS already.
    """
    serving = serving_of(websocket)
    try:
        with counted(protocol):
            await serving.check_ready()
            with serving.live_sessions.admit(protocol):
                settings = serving.settings
                near_field = NearFieldFilter(settings.asr_enable_nearfield_filter, settings.asr_nearfield_rms_threshold)
                live = LiveSession(
                    lambda: Session(serving.runners, options, near_field, caller(websocket)),
                    audio,
                    options.recognition.model.id,
                    settings.max_audio_duration_sec,
                )
                try:
                    yield live
                finally:
                    await live.close()
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
