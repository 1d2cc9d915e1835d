"""Recognises utterances, word times and live sentences with Qwen3-ASR, on whatever backend generates the text.

A backend (transformers_backend, vllm_backend) answers questions and finds timestamps; prompts, parsing, words and
the streaming rule are here, so that they are the same on each.

Live, a sentence is heard in windows of 8 s, within which the audio tower attends: a full window is encoded once,
and only the open one again at each step. What two answers in a row agree on, less its last tokens, is confirmed and
begins the next answer (Qwen3-ASR's prefix rollback).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runners.interface import Recognition, RecognitionItem, StreamingItem, StreamingResult
from runners.qwen3.prompt import Answer, context_of, parse_answer
from runners.qwen3.tokens import Tokens
from runners.qwen3.words import alignment_units, character_times, split_words, true_times

log = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 8 * SAMPLE_RATE_HZ
# A live sentence that has not been heard of for so long is forgotten.
_FORGOTTEN_S = 300.0
# No language is spoken in more tokens a second.
_TOKENS_PER_S, _LEAST_TOKENS = 12, 24

Pcm = NDArray[np.int16]


@dataclass
class Question:
    """Says what a backend is to answer.

    Attributes:
        pieces: The audio, 16 kHz PCM16, in pieces of which each is encoded alone.
        context: What the model reads before it listens.
        language: Its name; None: the answer says which it is.
        begun: How the answer begins, as token ids.
        most_tokens: How many tokens may follow ``begun``.
        draft: What probably follows ``begun``: it may make the answer cheaper, and never changes it.
        memory: What a backend wants to keep of a live sentence; None: the question belongs to none.
    """

    pieces: Sequence[Pcm]
    context: str = ""
    language: str | None = None
    begun: tuple[int, ...] = ()
    most_tokens: int = 4096
    draft: tuple[int, ...] = ()
    memory: dict[str, Any] | None = None


@dataclass(frozen=True)
class Generated:
    """Holds what was generated after ``Question.begun``, without its end.

    Attributes:
        ids: The tokens.
        logprobs: Their log-probabilities.
        batch_size: How many questions were answered together.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    batch_size: int = 1


class Backend(Protocol):
    """Computes the network; calls may come at once, and one that is cancelled is given up.

    Attributes:
        tokens: The recogniser's tokenizer.
        timestamp_ms: The step of timestamps.
    """

    tokens: Tokens
    timestamp_ms: float

    async def answer(self, question: Question) -> Generated:
        """Answers a question; RuntimeError where the engine failed."""
        ...

    async def timestamps(self, pcm: Pcm, units: Sequence[str]) -> list[int]:
        """Returns two for each unit, its start and end, in steps of ``timestamp_ms``."""
        ...

    async def is_healthy(self) -> bool:
        """Says whether questions can still be answered."""
        ...

    def close(self) -> None:
        """Ends what the backend has running."""
        ...


def lengthened(pcm: Pcm) -> Pcm:
    """Pads to a second at least: the convolutions look at one at a time, and would see the edge of a shorter one."""
    return np.pad(pcm, (0, max(0, SAMPLE_RATE_HZ - len(pcm))))


def most_tokens(samples: int) -> int:
    """Returns how many tokens so many samples of 16 kHz audio can have: 12 for each second, and 24."""
    return _LEAST_TOKENS + math.ceil(_TOKENS_PER_S * samples / SAMPLE_RATE_HZ)


class Qwen3Engine:
    """Recognises with one model.

    Attributes:
        backend: Where utterances are computed; live sentences have their own, if there is one.
    """

    def __init__(
        self,
        backend: Backend,
        aligned: Iterable[str],
        live_backend: Backend | None = None,
        *,
        context_characters: int = 2_000,
    ) -> None:
        """Takes the names of the languages that have word times as ``aligned``.

        ``live_backend`` hears live sentences; None: ``backend`` does. ``context_characters`` bounds what the model
        reads before it listens.
        """
        self.backend = backend
        self._live_backend = live_backend or backend
        self._aligned = frozenset(aligned)
        self._context_characters = context_characters
        self._sentences: dict[str, _Sentence] = {}

    async def recognise(self, item: RecognitionItem) -> Recognition:
        """Recognises the words of one utterance, with their times where the language has them."""
        question = Question(
            [item.pcm],
            context=self._context(item),
            language=item.language,
            most_tokens=most_tokens(len(item.pcm)),
            draft=tuple(self.backend.tokens.ids(item.draft)),
        )
        generated = await self.backend.answer(question)
        answer = parse_answer(self.backend.tokens.text(generated.ids), item.language)
        times = await self._times(item.pcm, answer) if item.word_times else None
        return _recognition(self.backend, answer, generated, times, len(item.pcm))

    def _context(self, item: RecognitionItem | StreamingItem) -> str:
        return context_of(item.prompt, item.hotwords, self._context_characters)

    async def _times(self, pcm: Pcm, answer: Answer) -> dict[int, tuple[float, float]] | None:
        """Finds the times of the answer's letters; None where the language has none, or those found can't be true."""
        if answer.language not in self._aligned:
            return None
        units = await asyncio.to_thread(alignment_units, answer.text, answer.language)
        if not units:
            return {}
        last = math.ceil(1000 * len(pcm) / SAMPLE_RATE_HZ / self.backend.timestamp_ms)
        steps = true_times([min(step, last) for step in await self.backend.timestamps(pcm, units)])
        if steps is None:
            log.info("the aligner did not find the words of %.1f s of audio", len(pcm) / SAMPLE_RATE_HZ)
            return None
        ms = [round(step * self.backend.timestamp_ms) for step in steps]
        return character_times(answer.text, units, list(zip(ms[::2], ms[1::2], strict=True)))

    async def step(self, item: StreamingItem) -> StreamingResult:
        """Hears the next audio of a live sentence, and returns the sentence so far."""
        self._forget()
        if item.is_first:
            self._sentences[item.sentence] = _Sentence(self._live_backend, item, self._context(item))
        sentence = self._sentences.get(item.sentence)
        if sentence is None:
            return StreamingResult(lost=True)
        if item.is_last:
            del self._sentences[item.sentence]
        return await sentence.hear(item.pcm)

    async def is_healthy(self) -> bool:
        """Says whether every backend can still answer."""
        return await self.backend.is_healthy() and await self._live_backend.is_healthy()

    def end(self) -> None:
        """Ends what the backends have running; nothing may be asked any more."""
        for backend in {id(b): b for b in (self.backend, self._live_backend)}.values():
            backend.close()

    def close(self, sentences: Iterable[str]) -> None:
        """Frees live sentences; unknown ones are none."""
        for name in sentences:
            self._sentences.pop(name, None)

    def __len__(self) -> int:
        """Counts the live sentences now."""
        return len(self._sentences)

    def _forget(self) -> None:
        now = time.monotonic()
        old = [name for name, sentence in self._sentences.items() if now - sentence.heard_at > _FORGOTTEN_S]
        self.close(old)


