"""Reads a recording on disk: how long it is likely to be, then its audio, opened once.

Plain samples are read here, in threads; whatever takes a decoder is decoded in another process.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import math
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from service import observability
from service.audio.decoders import Decoder, decoders
from service.audio.plain import open_plain
from service.audio.samples import FULL_BLOCK, Decoding
from service.audio.wire import Kind
from service.domain import AudioFormat, AudioSource, Pcm

T = TypeVar("T")

# Without a duration in the header: 16 kHz PCM16 for what holds PCM, 16 kbit/s speech for what is compressed.
_PCM_BYTES_PER_S = 32_000
_COMPRESSED_BYTES_PER_S = 2_000
_PCM_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"caff")
_READERS = ThreadPoolExecutor(4, thread_name_prefix="read")


class Recording:
    """Decodes one recording, once.

    Close it in the end, unless its ``blocks`` have been iterated.

    Attributes:
        warnings: What the client should know of it, once all of it has been decoded.
        format: What its header says it is, once it has been opened.
    """

    def __init__(self, source: AudioSource) -> None:
        self.warnings: tuple[str, ...] = ()
        self.format: AudioFormat | None = None
        self._source = source
        self._is_open = False
        self._announced_s: float | None = None
        self._plain: Decoding | None = None
        self._decoder: Decoder | None = None

    async def estimate_s(self) -> float:
        """Tells how long it is likely to be: by its header, else by its size.

        Raises:
            UndecodableAudio: not audio, or without audio; or opening it took too much.
            InvalidRequest: headerless PCM described by an impossible rate or channel count.
            NotReady: there can be no process to decode it.
        """
        await self._open()
        return self._announced_s if self._announced_s is not None else await _in_thread(self._likely_s)

    async def channels(self) -> int:
        """Tells how many channels its header says there are.

        Raises:
            UndecodableAudio, InvalidRequest, NotReady: as ``estimate_s``.
        """
        await self._open()
        assert self.format is not None
        return self.format.channels

    async def blocks(self, max_duration_s: float = math.inf) -> AsyncGenerator[Pcm, None]:
        """Yields its audio as ``Decoding.blocks`` does.

        Raises:
            AudioTooLarge: longer than ``max_duration_s``, or far longer than its bytes can hold.
            UndecodableAudio, InvalidRequest, NotReady: as ``estimate_s``; or mostly corrupt.
        """
        await self._open()
        if self._plain is not None:
            blocks = self._plain.blocks(max_duration_s, self._source.channel)
            try:
                while True:
                    with observability.timed("decode"):
                        block = await _in_thread(lambda: next(blocks, None))
                    if block is None:
                        self.warnings = tuple(self._plain.notes)
                        return
                    yield block
            finally:
                blocks.close()
        decoder = self._decoder or await self._wait_for_decoder()
        try:
            kind, body = await _next(decoder, {"max_duration_s": max_duration_s, "channel": self._source.channel})
            while kind == Kind.PCM:
                block = np.frombuffer(body, np.int16)
                if len(block) < FULL_BLOCK:
                    _, body = await decoder.receive()
                    await self.close()  # others can use it while this block is being worked on
                    self.warnings = tuple(json.loads(body)["notes"])
                    yield block
                    return
                yield block
                kind, body = await _next(decoder)
            self.warnings = tuple(json.loads(body)["notes"])
        finally:
            await self.close()

    async def close(self) -> None:
        """Gives up what is left of it; safe at any time, more than once."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoders.recordings.give_back()
            await _let_go(decoder)

    async def _open(self) -> None:
        """Opens the file; a decoder stays with it if there is a place, else its header alone has been read."""
        if self._is_open:
            return
        self._plain = await _in_thread(lambda: open_plain(self._source))
        if self._plain is not None:
            self._announced_s, self.format = self._plain.announced_s, self._plain.format
        else:
            decoder = await self._opened_decoder()
            if decoders.recordings.try_take():
                self._decoder = decoder
            else:
                await _let_go(decoder)
        self._is_open = True

    async def _wait_for_decoder(self) -> Decoder:
        await decoders.recordings.take()
        try:
            self._decoder = await self._opened_decoder()
        except BaseException:
            decoders.recordings.give_back()
            raise
        return self._decoder

    async def _opened_decoder(self) -> Decoder:
        decoder = await decoders.take()
        try:
            async with decoders.working:
                _, body = await decoder.ask(Kind.OPEN, {"path": self._source.path, "track": self._source.track})
        except BaseException:
            decoders.release(decoder)
            raise
        told = json.loads(body)
        self._announced_s, self.format = told["announced_s"], AudioFormat(**told["format"])
        return decoder

    def _likely_s(self) -> float:
        path = Path(self._source.path)
        with path.open("rb") as file:
            is_pcm = file.read(4) in _PCM_MAGICS
        return path.stat().st_size / (_PCM_BYTES_PER_S if is_pcm else _COMPRESSED_BYTES_PER_S)


async def _next(decoder: Decoder, wanted: dict[str, Any] | None = None) -> tuple[Kind, bytes]:
    with observability.timed("decode"):
        async with decoders.working:
            return await decoder.ask(Kind.NEXT, wanted or b"")


async def _let_go(decoder: Decoder) -> None:
    try:
        if decoder.has_job and decoder.is_at_rest:
            await decoder.ask(Kind.CLOSE)
    finally:
        decoders.release(decoder)


async def _in_thread(call: Callable[[], T]) -> T:
    """Calls in a thread, with the context, for the request's id."""
    running = asyncio.get_running_loop().run_in_executor(_READERS, contextvars.copy_context().run, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])  # a generator can't be closed while it runs
        raise
