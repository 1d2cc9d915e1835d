"""Takes one recording from bytes to transcript: decode -> utterances -> recognise -> punctuate -> ITN -> segments.

Everything runs at once: while the file is still being decoded, its first utterances are with the
recogniser, together with those of other requests. What is in flight is bounded, so memory doesn't
grow with the recording. A sentence is told as soon as nothing said later changes it. Who said what is
known last, when every voice has been heard: then the finished words are grouped anew into segments of one
speaker each.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from runners.interface import Embedding, Recognition
from runners.languages import language_code
from service import observability
from service.admission import Place
from service.audio.recording import Recording
from service.audio.spans import LONGEST_PAUSE_IN_SEGMENT_MS, GreedyMerger, Span
from service.domain import (
    SAMPLE_RATE_HZ,
    Level,
    Pcm,
    RecognitionOptions,
    Requester,
    Segment,
    Transcript,
    Word,
    join_words,
)
from service.inference import Runners
from service.recordings.diarization import Diarizer
from service.recordings.turns import SpokenUtterance, regroup, utterances_of
from service.recordings.utterances import Utterance, UtteranceFinder
from service.text import finish as text
from service.text.words import (
    cut_context_warnings,
    ignored_hotword_warnings,
    sentences_of,
    untimed_warnings,
    words_of,
)

log = logging.getLogger(__name__)

# Enough for the recogniser to find batch-mates within one file; a few seconds of PCM16 each.
_UTTERANCES_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds what a transcription takes: its longest segment and its longest recording, in seconds."""

    max_segment_s: float
    max_duration_s: float


class Transcriber:
    """Starts transcriptions."""

    def __init__(self, runners: Runners, limits: Limits) -> None:
        self._runners = runners
        self._limits = limits

    def start(
        self,
        recording: Recording,
        options: RecognitionOptions,
        place: Place | None = None,
        memory: Memory | None = None,
        requester: Requester | None = None,
    ) -> Transcription:
        """Returns a transcription that begins when it is iterated, and corrects its ``place`` in the queue.

        Its utterances are recognised by turns with what others than ``requester`` want.
        """
        return Transcription(self._runners, self._limits, recording, options, place, memory, requester or Requester())


class Understood(NamedTuple):
    """Holds what the models make of an utterance.

    Attributes:
        recognition: What was said.
        voices: Who it sounds like; None where nobody asked.
    """

    recognition: Recognition
    voices: Embedding | None


class Memory(Protocol):
    """Remembers utterances of a recording, by their number from 0, from an earlier transcription of it."""

    def known(self, index: int) -> Understood | None:
        """Returns what is known of an utterance; None: it is to be recognised."""

    async def add(self, index: int, understood: Understood, audio_s: float) -> None:
        """Takes in what was recognised."""


class _Found(NamedTuple):
    """An utterance on its way through the recogniser; its audio is held by the calls alone."""

    span: Span
    recognition: asyncio.Task[Recognition]


@dataclass(frozen=True, slots=True)
class SettledSentence:
    """Holds the finished words of a sentence that nothing said later changes; without marks, a segment is one."""

    words: tuple[Word, ...]


@dataclass(slots=True)
class _OpenSegment:
    """A segment to which utterances may still come; ``unsettled`` words are as recognised, the others finished."""

    spans: list[Span] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    unsettled: list[Word] = field(default_factory=list)
    heard: collections.Counter[str] = field(default_factory=collections.Counter)


