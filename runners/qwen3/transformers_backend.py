"""Runs the `qwen-asr` package's network on a CPU or any GPU that torch knows: batches, greedy decoding."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from runners.kit.batching import length_buckets
from runners.kit.gathering import Gatherer
from runners.qwen3 import network
from runners.qwen3.engine import WINDOW_SAMPLES, Generated, Pcm, Question, lengthened
from runners.qwen3.prompt import AUDIO_PAD, alignment_prompt, recognition_prompt
from runners.qwen3.tokens import Tokens
from runners.qwen3.whisper_features import FRAME_SAMPLES, encoded_length, features

_LONGEST_GUESS = 32  # a wrong one costs little beside a step


def continuation(draft: Sequence[int], ids: Sequence[int]) -> list[int]:
    """Returns what followed in ``draft`` on the last two of ``ids``, which has got about as far."""
    tail = list(ids[-2:])
    places = [at for at in range(len(tail), len(draft)) if list(draft[at - len(tail) : at]) == tail]
    at = min(places, key=lambda at: abs(at - len(ids)), default=len(draft))
    return list(draft[at : at + _LONGEST_GUESS])


@dataclass
class _Memory:
    """Keeps a live sentence's prompt up to its last full window, computed: the decoder's cache, and how long it is."""

    cache: Any
    tokens: int = 0
    pieces: int = 0


class TransformersBackend:
    """Answers batches of at most ``batch_size``; live sentences one by one, each from where its last step left off.

    What has a draft is answered as they are, from the start: in a few steps instead of one for each token.

    Attributes:
        device: Where the network computes: `cpu` or `cuda`.
        batch_size: How many questions are computed at once, at most.
        tokens: The recogniser's tokenizer.
        timestamp_ms: The step of the aligner's timestamps.
        encoded_s: How much audio the tower was given, for benchmarks.
    """

    def __init__(
        self,
        recogniser: Path,
        aligner: Path | None,
        *,
        batch_size: int = 4,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device, self.batch_size = device, batch_size
        self._thinker = network.load(recogniser, dtype, device).thinker
        self.tokens = Tokens(recogniser)
        self.timestamp_ms = 80.0
        if aligner is not None:
            loaded = network.load(aligner, dtype, device)
            self._aligner = loaded.thinker
            self._aligner_tokens = Tokens(aligner)
            self._timestamp_id = int(loaded.config.timestamp_token_id)
            self.timestamp_ms = float(loaded.config.timestamp_segment_time)
        self._lock = threading.Lock()
        self._answers = Gatherer(self._answer_together, 4 * batch_size)
        self._alignments = Gatherer(self._align_together, 4 * batch_size)
        self.encoded_s = 0.0  # for benchmarks: how much audio the tower was given

    async def answer(self, question: Question) -> Generated:
        """Answers a question, together with others unless it belongs to a live sentence."""
        if question.memory is not None:
            return await asyncio.to_thread(self._answer_alone, question)
        (generated,) = await self._answers([question])
        return generated

    async def timestamps(self, pcm: Pcm, units: Sequence[str]) -> list[int]:
        """Returns two for each unit, its start and end, in steps of ``timestamp_ms``; there must be an aligner."""
        (found,) = await self._alignments([(pcm, units)])
        return found

    async def is_healthy(self) -> bool:
        """Says yes: nothing runs outside this process."""
        return True

    def close(self) -> None:
        """Does nothing: there is nothing to end."""

    def _answer_together(self, questions: Sequence[Question]) -> list[Generated]:
        results: list[Generated] = [Generated((), ())] * len(questions)
        plain: list[int] = []
        for position, question in enumerate(questions):
            if question.draft:
                results[position] = self._answer_alone(dataclasses.replace(question, memory={}))
            else:
                plain.append(position)
        lengths = [sum(map(len, questions[p].pieces)) + 1 for p in plain]
        for group in length_buckets(lengths, self.batch_size):
            found = self._answer_batch([questions[plain[i]] for i in group])
            for i, generated in zip(group, found, strict=True):
                results[plain[i]] = generated
        return results

    @torch.inference_mode()
    def _answer_batch(self, questions: list[Question]) -> list[Generated]:
        with self._lock:
            encoded = [self._encode(self._thinker, question.pieces) for question in questions]
            prompts = [self._prompt(q, audio) for q, audio in zip(questions, encoded, strict=True)]
            return self._generate(prompts, [q.most_tokens for q in questions])

    def _prompt(self, question: Question, audio: torch.Tensor) -> torch.Tensor:
        """Embeds the prompt: (tokens, width)."""
        text = recognition_prompt(question.context, question.language)
        before, after = (self._embed(part) for part in text.split(AUDIO_PAD))
        return torch.cat([before, audio, after, self._thinker.model.embed_tokens(self._ids(question.begun))])

    @torch.inference_mode()
    def _answer_alone(self, question: Question) -> Generated:
        assert question.memory is not None
        with self._lock:
            memory = self._remembered(question)
            open_pieces = question.pieces[memory.pieces :]
            text = recognition_prompt(question.context, question.language)
            audio = [self._encode(self._thinker, open_pieces)] if open_pieces else []
            begun = self._thinker.model.embed_tokens(self._ids(question.begun))
            rest = torch.cat([*audio, self._embed(text.partition(AUDIO_PAD)[2]), begun])
            generated = self._generate_guessing(rest, question, memory.cache, memory.tokens)
            memory.cache.crop(memory.tokens)
            return generated

    def _remembered(self, question: Question) -> _Memory:
        """Returns the sentence's memory, with every full window in it."""
        from transformers import DynamicCache

        assert question.memory is not None
        memory: _Memory | None = question.memory.get("transformers")
        new: list[torch.Tensor] = []
        if memory is None:
            memory = question.memory["transformers"] = _Memory(DynamicCache())
            new.append(self._embed(recognition_prompt(question.context, question.language).partition(AUDIO_PAD)[0]))
        closed = [piece for piece in question.pieces[memory.pieces :] if len(piece) == WINDOW_SAMPLES]
        if closed:
            new.append(self._encode(self._thinker, closed))
        if new:
            self._decode(torch.cat(new)[None], memory.cache, memory.tokens)
            memory.tokens += sum(map(len, new))
            memory.pieces += len(closed)
        return memory

    def _decode(
        self, embedded: torch.Tensor, cache: Any, before: int | torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Computes the decoder's states for (batch, tokens, width) that follow ``before`` tokens in ``cache``."""
        batch, tokens, _ = embedded.shape
        positions = torch.arange(tokens, device=self.device)[None] + before
        if mask is None:
            mask = torch.ones(batch, tokens + int(before), dtype=torch.long, device=self.device)
        states: torch.Tensor = self._thinker.model(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=positions.clamp(min=0).expand(3, batch, tokens),
            past_key_values=cache,
            use_cache=True,
        )[0]
        return states

    def _generate(self, prompts: list[torch.Tensor], most: list[int]) -> list[Generated]:
        """Decodes embedded prompts, padded at their start, greedily."""
        from transformers import DynamicCache

        longest = max(map(len, prompts))
        padding = torch.tensor([[longest - len(p)] for p in prompts], device=self.device)
        embedded = torch.stack([torch.nn.functional.pad(p, (0, 0, longest - len(p), 0)) for p in prompts])
        cache = DynamicCache()
        mask = (torch.arange(longest, device=self.device)[None] >= padding).long()
        ids: list[list[int]] = [[] for _ in prompts]
        logprobs: list[list[float]] = [[] for _ in prompts]
        going = [limit > 0 for limit in most]
        states = self._decode(embedded, cache, -padding, mask)
        for step in range(max(most)):
            scores = self._thinker.lm_head(states[:, -1]).float().log_softmax(-1)
            best, chosen = scores.max(-1)
            for row, (token, logprob) in enumerate(zip(chosen.tolist(), best.tolist(), strict=True)):
                going[row] = going[row] and token not in self.tokens.end_ids and len(ids[row]) < most[row]
                if going[row]:
                    ids[row].append(token)
                    logprobs[row].append(logprob)
            if not any(going):
                break
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)
            after = longest + step - padding
            states = self._decode(self._thinker.model.embed_tokens(chosen)[:, None], cache, after, mask)
        return [Generated(tuple(i), tuple(p), len(prompts)) for i, p in zip(ids, logprobs, strict=True)]

    def _generate_guessing(self, prompt: torch.Tensor, question: Question, cache: Any, before: int) -> Generated:
        """Decodes one embedded prompt that follows ``before`` tokens in ``cache``, greedily.

        What its draft guesses right is computed many tokens at a time instead of one by one (speculative decoding,
        arXiv 2211.17192, with guesses looked up in the draft; greedy, so that the answer is the same).
        """
        ids: list[int] = []
        logprobs: list[float] = []
        ahead, guess = prompt, list(question.draft[:_LONGEST_GUESS])
        while len(ids) < question.most_tokens:
            embedded = torch.cat([ahead, self._thinker.model.embed_tokens(self._ids(guess))])
            states = self._decode(embedded[None], cache, before)[0, len(ahead) - 1 :]
            best, chosen = self._thinker.lm_head(states).float().log_softmax(-1).max(-1)
            found = chosen.tolist()
            right = next((at for at, token in enumerate(guess) if found[at] != token), len(guess))
            for token, logprob in zip(found[: right + 1], best.tolist(), strict=False):
                if token in self.tokens.end_ids or len(ids) == question.most_tokens:
                    return Generated(tuple(ids), tuple(logprobs))
                ids.append(token)
                logprobs.append(logprob)
            before += len(ahead) + right
            cache.crop(before)
            ahead, guess = self._thinker.model.embed_tokens(self._ids(ids[-1:])), continuation(question.draft, ids)
        return Generated(tuple(ids), tuple(logprobs))

    def _encode(self, thinker: Any, pieces: Sequence[Pcm]) -> torch.Tensor:
        """Computes the audio states of all pieces in a row, (tokens, width); each piece is encoded alone."""
        mels = [features(lengthened(piece)) for piece in pieces]
        self.encoded_s += sum(m.shape[1] for m in mels) / 100
        lengths = torch.tensor([m.shape[1] for m in mels], device=self.device)
        joined = torch.cat(mels, dim=1).to(self.device, thinker.dtype)
        states: torch.Tensor = thinker.audio_tower(joined, feature_lens=lengths).last_hidden_state
        return states

    def _embed(self, text: str) -> torch.Tensor:
        embedded: torch.Tensor = self._thinker.model.embed_tokens(self._ids(self.tokens.ids(text)))
        return embedded

    def _ids(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    @torch.inference_mode()
    def _align_together(self, asked: Sequence[tuple[Pcm, Sequence[str]]]) -> list[list[int]]:
        results: list[list[int]] = [[]] * len(asked)
        for group in length_buckets([len(pcm) + 1 for pcm, _ in asked], self.batch_size):
            with self._lock:
                found = self._align_batch([asked[p] for p in group])
            for position, steps in zip(group, found, strict=True):
                results[position] = steps
        return results

    def _align_batch(self, asked: list[tuple[Pcm, Sequence[str]]]) -> list[list[int]]:
        thinker = self._aligner
        rows, embedded = [], []
        for pcm, units in asked:
            audio = self._encode(thinker, [pcm])
            assert len(audio) == encoded_length(len(lengthened(pcm)) // FRAME_SAMPLES)
            before, after = alignment_prompt(list(units)).split(AUDIO_PAD)
            ids = [self._ids(self._aligner_tokens.ids(part)) for part in (before, after)]
            embedded.append(torch.cat([thinker.model.embed_tokens(ids[0]), audio, thinker.model.embed_tokens(ids[1])]))
            rows.append(torch.cat([ids[0], torch.full((len(audio),), -1, device=self.device), ids[1]]))
        mask = torch.nn.utils.rnn.pad_sequence(
            [torch.ones(len(e), dtype=torch.long) for e in embedded], batch_first=True
        )
        states = thinker.model(
            inputs_embeds=torch.nn.utils.rnn.pad_sequence(embedded, batch_first=True),
            attention_mask=mask.to(self.device),
            use_cache=False,
        )[0]
        return [
            thinker.lm_head(state[: len(row)][row == self._timestamp_id]).argmax(-1).tolist()
            for state, row in zip(states, rows, strict=True)
        ]