@dataclass
class _Sentence:
    backend: Backend
    first: StreamingItem
    context: str
    pcm: Pcm = field(default_factory=lambda: np.empty(0, np.int16))
    steps: int = 0
    answer: tuple[int, ...] = ()
    confirmed: tuple[int, ...] = ()
    memory: dict[str, Any] = field(default_factory=dict)
    heard_at: float = field(default_factory=time.monotonic)

    async def hear(self, pcm: Pcm) -> StreamingResult:
        self.heard_at = time.monotonic()
        self.pcm = np.concatenate([self.pcm, pcm])
        begun = self.confirmed if self.steps >= self.first.unfixed_chunks else ()
        question = Question(
            [self.pcm[at : at + WINDOW_SAMPLES] for at in range(0, max(1, len(self.pcm)), WINDOW_SAMPLES)],
            context=self.context,
            language=self.first.language,
            begun=begun,
            most_tokens=most_tokens(len(self.pcm)) - len(begun),
            draft=self.answer[len(begun) :],
            memory=self.memory,
        )
        generated = await self.backend.answer(question)
        answer = begun + generated.ids
        self.confirmed = self._confirmed(answer)
        self.answer, self.steps = answer, self.steps + 1
        parsed = parse_answer(self.backend.tokens.text(answer), self.first.language)
        found = _recognition(self.backend, parsed, generated, None, len(self.pcm))
        return StreamingResult(
            tokens=found.tokens,
            marks=found.marks,
            starts_ms=found.starts_ms,
            ends_ms=found.ends_ms,
            language=found.language,
            batch_size=generated.batch_size,
        )

    def _confirmed(self, answer: tuple[int, ...]) -> tuple[int, ...]:
        """Returns what this answer and the last agree on, less the tokens that may still change."""
        agreed = 0
        for ours, theirs in zip(answer, self.answer, strict=False):
            if ours != theirs:
                break
            agreed += 1
        agreed = max(0, min(agreed, len(answer) - self.first.unfixed_tokens))
        while agreed and "\ufffd" in self.backend.tokens.text(answer[:agreed]):  # never half a character
            agreed -= 1
        return answer[:agreed]


def _recognition(
    backend: Backend,
    answer: Answer,
    generated: Generated,
    times: dict[int, tuple[float, float]] | None,
    samples: int,
) -> Recognition:
    """Makes an answer words; without ``times`` they share the utterance evenly, letter by letter."""
    words = split_words(answer.text)
    duration_ms = 1000 * samples / SAMPLE_RATE_HZ
    timed = times is not None
    if times is None:
        count = max(1, len(answer.text))
        times = {i: (i / count * duration_ms, (i + 1) / count * duration_ms) for i in range(count)}
    logprobs = _letter_logprobs(backend, answer, generated)
    recognition = Recognition(language=answer.language, timed=timed, batch_size=generated.batch_size)
    latest = 0.0
    for word in words:
        known = [times[i] for i in range(word.first, word.last + 1) if i in times]
        start, end = (known[0][0], known[-1][1]) if known else (latest, latest)
        latest = end = min(max(start, end), duration_ms)
        recognition.tokens.append(word.text)
        recognition.marks.append(word.mark)
        recognition.starts_ms.append(round(min(start, end)))
        recognition.ends_ms.append(round(end))
        recognition.ids.append(-1)
        recognition.logprobs.append(sum(logprobs[word.first : word.last + 1]))
    return recognition


def _letter_logprobs(backend: Backend, answer: Answer, generated: Generated) -> list[float]:
    """Finds a log-probability for each letter of the text: those of a token's letters add up to its own."""
    raw = backend.tokens.text(generated.ids)
    at = raw.rfind(answer.text)
    mean = sum(generated.logprobs) / max(1, len(generated.logprobs))
    if at < 0:  # it went in circles, or was said before this step
        return [mean] * len(answer.text)
    by_byte: list[float] = []
    for count, logprob in zip(backend.tokens.piece_bytes(generated.ids), generated.logprobs, strict=True):
        by_byte += [logprob / max(1, count)] * count
    first = len(raw[:at].encode())
    found = []
    for char in answer.text:
        last = first + len(char.encode())
        found.append(sum(by_byte[first:last]))
        first = last
    return found
