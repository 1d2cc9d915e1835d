"""Test audio made at test time: signals, and files of any format that PyAV can write."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
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


def _add_video(container: OutputContainer) -> VideoStream:
    video = container.add_stream("mpeg4", rate=5)
    video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
    return video


def _add_pictures(container: OutputContainer, video: VideoStream, count: int) -> None:
    for index in range(count):
        picture = av.VideoFrame(32, 32, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        picture.pts, picture.time_base = index, Fraction(1, 5)
        container.mux(video.encode(picture))
    container.mux(video.encode(None))


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