class Transcription:
    """Transcribes a recording.

    Iterate for its sentences as they settle, and after those of a segment the segment; then ``transcript`` is complete.

    With diarization the segments that come while iterating have no speaker yet; those of ``transcript`` do, and
    say the same words in the same order.

    Raises UndecodableAudio, AudioTooLarge, RecognitionFailed or NotReady. Closing the iteration stops all work.
    """

    def __init__(
        self,
        runners: Runners,
        limits: Limits,
        recording: Recording,
        options: RecognitionOptions,
        place: Place | None,
        memory: Memory | None,
        requester: Requester,
    ) -> None:
        self._runners = runners
        self._requester = requester
        self._limits = limits
        self._recording = recording
        self._place = place
        self._memory = memory
        self._utterances = 0
        self._recognised_ms = 0
        self._options = options
        self._model = options.model
        self._samples = 0
        # utterances in order; between them, the time before which no further one begins; None at the end
        self._found: asyncio.Queue[_Found | int | None] = asyncio.Queue()
        self._in_flight = asyncio.Semaphore(_UTTERANCES_IN_FLIGHT)
        self._recognitions: set[asyncio.Task[Recognition]] = set()
        self._segments: list[Segment] = []
        self._levels: dict[int, Level] = {}  # by the utterance
        self._heard: collections.Counter[str] = collections.Counter()  # letters by the language that they are in
        self._ignored_hotwords: dict[str, None] = {}  # hotwords without effect, in order
        self._diarizer = Diarizer(runners, options.model, options.diarization) if options.diarization else None
        self._spoken: list[SpokenUtterance] = []

    @property
    def transcript(self) -> Transcript:
        """Returns what has been transcribed so far; everything once the iteration has ended."""
        return Transcript(
            duration_s=self._samples / SAMPLE_RATE_HZ,
            language=self._language,
            model=self._model.id,
            segments=tuple(self._segments),
            warnings=(
                *self._recording.warnings,
                *cut_context_warnings(self._options),
                *ignored_hotword_warnings(tuple(self._ignored_hotwords), self._model.id),
                *self._untimed(),
            ),
            levels=tuple(self._levels[index] for index in sorted(self._levels)),
            audio=self._recording.format,
        )

    @property
    def recognised_s(self) -> float:
        """Returns how far recognition has come, in seconds of the recording."""
        return self._recognised_ms / 1000

    @property
    def _language(self) -> str:
        """The one that was asked for, else the one that most was said in."""
        said = {code: letters for code, letters in self._heard.items() if code}
        return self._options.language or max(said, key=said.__getitem__, default=self._model.languages[0])

    def _untimed(self) -> tuple[str, ...]:
        if not self._options.word_timestamps or all(w.timed for s in self._segments for w in s.words):
            return ()
        return untimed_warnings(self._language, self._model)

    async def finish(self) -> Transcript:
        """Iterates to the end."""
        async for _ in self:
            pass
        return self.transcript

    async def __aiter__(self) -> AsyncGenerator[SettledSentence | Segment, None]:
        started = time.monotonic()
        producer = asyncio.create_task(self._find_utterances())
        try:
            segment = _OpenSegment()
            async for found, is_last in self._utterances_found():
                for words in sentences_of(await self._extend(segment, found, is_last=is_last)):
                    yield SettledSentence(words)
                if is_last:
                    if segment.words:
                        yield self._close(segment)
                    segment = _OpenSegment()
            await producer
            if self._diarizer is not None:
                self._segments = await self._by_speaker(self._diarizer)
        finally:
            unfinished = [producer, *self._recognitions]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        self._account(time.monotonic() - started)

    async def _find_utterances(self) -> None:
        """Decodes, finds utterances and hands them to the recogniser; waits while too many are in flight."""
        try:
            limit_ms = int(1000 * min(self._model.window_s, self._limits.max_segment_s))
            options = await self._runners.vad_options(self._model)
            if self._diarizer is not None:
                await self._diarizer.hear_references()
            finder = UtteranceFinder(self._runners, self._model, options, limit_ms)
            async with aclosing(self._blocks()) as blocks:
                async for pcm, is_last in blocks:
                    self._count(pcm, is_last=is_last)
                    for utterance in await finder.accept(pcm, is_last=is_last):
                        await self._in_flight.acquire()
                        self._found.put_nowait(_Found(utterance.span, self._start(utterance)))
                    self._found.put_nowait(finder.settled_ms)
        finally:
            self._found.put_nowait(None)

    def _count(self, pcm: Pcm, *, is_last: bool) -> None:
        self._samples += len(pcm)
        if self._place is not None:
            (self._place.set if is_last else self._place.grow_to)(self._samples / SAMPLE_RATE_HZ)

    def _start(self, utterance: Utterance) -> asyncio.Task[Recognition]:
        task = asyncio.create_task(self._understand(self._utterances, utterance))
        self._utterances += 1
        self._recognitions.add(task)

        def finished(task: asyncio.Task[Recognition]) -> None:
            self._recognitions.discard(task)
            self._in_flight.release()
            if not task.cancelled():
                task.exception()  # one failure ends the request; the others need no report of their own

        task.add_done_callback(finished)
        return task

    async def _understand(self, index: int, utterance: Utterance) -> Recognition:
        self._levels[index] = utterance.level
        understood = self._memory.known(index) if self._memory else None
        if understood is None:
            understood = await self._recognise(utterance)
            if self._memory is not None:
                await self._memory.add(index, understood, len(utterance.pcm) / SAMPLE_RATE_HZ)
        if self._diarizer is not None and understood.voices is not None:
            self._diarizer.add(utterance.span.start_ms, understood.voices)
        self._recognised_ms = max(self._recognised_ms, utterance.span.end_ms)
        return understood.recognition

    async def _recognise(self, utterance: Utterance) -> Understood:
        options = self._options
        # to tell who says a word, it must be known when
        word_times = options.word_timestamps or options.diarization is not None
        recognition = self._runners.recognise(options, utterance.pcm, requester=self._requester, word_times=word_times)
        if self._diarizer is None:
            return Understood(await recognition, None)
        return Understood(*await asyncio.gather(recognition, self._runners.embed(self._model, utterance.pcm)))

    async def _blocks(self) -> AsyncGenerator[tuple[Pcm, bool], None]:
        """(block, whether it is the last) of decoded audio."""
        async with aclosing(self._recording.blocks(self._limits.max_duration_s)) as blocks:
            held: Pcm | None = None
            async for block in blocks:
                if held is not None:
                    yield held, False
                held = block
            if held is not None:
                yield held, True

    async def _utterances_found(self) -> AsyncIterator[tuple[_Found, bool]]:
        """The utterances, with their recognitions under way, each with whether its segment ends with it."""
        merger = GreedyMerger(int(1000 * self._limits.max_segment_s), LONGEST_PAUSE_IN_SEGMENT_MS)
        latest: _Found | None = None
        while (found := await self._found.get()) is not None:
            closed = merger.close_before(found) if isinstance(found, int) else merger.add(found.span)
            if latest is not None and (closed or isinstance(found, _Found)):
                yield latest, bool(closed)
                latest = None
            if isinstance(found, _Found):
                latest = found
        if latest is not None:
            yield latest, True

    async def _extend(self, segment: _OpenSegment, found: _Found, *, is_last: bool) -> list[Word]:
        """Adds an utterance, and returns the finished words of the sentences that it settles."""
        recognition = await found.recognition
        segment.spans.append(found.span)
        segment.unsettled += words_of(recognition, self._model, found.span.start_ms, found.span.end_ms)
        heard = collections.Counter({language_code(recognition.language) or "": sum(map(len, recognition.tokens))})
        segment.heard.update(heard)
        self._heard += heard
        self._ignored_hotwords.update(dict.fromkeys(recognition.ignored_hotwords))
        language = self._options.language or max(segment.heard, key=segment.heard.__getitem__)
        if is_last:
            words = await text.finished(self._runners, self._options, segment.unsettled, language)
        else:
            words, segment.unsettled = await text.settled(self._runners, self._options, segment.unsettled, language)
        segment.words += words
        return words

    def _close(self, opened: _OpenSegment) -> Segment:
        if self._diarizer is not None:
            self._spoken += utterances_of(opened.words, opened.spans)
        segment = Segment(
            index=len(self._segments),
            start_s=opened.spans[0].start_ms / 1000,
            end_s=opened.spans[-1].end_ms / 1000,
            text=join_words(opened.words),
            words=tuple(opened.words),
        )
        self._segments.append(segment)
        return segment

    async def _by_speaker(self, diarizer: Diarizer) -> list[Segment]:
        windows, names = await diarizer.speakers()
        longest_ms = int(1000 * self._limits.max_segment_s)
        limits = {"longest_ms": longest_ms, "longest_pause_ms": LONGEST_PAUSE_IN_SEGMENT_MS}
        return await asyncio.to_thread(regroup, self._spoken, windows, names, **limits)

    def _account(self, elapsed_s: float) -> None:
        duration_s = self._samples / SAMPLE_RATE_HZ
        observability.audio_seconds.labels(self._model.id).inc(duration_s)
        if duration_s:
            observability.real_time_factor.labels(self._model.id).observe(elapsed_s / duration_s)
        count = len(self._segments)
        if self._ignored_hotwords:
            log.warning("%d hotwords had no effect with %s", len(self._ignored_hotwords), self._model.id)
            log.debug("hotwords without effect: %s", ", ".join(self._ignored_hotwords))
        for warning in self._recording.warnings:
            log.info("%s", warning)
        log.info("transcribed %.1f s of audio in %.2f s: %d segments, %s", duration_s, elapsed_s, count, self._model.id)
