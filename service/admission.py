"""Limits what is under way at a time, so that a full service says so at once: audio in the queue, sessions, uploads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service import observability
from service.errors import QueueFull

# A request counts as this much at least, so that the number of tiny ones is bounded too.
_LEAST_AUDIO_S = 1.0
_RATE_HALF_LIFE_S = 60.0
_UNKNOWN_RATE = 10.0
_MOST_RETRY_AFTER_S = 600
_BOUND_RETRY_AFTER_S = 10


class Place:
    """Holds what a request in the queue counts as, corrected while its audio is being decoded.

    Attributes:
        audio_s: How many seconds of audio, of all its channels together.
    """

    def __init__(self, queue: AdmissionQueue, audio_s: float, channels: int) -> None:
        self._queue = queue
        self._channels = channels
        self.audio_s = audio_s

    def grow_to(self, audio_s: float) -> None:
        """Counts as so much of each channel at least: more has come than was announced.

        It is never refused, for work in progress would be lost; the queue takes nothing new while it holds too much.
        """
        if audio_s * self._channels > self.audio_s:
            self.set(audio_s)

    def set(self, audio_s: float) -> None:
        """Counts as so much of each channel: all of it is known now."""
        audio_s = max(audio_s * self._channels, _LEAST_AUDIO_S)
        self._queue.change(audio_s - self.audio_s, 0)
        self.audio_s = audio_s


class AdmissionQueue:
    """Counts the audio that waits or is in work.

    There is one per process; it is not thread-safe (one event loop).
    """

    def __init__(self, max_audio_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_audio_s = max_audio_s
        self._clock = clock
        self._audio_s = 0.0
        self._requests = 0
        # Audio finished and time busy, both halved every _RATE_HALF_LIFE_S of busy time.
        self._finished_audio_s = 0.0
        self._busy_s = 0.0
        self._counted_at = clock()

    @property
    def audio_s(self) -> float:
        """Returns how many seconds of audio wait or are in work."""
        return self._audio_s

    @property
    def requests(self) -> int:
        """Returns how many requests wait or are in work."""
        return self._requests

    def check(self) -> None:
        """Refuses what can't fit, however short it is: worth knowing before an upload is read.

        Raises:
            QueueFull: not even the shortest request fits.
        """
        self._check(_LEAST_AUDIO_S)

    @contextmanager
    def admit(self, audio_s: float, channels: int = 1) -> Iterator[Place]:
        """Holds a place for ``audio_s`` seconds of each of so many channels until the block ends.

        A recording longer than the whole queue is let in when it is alone.

        Raises:
            QueueFull: it does not fit now; ``retry_after_s`` comes from the recent rate of work.
        """
        audio_s = max(audio_s * channels, _LEAST_AUDIO_S)
        self._check(audio_s)
        place = Place(self, audio_s, channels)
        self.change(audio_s, 1)
        try:
            yield place
            self._pass_time()
            self._finished_audio_s += place.audio_s
        finally:
            self.change(-place.audio_s, -1)

    def _check(self, audio_s: float) -> None:
        excess_s = self._audio_s + audio_s - self._max_audio_s
        if self._requests and excess_s > 0:
            self._pass_time()
            wait_s = math.ceil(min(excess_s, self._audio_s) / self._rate)
            raise QueueFull(
                f"The queue is full: {self._audio_s:.0f} s of audio are waiting or in work.",
                retry_after_s=min(max(wait_s, 1), _MOST_RETRY_AFTER_S),
            )

    @property
    def _rate(self) -> float:
        """Returns how many seconds of audio were finished per second of work, lately."""
        return self._finished_audio_s / self._busy_s if self._finished_audio_s and self._busy_s else _UNKNOWN_RATE

    def change(self, audio_s: float, requests: int) -> None:
        """Counts so much more, or less; for places."""
        self._pass_time()
        self._requests += requests
        self._audio_s = self._audio_s + audio_s if self._requests else 0.0
        observability.queue_audio_seconds.set(self._audio_s)
        observability.queue_requests.set(self._requests)

    def _pass_time(self) -> None:
        now = self._clock()
        if self._requests:
            elapsed_s = now - self._counted_at
            fading = 0.5 ** (elapsed_s / _RATE_HALF_LIFE_S)
            self._finished_audio_s *= fading
            self._busy_s = self._busy_s * fading + elapsed_s
        self._counted_at = now


class Bound:
    """Bounds how many of something there are at a time.

    There is one per process; it is not thread-safe (one event loop).
    """

    def __init__(self, most: int, what: str) -> None:
        """``what``: their name, in the plural."""
        self._most = most
        self._what = what
        self._count = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Holds a place until the block ends.

        Raises:
            QueueFull: there is none.
        """
        if self._count >= self._most:
            raise QueueFull(f"There are {self._most} {self._what} already.", retry_after_s=_BOUND_RETRY_AFTER_S)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class LiveSessions:
    """Bounds the live sessions, and shows how many there are of each protocol."""

    def __init__(self, most: int) -> None:
        self._bound = Bound(most, "live sessions")

    @contextmanager
    def admit(self, protocol: str) -> Iterator[None]:
        """Holds a place for one session of ``protocol`` until the block ends.

        Raises:
            QueueFull: there is none.
        """
        gauge = observability.live_sessions.labels(protocol)
        with self._bound.admit(), gauge.track_inprogress():
            yield
