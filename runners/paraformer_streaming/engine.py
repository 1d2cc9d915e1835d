"""Recognises live sentences with streaming Paraformer; chunks of many sentences make one batch.

The network is FunASR's ParaformerStreaming (SCAMA, Zhang et al. 2020, arXiv:2006.01712): chunks of 600 ms
with 300 ms of look-ahead, encoder attention over four chunks back, decoder attention over one. FunASR's
class computes one sentence at a time; a step of a large model costs what reading its weights costs, so
here one step serves every sentence that has a chunk ready.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from runners.interface import StreamingItem, StreamingResult
from runners.kit.features import FRAME_LENGTH, FRAME_SHIFT, fbank, frame_count
from runners.kit.funasr_models import ModelDirectory, Modules, UnsupportedModelError
from runners.kit.precision import Precision
from runners.paraformer_streaming.network import CHUNK, LOOK_AHEAD, LOOK_BACK, StreamingNetwork
from runners.paraformer_streaming.punctuation import RealtimePunctuationEngine

log = logging.getLogger(__name__)

MODULES: Modules = {
    "ParaformerStreaming": (
        "paraformer_streaming.model",
        "scama.encoder",
        "paraformer.decoder",
        "paraformer.cif_predictor",
    )
}
_FRAME_MS = 60
_CHUNK_SAMPLES = CHUNK * 960
_SHORTEST_TAIL = 960  # samples; fewer at a sentence's end only flush what was looked ahead
_KEPT_SAMPLES = FRAME_LENGTH - FRAME_SHIFT + 80  # of a whole chunk, in the frame that its end cuts
_FIRING_DELAY_MS = 120  # see runners.paraformer.engine
_LONGEST_TOKEN_MS = 400


@dataclass
class _Sentence:
    """Keeps what a live sentence leaves for its next chunk; only replaced after a whole batch has been computed."""

    pcm: NDArray[np.int16]  # from the first frame that is not computed yet
    overlap: torch.Tensor  # (look-ahead, inputs): the previous chunk's last embedded frames
    keys: torch.Tensor  # (layers, 2, heads, look-back, head size): encoder keys and values, a ring of chunks
    hidden: torch.Tensor  # (width): what the predictor has gathered for the next token …
    weight: np.float32  # … and how much of it
    decoder_keys: torch.Tensor | None = None  # (layers, 2, heads, look-back, head size) once it has decoded
    decoder_memory: torch.Tensor | None = None  # (layers, kernel - 1, width): inputs of its causal convolutions
    rows: torch.Tensor | None = None  # log-mel frames that the next stacked frame begins with
    samples: int = 0  # all that came
    chunks: int = 0
    fired: list[tuple[int, int]] = field(default_factory=list)  # (token id, ms)
    marks: list[str] = field(default_factory=list)
    used_s: float = 0.0

    @property
    def fresh_samples(self) -> int:
        return len(self.pcm) - (_KEPT_SAMPLES if self.chunks else 0)


@dataclass(frozen=True)
class _Chunk:
    """Holds a sentence's next chunk as the encoder takes it, and what remains of its audio."""

    sentence: _Sentence
    frames: torch.Tensor  # (look-ahead + new, inputs)
    is_final: bool
    pcm: NDArray[np.int16]
    rows: torch.Tensor | None


