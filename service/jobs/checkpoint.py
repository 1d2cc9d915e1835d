"""Keeps what has been recognised of a recording, so that nothing is recognised twice after a crash."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from runners.interface import Embedding, Recognition
from service.recordings.transcribe import Understood

# Recognition waits while more than this is not written down yet.
_MOST_UNWRITTEN_S = 60.0
_WRITE_AFTER_S = 30.0


class Checkpoint:
    """Remembers utterances by their place in the recording, which is found anew, and the same, each time.

    Attributes:
        due: Set when there is much to write down.
    """

    def __init__(self, written: Iterable[bytes]) -> None:
        """``written``: what ``take`` returned in earlier runs."""
        self.due = asyncio.Event()
        self._known: dict[int, Understood] = {}
        self._new: dict[int, tuple[Understood, float]] = {}
        self._taken: list[int] = []
        self._room = asyncio.Condition()
        for data in written:
            self._known |= _read(data)

    def known(self, index: int) -> Understood | None:
        """Returns what is known of the utterance of that number."""
        return self._known.get(index)

    async def add(self, index: int, understood: Understood, audio_s: float) -> None:
        """Takes in what was recognised; waits while too much is not written down."""
        self._new[index] = understood, audio_s
        if self._unwritten_s >= _WRITE_AFTER_S:
            self.due.set()
        async with self._room:
            await self._room.wait_for(lambda: self._unwritten_s < _MOST_UNWRITTEN_S)

    def take(self) -> bytes | None:
        """Returns what is to be written down, until it ``is_written``; None where there is nothing new."""
        self._taken = list(self._new)
        return _write({index: self._new[index][0] for index in self._taken}) if self._taken else None

    @property
    def taken_cpu_s(self) -> float:
        """Returns what recognising that took of the processors, as far as it is known."""
        return sum(self._new[index][0].recognition.cpu_s or 0.0 for index in self._taken)

    async def is_written(self) -> None:
        """Says that what was taken is safe."""
        for index in self._taken:
            self._known[index], _ = self._new.pop(index)
        self._taken = []
        self.due.clear()
        async with self._room:
            self._room.notify_all()

    @property
    def _unwritten_s(self) -> float:
        return sum(audio_s for _, audio_s in self._new.values())


def _write(understood: dict[int, Understood]) -> bytes:
    written = {
        index: {"recognition": one.recognition.model_dump(), "voices": _voices_to_json(one.voices)}
        for index, one in understood.items()
    }
    return zlib.compress(json.dumps(written, ensure_ascii=False).encode(), 1)


def _read(data: bytes) -> dict[int, Understood]:
    read = json.loads(zlib.decompress(data))
    return {
        int(index): Understood(Recognition.model_validate(one["recognition"]), _voices_from_json(one["voices"]))
        for index, one in read.items()
    }


def _voices_to_json(voices: Embedding | None) -> dict[str, Any] | None:
    if voices is None:
        return None
    vectors = np.ascontiguousarray(voices.vectors, np.float32)
    return {
        "starts_ms": list(map(int, voices.starts_ms)),
        "ends_ms": list(map(int, voices.ends_ms)),
        "shape": vectors.shape,
        "vectors": base64.b64encode(vectors.tobytes()).decode(),
    }


def _voices_from_json(read: dict[str, Any] | None) -> Embedding | None:
    if read is None:
        return None
    vectors = np.frombuffer(base64.b64decode(read["vectors"]), np.float32).reshape(read["shape"])
    return Embedding(starts_ms=read["starts_ms"], ends_ms=read["ends_ms"], vectors=vectors)
