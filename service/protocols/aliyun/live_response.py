"""Renders a live session's events as Alibaba Cloud's WebSocket messages; times are milliseconds of audio."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.domain import Word, join_texts
from service.errors import ServiceError
from service.live.events import Event, PartialChanged, SentenceBegan, SentenceEnded
from service.protocols.aliyun.rest_response import failure_code

Namespace = Literal["SpeechTranscriber", "SpeechRecognizer"]
_SUCCESS = 20000000


@dataclass(frozen=True, slots=True)
class Task:
    """Holds what every message of one task repeats, and what the client wants to see of words.

    Attributes:
        id: The client's id of the task.
        namespace: Which of the two kinds of task it is.
        with_words: Whether words are told with their times.
    """

    id: str
    namespace: Namespace
    with_words: bool = False


class TranscriberMessages:
    """Speaks as SpeechTranscriber: sentence by sentence."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def started(self) -> str:
        """Tells that the task has begun, with a new session id."""
        return _message(self._task, "TranscriptionStarted", {"session_id": uuid.uuid4().hex})

    def event(self, event: Event) -> str | None:
        """Renders an event; None where the protocol does not tell it."""
        if isinstance(event, SentenceBegan):
            return _message(self._task, "SentenceBegin", {"index": event.index, "time": event.begin_ms})
        if isinstance(event, PartialChanged):
            return _message(
                self._task,
                "TranscriptionResultChanged",
                {"index": event.index, "time": event.time_ms, **self._text(event.text, event.words)},
            )
        if isinstance(event, SentenceEnded):
            return _message(
                self._task,
                "SentenceEnd",
                {
                    "index": event.index,
                    "time": event.end_ms,
                    "begin_time": event.begin_ms,
                    **self._text(event.text, event.words),
                },
            )
        return None

    def so_far(self) -> str | None:
        """Tells what only the end would tell, where something else ends the task; None where all has been told."""
        return None

    def completed(self, warnings: Sequence[str]) -> str:
        """Tells that all was told; ``warnings`` are the status message, where there are any."""
        return _message(self._task, "TranscriptionCompleted", {}, warnings)

    def _text(self, text: str, words: Sequence[Word]) -> dict[str, Any]:
        return {
            "result": text,
            "confidence": confidence(words),
            "words": [_word(word) for word in words] if self._task.with_words else [],
            "status": 0,
        }


class RecognizerMessages:
    """Speaks as SpeechRecognizer: all that is said is one result."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._sentences: list[str] = []

    def started(self) -> str:
        """Tells that the task has begun."""
        return _message(self._task, "RecognitionStarted", {})

    def event(self, event: Event) -> str | None:
        """Renders an event; None where the protocol does not tell it."""
        if isinstance(event, SentenceEnded):
            self._sentences.append(event.text)
        elif isinstance(event, PartialChanged):
            return _message(
                self._task, "RecognitionResultChanged", {"result": join_texts([*self._sentences, event.text])}
            )
        return None

    def so_far(self) -> str | None:
        """Tells what only the end would tell, where something else ends the task; None where nothing was said."""
        if not self._sentences:
            return None
        return _message(self._task, "RecognitionResultChanged", {"result": join_texts(self._sentences)})

    def completed(self, warnings: Sequence[str]) -> str:
        """Tells all that was said; ``warnings`` are the status message, where there are any."""
        return _message(self._task, "RecognitionCompleted", {"result": join_texts(self._sentences)}, warnings)


def task_failed(failure: ServiceError, task_id: str, warnings: Sequence[str]) -> str:
    """Tells a failure; ``task_id`` is empty where the client has named none.

    ``warnings`` follow the failure in the status message.
    """
    header = {
        "namespace": "Default",
        "name": "TaskFailed",
        "status": failure_code(failure),
        "status_text": failure.message,
        "status_message": " ".join((failure.message, *warnings)),
        "message_id": uuid.uuid4().hex,
        "task_id": task_id,
    }
    return _json({"header": header, "payload": {}})


def confidence(words: Sequence[Word]) -> float:
    """Returns the words' mean probability (geometric, so that one wild guess shows); 0 where none is known."""
    logprobs = [word.logprob for word in words if word.logprob is not None]
    return round(math.exp(sum(logprobs) / len(logprobs)), 3) if logprobs else 0.0


def _word(word: Word) -> dict[str, Any]:
    return {"text": word.text, "startTime": round(1000 * word.start_s), "endTime": round(1000 * word.end_s)}


def _message(task: Task, name: str, payload: dict[str, Any], warnings: Sequence[str] = ()) -> str:
    """Renders a message; ``warnings`` take the place of what says that all is well."""
    header = {
        "namespace": task.namespace,
        "name": name,
        "status": _SUCCESS,
        "status_text": "Gateway:SUCCESS:Success.",
        "status_message": " ".join(warnings) or "GATEWAY|SUCCESS|Success.",
        "message_id": uuid.uuid4().hex,
        "task_id": task.id,
    }
    return _json({"header": header, "payload": payload})


def _json(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