class ParaformerStreamingEngine:
    """Recognises sentences of live sentences, 16 kHz PCM16; it is not thread-safe.

    A sentence's tokens are the same in any company, chunk by chunk (int8 excepted: torch scales its
    activations by the batch). Idle sentences are dropped after ``idle_s``.

    Attributes:
        device: Where the model computes: `cpu` or `cuda`.
        tokens: The vocabulary, by id.
        punctuation: What marks the text so far; None: marks are empty.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        *,
        precision: Precision = "fp32",
        device: str = "cpu",
        most_sentences: int = 512,
        idle_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Loads the model.

        Raises:
            UnsupportedModelError: it is no ParaformerStreaming, or of a shape that is not computed here.
        """
        config = directory.config
        if directory.model_class not in MODULES:
            raise UnsupportedModelError(f"{directory.path}: {directory.model_class} is not ParaformerStreaming")
        decoder, frontend = config["decoder_conf"], config["frontend_conf"]
        if decoder["sanm_shfit"] != (decoder["kernel_size"] - 1) // 2:
            raise UnsupportedModelError(f"{directory.path}: the decoder's convolutions look ahead (sanm_shfit)")
        if decoder["num_blocks"] != decoder["att_layer_num"]:
            raise UnsupportedModelError(f"{directory.path}: decoder layers without attention are not supported")
        if (frontend["lfr_m"], frontend["lfr_n"]) != (7, 6):
            raise UnsupportedModelError(f"{directory.path}: features must be stacked by 7 and thinned by 6")
        self.device = device
        self.tokens = directory.tokens
        self.punctuation: RealtimePunctuationEngine | None = None  # without one, marks are empty
        self._most_sentences, self._idle_s, self._clock = most_sentences, idle_s, clock
        self._sentences: dict[str, _Sentence] = {}
        model: Any = directory.build(MODULES).to(device)
        self._special = {model.sos, model.eos, model.blank_id}
        self._network = StreamingNetwork(model, precision)
        shift, scale = directory.cmvn()
        # the encoder scales its input by the root of its width; so do the statistics, at once
        self._cmvn = shift.to(device), (scale * self._network.width**0.5).to(device)
        self._positions = torch.empty(0, len(shift), device=device)

    def __len__(self) -> int:
        self._evict()
        return len(self._sentences)

    def close(self, sentences: Sequence[str]) -> None:
        """Frees sentences; unknown ones are none."""
        for name in sentences:
            self._sentences.pop(name, None)

    def step(self, items: Sequence[StreamingItem]) -> list[StreamingResult]:
        """Advances sentences by their items' audio.

        A sentence that fails is freed and its result tells why; of a batch that fails, each sentence is tried alone.
        """
        self._evict()
        results: list[StreamingResult | None] = [None] * len(items)
        waiting = list(range(len(items)))
        while waiting:  # more than one round only where a sentence has several items
            now = sorted({items[i].sentence: i for i in reversed(waiting)}.values())
            waiting = [i for i in waiting if i not in now]
            for position, result in zip(now, self._round([items[i] for i in now]), strict=True):
                results[position] = result
        return [r for r in results if r is not None]

    def _evict(self) -> None:
        oldest_s = self._clock() - self._idle_s
        idle = [name for name, sentence in self._sentences.items() if sentence.used_s < oldest_s]
        if idle:
            log.info("%d live sentences idle for %.0f s are dropped", len(idle), self._idle_s)
        self.close(idle)

    def _round(self, items: Sequence[StreamingItem]) -> list[StreamingResult]:
        """Makes one step of items that are each of another sentence."""
        results = [self._accept(item) for item in items]
        batch_sizes = [0] * len(items)
        finished: set[int] = set()
        while True:
            ready: dict[int, _Chunk] = {}
            for i, item in enumerate(items):
                if results[i] is None and i not in finished:
                    chunk = self._next_chunk(self._sentences[item.sentence], item.is_last)
                    if chunk is not None:
                        ready[i] = chunk
            if not ready:
                break
            for i, problem in zip(ready, self._compute(list(ready.values())), strict=True):
                batch_sizes[i] = max(batch_sizes[i], len(ready))
                if problem is not None:
                    results[i] = StreamingResult(error=problem)
                    self.close([items[i].sentence])
                elif ready[i].is_final:
                    finished.add(i)
        going = [i for i, result in enumerate(results) if result is None]
        self._punctuate([self._sentences[items[i].sentence] for i in going if items[i].punctuate])
        for i in going:
            results[i] = self._result(self._sentences[items[i].sentence], items[i], batch_sizes[i])
            if items[i].is_last:
                self.close([items[i].sentence])
        return [r for r in results if r is not None]

    def _accept(self, item: StreamingItem) -> StreamingResult | None:
        """Takes an item's samples into its sentence; returns a result where that cannot be."""
        if item.pcm.dtype != np.int16 or item.pcm.ndim != 1:
            self.close([item.sentence])
            return StreamingResult(error=f"pcm must be one row of int16, not {item.pcm.ndim} of {item.pcm.dtype}")
        if item.is_first:
            self.close([item.sentence])
            if len(self._sentences) >= self._most_sentences:
                return StreamingResult(error=f"{self._most_sentences} live sentences are open, which is the most")
            self._sentences[item.sentence] = self._begin()
        sentence = self._sentences.get(item.sentence)
        if sentence is None:
            return StreamingResult(lost=True)
        sentence.used_s = self._clock()
        sentence.samples += len(item.pcm)
        sentence.pcm = np.concatenate([sentence.pcm, item.pcm])
        return None

    def _begin(self) -> _Sentence:
        return _Sentence(
            pcm=np.empty(0, np.int16),
            overlap=torch.zeros(LOOK_AHEAD, self._positions.shape[1], device=self.device),
            keys=torch.zeros(self._network.keys_shape, dtype=self._network.keys_type, device=self.device),
            hidden=torch.zeros(self._network.width, device=self.device),
            weight=np.float32(0),
        )

    # --- features ------------------------------------------------------------------------------------

    def _next_chunk(self, sentence: _Sentence, is_last: bool) -> _Chunk | None:
        """Makes the next chunk that can be computed, after FunASR's WavFrontendOnline; None: wait for more audio."""
        is_final = sentence.fresh_samples < _CHUNK_SAMPLES
        if is_final and not is_last:
            return None
        if is_final and sentence.fresh_samples < _SHORTEST_TAIL:
            return _Chunk(sentence, sentence.overlap, True, sentence.pcm[:0], None)
        used = len(sentence.pcm) if is_final else len(sentence.pcm) - sentence.fresh_samples + _CHUNK_SAMPLES
        rows = fbank(sentence.pcm[:used])
        rest = sentence.pcm[frame_count(used) * FRAME_SHIFT :]
        rows = torch.cat([rows[:1].expand(3, -1) if sentence.rows is None else sentence.rows, rows])
        count = -(-(len(rows) - 3) // 6)
        index = torch.arange(count)[:, None] * 6 + torch.arange(7)
        stacked = rows[index.clamp_(max=len(rows) - 1)].reshape(count, -1).to(self.device)
        shift, scale = self._cmvn
        first = sentence.chunks * CHUNK
        frames = (stacked + shift) * scale + self._position_rows(first + count)[first:]
        return _Chunk(sentence, torch.cat([sentence.overlap, frames]), is_final, rest, rows[6 * count :])

    def _position_rows(self, count: int) -> torch.Tensor:
        """Returns the sinusoids of positions 1 to ``count``, as FunASR's StreamSinusoidalPositionEncoder."""
        if count > len(self._positions):
            half = self._positions.shape[1] // 2
            increment = torch.log(torch.tensor(10000.0)) / (half - 1)
            rates = torch.exp(torch.arange(half) * -increment)
            angles = torch.arange(1, 2 * count + 1)[:, None] * rates
            self._positions = torch.cat([angles.sin(), angles.cos()], 1).to(self.device)
        return self._positions[:count]

    # --- the network ---------------------------------------------------------------------------------

    def _compute(self, chunks: list[_Chunk]) -> list[str | None]:
        """Computes one chunk of each sentence, together or, where that fails, alone.

        Returns what went wrong, per sentence.
        """
        try:
            self._batch(chunks)
        except (RuntimeError, ValueError, IndexError) as error:
            if len(chunks) == 1:
                log.error("a live sentence failed: %s", error)
                return [f"{type(error).__name__}: {error}"]
            log.warning("a batch of %d sentences failed (%s); they run alone", len(chunks), error)
            return [problem for chunk in chunks for problem in self._compute([chunk])]
        return [None] * len(chunks)

    @torch.inference_mode()
    def _batch(self, chunks: list[_Chunk]) -> None:
        network, sentences = self._network, [c.sentence for c in chunks]
        lengths = [len(c.frames) for c in chunks]
        lengths_tensor = torch.tensor(lengths, device=self.device)
        known = [min(s.chunks * CHUNK, LOOK_BACK) for s in sentences]
        frames = pad_sequence([c.frames for c in chunks], batch_first=True)
        encoded, keys = network.encode(frames, lengths_tensor, [s.keys for s in sentences], known)
        gathered, fired, weights = network.integrate(
            encoded,
            lengths,
            [c.is_final for c in chunks],
            torch.stack([s.hidden for s in sentences]),
            [s.weight for s in sentences],
        )
        speaking = [i for i, frames_fired in enumerate(fired) if frames_fired]
        if speaking:
            ids, decoder_keys, decoder_memory = network.decode(
                encoded[speaking],
                lengths_tensor[speaking],
                gathered[speaking, 1:],
                [len(fired[i]) for i in speaking],
                [sentences[i].decoder_keys for i in speaking],
                [sentences[i].decoder_memory for i in speaking],
            )
            best = ids.tolist()
        # Nothing has changed until here, and nothing below can fail.
        for i, (chunk, sentence) in enumerate(zip(chunks, sentences, strict=True)):
            first_ms = (sentence.chunks * CHUNK - LOOK_AHEAD) * _FRAME_MS
            if i in speaking:
                row = speaking.index(i)
                sentence.decoder_keys = decoder_keys[:, :, row].clone()
                sentence.decoder_memory = decoder_memory[:, row].clone()
                sentence.fired += [(k, first_ms + t * _FRAME_MS) for k, t in zip(best[row], fired[i], strict=False)]
            if not chunk.is_final:
                oldest = sentence.chunks * CHUNK % LOOK_BACK
                sentence.keys[..., oldest : oldest + CHUNK, :] = keys[:, :, i]
            sentence.hidden, sentence.weight = gathered[i, 0].clone(), weights[i]
            sentence.overlap = chunk.frames[-LOOK_AHEAD:].clone()
            sentence.pcm, sentence.rows = chunk.pcm, chunk.rows
            sentence.chunks += 1

    # --- results -------------------------------------------------------------------------------------

    def _punctuate(self, sentences: list[_Sentence]) -> None:
        if self.punctuation is None:
            return
        texts = [[self.tokens[k] for k, _ in s.fired if k not in self._special] for s in sentences]
        changed = [i for i, (text, s) in enumerate(zip(texts, sentences, strict=True)) if len(text) != len(s.marks)]
        for i, marks in zip(changed, self.punctuation.mark([texts[i] for i in changed]), strict=True):
            sentences[i].marks = marks

    def _result(self, sentence: _Sentence, item: StreamingItem, batch_size: int) -> StreamingResult:
        spoken = [(i, k, ms) for i, (k, ms) in enumerate(sentence.fired) if k not in self._special]
        starts = [max(0, ms - _FIRING_DELAY_MS) for _, _, ms in spoken]
        heard_ms = sentence.samples // 16
        ends = []
        for (i, _, _), start in zip(spoken, starts, strict=True):
            following = sentence.fired[i + 1][1] - _FIRING_DELAY_MS if i + 1 < len(sentence.fired) else heard_ms
            ends.append(max(start, min(following, start + _LONGEST_TOKEN_MS)))
        marks = [""] * len(spoken)
        if item.punctuate and sentence.marks:
            marks = sentence.marks if item.is_last else [*sentence.marks[:-1], ""]
        tokens = [self.tokens[k] for _, k, _ in spoken]
        return StreamingResult(tokens=tokens, starts_ms=starts, ends_ms=ends, marks=marks, batch_size=batch_size)
