"""Speaks FunASR's WebSocket protocol: speech recognised as it comes (online, 2pass), or as a whole (offline).

               opening             {"is_speaking": false}
    between ------------> hearing ------------------------> telling
       ^                                                       |
       +--------------------- all is told ---------------------+

An opening is a text frame that has ``mode`` or ``is_speaking``; one that is an end itself leads back at once. Hearing,
audio is recognised and told as it comes (online, 2pass) or put on disk (offline); silence on the line ends the
sentence. Telling, the client may be silent; the text frame that it sends by then is taken for its next opening. All is
told with an ``End``, where the client named a mode or its end asked for one. JSON that neither begins nor ends a
recording changes nothing, nor do a second opening while one is heard and audio after its end. Text that is no JSON
object, audio before the first opening, and silence of minutes are failures: what was said by then is told first, then
the failure as an ``End`` that is not final, and the connection is closed.

FunASR's own servers answer an offline recording once, at its end, and their clients leave after that answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

from pydantic import BaseModel, ValidationError
from starlette.websockets import WebSocket

from service.audio.stream import AudioStream
from service.domain import AudioSource, RecognitionOptions
from service.errors import AudioTooLarge, ServiceError
from service.intake import disk
from service.intake.recording import admitted, audio_source
from service.live.events import PartialChanged, SentenceBegan, SentenceEnded
from service.protocols.funasr.live_request import Closing, Opening, read_message
from service.protocols.funasr.live_response import End, failed_end, offline_result, online_result
from service.protocols.shared.conversation import (
    LONGEST_REST_S,
    Connection,
    LiveSession,
    converse,
    live_session,
    report_failures,
)
from service.protocols.shared.growing_text import GrowingText
from service.serving import Serving
from service.settings import Settings

LABEL = "funasr_ws"
_WRITE_BYTES = 1 << 20


async def serve(connection: Connection, serving: Serving, first: str | bytes) -> None:
    """Serves an accepted connection to its end; ``first`` is its first message."""
    conversation = _Conversation(connection, serving)
    async with report_failures(connection, conversation.failure):
        await conversation.run(first)


@dataclass(frozen=True, slots=True)
class _Recording:
    options: RecognitionOptions


class _Conversation:
    """Takes one recording after the other on one connection."""

    def __init__(self, connection: Connection, serving: Serving) -> None:
        self._connection = connection
        self._serving = serving
        self._opening = Opening()
        self._closing = Closing(is_speaking=False)
        self._warnings: tuple[str, ...] = ()
        self._held: str | None = None  # what came while the recording before was still being told

    def failure(self, failure: ServiceError) -> str:
        mode, wav_name = self._opening.result_mode, self._opening.wav_name
        return failed_end(mode, wav_name, failure, self._warnings).model_dump_json()

    async def run(self, first: str | bytes) -> None:
        message = read_message(first)
        while True:
            if message.keys() & {"mode", "is_speaking"}:
                await self._take(message)
            else:
                self._connection.ignore("a message that neither begins nor ends a recording")
            message = await self._next_opening()

    async def _take(self, message: dict[str, Any]) -> None:
        """Recognises the recording that ``message`` opens, and acknowledges its end."""
        self._opening = opening = Opening.read(message)
        self._warnings = opening.warnings
        if not opening.is_speaking:
            self._is_end(message)
        elif opening.result_mode == "offline":
            await self._transcribe()
        else:
            await self._recognise()
        if opening.mode is not None or self._closing.is_end:
            told = list(self._warnings) or None
            await self._send(End(mode=opening.result_mode, wav_name=opening.wav_name, warnings=told))
        self._warnings = ()

    async def _recognise(self) -> None:
        opening = self._opening
        options = opening.session_options(self._serving.settings.enabled_models)
        audio = AudioStream(opening.stream_format, opening.audio_fs)
        async with live_session(self._connection.websocket, LABEL, options, audio) as live:
            try:
                await live.converse(self._listen(live), self._tell(live))
            finally:
                self._warnings += live.warnings

    async def _listen(self, live: LiveSession) -> None:
        def ends(text: str) -> bool:
            return self._is_end(read_message(text))

        await live.listen(self._connection, self._idle_s, ends, rests=True, to_the_end=True)
        await self._watch()

    async def _tell(self, live: LiveSession) -> None:
        opening = self._opening
        mode = opening.result_mode
        sentence = GrowingText()
        shown = ""
        async for event in live:
            delta = ""
            if isinstance(event, SentenceBegan):
                sentence = GrowingText(after=shown)
            elif isinstance(event, PartialChanged):
                delta = sentence.grow(event.settled_text)
            elif isinstance(event, SentenceEnded):
                if mode == "online":
                    delta = sentence.end(event.text)
                    shown = event.text or shown
                elif event.text or sentence.sent:
                    await self._send(offline_result(mode, event.text, event.words, opening.wav_name))
            if delta:
                await self._send(online_result(mode, delta, opening.wav_name))

    async def _transcribe(self) -> None:
        async with admitted(self._connection.websocket, LABEL, self._receive) as job:

            async def tell() -> None:
                transcript = await job.transcription.finish()
                await job.release()
                words = [word for segment in transcript.segments for word in segment.words]
                await self._send(offline_result("offline", transcript.text, words, self._opening.wav_name))

            try:
                await converse(self._watch(), tell())
            finally:
                self._warnings += job.transcription.transcript.warnings

    async def _receive(self, _: WebSocket, settings: Settings, file: IO[bytes]) -> tuple[_Recording, AudioSource]:
        size = 0
        unwritten = bytearray()
        while True:
            message = await self._connection.receive(LONGEST_REST_S)
            if isinstance(message, str):
                if self._is_end(read_message(message)):
                    break
                continue
            size += len(message)
            if size > settings.max_audio_size:
                raise AudioTooLarge(f"The audio is larger than the limit of {settings.max_audio_size / 2**20:g} MB.")
            unwritten += message
            if len(unwritten) >= _WRITE_BYTES:
                await disk.write(file, unwritten)
                unwritten = bytearray()
        if not size and self._opening.raw:
            unwritten += b"\0\0"  # nothing is silence, not a broken file
        await disk.write(file, unwritten, is_last=True)
        recording = _Recording(self._opening.recognition(settings.enabled_models))
        return recording, audio_source(file.name, self._opening.raw)

    def _is_end(self, message: dict[str, Any]) -> bool:
        """Understands a text frame that comes while a recording is heard: its end, or what changes nothing."""
        try:
            self._closing = Closing.model_validate(message)
        except ValidationError:
            self._connection.ignore("a message that does not end the recording")
            return False
        return True

    async def _watch(self) -> None:
        """Notices a client that leaves while it is owed results; some send the next recording without waiting."""
        self._held = await self._next_text()

    async def _next_opening(self) -> dict[str, Any]:
        held, self._held = self._held, None
        return read_message(await self._next_text(LONGEST_REST_S) if held is None else held)

    async def _next_text(self, idle_s: float | None = None) -> str:
        while not isinstance(message := await self._connection.receive(idle_s), str):
            self._connection.ignore("audio after the end of a recording")
        return message

    @property
    def _idle_s(self) -> float:
        return self._serving.settings.live_idle_timeout_sec

    async def _send(self, message: BaseModel) -> None:
        await self._connection.send(message.model_dump_json())
