"""Recognises the text of a sentence while it is being spoken, with the streaming recogniser."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runners.catalog import Model
from runners.interface import Recognition, StreamingItem, StreamingResult
from runners.languages import language_code, language_name
from service.audio.spans import SAMPLES_PER_MS
from service.domain import SAMPLE_RATE_HZ, Pcm, Word, join_words
from service.errors import ServiceError
from service.inference import Runners
from service.live.options import SessionOptions
from service.text.words import words_of

_LONGEST_WAITING = 5 * SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Partial:
    """Holds a sentence so far.

    Attributes:
        time_ms: The end of the audio that it was heard in.
        words: What was heard.
        language: A code such as ``zh``; "" while it is not known.
    """

    time_ms: int
    words: tuple[Word, ...] = ()
    language: str = ""

    @property
    def text(self) -> str:
        """Joins the words, putting spaces only where two non-CJK words would touch."""
        return join_words(self.words)


class StreamedText:
    """Recognises a sentence that starts at ``start_ms`` as its audio comes.

    ``finish``, ``stop`` or ``close`` end it.
    """

    def __init__(
        self,
        runners: Runners,
        options: SessionOptions,
        start_ms: int,
        *,
        on_change: Callable[[], None],
    ) -> None:
        """Begins a sentence, in a task of its own.

        ``on_change`` is called whenever ``partial`` has changed, or recognition has ended or failed.
        """
        self._runners = runners
        self._options = options
        # A call with less would cost a call and tell nothing new.
        self._chunk_samples = options.chunk_ms * SAMPLES_PER_MS
        self._name = uuid.uuid4().hex
        self._start_ms = start_ms
        self._on_change = on_change
        self._partial = Partial(start_ms)
        self._waiting: list[Pcm] = []
        self._waiting_samples = 0
        self._sent_samples = 0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._is_last = False
        self._is_stopped = False
        self._worker = asyncio.create_task(self._recognise())
        self._worker.add_done_callback(self._ended)

    @property
    def partial(self) -> Partial:
        """Returns the sentence so far.

        Raises:
            SentenceLost, RecognitionFailed, NotReady: recognition has failed.
        """
        if self._worker.done() and not self._worker.cancelled():
            self._worker.result()
        return self._partial

    async def add(self, pcm: Pcm) -> None:
        """Takes the sentence's next audio; waits while recognition is seconds behind."""
        self._waiting.append(pcm)
        self._waiting_samples += len(pcm)
        if self._sent_samples % self._chunk_samples + self._waiting_samples >= self._chunk_samples:
            self._more.set()
        while self._waiting_samples > max(_LONGEST_WAITING, 2 * self._chunk_samples) and not self._worker.done():
            self._room.clear()
            await self._room.wait()

    async def finish(self) -> Partial:
        """Returns the whole sentence, once it is recognised.

        Raises:
            SentenceLost, RecognitionFailed, NotReady: as ``partial``.
        """
        self._is_last = True
        self._more.set()
        await self._worker
        return self._partial

    def stop(self) -> None:
        """Says that what has not been recognised yet needs not be."""
        self._is_stopped = True
        self._more.set()

    async def settled(self) -> None:
        """Returns when recognition has ended, or failed, and the runner's side is free."""
        await asyncio.wait([self._worker])

    async def close(self) -> None:
        """Stops at once, and frees the runner's side; safe at any time, more than once."""
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled():
            worker.exception()  # told by ``partial``
        self._room.set()
        self._on_change()

    async def _recognise(self) -> None:
        model, is_open = self._options.recognition.model, False
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                if self._is_stopped:
                    return
                is_first, is_open, is_last = not is_open, True, self._is_last
                result = await self._runners.stream(model, self._item(is_first=is_first, is_last=is_last))
                self._understand(result)
                if is_last:
                    is_open = False
                    return
        except ServiceError:  # the runner has freed the session, or is gone with it; a call would wait for its return
            is_open = False
            raise
        finally:
            if is_open:
                await self._runners.close_stream(model, self._name)

    def _item(self, *, is_first: bool, is_last: bool) -> StreamingItem:
        pcm = np.concatenate([np.empty(0, np.int16), *self._waiting])
        self._waiting.clear()
        self._waiting_samples = 0
        self._sent_samples += len(pcm)
        self._room.set()
        asked = self._options.recognition
        return StreamingItem(
            model=asked.model.id,
            sentence=self._name,
            pcm=pcm,
            is_first=is_first,
            is_last=is_last,
            punctuate=self._options.partial_punctuation or self._options.ends_at_marks,
            hotwords={word.text: word.weight for word in asked.hotwords},
            language=language_name(asked.language) if asked.language else None,
            prompt=asked.prompt,
            unfixed_chunks=self._options.unfixed_chunks,
            unfixed_tokens=self._options.unfixed_tokens,
        )

    def _understand(self, result: StreamingResult) -> None:
        time_ms = self._start_ms + self._sent_samples // SAMPLES_PER_MS
        asked = self._options.recognition
        language = asked.language or language_code(result.language) or ""
        partial = Partial(time_ms, tuple(_words(result, asked.model, self._start_ms, time_ms)), language)
        if partial.words != self._partial.words:
            self._partial = partial
            self._on_change()


def _words(result: StreamingResult, model: Model, start_ms: int, end_ms: int) -> list[Word]:
    count = len(result.tokens)
    positions = list(range(count))  # in place of ids: a word says which of the marks is its own
    recognition = Recognition(
        tokens=result.tokens,
        ids=positions,
        starts_ms=result.starts_ms,
        ends_ms=result.ends_ms,
        logprobs=[0.0] * count,
    )
    marks = result.marks or [""] * count
    return [
        dataclasses.replace(word, punctuation=marks[word.token_ids[-1]], logprob=None, token_ids=())
        for word in words_of(recognition, model, start_ms, end_ms)
    ]
