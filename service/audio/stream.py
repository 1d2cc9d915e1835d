"""Decodes a live stream to 16 kHz mono PCM16 as its bytes come: raw samples, one wav header, or compressed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Protocol

import numpy as np

from service.audio.decoders import Decoder, decoders
from service.audio.mixing import Mixer
from service.audio.plain import MOST_HEADER_BYTES, RAW_RATES_HZ, Layout, read_header
from service.audio.samples import Resampler
from service.audio.wire import Kind
from service.domain import Pcm
from service.errors import InvalidRequest, ServiceError, UndecodableAudio, UnsupportedSampleRate

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


class AudioStream:
    """Decodes one stream.

    One call at a time; ``close`` may come at any time, also after a call was cancelled.
    """

    @property
    def warnings(self) -> tuple[str, ...]:
        """Tells what the client should know of the stream, once all of it has been decoded."""
        return self._decoder.warnings if isinstance(self._decoder, _CompressedDecoder) else ()

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
            self._decoder = _PcmDecoder(sample_rate_hz)
        elif format == "wav":
            self._decoder = _WavDecoder()
        else:
            self._decoder = _CompressedDecoder(format)

    async def feed(self, data: bytes) -> AsyncIterator[Pcm]:
        """Yields the audio that ``data`` completes, some seconds at a time; the rest of it waits for what follows.

        What is yielded depends on the bytes alone. Nothing is decoded ahead of the iteration but some seconds.

        Raises:
            UndecodableAudio: the bytes so far are not what the stream was said to be.
            AudioTooLarge: it is far longer than its bytes can hold.
            NotReady: there can be no process to decode it.
        """
        if data:
            async for pcm in self._decoder.feed(data):
                yield pcm

    async def finish(self) -> AsyncIterator[Pcm]:
        """Yields the audio that was still waiting; nothing may be fed after it.

        Raises:
            UndecodableAudio, AudioTooLarge, NotReady: as ``feed``.
        """
        async for pcm in self._decoder.finish():
            yield pcm

    async def close(self) -> None:
        """Gives up what is left of the stream; safe at any time, more than once."""
        await self._decoder.close()


class _Decoder(Protocol):
    def feed(self, data: bytes) -> AsyncIterator[Pcm]: ...

    def finish(self) -> AsyncIterator[Pcm]: ...

    async def close(self) -> None: ...


class _PlainDecoder:
    """Reads plain samples in pieces of any length."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._mixer: Mixer | None = None
        self._resampler = Resampler(layout.rate_hz)
        self._left_over = b""

    async def feed(self, data: bytes) -> AsyncIterator[Pcm]:
        data = self._left_over + data
        whole = len(data) - len(data) % self._layout.frame_bytes
        self._left_over = data[whole:]
        frame = self._layout.read(data[:whole])
        if self._mixer is None:
            self._mixer = Mixer(frame.rate_hz, frame.channels, frame.planes[0].dtype, frame.weights)
        for samples in self._mixer.push(frame.planes):
            if len(pcm := self._resampler.push(samples)):
                yield pcm

    async def finish(self) -> AsyncIterator[Pcm]:
        for samples in self._mixer.flush() if self._mixer else ():
            yield self._resampler.push(samples)
        if len(pcm := self._resampler.flush()):
            yield pcm

    async def close(self) -> None:
        """It holds nothing but memory."""


