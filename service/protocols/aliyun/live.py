"""Speaks Alibaba Cloud's live protocol: SpeechTranscriber and SpeechRecognizer over one WebSocket, a task at a time.

           StartTranscription,             StopTranscription,
           StartRecognition                StopRecognition
    idle ----------------------> under way --------------------> stopping
      ^                                                             |
      +------------------- all is told: …Completed -----------------+

Under way, audio is recognised as it comes, and a Control… directive changes nothing, nor does JSON without a header.
Stopping, audio that was still on its way is thrown away, a second stop changes nothing, and the client may be silent.
Any other message in a state, and silence under way, is a failure: what was said by then is told first, then the failure
as TaskFailed, and the connection is closed. Silence when idle closes it as its usual end.
"""

from __future__ import annotations

from service.audio.stream import AudioStream
from service.errors import IdleTooLong, ServiceError, WrongState
from service.protocols.aliyun.live_request import Directive, StartPayload, read_directive
from service.protocols.aliyun.live_response import RecognizerMessages, Task, TranscriberMessages, task_failed
from service.protocols.shared.conversation import Connection, LiveSession, live_session, report_failures
from service.protocols.shared.fields import json_object
from service.protocols.shared.vocabularies import with_own_words
from service.serving import Serving

LABEL = "aliyun_ws"


async def serve(connection: Connection, serving: Serving, first: str | bytes) -> None:
    """Holds the conversation that begins with the message ``first``, and closes the connection at its end."""
    conversation = _Conversation(connection, serving)
    async with report_failures(connection, conversation.failed):
        await conversation.hold(first)


class _Conversation:
    def __init__(self, connection: Connection, serving: Serving) -> None:
        self._connection = connection
        self._serving = serving
        self._idle_s = serving.settings.live_idle_timeout_sec
        self._task_id = ""
        self._warnings: tuple[str, ...] = ()

    def failed(self, failure: ServiceError) -> str:
        return task_failed(failure, self._task_id, self._warnings)

    async def hold(self, first: str | bytes) -> None:
        """Performs one task after the other, until the client has no more."""
        message = first
        while True:
            await self._perform(self._start(message))
            self._task_id, self._warnings = "", ()
            try:
                message = await self._connection.receive(self._idle_s)
            except IdleTooLong:
                return

    def _start(self, message: str | bytes) -> Directive:
        if isinstance(message, bytes):
            raise WrongState("Audio came before a start.")
        directive = read_directive(message)
        self._task_id = directive.task_id
        if directive.action != "start":
            raise WrongState("No task has been started.")
        return directive

    async def _perform(self, start: Directive) -> None:
        words = await with_own_words(self._connection.websocket, start.payload.get("vocabulary_id"))
        asked = StartPayload.read({**start.payload, "vocabulary_id": words})
        self._warnings = asked.warnings
        task = Task(start.task_id, start.namespace, with_words=asked.enable_words)
        messages = TranscriberMessages(task) if start.namespace == "SpeechTranscriber" else RecognizerMessages(task)
        options = asked.session_options(self._serving.settings.enabled_models)
        audio = AudioStream(asked.format, asked.sample_rate)
        async with live_session(self._connection.websocket, LABEL, options, audio) as live:
            await self._connection.send(messages.started())
            listening = live.listen(self._connection, self._idle_s, lambda text: self._is_stop(text, start))
            try:
                await live.converse(listening, self._tell(live, messages))
            except ServiceError:
                if (so_far := messages.so_far()) is not None:
                    await self._connection.send(so_far)
                raise
            finally:
                self._warnings += live.warnings
            await self._connection.send(messages.completed(self._warnings))

    def _is_stop(self, text: str, start: Directive) -> bool:
        """Understands a text message that comes while a task is under way."""
        message = json_object(text)
        if message is not None and "header" not in message:
            self._connection.ignore("a message without a header")
            return False
        directive = read_directive(text)
        if directive.namespace != start.namespace or directive.action == "start":
            raise WrongState("The task is under way: nothing but audio and its end may come.")
        return directive.action == "stop"

    async def _tell(self, live: LiveSession, messages: TranscriberMessages | RecognizerMessages) -> None:
        async for event in live:
            message = messages.event(event)
            if message is not None:
                await self._connection.send(message)
