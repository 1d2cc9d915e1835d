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
from service.recordings.transcribe import Memory, Understood

# Recognition waits while more than this is not written down yet.
_MOST_UNWRITTEN_S = 60.0
_WRITE_AFTER_S = 30.0


# (which of the channels that are transcribed, which of its utterances), both from 0.
_Place = tuple[int, int]


class Checkpoint:
    """Remembers utterances by their place in the recording, which is found anew, and the same, each time.

    Attributes:
        due: Set when there is much to write down.
    """

    def __init__(self, written: Iterable[bytes]) -> None:
        """``written``: what ``take`` returned in earlier runs."""
        self.due = asyncio.Event()
        self._known: dict[_Place, Understood] = {}
        self._new: dict[_Place, tuple[Understood, float]] = {}
        self._taken: list[_Place] = []
        self._room = asyncio.Condition()
        for data in written:
            self._known |= _read(data)

    def channel(self, position: int) -> Memory:
        """Returns the part for one of the channels that are transcribed, by its position among them."""
        return _Channel(self, position)

    def known(self, place: _Place) -> Understood | None:
        """Returns what is known of the utterance there."""
        return self._known.get(place)

    async def add(self, place: _Place, understood: Understood, audio_s: float) -> None:
        """Takes in what was recognised; waits while too much is not written down."""
        self._new[place] = understood, audio_s
        if self._unwritten_s >= _WRITE_AFTER_S:
            self.due.set()
        async with self._room:
            await self._room.wait_for(lambda: self._unwritten_s < _MOST_UNWRITTEN_S)

    def take(self) -> bytes | None:
        """Returns what is to be written down, until it ``is_written``; None where there is nothing new."""
        self._taken = list(self._new)
        return _write({place: self._new[place][0] for place in self._taken}) if self._taken else None

    @property
    def taken_cpu_s(self) -> float:
        """Returns what recognising that took of the processors, as far as it is known."""
        return sum(self._new[place][0].recognition.cpu_s or 0.0 for place in self._taken)

    async def is_written(self) -> None:
        """Says that what was taken is safe."""
        for place in self._taken:
            self._known[place], _ = self._new.pop(place)
        self._taken = []
        self.due.clear()
        async with self._room:
            self._room.notify_all()

    @property
    def _unwritten_s(self) -> float:
        return sum(audio_s for _, audio_s in self._new.values())


class _Channel:
    """Remembers the utterances of one channel, as ``Memory`` has it."""

    def __init__(self, checkpoint: Checkpoint, position: int) -> None:
        self._checkpoint = checkpoint
        self._position = position

    def known(self, index: int) -> Understood | None:
        return self._checkpoint.known((self._position, index))

    async def add(self, index: int, understood: Understood, audio_s: float) -> None:
        await self._checkpoint.add((self._position, index), understood, audio_s)


def _write(understood: dict[_Place, Understood]) -> bytes:
    written = [
        {"place": place, "recognition": one.recognition.model_dump(), "voices": _voices_to_json(one.voices)}
        for place, one in understood.items()
    ]
    return zlib.compress(json.dumps(written, ensure_ascii=False).encode(), 1)


def _read(data: bytes) -> dict[_Place, Understood]:
    return {
        tuple(one["place"]): Understood(
            Recognition.model_validate(one["recognition"]), _voices_from_json(one["voices"])
        )
        for one in json.loads(zlib.decompress(data))
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
