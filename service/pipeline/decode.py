"""Any recording on disk as 16 kHz mono PCM16 blocks, in memory that does not grow with the file.

ffmpeg's libraries (in PyAV's wheels) read every format; ``soxr`` resamples. A recording is hostile
until proven otherwise: ffmpeg sees one nameless file, may open no other, probes only the formats
below and opens no video decoder.
"""

from __future__ import annotations

import errno
import itertools
import logging
import math
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import av
import numpy as np
import soundfile
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard
from numpy.typing import NDArray

from service.domain import SAMPLE_RATE_HZ, AudioSource, Pcm, RawPcm
from service.errors import AudioTooLarge, InvalidRequest, UndecodableAudio

BLOCK_S = 10
RAW_RATES_HZ = range(8_000, 96_001)

# Only formats that a file can prove itself to be: headerless PCM, playlists (hls, concat, dash), text and
# images are absent, so neither random bytes nor a file that names other files is ever "audio".
_STREAM_FORMATS = ("mp3", "aac", "ac3", "eac3")  # bare frames without a header: duration only guessed by ffmpeg
_FORMATS = (
    *("wav", "w64", "aiff", "au", "caf", "voc", "nistsphere", "flac", "ogg", "amr", "wv", "ape", "tta", "dsf"),
    *("mov", "matroska", "webm", "asf", "avi", "flv", "mpegts", "mpeg", "rm", "mxf"),
    *_STREAM_FORMATS,
)
_KNOWN = "wav, mp3, m4a, aac, flac, ogg, opus, webm, amr, wma, aiff, caf or a video with sound"

_RATES_HZ = range(4_000, 768_001)
_MAX_CHANNELS = 64
# The index of a day-long video fits the first; the second bounds one packet (and video between two of audio).
_HEADER_BYTES = 96 << 20
_PACKET_BYTES = 32 << 20
_SLICE_SAMPLES = 1 << 16
# Opus in discontinuous transmission stays above this; a header that claims less is taken for a lie.
_LEAST_BITS_PER_S = 400
_MOST_CONCEALED_S = 1.0
_TRIED_PACKETS = 50
# Timestamps jitter and drift, so only gaps beyond that are filled; longer than the last they are broken.
_TIMED_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")
_LEAST_LATE_START_S = 0.01
_LEAST_GAP_S = 0.3
_MOST_GAP_S = 3600.0

_SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}

_log = logging.getLogger(__name__)


def decode(source: AudioSource, *, max_duration_s: float = math.inf) -> Generator[Pcm, None, None]:
    """Yields the recording in blocks of ``BLOCK_S`` seconds (the last may be shorter), channels averaged.

    The samples yielded, divided by 16 000, are the recording's exact duration. A recording that is cut
    off yields what there is; a corrupt packet that decoding survives becomes silence of its length, and
    so does a late start or a gap on the timeline of a video or WebM recording.

    Raises:
        UndecodableAudio: not audio, without audio, or mostly corrupt.
        AudioTooLarge: longer than ``max_duration_s``, at once when the header says so credibly.
        InvalidRequest: headerless PCM described by an impossible rate or channel count.
    """
    if source.raw is not None:
        frames = _raw_frames(source.path, source.raw)
    elif (wav := _plain_wav(source.path)) is not None:
        frames = _wav_frames(wav, max_duration_s)
    else:
        frames = _container_frames(source.path, max_duration_s)
    total = 0
    pending: list[Pcm] = []
    held = 0
    block = BLOCK_S * SAMPLE_RATE_HZ
    for chunk in _at_16k(_mono_pieces(frames)):
        total += len(chunk)
        if total > max_duration_s * SAMPLE_RATE_HZ:
            raise _too_long(max_duration_s)
        pending.append(chunk)
        held += len(chunk)
        if held >= block:
            joined = np.concatenate(pending)
            whole = held - held % block
            yield from (joined[start : start + block] for start in range(0, whole, block))
            pending, held = [joined[whole:]], held - whole
    if held:
        yield np.concatenate(pending)
    if not total:
        raise UndecodableAudio("The file holds no audio samples.")


