"""Decodes what ffmpeg reads to 16 kHz mono PCM16 in blocks, in memory that does not grow with the recording.

ffmpeg's libraries (in PyAV's wheels) read every format; ``soxr`` resamples. A recording is hostile
until proven otherwise: ffmpeg sees one nameless file, may open no other, probes only the formats
below and opens no video decoder; what comes out is bounded by what went in; and all of it runs in a
process of its own (service/audio/decoders.py), which may not take more than so much memory and time.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, NoReturn

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition

from service.audio.mixing import weights_of
from service.audio.plain import open_plain
from service.audio.samples import Decoding, Frame, at_16k, mono_pieces
from service.domain import AudioFormat, AudioSource, Pcm
from service.errors import AudioTooLarge, InvalidRequest, UndecodableAudio

# Only formats that a file can prove itself to be: headerless PCM, playlists (hls, concat, dash), text and
# images are absent, so neither random bytes nor a file that names other files is ever "audio".
_STREAM_FORMATS = ("mp3", "aac", "ac3", "eac3")  # bare frames without a header: duration only guessed by ffmpeg
_FORMATS = (
    *("wav", "w64", "aiff", "au", "caf", "voc", "nistsphere", "flac", "ogg", "amr", "wv", "ape", "tta", "dsf"),
    *("mov", "matroska", "webm", "asf", "avi", "flv", "mpegts", "mpeg", "rm", "mxf"),
    *_STREAM_FORMATS,
)
_KNOWN = "wav, mp3, m4a, aac, flac, ogg, opus, webm, amr, wma, aiff, caf or a video with sound"
_SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}

# The index of a day-long video fits the first; the second bounds one packet (and video between two of audio).
_HEADER_BYTES = 96 << 20
_PACKET_BYTES = 32 << 20
# A live stream has no index.
_LIVE_HEADER_BYTES = 8 << 20
_LIVE_PACKET_BYTES = 2 << 20
# Silence in FLAC at telephone rate, and Opus in discontinuous transmission, take about 25 bytes a second. So what says
# that it is longer is not believed, and what is longer by more than this is no recording: it would be hours of nothing.
_LEAST_BYTES_PER_S = 20.0
_UNPAID_S = 60.0
_MOST_CONCEALED_S = 1.0
_TRIED_PACKETS = 50
# Timestamps jitter and drift, so only gaps beyond that are filled; longer than the last they are broken.
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_TIMED_FORMATS = (_MP4, "matroska,webm", "flv", "mpegts", "mpeg")
_LEAST_LATE_START_S = 0.01
_LEAST_GAP_S = 0.3
_MOST_GAP_S = 3600.0
# A few bytes at the end of a file are tags.
_LEAST_LEFT_OVER = 4096
# An mp3 that says how long it is does so in a frame that holds one of these, after its titles.
_MOST_BOXES = 1000
_MP3_LENGTHS = (b"Xing", b"Info", b"VBRI")

_log = logging.getLogger(__name__)


@contextmanager
def opened(path: str, track: int | None = None) -> Iterator[Decoding]:
    """Opens a recording of any format but headerless PCM for the length of the block.

    A recording that is cut off yields what there is; a corrupt packet that decoding survives becomes silence of its
    length, and so does a late start or a gap on the timeline of a video or WebM recording. Such things are noted.

    Raises:
        UndecodableAudio: not audio, or without audio.
        InvalidRequest: there is no ``track`` of that number.
    """
    size_bytes = Path(path).stat().st_size
    if not size_bytes:
        raise UndecodableAudio("The file is empty.")
    options = {"max_size": "8192"}  # wav: fewer, larger packets; measured fastest
    with Path(path).open("rb", buffering=0) as file:
        says_length = _says_length(file)
        with _opened(_BoundedFile(file), options, track=track) as found:
            notes = [*found.notes]
            if found.container.format.name == _MP4 and _movies(path) > 1:
                notes.append("The file holds several recordings; the first was transcribed.")
            announced_s = found.announced_s(size_bytes)
            is_exact = says_length if found.is_bare_stream else found.is_sole or bool(found.stream.duration)
            frames = _decoded(found, lambda: size_bytes, notes)
            yield Decoding(frames, announced_s, found.format, is_exact=is_exact, notes=notes)


def decode(source: AudioSource, *, max_duration_s: float = math.inf) -> Generator[Pcm, None, None]:
    """Yields a recording of any kind in blocks, decoded in this process.

    The samples yielded, divided by 16 000, are the recording's exact duration.

    Raises:
        UndecodableAudio, AudioTooLarge, InvalidRequest: as ``open_plain``, ``opened`` and ``Decoding.blocks``.
    """
    plain = open_plain(source)
    with nullcontext(plain) if plain else opened(source.path, source.track) as decoding:
        yield from decoding.blocks(max_duration_s, source.channel)


def probe(source: AudioSource) -> float | None:
    """Returns the duration in seconds that the header announces; None where it says nothing credible.

    Raises:
        UndecodableAudio, InvalidRequest: as ``open_plain`` and ``opened``.
    """
    plain = open_plain(source)
    with nullcontext(plain) if plain else opened(source.path, source.track) as decoding:
        return decoding.announced_s


def decode_stream(
    read: Callable[[int], bytes], demuxer: str | None, formats: Sequence[str], notes: list[str]
) -> Iterator[Pcm]:
    """Yields a live stream as its bytes come, without waiting for more than it takes.

    It blocks in ``read``, which gives up to so many bytes, and none at the end. ``demuxer`` is ffmpeg's name for the
    stream's format; where it is None the bytes must prove themselves to be one of ``formats`` (none: all that are
    known). What is noticed is added to ``notes``, at the end.

    Raises:
        UndecodableAudio: not audio, or mostly corrupt.
        AudioTooLarge: far longer than its bytes can hold.
    """
    # Else ffmpeg would look at five seconds of audio before it yields the first.
    options = {"probesize": "32", "analyzeduration": "0"}
    total = 0
    stream = _BoundedStream(read, _LIVE_HEADER_BYTES, _LIVE_PACKET_BYTES)
    with _opened(stream, options, demuxer=demuxer, formats=formats or _FORMATS) as found:
        for chunk in at_16k(mono_pieces(_decoded(found, lambda: stream.read_bytes, notes), least_s=0)):
            total += len(chunk)
            yield chunk
    if not total:
        raise UndecodableAudio("The stream holds no audio that can be decoded.")


class _BoundedStream:
    """Gives ffmpeg the one source that it may read; ends early when one step reads more than it was allowed."""

    def __init__(self, read: Callable[[int], bytes], header_bytes: int, packet_bytes: int) -> None:
        self._read = read
        self._left_bytes = header_bytes
        self._packet_bytes = packet_bytes
        self.exhausted = False
        self.read_bytes = 0

    def allow_packet(self) -> None:
        self._left_bytes = self._packet_bytes

    @property
    def left_bytes(self) -> int:
        """Counts what was not looked at."""
        return 0

    def read(self, size: int) -> bytes:
        self.exhausted = self.exhausted or self._left_bytes <= 0
        if self.exhausted:
            return b""
        data = self._read(min(size, self._left_bytes))
        self._left_bytes -= len(data)
        self.read_bytes += len(data)
        return data


class _BoundedFile(_BoundedStream):
    """Gives ffmpeg a file, in which it may go back and forth."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file.read, _HEADER_BYTES, _PACKET_BYTES)
        self._file = file
        self._furthest = 0

    @property
    def left_bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size - self._furthest

    def read(self, size: int) -> bytes:
        data = super().read(size)
        self._furthest = max(self._furthest, self._file.tell())
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
    """Holds an open container with the audio stream that is to be decoded."""

    file: _BoundedStream
    container: InputContainer
    stream: AudioStream

    @property
    def is_bare_stream(self) -> bool:
        return self.container.format.name in _STREAM_FORMATS

    @property
    def is_sole(self) -> bool:
        return len(self.container.streams) == 1

    @property
    def notes(self) -> list[str]:
        tracks = self.container.streams.audio
        if len(tracks) == 1:
            return []
        number = tracks.index(self.stream) + 1
        return [
            f"The recording has {len(tracks)} audio tracks; track {number} was transcribed (`audio_track` chooses one)."
        ]

    @property
    def format(self) -> AudioFormat:
        context = self.stream.codec_context
        # A codec that says so in its packets alone says 0 channels until one has come.
        return AudioFormat(context.codec.canonical_name, context.sample_rate or 0, max(1, context.channels))

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
        return duration_s if 0 < duration_s < size_bytes / _LEAST_BYTES_PER_S else None


