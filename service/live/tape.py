"""Keeps the latest audio of a session, by its position from the session's start."""

from __future__ import annotations

import numpy as np

from service.domain import Pcm

_BYTES = 2


class Tape:
    """Holds samples ``start`` to ``end`` of a session.

    Appending, and forgetting at the front, cost what they move.

    Attributes:
        start: The position of the first sample that is held.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.start = 0

    @property
    def end(self) -> int:
        """Returns the position after the last sample."""
        return self.start + len(self._bytes) // _BYTES

    def append(self, pcm: Pcm) -> None:
        """Takes the next samples."""
        self._bytes += pcm.tobytes()

    def read(self, start: int, end: int) -> Pcm:
        """Copies the samples from ``start`` to ``end``; of those that are held."""
        first, last = (max(0, position - self.start) * _BYTES for position in (start, end))
        return np.frombuffer(bytes(self._bytes[first:last]), np.int16)

    def forget_before(self, position: int) -> None:
        """Drops what lies before ``position``."""
        dropped = min(position, self.end) - self.start
        if dropped > 0:
            del self._bytes[: dropped * _BYTES]
            self.start += dropped