def probe(source: AudioSource) -> float | None:
    """What the header says about the duration in seconds; None where it says nothing credible.

    An estimate for admission control, never for results. Raises like :func:`decode`.
    """
    if source.raw is not None:
        _check_raw(source.raw)
        return Path(source.path).stat().st_size / (2 * source.raw.channels * source.raw.sample_rate_hz)
    if (wav := _plain_wav(source.path)) is not None:
        with wav:
            return float(wav.frames / wav.samplerate)
    with _opened(source.path) as opened:
        return opened.announced_s()


class _Frame(NamedTuple):
    """Decoded samples of any type: one plane per channel, or a single one with the channels interleaved."""

    rate_hz: int
    channels: int
    planes: tuple[NDArray[np.generic], ...]


class _Piece(NamedTuple):
    """Mono samples: PCM16 as it is, or floats of which ±1 is full scale."""

    rate_hz: int
    samples: Pcm | NDArray[np.float32]


class _BoundedFile:
    """The one file that ffmpeg may read; ends early when one step reads more than it was allowed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left_bytes = _HEADER_BYTES
        self.exhausted = False

    def allow(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes

    def read(self, size: int) -> bytes:
        self.exhausted = self.exhausted or self._left_bytes <= 0
        if self.exhausted:
            return b""
        data = self._file.read(min(size, self._left_bytes))
        self._left_bytes -= len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError:  # corrupt headers point before the start; ffmpeg expects a code, not an exception
            return -errno.EINVAL

    def tell(self) -> int:
        return self._file.tell()


@dataclass(frozen=True)
class _Opened:
    """A container with its first audio stream."""

    file: _BoundedFile
    size_bytes: int
    container: InputContainer
    stream: AudioStream

    @property
    def is_bare_stream(self) -> bool:
        return self.container.format.name in _STREAM_FORMATS

    def announced_s(self) -> float | None:
        """The header's duration, unless this few bytes can't hold it."""
        duration_s = 0.0
        if self.stream.duration is not None and self.stream.time_base is not None:
            duration_s = float(self.stream.duration * self.stream.time_base)
        elif self.container.duration is not None:
            duration_s = self.container.duration / av.time_base
        size_bits = 8 * self.size_bytes
        if self.stream.codec_context.name.startswith("pcm_") and self.stream.codec_context.bit_rate:
            duration_s = min(duration_s, size_bits / self.stream.codec_context.bit_rate)
        return duration_s if 0 < duration_s < size_bits / _LEAST_BITS_PER_S else None


@contextmanager
def _opened(path: str) -> Iterator[_Opened]:
    size_bytes = Path(path).stat().st_size
    if not size_bytes:
        raise UndecodableAudio("The file is empty.")
    options = {
        "format_whitelist": ",".join(_FORMATS),
        "codec_whitelist": _audio_decoders(),
        "protocol_whitelist": "none",
        "max_size": "8192",  # wav: fewer, larger packets; measured fastest
    }
    with Path(path).open("rb", buffering=0) as raw_file:
        file = _BoundedFile(raw_file)
        try:
            # Titles in whatever encoding must not stop a recording, hence metadata_errors.
            container = av.open(file, "r", options=options, metadata_errors="replace", io_open=_refuse_other_files)
        except av.FFmpegError as error:
            _log.info("Audio refused: %s", error.strerror)
            raise UndecodableAudio(f"The file is not audio that can be decoded; send {_KNOWN}.") from error
        with container:
            if not container.streams.audio:
                raise UndecodableAudio(
                    "The file is a video without sound." if container.streams.video else "The file holds no audio."
                )
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise UndecodableAudio(f"The file's audio codec is not supported; send {_KNOWN}.")
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            stream.codec_context.thread_count = 1
            yield _Opened(file, size_bytes, container, stream)


def _container_frames(path: str, max_duration_s: float) -> Iterator[_Frame]:
    with _opened(path) as opened:
        announced_s = opened.announced_s()
        if announced_s is not None and announced_s > max_duration_s and not opened.is_bare_stream:
            raise _too_long(max_duration_s)
        decoded = failed = 0
        lost_s = 0.0
        clock = _Clock(opened)
        try:
            opened.file.allow(_PACKET_BYTES)
            for packet in opened.container.demux(opened.stream):
                if opened.file.exhausted:
                    break
                opened.file.allow(_PACKET_BYTES)
                try:
                    frames = opened.stream.codec_context.decode(packet)
                except av.FFmpegError:
                    failed += 1
                    if failed > _TRIED_PACKETS and failed > decoded:
                        break
                    if packet.duration and packet.time_base:
                        lost_s += min(float(packet.duration * packet.time_base), _MOST_CONCEALED_S)
                    continue
                for frame in frames:
                    decoded += 1
                    read = _read_frame(frame)
                    yield from _silence_like(read, max(lost_s, clock.missing_s(frame)))
                    lost_s = 0.0
                    yield read
        except av.FFmpegError as error:
            _log.info("Audio ends early: %s", error.strerror)
        except IndexError:
            # PyAV 18 stumbles at the very end over streams that a corrupt MPEG-TS or FLV announced on the way.
            _log.info("Audio ends among streams that the header did not announce")
        if opened.file.exhausted:
            raise UndecodableAudio("The file holds a single packet that is too large to be audio.")
        if failed > decoded:
            raise UndecodableAudio("The file looks like audio, but most of it is corrupt.")
        if failed:
            _log.info("Corrupt audio packets: %d of %d", failed, failed + decoded)


class _Clock:
    """Finds stretches for which a container with a timeline holds no sound: a late start, packets never recorded."""

    def __init__(self, opened: _Opened) -> None:
        start = opened.container.start_time
        is_timed = opened.container.format.name in _TIMED_FORMATS
        self._at_s = start / av.time_base if is_timed and start is not None else None
        self._least_s = _LEAST_LATE_START_S

    def missing_s(self, frame: AudioFrame) -> float:
        """Seconds of silence that belong before the frame."""
        if self._at_s is None or frame.time is None:
            return 0.0
        gap_s = frame.time - self._at_s
        missing_s = gap_s if self._least_s <= gap_s <= _MOST_GAP_S else 0.0
        self._at_s = max(self._at_s, frame.time) + frame.samples / max(frame.sample_rate, 1)
        self._least_s = _LEAST_GAP_S
        return missing_s


def _read_frame(frame: AudioFrame) -> _Frame:
    name = frame.format.name
    channels = frame.layout.nb_channels
    if name[-1] == "p":
        dtype, planes, count = _SAMPLE_TYPES[name[:-1]], frame.planes[:channels], frame.samples
    else:
        dtype, planes, count = _SAMPLE_TYPES[name], frame.planes[:1], frame.samples * channels
    return _Frame(
        frame.sample_rate, channels, tuple([np.frombuffer(memoryview(plane), dtype, count) for plane in planes])
    )


def _silence_like(frame: _Frame, duration_s: float) -> Iterator[_Frame]:
    """Silence of the frame's kind, a second at most at a time."""
    left = int(duration_s * frame.rate_hz)
    while left > 0:
        count = min(left, frame.rate_hz) * (frame.channels // len(frame.planes))
        silence = np.full(count, 128 if frame.planes[0].dtype == np.uint8 else 0, frame.planes[0].dtype)
        yield _Frame(frame.rate_hz, frame.channels, (silence,) * len(frame.planes))
        left -= frame.rate_hz


def _raw_frames(path: str, raw: RawPcm) -> Iterator[_Frame]:
    """Headerless PCM16; bytes after the last whole sample of all channels are dropped."""
    _check_raw(raw)
    frame_bytes = 2 * raw.channels
    with Path(path).open("rb") as file:
        while data := file.read(frame_bytes * raw.sample_rate_hz):
            samples = np.frombuffer(data, "<i2", len(data) // frame_bytes * raw.channels)
            yield _Frame(raw.sample_rate_hz, raw.channels, (samples,))


def _plain_wav(path: str) -> soundfile.SoundFile | None:
    """The file, if it is the PCM16 wav that most clients send: ffmpeg takes 5 ms to find that out, twice a request."""
    with Path(path).open("rb") as file:
        if file.read(4) != b"RIFF":
            return None
    try:
        wav = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        return None
    usable = wav.subtype == "PCM_16" and wav.samplerate in _RATES_HZ and wav.channels <= _MAX_CHANNELS
    if usable and wav.frames:  # a header written before the audio may claim none
        return wav
    wav.close()
    return None


def _wav_frames(wav: soundfile.SoundFile, max_duration_s: float) -> Iterator[_Frame]:
    with wav:
        if wav.frames > max_duration_s * wav.samplerate:
            raise _too_long(max_duration_s)
        for samples in wav.blocks(wav.samplerate, dtype="int16"):
            yield _Frame(wav.samplerate, wav.channels, (samples.reshape(-1),))


def _check_raw(raw: RawPcm) -> None:
    if raw.sample_rate_hz not in RAW_RATES_HZ:
        raise InvalidRequest(
            f"PCM at {raw.sample_rate_hz} Hz: the rate must be {RAW_RATES_HZ[0]} to {RAW_RATES_HZ[-1]} Hz.",
            param="sample_rate",
        )
    if not 1 <= raw.channels <= _MAX_CHANNELS:
        raise InvalidRequest(f"PCM must have 1 to {_MAX_CHANNELS} channels, not {raw.channels}.", param="channels")


def _mono_pieces(frames: Iterable[_Frame]) -> Iterator[_Piece]:
    """The mean of the channels, about a second at a time: numpy costs as much for 26 ms as for a second."""
    for (rate_hz, channels, dtype), run in itertools.groupby(
        frames, key=lambda frame: (frame.rate_hz, frame.channels, frame.planes[0].dtype)
    ):
        if rate_hz not in _RATES_HZ or not 1 <= channels <= _MAX_CHANNELS:
            raise UndecodableAudio(f"{channels} channels at {rate_hz} Hz can't be speech.")
        for planes in _joined(run, rate_hz * channels):
            yield from (_Piece(rate_hz, samples) for samples in _means(planes, channels, dtype))


def _joined(frames: Iterable[_Frame], least_samples: int) -> Iterator[list[NDArray[np.generic]]]:
    """Planes of alike frames, joined until they hold enough samples of all channels."""
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


def _means(
    planes: list[NDArray[np.generic]], channels: int, dtype: np.dtype[np.generic]
) -> Iterator[Pcm | NDArray[np.float32]]:
    """The mean channel, in slices: a giant frame must not be multiplied in memory. Mono PCM16 stays as it is."""
    if dtype == np.int16 and channels == 1:
        yield planes[0].astype(np.int16, copy=False)
        return
    split = planes if len(planes) == channels else [planes[0][channel::channels] for channel in range(channels)]
    zero = 128.0 if dtype == np.uint8 else 0.0
    full_scale = 1.0 if dtype.kind == "f" else 2.0 ** (8 * dtype.itemsize - 1)
    for start in range(0, len(split[0]), _SLICE_SAMPLES):
        # A float file may hold anything: what is no number, or no float32, is silent and the rest is clipped.
        with np.errstate(over="ignore", invalid="ignore"):
            total = split[0][start : start + _SLICE_SAMPLES].astype(np.float32)
            for channel in split[1:]:
                total += channel[start : start + _SLICE_SAMPLES].astype(np.float32)
            mean = (total - np.float32(zero * channels)) / np.float32(full_scale * channels)
        if dtype.kind == "f":
            mean = np.clip(np.nan_to_num(mean, copy=False, nan=0.0, posinf=0.0, neginf=0.0), -1, 1)
        yield mean


def _at_16k(pieces: Iterable[_Piece]) -> Iterator[Pcm]:
    """Resamples as one signal whatever does not change its rate on the way (chained Ogg does)."""
    for rate_hz, run in itertools.groupby(pieces, key=lambda piece: piece.rate_hz):
        if rate_hz == SAMPLE_RATE_HZ:
            yield from (_pcm16(piece.samples) for piece in run)
            continue
        resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        for piece in run:
            yield _pcm16(resampler.resample_chunk(_floats(piece.samples)))
        yield _pcm16(resampler.resample_chunk(np.zeros(0, np.float32), last=True))


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


@cache
def _audio_decoders() -> str:
    """Every audio decoder by name: ffmpeg then opens no video decoder while it looks into a file."""
    decoders = []
    for name in av.codecs_available:
        try:
            codec = av.Codec(name, "r")
        except ValueError:  # encoders only
            continue
        if codec.type == "audio":
            decoders.append(name)
    return ",".join(sorted(decoders))


def _refuse_other_files(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise UndecodableAudio("The file refers to other files.")


def _too_long(max_duration_s: float) -> AudioTooLarge:
    return AudioTooLarge(f"The audio is longer than the limit of {max_duration_s:g} s.")
