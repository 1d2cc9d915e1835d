"""Speaks Qwen3-ASR's streaming protocol: one session after the other on a WebSocket, each from start to final.

           start                stop
    idle ---------> under way --------> stopping
      ^                                    |
      +-------- all is told: final --------+

Under way, audio is recognised as it comes; silence on the line ends the segment, and JSON that is neither a start nor a
stop changes nothing. Stopping, audio that was still on its way is thrown away, a second stop changes nothing, and the
client may be silent. Any other message in a state, and silence of minutes before the first start or under way, is a
failure: what was said by then is told first, in a ``final``, then the failure as an ``error``, and the connection is
closed. Silence of minutes after a session closes it as its usual end.
"""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Response, WebSocket

from service.audio.stream import AudioStream
from service.errors import IdleTooLong, ServiceError, WrongState
from service.protocols.qwen.live_request import Message, StartPayload
from service.protocols.qwen.live_response import SessionMessages, error_message
from service.protocols.shared.conversation import LONGEST_REST_S, Connection, LiveSession, live_session, report_failures
from service.protocols.shared.fields import json_object
from service.serving import Serving, serving_of

router = APIRouter()
LABEL = "qwen_ws"
PATH = "/ws/v1/asr/qwen"
_LONGEST_TASK_ID = 128


def error_response(failure: ServiceError) -> Response:
    """Makes the response that refuses a connection before it is one."""
    return Response(error_message(failure, uuid.uuid4().hex), failure.status, media_type="application/json")


@router.websocket(PATH)
async def converse_qwen(websocket: WebSocket) -> None:
    """Holds a conversation, whose messages repeat the ``task_id`` of the query, or else a new id."""
    connection = Connection(websocket)
    await connection.accept()
    task_id = websocket.query_params.get("task_id", "")[:_LONGEST_TASK_ID] or uuid.uuid4().hex
    conversation = _Conversation(connection, serving_of(websocket), task_id)
    async with report_failures(connection, conversation.failed):
        await conversation.hold()


class _Conversation:
    def __init__(self, connection: Connection, serving: Serving, task_id: str) -> None:
        self._connection = connection
        self._serving = serving
        self._task_id = task_id
        self._idle_s = serving.settings.live_idle_timeout_sec

    def failed(self, failure: ServiceError) -> str:
        return error_message(failure, self._task_id)

    async def hold(self) -> None:
        """Performs one session after the other, until the client has no more."""
        message = await self._connection.receive(LONGEST_REST_S)
        while True:
            await self._perform(self._start(message))
            try:
                message = await self._connection.receive(LONGEST_REST_S)
            except IdleTooLong:
                return

    def _start(self, message: str | bytes) -> StartPayload:
        if isinstance(message, bytes):
            raise WrongState("Audio came before a start.")
        said = Message.read(message)
        if said.type != "start":
            raise WrongState("There is no session to stop.")
        return StartPayload.read(said.payload)

    async def _perform(self, asked: StartPayload) -> None:
        options = asked.session_options(self._serving.settings.enabled_models)
        messages = SessionMessages(self._task_id, with_words=asked.word_timestamps)
        audio = AudioStream(asked.format, asked.sample_rate)
        async with live_session(self._connection.websocket, LABEL, options, audio) as live:
            params = asked.model_dump() | {"model": options.recognition.model.id}
            await self._connection.send(messages.started(params))
            listening = live.listen(self._connection, self._idle_s, self._is_stop, rests=True)
            try:
                await live.converse(listening, self._tell(live, messages))
            except ServiceError:  # the last segment's text is told by the final alone
                await self._connection.send(messages.final((*asked.warnings, *live.warnings)))
                raise
            await self._connection.send(messages.final((*asked.warnings, *live.warnings)))

    def _is_stop(self, text: str) -> bool:
        """Understands a text message that comes while a session is under way."""
        message = json_object(text)
        if message is not None and str(message.get("type")).lower() not in ("start", "stop"):
            self._connection.ignore("a message that is neither a start nor a stop")
            return False
        if Message.read(text).type == "start":
            raise WrongState("The session is under way: nothing but audio and its stop may come.")
        return True

    async def _tell(self, live: LiveSession, messages: SessionMessages) -> None:
        async for event in live:
            for message in messages.event(event):
                await self._connection.send(message)
