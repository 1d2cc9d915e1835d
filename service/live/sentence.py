"""Follows one sentence of a live session, from its first sound to its final text."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from runners.languages import language_code
from service.audio.spans import SAMPLES_PER_MS, Span, cut_long
from service.domain import Pcm, Requester, Word, join_words
from service.inference import Runners
from service.live.events import Event, PartialChanged, SentenceBegan, SentenceEnded
from service.live.options import SessionOptions
from service.live.partial_text import Partial, StreamedText
from service.live.sentence_finder import Closed, EndReason
from service.text import finish as text
from service.text.words import with_marks, words_of

# What is too short to be proven by its length is speech if the recogniser thinks so, rather than not.
_SURE_LOGPROB = math.log(0.5)
# Marks that end a sentence, and how many words make it one, and make it a sure one.
_SENTENCE_MARKS = frozenset("。？！")
_WORDS_BEFORE_MARK, _WORDS_AFTER_MARK = 4, 4


@dataclass(frozen=True, slots=True)
class _Final:
    """``speech``: from when to when it was spoken."""

    speech: Span
    words: tuple[Word, ...]
    language: str
    reason: EndReason


class Sentence:
    """Takes a sentence's audio and boundaries as they are found; tells its events, and ``close`` in the end.

    A sound that neither lasts long enough to be speech nor is recognised with some certainty has no events.
    """

    def __init__(
        self, runners: Runners, options: SessionOptions, requester: Requester, start_ms: int, *, streamed: bool
    ) -> None:
        """Begins a sentence of ``requester``'s; ``streamed``: whether the streaming recogniser hears it."""
        self._runners = runners
        self._options = options
        self._requester = requester
        self._begin_ms: int | None = None
        self._news = asyncio.Event()
        self._final: asyncio.Task[_Final] | None = None
        self._stream: StreamedText | None = None
        self.ignored_hotwords: dict[str, None] = {}  # in order
        if streamed:
            self._stream = StreamedText(
                runners,
                options,
                start_ms,
                on_change=self._news.set,
            )

    async def hear(self, pcm: Pcm) -> None:
        """Takes the next audio, from the sentence's start on; waits while recognition is seconds behind."""
        if self._stream is not None:
            await self._stream.add(pcm)

    def begin(self, begin_ms: int) -> None:
        """Takes what is heard for speech that began at ``begin_ms``."""
        self._begin_ms = begin_ms
        self._news.set()

    @property
    def sure_end(self) -> Span | None:
        """Returns where the partial text is sure that the sentence has ended; None where it is not.

        A mark is sure once so much was said after it that the punctuation would have taken it back.
        """
        if self._stream is None:
            return None
        words = self._stream.partial.words
        for i in range(_WORDS_BEFORE_MARK - 1, len(words) - _WORDS_AFTER_MARK):
            if words[i].punctuation in _SENTENCE_MARKS:
                last, following = words[i], words[i + 1]
                return Span(
                    round(500 * (last.start_s + last.end_s)), round(500 * (following.start_s + following.end_s))
                )
        return None

    def end(self, closed: Closed, pcm: Pcm) -> None:
        """Ends the sentence; ``pcm`` is the audio of ``closed.audio``."""
        if self._stream is not None and self._options.finals:
            self._stream.stop()
        self._final = asyncio.create_task(self._finish(closed, pcm))
        self._final.add_done_callback(lambda _: self._news.set())

    async def events(self, index: int) -> AsyncGenerator[Event, None]:
        """Tells the sentence as number ``index``.

        Raises:
            SentenceLost, RecognitionFailed, NotReady: it could not be recognised.
        """
        began = False
        told: Partial | None = None
        while True:
            final = self._final.result() if self._final is not None and self._final.done() else None
            begin_ms = self._begin_ms
            if begin_ms is None and final is not None and final.words:
                begin_ms = final.speech.start_ms
            if begin_ms is not None and not began:
                began = True
                yield SentenceBegan(index, begin_ms)
            if final is not None:
                if began:
                    words, speech = final.words, final.speech
                    yield SentenceEnded(
                        index, speech.start_ms, speech.end_ms, join_words(words), words, final.language, final.reason
                    )
                return
            partial = self._stream.partial if self._stream is not None else None
            shows_partials = self._options.partials or not self._options.finals
            if shows_partials and began and partial is not None and partial.words and partial != told:
                told = partial
                words = partial.words
                if not self._options.partial_punctuation:
                    words = tuple(with_marks(words, [""] * len(words)))
                settled, rest = text.so_far(self._options.recognition, words, partial.language)
                words = (*settled, *rest)
                yield PartialChanged(
                    index, partial.time_ms, join_words(words), words, partial.language, join_words(rest)
                )
            await self._news.wait()
            self._news.clear()

    async def settled(self) -> None:
        """Returns when nothing is being done for the sentence any more."""
        if self._stream is not None:
            await self._stream.settled()

    async def close(self) -> None:
        """Stops all work; safe at any time, more than once."""
        if self._final is not None:
            self._final.cancel()
            await asyncio.gather(self._final, return_exceptions=True)
        if self._stream is not None:
            await self._stream.close()

    async def _finish(self, closed: Closed, pcm: Pcm) -> _Final:
        recognition = self._options.recognition
        if self._options.finals:
            words, heard = await self._second_pass(closed.audio, pcm)
        else:
            assert self._stream is not None
            partial = await self._stream.finish()
            heard = partial.language
            # it has heard a little more than the sentence
            words = [w for w in partial.words if w.start_s * 1000 < closed.audio.end_ms]
        language = recognition.language or heard
        if self._begin_ms is None:  # too short to be proven; streamed words don't say how likely they are
            judged = words if self._options.finals else (await self._second_pass(closed.audio, pcm))[0]
            if not _is_sure(judged):
                return _Final(closed.speech, (), language, closed.reason)
        done = await text.finished(self._runners, recognition, _within(words, closed.speech), language)
        return _Final(closed.speech, tuple(done), language, closed.reason)

    async def _second_pass(self, audio: Span, pcm: Pcm) -> tuple[list[Word], str]:
        """The words, and the code of the language that the recogniser heard, "" where it does not tell."""
        recognition = self._options.recognition
        window_ms = int(1000 * recognition.model.window_s)
        pieces = list(cut_long(audio, window_ms, pcm))
        draft = self._stream.partial.text if self._stream is not None else ""

        def audio_of(piece: Span) -> Pcm:
            start, end = ((ms - audio.start_ms) * SAMPLES_PER_MS for ms in (piece.start_ms, piece.end_ms))
            return pcm[start:end]

        recognised = await asyncio.gather(
            *(
                self._runners.recognise(
                    recognition,
                    audio_of(piece),
                    requester=self._requester,
                    word_times=recognition.word_timestamps,
                    draft=draft,
                )
                for piece in pieces
            )
        )
        for result in recognised:
            self.ignored_hotwords |= dict.fromkeys(result.ignored_hotwords)
        words = [
            word
            for piece, result in zip(pieces, recognised, strict=True)
            for word in words_of(result, recognition.model, piece.start_ms, piece.end_ms)
        ]
        return words, next((code for r in recognised if (code := language_code(r.language))), "")


def _is_sure(words: Sequence[Word]) -> bool:
    tokens = sum(len(w.token_ids) for w in words)
    return bool(words) and sum(w.logprob or 0.0 for w in words) >= _SURE_LOGPROB * tokens


def _within(words: Sequence[Word], speech: Span) -> list[Word]:
    """The words with their times held within the time that was spoken."""
    first_s, last_s = speech.start_ms / 1000, speech.end_ms / 1000
    return [
        dataclasses.replace(w, start_s=min(max(w.start_s, first_s), last_s), end_s=min(max(w.end_s, first_s), last_s))
        for w in words
    ]
