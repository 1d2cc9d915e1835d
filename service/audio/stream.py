"""Decodes a live stream to 16 kHz mono PCM16 as its bytes come: raw samples, one wav header, or compressed."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from service.audio.decode import RAW_RATES_HZ, decode_stream
from service.audio.samples import Frame, Resampler, mono_pieces
from service.domain import Pcm
from service.errors import InvalidRequest, UndecodableAudio, UnsupportedSampleRate

# What ffmpeg calls a stream of each format that begins like this. Without a magic number the bytes must show
# by themselves what they are, which takes two kilobytes of them.
_DEMUXERS: dict[str, dict[bytes, str]] = {
    "opus": {b"OggS": "ogg", b"\x1aE\xdf\xa3": "matroska"},
    "speex": {b"OggS": "ogg"},
    "amr": {b"#!AMR": "amr"},
    "mp3": {},
    "aac": {},
    "any": {b"OggS": "ogg", b"#!AMR": "amr"},
}
_UNNAMED: dict[str, tuple[str, ...]] = {"mp3": ("mp3",), "aac": ("aac",), "any": ()}
_MAGIC_BYTES = max(len(magic) for magics in _DEMUXERS.values() for magic in magics)
FORMATS = ("pcm", "wav", *_DEMUXERS)

_MOST_HEADER_BYTES = 1 << 16
_NOTHING: Pcm = np.zeros(0, np.int16)


class AudioStream:
    """Decodes one stream.

    One call at a time; ``close`` may come at any time, also after a call was cancelled.
    """

    def __init__(self, format: str, sample_rate_hz: int) -> None:
        """Begins a stream of one of ``FORMATS``; ``any``: whatever ffmpeg can read without going back.

        ``sample_rate_hz`` is that of headerless PCM; other streams say so themselves.

        Raises:
            InvalidRequest, UnsupportedSampleRate: there is no such format or rate.
        """
        if format not in FORMATS:
            raise InvalidRequest(f"`format` must be one of {', '.join(FORMATS)}.", param="format")
        self._decoder: _Decoder
        if format == "pcm":
            if sample_rate_hz not in RAW_RATES_HZ:
                raise UnsupportedSampleRate(
                    f"PCM must have {RAW_RATES_HZ[0]} to {RAW_RATES_HZ[-1]} Hz, not {sample_rate_hz}.",
                    param="sample_rate",
                )
            self._decoder = _PcmDecoder(sample_rate_hz, channels=1)
        elif format == "wav":
            self._decoder = _WavDecoder()
        else:
            self._decoder = _CompressedDecoder(format)

    async def feed(self, data: bytes) -> Pcm:
        """Returns the audio that ``data`` completes; the rest of it waits for what follows.

        Raises:
            UndecodableAudio: the bytes so far are not what the stream was said to be.
        """
        return await self._decoder.feed(data) if data else _NOTHING

    async def finish(self) -> Pcm:
        """Returns the audio that was still waiting; nothing may be fed after it.

        Raises:
            UndecodableAudio: as ``feed``.
        """
        return await self._decoder.finish()

    async def close(self) -> None:
        """Gives up what is left of the stream; safe at any time, more than once."""
        await self._decoder.close()


class _Decoder(Protocol):
    async def feed(self, data: bytes) -> Pcm: ...

    async def finish(self) -> Pcm: ...

    async def close(self) -> None: ...


class _PcmDecoder:
    """Reads PCM16 in pieces of any length, channels interleaved."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._channels = channels
        self._resampler = Resampler(rate_hz)
        self._left_over = b""

    async def feed(self, data: bytes) -> Pcm:
        data = self._left_over + data
        whole = len(data) - len(data) % (2 * self._channels)
        self._left_over = data[whole:]
        frame = Frame(self._rate_hz, self._channels, (np.frombuffer(data, "<i2", whole // 2),))
        return _joined(self._resampler.push(piece.samples) for piece in mono_pieces([frame], least_s=0))

    async def finish(self) -> Pcm:
        return self._resampler.flush()

    async def close(self) -> None:
        """It holds nothing but memory."""


class _WavDecoder:
    """Reads a wav header, in however many pieces, then PCM16 to the end: how long it is no live header can know."""

    def __init__(self) -> None:
        self._header = b""
        self._pcm: _PcmDecoder | None = None

    async def feed(self, data: bytes) -> Pcm:
        if self._pcm is not None:
            return await self._pcm.feed(data)
        self._header += data
        found = _read_header(self._header)
        if found is None:
            if len(self._header) > _MOST_HEADER_BYTES:
                raise UndecodableAudio("The wav stream's header does not end.")
            return _NOTHING
        self._pcm, start = found
        rest, self._header = self._header[start:], b""
        return await self._pcm.feed(rest)

    async def finish(self) -> Pcm:
        if self._pcm is None:
            if self._header:
                raise UndecodableAudio("The wav stream ended within its header.")
            return _NOTHING
        return await self._pcm.finish()

    async def close(self) -> None:
        """It holds nothing but memory."""


def _read_header(data: bytes) -> tuple[_PcmDecoder, int] | None:
    """Says how to read what follows a wav header, and where it begins; None while more of the header must come."""
    if data[:4] != b"RIFF"[: len(data)] or data[8:12] != b"WAVE"[: max(0, len(data) - 8)]:
        raise UndecodableAudio("The stream does not begin with a wav header (it was announced as wav).")
    at = 12
    pcm: _PcmDecoder | None = None
    while len(data) >= at + 8:
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data":
            if pcm is None:
                raise UndecodableAudio("The wav header does not say what the samples are.")
            return pcm, at
        if name == b"fmt ":
            if len(data) < at + 16:
                return None
            pcm = _read_format(*struct.unpack_from("<HHIIHH", data, at))
        at += size + size % 2
    return None


def _read_format(tag: int, channels: int, rate_hz: int, _: int, __: int, bits: int) -> _PcmDecoder:
    extensible = 0xFFFE
    if tag not in (1, extensible) or bits != 16 or not 1 <= channels <= 8 or rate_hz not in RAW_RATES_HZ:
        raise UndecodableAudio("A live wav stream must hold 16-bit PCM at 8 to 96 kHz.")
    return _PcmDecoder(rate_hz, channels)


class _CompressedDecoder:
    """Runs ffmpeg in a thread of its own, which waits where a file would be read.

    ``feed`` hands bytes over and waits until the thread asks for more, so what it returns depends on the bytes
    alone, and a client that sends faster than they are decoded waits.
    """

    def __init__(self, format: str) -> None:
        self._format = format
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._settled = asyncio.Event()  # the thread waits for bytes, or has ended
        self._condition = threading.Condition()
        # Guarded by the condition:
        self._bytes = bytearray()
        self._ended = False
        self._closed = False
        # Written by the thread, read while it is settled:
        self._chunks: list[Pcm] = []
        self._failure: UndecodableAudio | None = None
        self._finished = False

    async def feed(self, data: bytes) -> Pcm:
        return await self._hand_over(data, is_last=False)

    async def finish(self) -> Pcm:
        if self._thread is None and not self._bytes:
            return _NOTHING
        return await self._hand_over(b"", is_last=True)

    async def close(self) -> None:
        with self._condition:
            self._closed = self._ended = True
            self._bytes.clear()
            self._condition.notify()
        if self._thread is not None:
            await asyncio.shield(asyncio.to_thread(self._thread.join))

    async def _hand_over(self, data: bytes, *, is_last: bool) -> Pcm:
        self._settled.clear()
        with self._condition:
            self._bytes += data
            self._ended = self._ended or is_last
            self._condition.notify()
        if self._thread is None:
            if len(self._bytes) < _MAGIC_BYTES and not is_last:
                return _NOTHING
            demuxer = self._demuxer()
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(demuxer,), name="live-decode", daemon=True)
            self._thread.start()
        if self._finished:
            self._settled.set()
        await self._settled.wait()
        chunks, self._chunks = self._chunks, []
        if self._failure is not None:
            raise self._failure
        return _joined(chunks)

    def _demuxer(self) -> str | None:
        for magic, demuxer in _DEMUXERS[self._format].items():
            if self._bytes.startswith(magic):
                return demuxer
        if self._format not in _UNNAMED:
            raise UndecodableAudio(f"The stream is not {self._format}, as it was announced.")
        return None

    def _run(self, demuxer: str | None) -> None:
        try:
            for chunk in decode_stream(self._read, demuxer, _UNNAMED.get(self._format, ())):
                if self._closed:
                    return
                self._chunks.append(chunk)
            if not self._ended:
                self._failure = UndecodableAudio("The stream ended before the client ended it, or is corrupt.")
        except UndecodableAudio as failure:
            self._failure = failure
        finally:
            self._finished = True
            self._settle()

    def _read(self, size: int) -> bytes:
        with self._condition:
            if not self._bytes and not self._ended:
                self._settle()
                self._condition.wait_for(lambda: self._bytes or self._ended)
            data = bytes(self._bytes[:size])
            del self._bytes[:size]
            return data

    def _settle(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settled.set)


def _joined(chunks: Iterator[Pcm] | list[Pcm]) -> Pcm:
    chunks = [chunk for chunk in chunks if len(chunk)]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else _NOTHING