@contextmanager
def _opened(
    file: _BoundedStream,
    options: dict[str, str],
    *,
    demuxer: str | None = None,
    formats: Sequence[str] = _FORMATS,
    track: int | None = None,
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
        _check_memory(error)
        _log.info("Audio refused: %s", error.strerror)
        raise UndecodableAudio(f"This is not audio that can be decoded; send {_KNOWN}.") from error
    with container:
        if not container.streams.audio:
            raise UndecodableAudio(
                "The file is a video without sound." if container.streams.video else "The file holds no audio."
            )
        stream = _chosen(container.streams.audio, track)
        if stream.codec_context is None:
            raise UndecodableAudio(f"The file's audio codec is not supported; send {_KNOWN}.")
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        stream.codec_context.thread_count = 1
        yield _Opened(file, container, stream)


def _says_length(file: BinaryIO) -> bool:
    """Tells whether an mp3 says how long it is, so that nothing needs to be guessed from its size."""
    head = file.read(10)
    # The size of an ID3 tag has seven bits a byte.
    tag_bytes = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)) if _is_id3(head) else 0
    file.seek(tag_bytes)
    frame = file.read(512)
    file.seek(0)
    return any(name in frame for name in _MP3_LENGTHS)


def _movies(path: str) -> int:
    """Counts the indexes of an mp4: ffmpeg reads the first."""
    found = 0
    with Path(path).open("rb") as file:
        for _ in range(_MOST_BOXES):
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:], "big") if size == 1 else size
            found += head[4:8] == b"moov"
            if size < 8:  # up to the end, or none
                break
            file.seek(size - len(head), os.SEEK_CUR)
    return found


