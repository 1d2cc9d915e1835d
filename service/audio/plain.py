"""Reads audio that needs no decoder: headerless PCM, and WAV of plain samples, on disk or live."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.audio import g711
from service.audio.mixing import weights_of
from service.audio.samples import MAX_CHANNELS, RATES_HZ, Decoding, Frame
from service.domain import AudioFormat, AudioSource, RawPcm
from service.errors import InvalidRequest, UndecodableAudio

RAW_RATES_HZ = range(8_000, 96_001)
MOST_HEADER_BYTES = 1 << 16
_EXTENSIBLE = 0xFFFE
_READ_BYTES = 1 << 17
_MOST_CHUNKS = 1000
_UNKNOWN_BYTES = 0x7FFF_0000
_LEAST_LEFT_OVER = 4096  # a few bytes more are tags
# The bits of a header's channel mask; and the masks of headers that have none.
_SPEAKERS = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")
_USUAL_MASKS = {6: 0x3F, 8: 0x63F}


def open_plain(source: AudioSource) -> Decoding | None:
    """Opens a recording that needs no decoder; returns None for any other.

    Blocks on the disk.

    Raises:
        InvalidRequest: headerless PCM is described by an impossible rate or channel count.
    """
    path = Path(source.path)
    size_bytes = path.stat().st_size
    if source.raw is None:
        return _open_wav(path, size_bytes)
    stretch = _Stretch(_raw_layout(source.raw), 0, size_bytes)
    return Decoding(_frames(path, [stretch]), stretch.duration_s or None, stretch.layout.format)


class _Stretch(NamedTuple):
    """Says where samples of one kind lie in a file."""

    layout: Layout
    start: int
    end: int

    @property
    def duration_s(self) -> float:
        return (self.end - self.start) // self.layout.frame_bytes / self.layout.rate_hz


def _open_wav(path: Path, size_bytes: int) -> Decoding | None:
    """Opens a WAV of plain samples with those that were joined to it; returns None for any other file."""
    stretches: list[_Stretch] = []
    notes = []
    at = 0
    with path.open("rb") as file:
        for _ in range(_MOST_CHUNKS):
            file.seek(at)
            head = file.read(12)
            if head[:4] == b"RIFF" and head[8:] == b"WAVE":
                header = read_header(head + file.read(MOST_HEADER_BYTES - len(head)))
                if header is None or header.layout is None:
                    break
                start, announced = at + header.start, header.size_bytes
                # A header that was written before its samples says that there are none, or as many as there can be.
                end = min(size_bytes, start + announced) if announced else size_bytes
                stretches.append(_Stretch(header.layout, start, end))
                if end - start < announced < _UNKNOWN_BYTES:
                    announced_s = announced / header.layout.frame_bytes / header.layout.rate_hz
                    notes.append(f"The recording was cut off: its header announces {announced_s:.1f} s.")
                at = end + announced % 2
            elif stretches and len(head) > 8 and head[:4].isalnum():  # tags
                size = int.from_bytes(head[4:8], "little")
                at += 8 + size + size % 2
            else:
                break
    if not stretches:
        return None
    if size_bytes - at > _LEAST_LEFT_OVER:
        notes.append(f"The last {size_bytes - at} bytes of the recording are no audio that can be read with the rest.")
    duration_s = sum(stretch.duration_s for stretch in stretches)
    channels = max(stretch.layout.channels for stretch in stretches)
    format = replace(stretches[0].layout.format, channels=channels)
    return Decoding(_frames(path, stretches), duration_s or None, format, notes=notes)


def _frames(path: Path, stretches: Sequence[_Stretch]) -> Iterator[Frame]:
    """Reads one stretch after the other; bytes after the last whole sample of all channels are dropped."""
    with path.open("rb") as file:
        for layout, start, end in stretches:
            step = max(1, _READ_BYTES // layout.frame_bytes) * layout.frame_bytes
            file.seek(start)
            while start < end and (data := file.read(min(end - start, step))):
                start += len(data)
                yield layout.read(data[: len(data) - len(data) % layout.frame_bytes])


def _raw_layout(raw: RawPcm) -> Layout:
    if raw.sample_rate_hz not in RAW_RATES_HZ:
        raise InvalidRequest(
            f"PCM at {raw.sample_rate_hz} Hz: the rate must be {RAW_RATES_HZ[0]} to {RAW_RATES_HZ[-1]} Hz.",
            param="sample_rate",
        )
    if not 1 <= raw.channels <= MAX_CHANNELS:
        raise InvalidRequest(f"PCM must have 1 to {MAX_CHANNELS} channels, not {raw.channels}.", param="channels")
    return Layout(raw.sample_rate_hz, raw.channels)


def _int24(data: bytes) -> NDArray[np.generic]:
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return padded.reshape(-1).view("<i4")


# By the header's format tag and the bytes of a sample.
_READERS: dict[tuple[int, int], Callable[[bytes], NDArray[np.generic]]] = {
    (1, 1): lambda data: np.frombuffer(data, "u1"),
    (1, 2): lambda data: np.frombuffer(data, "<i2"),
    (1, 3): _int24,
    (1, 4): lambda data: np.frombuffer(data, "<i4"),
    (3, 4): lambda data: np.frombuffer(data, "<f4"),
    (3, 8): lambda data: np.frombuffer(data, "<f8"),
    (6, 1): lambda data: np.frombuffer(g711.pcm16(data, "a"), "<i2"),
    (7, 1): lambda data: np.frombuffer(g711.pcm16(data, "mu"), "<i2"),
}
_CODECS = {
    (1, 1): "pcm_u8",
    (1, 2): "pcm_s16le",
    (1, 3): "pcm_s24le",
    (1, 4): "pcm_s32le",
    (3, 4): "pcm_f32le",
    (3, 8): "pcm_f64le",
    (6, 1): "pcm_alaw",
    (7, 1): "pcm_mulaw",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Says how plain samples lie in bytes, channels interleaved.

    Attributes:
        tag: The header's name of their kind: 1 integers, 3 floats, 6 A-law, 7 mu-law.
        sample_bytes: Of one sample of one channel.
        weights: How much of each channel the mix has; alike where there are none.
    """

    rate_hz: int
    channels: int
    tag: int = 1
    sample_bytes: int = 2
    weights: tuple[float, ...] = ()

    @property
    def format(self) -> AudioFormat:
        """Describes it as ffmpeg would."""
        return AudioFormat(_CODECS[self.tag, self.sample_bytes], self.rate_hz, self.channels)

    @property
    def frame_bytes(self) -> int:
        """Counts the bytes of one sample of every channel."""
        return self.channels * self.sample_bytes

    def read(self, data: bytes) -> Frame:
        """Reads whole samples of all channels."""
        samples = _READERS[self.tag, self.sample_bytes](data)
        return Frame(self.rate_hz, self.channels, (samples,), self.weights)


