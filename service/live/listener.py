"""Listens in a live session: takes audio in, scores it block by block, finds where sentences begin and end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runners.interface import VadOptions
from runners.vad.streaming import StreamingVad
from service import observability
from service.audio.endpoint import FRAME_MS
from service.audio.spans import SAMPLES_PER_MS, Span
from service.domain import SAMPLE_RATE_HZ, Pcm
from service.inference import Runners
from service.live.nearfield import NearFieldGate, frame_levels
from service.live.options import SessionOptions
from service.live.sentence_finder import Change, SentenceFinder
from service.live.tape import Tape

_FRAME_SAMPLES = FRAME_MS * SAMPLES_PER_MS
# The VAD looks at 25 ms for each frame.
_WINDOW_SAMPLES = 25 * SAMPLES_PER_MS
# A block costs about as much as a quarter of a second in it does (demo VAD, one core: 0.13 ms + 0.56 ms per second):
# no more blocks than latency asks for. Within a sentence blocks end where the streaming recogniser's chunks do;
# before one, they may take as long as a sentence takes to be told, and less than the first chunk.
_IDLE_BLOCK_MS = 400
_BLOCK_MS = 200
# Every other session waits while a block is scored.
_LARGEST_BLOCK_MS = 400
_PIECE_SAMPLES = SAMPLE_RATE_HZ
_LONGEST_BACKLOG = 5 * SAMPLE_RATE_HZ


class Heard(NamedTuple):
    """Says what was found in the audio up to ``end_ms``."""

    changes: list[Change]
    end_ms: int


class Listener:
    """Listens while one task pushes audio and another iterates over ``listen``.

    It keeps what may still belong to a sentence.
    """

    def __init__(self, runners: Runners, options: SessionOptions, gate: NearFieldGate) -> None:
        self._runners = runners
        self._options = options
        self._gate = gate
        self._tape = Tape()
        self._scored_frames = 0
        self._block_end = 0  # sample up to which audio has been scored, or looked at
        self._finder: SentenceFinder | None = None
        self._finished = False
        self._stopped = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def heard_s(self) -> float:
        """Returns how many seconds of audio have come."""
        return self._tape.end / SAMPLE_RATE_HZ

    async def push(self, pcm: Pcm) -> None:
        """Takes the next audio; waits while seconds of it are waiting.

        It does nothing once ``stop`` has been called.

        Raises:
            RuntimeError: ``finish`` has been called.
        """
        if self._finished:
            raise RuntimeError("audio after the end of the audio")
        for start in range(0, len(pcm), _PIECE_SAMPLES):
            while self._tape.end - self._scored_frames * _FRAME_SAMPLES >= _LONGEST_BACKLOG and not self._stopped:
                self._room.clear()
                await self._room.wait()
            if self._stopped:
                return
            self._tape.append(pcm[start : start + _PIECE_SAMPLES])
            self._arrived.set()

    def finish(self) -> None:
        """Says that no more audio comes."""
        self._finished = True
        self._arrived.set()

    def stop(self) -> None:
        """Says that nobody listens any more."""
        self._stopped = True
        self._room.set()

    async def listen(self) -> AsyncGenerator[Heard, None]:
        """Yields what is found, block by block, to the end of the audio.

        Raises:
            RecognitionFailed, NotReady: the VAD's options or weights are not to be had.
        """
        vad = await self._runners.vad_options(self._options.recognition.model)
        if self._options.speech_noise_threshold is not None:
            vad = vad.model_copy(update={"speech_noise_thres": self._options.speech_noise_threshold})
        scorer = StreamingVad(await self._runners.vad_network(self._options.recognition.model))
        options = self._options
        finder = self._finder = SentenceFinder(
            vad, self._gate, self._tape, options.max_sentence_silence_ms, options.longest_sentence_ms
        )
        is_last = False
        while not is_last:
            start = self._block_end
            end, is_last = await self._arrival(self._next_end(finder, vad))
            with observability.timed("vad"):
                silence = scorer.accept(self._tape.read(start, end), is_last=is_last)
            yield Heard(self._follow(finder, silence, is_last=is_last), end // SAMPLES_PER_MS)
            self._tape.forget_before(min(finder.needed_ms * SAMPLES_PER_MS, self._scored_frames * _FRAME_SAMPLES))
            await asyncio.sleep(0)  # the turn of the other sessions

    def cut(self, span: Span) -> list[Change]:
        """Ends the open sentence within ``span``, at the quietest place; no changes where that can't be."""
        return [] if self._finder is None else list(self._finder.cut(span.start_ms, span.end_ms))

    def read(self, span: Span) -> Pcm:
        """Returns the audio of the open sentence, or of the one that the latest changes closed."""
        return self._tape.read(span.start_ms * SAMPLES_PER_MS, span.end_ms * SAMPLES_PER_MS)

    def _next_end(self, finder: SentenceFinder, vad: VadOptions) -> int:
        """Returns the sample up to which the next block should go."""
        start_ms = finder.open_ms
        if start_ms is None:
            return self._block_end + _IDLE_BLOCK_MS * SAMPLES_PER_MS
        blocks = (self._block_end // SAMPLES_PER_MS - start_ms) // _BLOCK_MS
        end = (start_ms + (blocks + 1) * _BLOCK_MS) * SAMPLES_PER_MS
        # on time for a sentence that may be about to end
        frames = math.ceil(max(1, min(_BLOCK_MS // FRAME_MS, finder.frames_to_end))) + vad.lookahead_frames
        return min(end, (self._scored_frames + frames - 1) * _FRAME_SAMPLES + _WINDOW_SAMPLES)

    async def _arrival(self, wanted: int) -> tuple[int, bool]:
        """Returns the end of the next block, once the sample ``wanted`` has come, and whether it is the last.

        The block is larger where more has come.
        """
        while self._tape.end < wanted and not self._finished:
            self._arrived.clear()
            await self._arrived.wait()
        self._block_end = min(self._tape.end, self._block_end + _LARGEST_BLOCK_MS * SAMPLES_PER_MS)
        return self._block_end, self._finished and self._block_end == self._tape.end

    def _follow(self, finder: SentenceFinder, silence: NDArray[np.float32], *, is_last: bool) -> list[Change]:
        """Follows the next frames by their silence scores, and returns what they bring."""
        start = self._scored_frames * _FRAME_SAMPLES
        levels = frame_levels(self._tape.read(start, self._block_end))[: len(silence)]
        filtered_before = self._gate.filtered_frames
        changes = list(finder.accept(silence, levels))
        observability.nearfield_filtered_frames.inc(self._gate.filtered_frames - filtered_before)
        if is_last:
            changes += finder.finish()
        self._scored_frames += len(silence)
        self._room.set()
        return changes