def _is_id3(head: bytes) -> bool:
    return head[:3] == b"ID3" and len(head) == 10


def _chosen(tracks: Sequence[AudioStream], number: int | None) -> AudioStream:
    """Returns the track of that number, from 1; else the default, else the first, of those that can be decoded."""
    if number is not None:
        if not 1 <= number <= len(tracks):
            raise InvalidRequest(
                f"The recording has {len(tracks)} audio tracks, no track {number}.", param="audio_track"
            )
        return tracks[number - 1]
    usable = [track for track in tracks if track.codec_context is not None] or list(tracks)
    return next((track for track in usable if track.disposition & Disposition.default), usable[0])


def _decoded(opened: _Opened, paid_bytes: Callable[[], int], notes: list[str]) -> Iterator[Frame]:
    """Yields the frames of an opened container, silence where sound is missing.

    ``paid_bytes`` tells what has come; what was noticed is added to ``notes`` at the end.
    """
    decoded = failed = 0
    lost_s = 0.0
    clock = _Clock(opened)
    meter = _Meter(paid_bytes)
    try:
        opened.file.allow_packet()
        for packet in opened.container.demux(opened.stream):
            if opened.file.exhausted:
                break
            opened.file.allow_packet()
            try:
                frames = opened.stream.codec_context.decode(packet)
            except av.FFmpegError as error:
                _check_memory(error)
                failed += 1
                if failed > _TRIED_PACKETS and failed > decoded:
                    break
                if packet.duration and packet.time_base:
                    lost_s += min(float(packet.duration * packet.time_base), _MOST_CONCEALED_S)
                continue
            for frame in frames:
                decoded += 1
                read = _read_frame(frame)
                yield from meter.counted(_silence_like(read, max(lost_s, clock.missing_s(frame, meter.left_s))))
                lost_s = 0.0
                yield from meter.counted([read])
    except av.FFmpegError as error:
        _check_memory(error)
        notes.append(f"After {meter.counted_s:.1f} s the recording is corrupt; what may follow was not transcribed.")
    except IndexError:
        # PyAV 18 stumbles at the very end over streams that a corrupt MPEG-TS or FLV announced on the way.
        _log.info("Audio ends among streams that the header did not announce")
    if opened.file.exhausted:
        raise UndecodableAudio("The file holds a single packet that is too large to be audio.")
    if failed > decoded:
        raise UndecodableAudio("The file looks like audio, but most of it is corrupt.")
    if failed:
        notes.append(f"Corrupt audio packets: {failed} of {failed + decoded}; there is silence in their place.")
    if clock.skipped_s:
        notes.append(
            f"Pauses of {clock.skipped_s:.0f} s on the recording's timeline were left out: later times are early."
        )
    left_bytes = opened.file.left_bytes
    if opened.is_sole and left_bytes > _LEAST_LEFT_OVER:
        notes.append(f"The last {left_bytes} bytes of the recording are no audio that can be read with the rest.")


