"""Test audio made at test time: signals, and files of any format that PyAV can write."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Encoding:
    """How a file is written; ``container`` is ffmpeg's name of the muxer."""

    container: str
    codec: str
    rate_hz: int
    channels: int = 1
    sample_format: str | None = None
    bit_rate: int = 64_000
    with_video: bool = False
    options: dict[str, str] = field(default_factory=dict)


def tone(duration_s: float, rate_hz: int, *, frequency_hz: float = 440.0, amplitude: float = 0.3) -> Signal:
    """[samples] of a sine, ±1 full scale."""
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)


def chirp(duration_s: float, rate_hz: int, *, to_hz: float = 3000.0) -> Signal:
    """[samples] of a sine whose frequency rises from 100 Hz: a shift in time shows anywhere in it."""
    at_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return 0.3 * np.sin(2 * np.pi * (100 * at_s + (to_hz - 100) * at_s**2 / (2 * duration_s)))


def pcm16(signal: Signal) -> bytes:
    """Little-endian PCM16 of [samples] or [samples, channels]."""
    return np.clip(np.rint(signal * 32768), -32768, 32767).astype("<i2").tobytes()


def encode(signal: Signal, encoding: Encoding, *, start_s: float = 0.0) -> bytes:
    """A whole file from [samples] (repeated on every channel) or [samples, channels].

    ``start_s`` puts the sound later on the container's timeline.
    """
    target = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[encoding.channels]
    channels = signal if signal.ndim == 2 else np.repeat(signal[:, None], encoding.channels, axis=1)
    with av.open(target, "w", format=encoding.container, options=encoding.options) as container:
        if encoding.with_video:
            video = _add_video(container)
        audio = container.add_stream(encoding.codec, rate=encoding.rate_hz, layout=layout)
        audio.bit_rate = encoding.bit_rate
        if encoding.sample_format:
            audio.format = encoding.sample_format
        if encoding.with_video:
            _add_pictures(container, video, max(1, len(signal) * 5 // encoding.rate_hz))
        step = encoding.rate_hz
        for start in range(0, len(channels), step):
            interleaved = channels[start : start + step].astype(np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
            frame.sample_rate, frame.pts = encoding.rate_hz, start + round(start_s * encoding.rate_hz)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return target.getvalue()


def soundless_video() -> bytes:
    """An mp4 of two seconds without an audio stream."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        _add_pictures(container, _add_video(container), 10)
    return target.getvalue()


def giant_packets(size_bytes: int) -> bytes:
    """A Matroska file of three silent PCM packets of this size each."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as container:
        audio = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for index in range(3):
            packet = av.Packet(bytes(size_bytes))
            packet.stream, packet.time_base = audio, Fraction(1, 48_000)
            packet.pts = packet.dts = index * size_bytes // 2
            container.mux(packet)
    return target.getvalue()


def two_tracks(container_name: str, codec: str, *, default: int) -> bytes:
    """Two seconds of 440 Hz on the first audio track, of 880 Hz on the second; one of them is marked as default."""
    target = io.BytesIO()
    with av.open(target, "w", format=container_name) as container:
        streams = [container.add_stream(codec, rate=48_000, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams, 1):
            stream.disposition = Disposition.default if number == default else 0
        for number, stream in enumerate(streams, 1):
            signal = tone(2, 48_000, frequency_hz=440.0 * number)
            frame = av.AudioFrame.from_ndarray(signal.astype(np.float32)[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 0
            container.mux([*stream.encode(frame), *stream.encode(None)])
    return target.getvalue()


def with_gap(container_name: str, codec: str, *, late_s: float, gap_s: float) -> bytes:
    """A video whose sound starts late: a second of a tone, a gap in which there are no packets, another second."""
    rate_hz = 48_000
    target = io.BytesIO()
    sound: list[av.Packet] = []
    with av.open(target, "w", format=container_name) as container:
        video = _add_video(container, "mpeg1video" if container_name == "vob" else "mpeg4")
        audio = container.add_stream(codec, rate=rate_hz, layout="mono")
        signal = tone(2, rate_hz)
        frame = av.AudioFrame.from_ndarray(signal.astype(np.float32)[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        for packet in [*audio.encode(frame), *audio.encode(None)]:
            if packet.pts is not None and packet.time_base is not None:
                at_s = float(packet.pts * packet.time_base)
                shift = round((late_s + (gap_s if at_s >= 1 else 0)) / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, (packet.dts or 0) + shift
                sound.append(packet)
        pictures = list(_pictures(video, 30 if container_name != "vob" else 150))
        for packet in sorted([*sound, *pictures], key=lambda p: float((p.dts or 0) * (p.time_base or 1))):
            container.mux(packet)
    return target.getvalue()


def _add_video(container: OutputContainer, codec: str = "mpeg4") -> VideoStream:
    video = container.add_stream(codec, rate=25 if codec == "mpeg1video" else 5)
    video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
    return video


def _add_pictures(container: OutputContainer, video: VideoStream, count: int) -> None:
    for packet in _pictures(video, count):
        container.mux(packet)


def _pictures(video: VideoStream, count: int) -> Iterator[av.Packet]:
    for index in range(count):
        picture = av.VideoFrame(32, 32, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        picture.pts, picture.time_base = index, 1 / Fraction(video.codec_context.framerate or 5)
        yield from video.encode(picture)
    yield from video.encode(None)


def write(path: Path, data: bytes) -> str:
    """Saves bytes; returns the path as text, as ``AudioSource`` wants it."""
    path.write_bytes(data)
    return str(path)


def wav16(signal: Signal, rate_hz: int = 16_000) -> bytes:
    """A PCM16 WAV of [samples] or [samples, channels], its samples exactly those of :func:`pcm16`."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1 if signal.ndim == 1 else signal.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm16(signal))
    return target.getvalue()