class _PcmDecoder:
    """Reads PCM16, unless a wav header comes first, which says better than the client what follows it."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._beginning = b""
        self._decoder: _PlainDecoder | _WavDecoder | None = None

    async def feed(self, data: bytes) -> AsyncIterator[Pcm]:
        if self._decoder is None:
            data = self._beginning = self._beginning + data
            if len(data) < 12 and data[:4] == b"RIFF"[: len(data)]:
                return
        async for pcm in self._chosen().feed(data):
            yield pcm

    async def finish(self) -> AsyncIterator[Pcm]:
        if self._decoder is None and self._beginning:
            async for pcm in self._chosen().feed(self._beginning):
                yield pcm
        if self._decoder is not None:
            async for pcm in self._decoder.finish():
                yield pcm

    async def close(self) -> None:
        """It holds nothing but memory."""

    def _chosen(self) -> _PlainDecoder | _WavDecoder:
        if self._decoder is None:
            is_wav = self._beginning[:4] == b"RIFF" and self._beginning[8:12] == b"WAVE"
            self._decoder = _WavDecoder() if is_wav else _PlainDecoder(Layout(self._rate_hz, channels=1))
        return self._decoder


class _WavDecoder:
    """Reads a wav header, in however many pieces, then plain samples to the end, whatever the header says of it."""

    def __init__(self) -> None:
        self._header = b""
        self._samples: _PlainDecoder | None = None

    async def feed(self, data: bytes) -> AsyncIterator[Pcm]:
        if self._samples is None:
            self._header += data
            found = read_header(self._header)
            if found is None:
                if len(self._header) > MOST_HEADER_BYTES:
                    raise UndecodableAudio("The wav stream's header does not end.")
                return
            if found.layout is None:
                raise UndecodableAudio("A live wav stream must hold PCM of 8 to 32 bits, floats, A-law or mu-law.")
            self._samples = _PlainDecoder(found.layout)
            data, self._header = self._header[found.start :], b""
        async for pcm in self._samples.feed(data):
            yield pcm

    async def finish(self) -> AsyncIterator[Pcm]:
        if self._samples is not None:
            async for pcm in self._samples.finish():
                yield pcm
        elif self._header:
            raise UndecodableAudio("The wav stream ended within its header.")

    async def close(self) -> None:
        """It holds nothing but memory."""


class _CompressedDecoder:
    """Decodes in a process of the stream's own, which asks for more bytes when it has decoded those that it got.

    So what a piece of the stream yields depends on the bytes alone, and a client that sends faster than they are
    decoded waits.
    """

    def __init__(self, format: str) -> None:
        self._format = format
        self._beginning = b""
        self._decoder: Decoder | None = None
        self._failure: ServiceError | None = None
        self.warnings: tuple[str, ...] = ()

    async def feed(self, data: bytes) -> AsyncIterator[Pcm]:
        if self._decoder is None:
            data = self._beginning = self._beginning + data
            if len(data) < _MAGIC_BYTES:
                return
        async for pcm in self._hand_over(Kind.DATA, data):
            yield pcm

    async def finish(self) -> AsyncIterator[Pcm]:
        if self._decoder is None:
            if not self._beginning:
                return
            async for pcm in self._hand_over(Kind.DATA, self._beginning):
                yield pcm
        async for pcm in self._hand_over(Kind.END):
            yield pcm

    async def close(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is not None and (ending := decoders.release(decoder)) is not None:
            await asyncio.shield(asyncio.wrap_future(ending))

    async def _hand_over(self, kind: Kind, data: bytes = b"") -> AsyncIterator[Pcm]:
        if self._failure is not None:
            raise self._failure
        try:
            decoder = self._decoder or await self._begin()
            answer, body = await decoder.ask(kind, data)
            while answer == Kind.PCM:
                yield np.frombuffer(body, np.int16)
                answer, body = await decoder.receive()
            if answer == Kind.DONE:
                self.warnings = tuple(json.loads(body)["notes"])
        except ServiceError as failure:
            self._failure = failure
            raise

    async def _begin(self) -> Decoder:
        wanted = {"demuxer": self._demuxer(), "formats": _UNNAMED.get(self._format, ())}
        self._decoder = await decoders.take()
        await self._decoder.ask(Kind.LIVE, wanted)
        return self._decoder

    def _demuxer(self) -> str | None:
        for magic, demuxer in _DEMUXERS[self._format].items():
            if self._beginning.startswith(magic):
                return demuxer
        if self._format not in _UNNAMED:
            raise UndecodableAudio(f"The stream is not {self._format}, as it was announced.")
        return None
