"""Every server event is read by the SDK's own types, strictly."""

import json

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from service.errors import InvalidRequest, RecognitionFailed
from service.protocols.openai import realtime_response as events
from service.protocols.openai.realtime_request import SessionSettings
from service.protocols.openai.transcriptions_response import TokenLogprob

SDK = TypeAdapter(RealtimeServerEvent)
SESSION = SessionSettings().described("sess_1", ("paraformer-demo",))


@pytest.mark.parametrize(
    "event",
    [
        events.SessionEvent(type="session.created", session=SESSION),
        events.SessionEvent(type="session.updated", session=SESSION),
        events.SpeechStarted(audio_start_ms=300, item_id="item_1"),
        events.SpeechStopped(audio_end_ms=900, item_id="item_1"),
        events.Committed(previous_item_id=None, item_id="item_1"),
        events.Cleared(),
        events.ItemEvent(type="conversation.item.added", previous_item_id=None, item=events.Item(id="item_1")),
        events.ItemEvent(type="conversation.item.done", previous_item_id="item_0", item=events.Item(id="item_1")),
        events.ItemEvent(type="conversation.item.created", previous_item_id=None, item=events.Item(id="item_1")),
        events.Delta(item_id="item_1", delta="天气"),
        events.Completed(item_id="item_1", transcript="天气。", usage=events.DurationUsage(seconds=1.5)),
        events.Completed(
            item_id="item_1",
            transcript="天",
            usage=events.DurationUsage(seconds=1.5),
            logprobs=[TokenLogprob(token="天", bytes=list("天".encode()), logprob=-0.1)],
        ),
        events.failed("item_1", RecognitionFailed("it failed")),
        events.error_event(InvalidRequest("wrong", param="audio"), "mine"),
    ],
    ids=lambda event: event.type,
)
def test_the_sdk_reads(event: events.ServerEvent) -> None:
    sent = event.model_dump_json()
    read = SDK.validate_json(sent, strict=True)
    assert type(read).model_fields["type"].annotation.__args__ == (json.loads(sent)["type"],)  # type: ignore[union-attr]


def test_an_error_names_the_clients_event() -> None:
    error = json.loads(events.error_event(InvalidRequest("wrong", param="audio"), "mine").model_dump_json())["error"]
    assert error == {
        "message": "wrong",
        "type": "invalid_request_error",
        "param": "audio",
        "code": "invalid_request",
        "event_id": "mine",
    }