class Header(NamedTuple):
    """Holds what a WAV header says.

    Attributes:
        layout: None for anything but plain samples.
        start: The byte at which the samples begin.
        size_bytes: How many bytes of them there are; a header that was written before them does not know.
    """

    layout: Layout | None
    start: int
    size_bytes: int


def read_header(data: bytes) -> Header | None:
    """Reads a header from the first bytes of a WAV; returns None while more of it must come.

    Raises:
        UndecodableAudio: this is no WAV.
    """
    if data[:4] != b"RIFF"[: len(data)] or data[8:12] != b"WAVE"[: max(0, len(data) - 8)]:
        raise UndecodableAudio("The audio does not begin with a wav header (it was announced as wav).")
    at = 12
    layout: Layout | None = None
    while len(data) >= at + 8:
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data":
            return Header(layout, at, size)
        if name == b"fmt ":
            if len(data) < at + min(size, 26):
                return None
            layout = _layout(data[at : at + size])
        at += size + size % 2
    return None


def _layout(chunk: bytes) -> Layout | None:
    if len(chunk) < 16:
        return None
    tag, channels, rate_hz, _, block_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    mask = _USUAL_MASKS.get(channels, 0)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        mask, tag = struct.unpack_from("<IH", chunk, 20)
    sample_bytes = (bits + 7) // 8
    is_whole = block_bytes in (0, sample_bytes * channels)
    if not is_whole or (tag, sample_bytes) not in _READERS:
        return None
    if rate_hz not in RATES_HZ or not 1 <= channels <= MAX_CHANNELS:
        return None
    names = [name for bit, name in enumerate(_SPEAKERS) if mask >> bit & 1]
    weights = weights_of(names) if len(names) == channels > 2 else ()
    return Layout(rate_hz, channels, tag, sample_bytes, weights)
