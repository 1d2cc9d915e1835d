"""Decodes any recording on disk, or stream, to 16 kHz mono PCM16, in memory that does not grow with it.

ffmpeg's libraries (in PyAV's wheels) read every format; ``soxr`` resamples. A recording is hostile
until proven otherwise: ffmpeg sees one nameless file, may open no other, probes only the formats
below and opens no video decoder.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, NoReturn

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard

from service.audio.samples import MAX_CHANNELS, RATES_HZ, Frame, at_16k, mono_pieces, read_frame
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

# The index of a day-long video fits the first; the second bounds one packet (and video between two of audio).
_HEADER_BYTES = 96 << 20
_PACKET_BYTES = 32 << 20
# Opus in discontinuous transmission stays above this; a header that claims less is taken for a lie.
_LEAST_BITS_PER_S = 400
_MOST_CONCEALED_S = 1.0
_TRIED_PACKETS = 50
# Timestamps jitter and drift, so only gaps beyond that are filled; longer than the last they are broken.
_TIMED_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")
_LEAST_LATE_START_S = 0.01
_LEAST_GAP_S = 0.3
_MOST_GAP_S = 3600.0

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
    for chunk in at_16k(mono_pieces(frames, least_s=1)):
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
    """Returns the duration in seconds that the header announces; None where it says nothing credible.

    It is an estimate for admission control, never for results.

    Raises:
        UndecodableAudio, InvalidRequest: as :func:`decode`.
    """
    if source.raw is not None:
        _check_raw(source.raw)
        return Path(source.path).stat().st_size / (2 * source.raw.channels * source.raw.sample_rate_hz)
    if (wav := _plain_wav(source.path)) is not None:
        with wav:
            return float(wav.frames / wav.samplerate)
    with _opened_file(source.path) as (_, announced_s):
        return announced_s


def decode_stream(read: Callable[[int], bytes], demuxer: str | None, formats: Sequence[str] = ()) -> Iterator[Pcm]:
    """Yields a live stream as its bytes come, without waiting for more than it takes.

    It blocks in ``read``, which gives up to so many bytes, and none at the end. ``demuxer`` is ffmpeg's name for the
    stream's format; where it is None the bytes must prove themselves to be one of ``formats`` (none: all that are
    known).

    Raises:
        UndecodableAudio: not audio, or mostly corrupt.
    """
    # Else ffmpeg would look at five seconds of audio before it yields the first.
    options = {"probesize": "32", "analyzeduration": "0"}
    total = 0
    with _opened(_BoundedStream(read), options, demuxer=demuxer, formats=formats or _FORMATS) as opened:
        for chunk in at_16k(mono_pieces(_decoded(opened), least_s=0)):
            total += len(chunk)
            yield chunk
    if not total:
        raise UndecodableAudio("The stream holds no audio that can be decoded.")


class _BoundedStream:
    """Gives ffmpeg the one source that it may read; ends early when one step reads more than it was allowed."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left_bytes = _HEADER_BYTES
        self.exhausted = False

    def allow(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes

    def read(self, size: int) -> bytes:
        self.exhausted = self.exhausted or self._left_bytes <= 0
        if self.exhausted:
            return b""
        data = self._read(min(size, self._left_bytes))
        self._left_bytes -= len(data)
        return data


class _BoundedFile(_BoundedStream):
    """Gives ffmpeg a file, in which it may go back and forth."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file.read)
        self._file = file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError:  # corrupt headers point before the start; ffmpeg expects a code, not an exception
            return -errno.EINVAL

    def tell(self) -> int:
        return self._file.tell()


@dataclass(frozen=True)
class _Opened:
    """Holds an open container with its first audio stream."""

    file: _BoundedStream
    container: InputContainer
    stream: AudioStream

    @property
    def is_bare_stream(self) -> bool:
        return self.container.format.name in _STREAM_FORMATS

    def announced_s(self, size_bytes: int) -> float | None:
        """Returns the header's duration, unless this few bytes can't hold it."""
        duration_s = 0.0
        if self.stream.duration is not None and self.stream.time_base is not None:
            duration_s = float(self.stream.duration * self.stream.time_base)
        elif self.container.duration is not None:
            duration_s = self.container.duration / av.time_base
        size_bits = 8 * size_bytes
        if self.stream.codec_context.name.startswith("pcm_") and self.stream.codec_context.bit_rate:
            duration_s = min(duration_s, size_bits / self.stream.codec_context.bit_rate)
        return duration_s if 0 < duration_s < size_bits / _LEAST_BITS_PER_S else None


@contextmanager
def _opened_file(path: str) -> Iterator[tuple[_Opened, float | None]]:
    """Opens a file, and says the duration that it announces, in seconds."""
    size_bytes = Path(path).stat().st_size
    if not size_bytes:
        raise UndecodableAudio("The file is empty.")
    options = {"max_size": "8192"}  # wav: fewer, larger packets; measured fastest
    with Path(path).open("rb", buffering=0) as file, _opened(_BoundedFile(file), options) as opened:
        yield opened, opened.announced_s(size_bytes)


@contextmanager
def _opened(
    file: _BoundedStream, options: dict[str, str], *, demuxer: str | None = None, formats: Sequence[str] = _FORMATS
) -> Iterator[_Opened]:
    limits = {
        "format_whitelist": ",".join(formats),
        "codec_whitelist": _audio_decoders(),
        "protocol_whitelist": "none",
    }
    try:
        # Titles in whatever encoding must not stop a recording, hence metadata_errors.
        container = av.open(
            file,
            "r",
            format=demuxer,
            options={**limits, **options},
            metadata_errors="replace",
            io_open=_refuse_other_files,
        )
    except av.FFmpegError as error:
        _log.info("Audio refused: %s", error.strerror)
        raise UndecodableAudio(f"This is not audio that can be decoded; send {_KNOWN}.") from error
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
        yield _Opened(file, container, stream)


def _container_frames(path: str, max_duration_s: float) -> Iterator[Frame]:
    with _opened_file(path) as (opened, announced_s):
        if announced_s is not None and announced_s > max_duration_s and not opened.is_bare_stream:
            raise _too_long(max_duration_s)
        yield from _decoded(opened)


def _decoded(opened: _Opened) -> Iterator[Frame]:
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
                read = read_frame(frame)
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
        """Returns the seconds of silence that belong before the frame."""
        if self._at_s is None or frame.time is None:
            return 0.0
        gap_s = frame.time - self._at_s
        missing_s = gap_s if self._least_s <= gap_s <= _MOST_GAP_S else 0.0
        self._at_s = max(self._at_s, frame.time) + frame.samples / max(frame.sample_rate, 1)
        self._least_s = _LEAST_GAP_S
        return missing_s


def _silence_like(frame: Frame, duration_s: float) -> Iterator[Frame]:
    """Yields silence of the frame's kind, a second at most at a time."""
    left = int(duration_s * frame.rate_hz)
    while left > 0:
        count = min(left, frame.rate_hz) * (frame.channels // len(frame.planes))
        silence = np.full(count, 128 if frame.planes[0].dtype == np.uint8 else 0, frame.planes[0].dtype)
        yield Frame(frame.rate_hz, frame.channels, (silence,) * len(frame.planes))
        left -= frame.rate_hz


def _raw_frames(path: str, raw: RawPcm) -> Iterator[Frame]:
    """Reads headerless PCM16; bytes after the last whole sample of all channels are dropped."""
    _check_raw(raw)
    frame_bytes = 2 * raw.channels
    with Path(path).open("rb") as file:
        while data := file.read(frame_bytes * raw.sample_rate_hz):
            samples = np.frombuffer(data, "<i2", len(data) // frame_bytes * raw.channels)
            yield Frame(raw.sample_rate_hz, raw.channels, (samples,))


def _plain_wav(path: str) -> soundfile.SoundFile | None:
    """Opens the PCM16 wav that most clients send, if it is one: ffmpeg takes 5 ms to find out, twice a request."""
    with Path(path).open("rb") as file:
        if file.read(4) != b"RIFF":
            return None
    try:
        wav = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        return None
    usable = wav.subtype == "PCM_16" and wav.samplerate in RATES_HZ and wav.channels <= MAX_CHANNELS
    if usable and wav.frames:  # a header written before the audio may claim none
        return wav
    wav.close()
    return None


def _wav_frames(wav: soundfile.SoundFile, max_duration_s: float) -> Iterator[Frame]:
    with wav:
        if wav.frames > max_duration_s * wav.samplerate:
            raise _too_long(max_duration_s)
        for samples in wav.blocks(wav.samplerate, dtype="int16"):
            yield Frame(wav.samplerate, wav.channels, (samples.reshape(-1),))


def _check_raw(raw: RawPcm) -> None:
    if raw.sample_rate_hz not in RAW_RATES_HZ:
        raise InvalidRequest(
            f"PCM at {raw.sample_rate_hz} Hz: the rate must be {RAW_RATES_HZ[0]} to {RAW_RATES_HZ[-1]} Hz.",
            param="sample_rate",
        )
    if not 1 <= raw.channels <= MAX_CHANNELS:
        raise InvalidRequest(f"PCM must have 1 to {MAX_CHANNELS} channels, not {raw.channels}.", param="channels")


@cache
def _audio_decoders() -> str:
    """Lists every audio decoder by name: ffmpeg then opens no video decoder while it looks into a file."""
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