class _Meter:
    """Counts what has been decoded, and bounds it by the bytes that it comes from."""

    def __init__(self, paid_bytes: Callable[[], int]) -> None:
        self._paid_bytes = paid_bytes
        self.counted_s = 0.0

    @property
    def left_s(self) -> float:
        """Tells how much more there may be."""
        return _UNPAID_S + self._paid_bytes() / _LEAST_BYTES_PER_S - self.counted_s

    def counted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Passes frames on, until they are too many.

        Raises:
            AudioTooLarge: their bytes can't hold so much.
        """
        for frame in frames:
            samples = len(frame.planes[0]) * len(frame.planes) // frame.channels
            self.counted_s += samples / max(frame.rate_hz, 1)
            if self.left_s < 0:
                raise AudioTooLarge(
                    f"The audio is far longer than its {self._paid_bytes()} bytes can hold: "
                    f"{_LEAST_BYTES_PER_S:g} bytes a second are the least."
                )
            yield frame


def _check_memory(error: av.FFmpegError) -> None:
    """Raises MemoryError where that is what went wrong, so that it is not taken for the end of the audio."""
    if error.errno == errno.ENOMEM:
        raise MemoryError from error


class _Clock:
    """Finds stretches for which a container with a timeline holds no sound: a late start, packets never recorded."""

    def __init__(self, opened: _Opened) -> None:
        start = opened.container.start_time
        is_timed = opened.container.format.name in _TIMED_FORMATS
        self._at_s = start / av.time_base if is_timed and start is not None else None
        self._least_s = _LEAST_LATE_START_S
        self.skipped_s = 0.0

    def missing_s(self, frame: AudioFrame, most_s: float) -> float:
        """Returns the seconds of silence that belong before the frame; above ``most_s`` the timeline is broken."""
        if self._at_s is None or frame.time is None:
            return 0.0
        gap_s = frame.time - self._at_s
        missing_s = gap_s if self._least_s <= gap_s else 0.0
        if missing_s > min(_MOST_GAP_S, most_s):
            self.skipped_s += missing_s
            missing_s = 0.0
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


def _read_frame(frame: AudioFrame) -> Frame:
    name = frame.format.name
    channels = frame.layout.nb_channels
    if name[-1] == "p":
        dtype, planes, count = _SAMPLE_TYPES[name[:-1]], frame.planes[:channels], frame.samples
    else:
        dtype, planes, count = _SAMPLE_TYPES[name], frame.planes[:1], frame.samples * channels
    samples = tuple([np.frombuffer(memoryview(plane), dtype, count) for plane in planes])
    return Frame(frame.sample_rate, channels, samples, _weights(frame.layout.name) if channels > 2 else ())


@cache
def _weights(layout: str) -> tuple[float, ...]:
    return weights_of([channel.name for channel in AudioLayout(layout).channels])


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
