"""Makes decoded audio of any kind 16 kHz mono PCM16: the mix of the channels, resampled with soxr, in blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from service.audio.mixing import Mixer, weights_of_one
from service.domain import SAMPLE_RATE_HZ, AudioFormat, Pcm
from service.errors import AudioTooLarge, UndecodableAudio

BLOCK_S = 10
FULL_BLOCK = BLOCK_S * SAMPLE_RATE_HZ
RATES_HZ = range(4_000, 768_001)
MAX_CHANNELS = 64
# What is missing at the end without being worth a word.
_LEAST_CUT_OFF_S = 0.5
_LEAST_CUT_OFF = 0.02
_MOST_JOINED_SAMPLES = 1 << 20  # a second of many channels at a high rate is more than need be held at once


class Frame(NamedTuple):
    """Holds decoded samples of any type.

    Attributes:
        rate_hz: How many samples of each channel make a second.
        channels: How many there are.
        planes: One per channel, or a single one with the channels interleaved.
        weights: How much of each channel the mix has; alike where there are none.
    """

    rate_hz: int
    channels: int
    planes: tuple[NDArray[np.generic], ...]
    weights: tuple[float, ...] = ()


class Piece(NamedTuple):
    """Holds mono samples: PCM16 as it is, or floats of which ±1 is full scale."""

    rate_hz: int
    samples: Pcm | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoding:
    """Holds a recording that is about to be decoded.

    Attributes:
        frames: All of it, once, in order.
        announced_s: How long its header says it is; None where it says nothing credible.
        format: What its header says it is; where it has fewer channels after all, the others are silent.
        is_exact: Whether that is no guess.
        notes: What was noticed that the client should know; complete once all has been decoded.
    """

    frames: Iterator[Frame]
    announced_s: float | None
    format: AudioFormat
    is_exact: bool = True
    notes: list[str] = field(default_factory=list)

    def blocks(self, max_duration_s: float = math.inf, channel: int | None = None) -> Generator[Pcm, None, None]:
        """Yields blocks of ``BLOCK_S`` seconds (only the last may be shorter), of one channel or all mixed, once.

        Raises:
            UndecodableAudio: without audio, or mostly corrupt.
            AudioTooLarge: longer than ``max_duration_s``, at once when the header says so credibly.
        """
        if self.is_exact and self.announced_s is not None and self.announced_s > max_duration_s:
            raise _too_long(max_duration_s)
        total = 0
        pending: list[Pcm] = []
        held = 0
        for chunk in at_16k(mono_pieces(self.frames, least_s=1, channel=channel)):
            total += len(chunk)
            if total > max_duration_s * SAMPLE_RATE_HZ:
                raise _too_long(max_duration_s)
            pending.append(chunk)
            held += len(chunk)
            if held >= FULL_BLOCK:
                joined = np.concatenate(pending)
                whole = held - held % FULL_BLOCK
                yield from (joined[start : start + FULL_BLOCK] for start in range(0, whole, FULL_BLOCK))
                pending, held = [joined[whole:]], held - whole
        if held:
            yield np.concatenate(pending)
        if not total:
            raise UndecodableAudio("The file holds no audio samples.")
        if self.is_exact and self.announced_s is not None:
            self._compare(total / SAMPLE_RATE_HZ, self.announced_s)

    def _compare(self, duration_s: float, announced_s: float) -> None:
        """Notes that there is less than was announced."""
        if announced_s - duration_s > max(_LEAST_CUT_OFF_S, _LEAST_CUT_OFF * announced_s):
            self.notes.append(
                f"The recording was cut off: its header announces {announced_s:.1f} s, there are {duration_s:.1f} s."
            )


def mono_pieces(frames: Iterable[Frame], *, least_s: float, channel: int | None = None) -> Iterator[Piece]:
    """Yields the mix of the channels, ``least_s`` or more at a time: numpy costs as much for 26 ms as for a second.

    With ``channel``, from 0, it is that one alone.

    Raises:
        UndecodableAudio: a rate or a number of channels that can't be speech.
    """
    for (rate_hz, channels, dtype, weights), run in itertools.groupby(
        frames, key=lambda frame: (frame.rate_hz, frame.channels, frame.planes[0].dtype, frame.weights)
    ):
        if rate_hz not in RATES_HZ or not 1 <= channels <= MAX_CHANNELS:
            raise UndecodableAudio(f"{channels} channels at {rate_hz} Hz can't be speech.")
        if channel is not None:
            weights = weights_of_one(channel, channels)
        mixer = Mixer(rate_hz, channels, dtype, weights)
        for planes in _joined(run, min(least_s * rate_hz * channels, _MOST_JOINED_SAMPLES)):
            yield from (Piece(rate_hz, samples) for samples in mixer.push(planes))
        yield from (Piece(rate_hz, samples) for samples in mixer.flush())


def _joined(frames: Iterable[Frame], least_samples: float) -> Iterator[list[NDArray[np.generic]]]:
    """Yields planes of alike frames, joined until they hold enough samples of all channels."""
    pending: list[tuple[NDArray[np.generic], ...]] = []
    held = 0
    for frame in frames:
        pending.append(frame.planes)
        held += len(frame.planes[0]) * len(frame.planes)
        if held >= least_samples:
            yield [np.concatenate(plane) for plane in zip(*pending, strict=True)]
            pending, held = [], 0
    if held:
        yield [np.concatenate(plane) for plane in zip(*pending, strict=True)]


class Resampler:
    """Makes mono samples of one signal 16 kHz PCM16, piece by piece as if it were one.

    It raises nothing and is not thread-safe.
    """

    def __init__(self, rate_hz: int) -> None:
        self._stream = (
            None
            if rate_hz == SAMPLE_RATE_HZ
            else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        )

    def push(self, samples: Pcm | NDArray[np.float32]) -> Pcm:
        """Returns what can be told by now; the last milliseconds wait for what follows."""
        return _pcm16(samples if self._stream is None else self._stream.resample_chunk(_floats(samples)))

    def flush(self) -> Pcm:
        """Returns the rest; nothing may be pushed after it."""
        if self._stream is None:
            return np.zeros(0, np.int16)
        return _pcm16(self._stream.resample_chunk(np.zeros(0, np.float32), last=True))


def at_16k(pieces: Iterable[Piece]) -> Iterator[Pcm]:
    """Resamples as one signal whatever does not change its rate on the way (chained Ogg does)."""
    for rate_hz, run in itertools.groupby(pieces, key=lambda piece: piece.rate_hz):
        resampler = Resampler(rate_hz)
        for piece in run:
            yield resampler.push(piece.samples)
        yield resampler.flush()


def _floats(samples: Pcm | NDArray[np.float32]) -> NDArray[np.float32]:
    if samples.dtype == np.float32:
        return samples.astype(np.float32, copy=False)
    floats: NDArray[np.float32] = samples.astype(np.float32) / np.float32(32768)
    return floats


def _pcm16(samples: Pcm | NDArray[np.float32]) -> Pcm:
    if samples.dtype == np.int16:
        return samples.astype(np.int16, copy=False)
    pcm: Pcm = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
    return pcm


def _too_long(max_duration_s: float) -> AudioTooLarge:
    return AudioTooLarge(f"The audio is longer than the limit of {max_duration_s:g} s.")
