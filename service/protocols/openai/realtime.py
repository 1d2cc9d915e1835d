"""Speaks OpenAI's Realtime API for transcription, /v1/realtime: audio is recognised while it is appended.

                 append               commit, update, silence
    waiting ---------------> hearing --------------------------> telling
       ^                        |                                   |
       |                        | clear: at once                    | all is told
       +------------------------+-----------------------------------+

Waiting, a commit, an update or a clear is followed at once. Hearing, audio is recognised as it comes. Telling, the
client is told all that was heard, and what it says meanwhile waits; then what ended the hearing is followed, but for
the commit of a sentence that the server has committed by now. Without turn detection an item grows through several
hearings, until it is committed. An update that changes nothing of the sound is followed while hearing.

An event that can't be followed is told as an ``error``, and the conversation goes on. Any other failure, and silence
of minutes when waiting, is told as an ``error``, after what was said by then, and closes the connection; where the
service is at fault, an item that was growing is told as failed first.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.websockets import WebSocket

from service.domain import Word, join_texts
from service.errors import IdleTooLong, InvalidRequest, ServiceError
from service.live.events import PartialChanged, SentenceBegan, SentenceEnded
from service.protocols.openai import realtime_response as events
from service.protocols.openai.realtime_request import (
    Append,
    Clear,
    ClientEvent,
    Commit,
    Format,
    RefusedEvent,
    SessionSettings,
    TurnDetection,
    Update,
    flattened,
    read_event,
)
from service.protocols.openai.transcriptions_response import spoken_languages, word_logprobs
from service.protocols.shared.conversation import (
    Connection,
    IdleClock,
    LiveSession,
    live_session,
    report_failures,
)
from service.protocols.shared.growing_text import GrowingText
from service.serving import Serving, serving_of

router = APIRouter()

LABEL = "openai_realtime"
# A connection without a session costs little: with push-to-talk, people pause for minutes.
_BETWEEN_TURNS_S = 900.0
_LEAST_COMMIT_MS = 100
# By whether the client speaks the API's earlier dialect.
_ITEM_EVENTS: dict[bool, tuple[events.ItemEventType, ...]] = {
    False: ("conversation.item.added", "conversation.item.done"),
    True: ("conversation.item.created",),
}


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """Holds a conversation, with the ``model`` of the query; the only ``intent`` there may be is transcription."""
    connection = Connection(websocket)
    await connection.accept("realtime")
    async with report_failures(connection, lambda failure: events.error_event(failure).model_dump_json()):
        serving = serving_of(websocket)
        query = websocket.query_params
        if query.get("intent", "transcription") != "transcription":
            raise InvalidRequest("The only `intent` here is `transcription`.", param="intent")
        settings = SessionSettings()
        if query.get("model"):
            wanted = {"audio": {"input": {"transcription": {"model": query["model"]}}}}
            settings = settings.updated(wanted, serving.settings.enabled_models)
        await _Conversation(connection, serving, settings).run()


class _Cleared(Exception):
    """Tells that the client has thrown the audio away."""


class _Item:
    """Collects the transcript of a piece of audio: a sentence, or what a client commits."""

    def __init__(self) -> None:
        self.id = events.new_id("item")
        self.text = ""
        self.words: list[Word] = []
        self.languages: list[str] = []

    def add(self, sentence: SentenceEnded) -> None:
        self.text = join_texts([self.text, sentence.text])
        self.words += sentence.words
        self.languages.append(sentence.language)


class _Conversation:
    """Holds the conversation of one connection.

    ``_item`` is the one whose text is growing: a sentence being spoken or, without turn detection, everything since
    the last commit, which may be several sentences and several sessions.
    """

    def __init__(self, connection: Connection, serving: Serving, settings: SessionSettings) -> None:
        self._connection = connection
        self._serving = serving
        self._enabled = serving.settings.enabled_models
        self._settings = settings
        self._id = events.new_id("sess")
        self._item: _Item | None = None
        self._warnings: dict[str, None] = {}  # of what was heard since the last item, in order
        self._previous_id: str | None = None
        self._heard_ms = 0.0
        self._uncommitted_ms = 0.0
        self._is_flat = False

    async def run(self) -> None:
        created = self._settings.described(self._id, self._enabled)
        await self._send(events.SessionEvent(type="session.created", session=created))
        event: ClientEvent | None = None
        while True:
            event = event or await self._next_event(_BETWEEN_TURNS_S)
            if isinstance(event, Append):
                event = await self._hear(event)
                continue
            if isinstance(event, Commit):
                await self._commit(event)
            elif isinstance(event, Clear):
                await self._clear()
            else:
                await self._update(event)
            event = None

    # What the client wants

    async def _next_event(self, idle_s: float) -> ClientEvent:
        """Returns the next event that can be followed; of others the client is told, and the session goes on."""
        while True:
            message = await self._connection.receive(idle_s)
            try:
                return read_event(message)
            except RefusedEvent as refusal:
                await self._send(events.error_event(refusal, refusal.event_id))

    async def _update(self, event: Update) -> None:
        try:
            settings = self._settings.updated(event.session, self._enabled)
        except ServiceError as failure:
            await self._send(events.error_event(failure, event.event_id))
            return
        committed_by_client = self._settings.audio.input.turn_detection is None
        if self._item and committed_by_client and settings.audio.input.turn_detection:  # nobody will but the server
            await self._complete(self._item, self._uncommitted_ms)
        self._settings = settings
        self._is_flat = event.answer == "transcription_session.updated"
        session = settings.described(self._id, self._enabled)
        shown = flattened(session) if self._is_flat else session
        await self._send(events.SessionEvent(type=event.answer, session=shown))

    def _interrupts(self, event: Update) -> bool:
        """Says whether an update changes how what is being said must be heard."""
        try:
            changed = self._settings.updated(event.session, self._enabled).audio.input
        except ServiceError:  # of which the client is told
            return False
        return changed.model_copy(update={"noise_reduction": None}) != self._settings.audio.input.model_copy(
            update={"noise_reduction": None}
        )

    async def _commit(self, event: Commit) -> None:
        if self._uncommitted_ms >= _LEAST_COMMIT_MS:
            await self._complete(self._item or _Item(), self._uncommitted_ms)
            return
        failure = InvalidRequest(
            f"There is nothing to commit: at least {_LEAST_COMMIT_MS} ms of audio are needed, "
            f"the buffer has {self._uncommitted_ms:.0f} ms.",
            code="input_audio_buffer_commit_empty",
        )
        await self._send(events.error_event(failure, event.event_id))

    async def _clear(self) -> None:
        self._item = None
        self._warnings = {}
        self._uncommitted_ms = 0.0
        await self._send(events.Cleared())

    # Listening and telling

    async def _hear(self, first: Append) -> ClientEvent | None:
        """Recognises what is appended until the client does something else or falls silent.

        Returns what is left to do, once everything that was heard has been told.
        """
        wanted = self._settings.audio.input
        await self._serving.check_ready()
        model = self._settings.recognition(self._enabled).model
        vad = await self._serving.runners.vad_options(model)
        options = self._settings.session_options(self._enabled, vad.speech_noise_thres)
        start_ms = self._heard_ms
        left: ClientEvent | None = None
        told: str | None = None

        async def listen() -> None:
            nonlocal left, told
            left = await self._listen(live, first, wanted.format)
            told = self._previous_id
            await live.finish()

        try:
            async with live_session(self._connection.websocket, LABEL, options, wanted.format.stream()) as live:
                try:
                    await live.converse(listen(), self._tell(live, wanted.turn_detection, start_ms))
                except _Cleared:
                    left = Clear()
                if wanted.turn_detection is None:  # what was heard is still to be committed
                    self._warnings |= dict.fromkeys(live.warnings)
        except ServiceError as failure:
            if self._item and failure.status >= 500:
                await self._send(events.failed(self._item.id, failure))
            raise
        if wanted.turn_detection and isinstance(left, Commit) and self._previous_id != told:
            return None  # the sentence that was being spoken is what the client meant
        return left

    async def _listen(self, live: LiveSession, event: ClientEvent, audio_format: Format) -> ClientEvent | None:
        idle = IdleClock(self._serving.settings.live_idle_timeout_sec)
        while isinstance(event, Append) or (isinstance(event, Update) and not self._interrupts(event)):
            if isinstance(event, Append):
                heard_ms = 1000 * len(event.audio) / audio_format.bytes_per_s
                self._heard_ms += heard_ms
                self._uncommitted_ms += heard_ms
                await live.feed(audio_format.pcm16(event.audio))
                idle.restart()
            else:
                await self._update(event)
            try:
                event = await self._next_event(idle.left_s)
            except IdleTooLong:
                return None
        if isinstance(event, Clear):
            raise _Cleared
        return event

    async def _tell(self, live: LiveSession, detection: TurnDetection | None, start_ms: float) -> None:
        growing = GrowingText()
        async for event in live:
            if isinstance(event, SentenceBegan):
                self._item = self._item or _Item()
                growing = GrowingText(after=self._item.text)
                if detection:
                    begin_ms = start_ms + max(0, event.begin_ms - detection.prefix_padding_ms)
                    await self._send(events.SpeechStarted(audio_start_ms=round(begin_ms), item_id=self._item.id))
            elif isinstance(event, PartialChanged):
                await self._send_delta(growing.grow(event.settled_text))
            elif isinstance(event, SentenceEnded) and self._item:
                await self._send_delta(growing.grow(event.text))
                self._item.add(event)
                if detection:
                    end_ms = min(self._heard_ms, start_ms + event.end_ms + detection.silence_duration_ms)
                    await self._send(events.SpeechStopped(audio_end_ms=round(end_ms), item_id=self._item.id))
                    self._warnings |= dict.fromkeys(live.warnings)
                    await self._complete(self._item, event.end_ms - event.begin_ms)

    async def _complete(self, item: _Item, duration_ms: float) -> None:
        """Commits an item and tells its text."""
        await self._send(events.Committed(previous_item_id=self._previous_id, item_id=item.id))
        for kind in _ITEM_EVENTS[self._is_flat]:
            await self._send(
                events.ItemEvent(type=kind, previous_item_id=self._previous_id, item=events.Item(id=item.id))
            )
        await self._send(
            events.Completed(
                item_id=item.id,
                transcript=item.text,
                languages=spoken_languages(item.languages),
                usage=events.DurationUsage(seconds=round(duration_ms / 1000, 3)),
                logprobs=word_logprobs(item.words) if self._settings.logprobs else None,
                warnings=list(dict.fromkeys((*self._settings.warnings, *self._warnings))) or None,
            )
        )
        self._item = None
        self._warnings = {}
        self._previous_id = item.id
        self._uncommitted_ms = 0.0

    async def _send_delta(self, delta: str) -> None:
        if delta and self._item:
            await self._send(events.Delta(item_id=self._item.id, delta=delta))

    async def _send(self, event: events.ServerEvent) -> None:
        await self._connection.send(event.model_dump_json())
