"""Renders a live session's events as messages of Qwen3-ASR's streaming protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service.domain import Word
from service.errors import InvalidKey, ServiceError, WrongState
from service.live.events import Event, PartialChanged, SentenceEnded


class SessionMessages:
    """Renders one session's events in turn, and keeps what the final message repeats.

    A segment is a sentence that holds text, counted from 0; ``text`` is that of all segments, joined by newlines.
    """

    def __init__(self, task_id: str, *, with_words: bool) -> None:
        self._task_id = task_id
        self._with_words = with_words
        self._segments: list[dict[str, Any]] = []
        self._chunks = 0
        self._shows_partial = False

    def started(self, params: dict[str, Any]) -> str:
        """Tells that the session has begun, and the parameters that hold."""
        return _json({"type": "started", "task_id": self._task_id, "params": params})

    def event(self, event: Event) -> list[str]:
        """Renders an event, in as many messages as the protocol takes."""
        if isinstance(event, PartialChanged):
            self._shows_partial = True
            return [self._result(event.text, event.language)]
        if isinstance(event, SentenceEnded):
            if event.text:
                self._shows_partial = False
                return self._ended(event)
            if self._shows_partial:  # it was no speech: what the client shows of it is wrong
                self._shows_partial = False
                return [self._result("", event.language)]
        return []

    def final(self, warnings: Sequence[str] = ()) -> str:
        """Tells everything that was said, at the end."""
        texts = self._texts()
        result = {
            "text": "\n".join(texts),
            "full_text": "\n".join(texts),
            "language": self._segments[-1]["language"] if self._segments else "",
            "total_chunks": self._chunks,
            "total_segments": len(texts),
            "segments": self._segments,
            **({"warnings": list(warnings)} if warnings else {}),
        }
        return _json({"type": "final", "task_id": self._task_id, "result": result})

    def _texts(self) -> list[str]:
        return [segment["text"] for segment in self._segments]

    def _result(self, text: str, language: str) -> str:
        index = len(self._segments)
        result = {
            "text": "\n".join([*self._texts(), text] if text else self._texts()),
            "current_segment_text": text,
            "language": language,
            "chunk_id": self._chunks,
            "is_partial": True,
            "segment_index": index,
        }
        self._chunks += 1
        return _json(
            {
                "type": "result",
                "task_id": self._task_id,
                "results": [result],
                "segment_index": index,
                "confirmed_segments_count": index,
            }
        )

    def _ended(self, event: SentenceEnded) -> list[str]:
        index = len(self._segments)
        words = {"words": _words(event.words)} if self._with_words else {}
        segment = {"index": index, "text": event.text, "language": event.language, "reason": event.reason, **words}
        self._segments.append(segment)
        if event.reason == "stop":  # its text comes with the final message
            return []
        texts = self._texts()
        result = {"text": "\n".join(texts), "segment_text": event.text, "language": event.language, **words}
        head = {"task_id": self._task_id}
        return [
            _json(
                {
                    "type": "segment_end",
                    **head,
                    "segment_index": index,
                    "reason": event.reason,
                    "result": result,
                    "confirmed_texts": texts,
                }
            ),
            _json({"type": "segment_start", **head, "segment_index": index + 1}),
        ]


def error_message(failure: ServiceError, task_id: str) -> str:
    """Tells a failure, with the protocol's own name for its kind."""
    return _json({"type": "error", "error_code": _error_code(failure), "message": failure.message, "task_id": task_id})


def _error_code(failure: ServiceError) -> str:
    if isinstance(failure, InvalidKey):
        return "AUTHENTICATION_FAILED"
    if isinstance(failure, WrongState):
        return "INVALID_STATE"
    if failure.status >= 500 or failure.status in (408, 429):
        return "DEFAULT_SERVER_ERROR"
    return "INVALID_MESSAGE" if failure.param is None and failure.status == 400 else "INVALID_PARAMETER"


def _words(words: tuple[Word, ...]) -> list[dict[str, Any]]:
    """Returns words with their times in seconds of the session's audio; none whose time is only a guess."""
    return [
        {"text": w.text, "start_time": round(w.start_s, 3), "end_time": round(w.end_s, 3)} for w in words if w.timed
    ]


def _json(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)
