"""Recognises recordings with Paraformer: characters with times and log-probabilities, in real batches.

Paraformer (Gao et al. 2022, arXiv:2206.08317) predicts all tokens of an utterance at once: a
continuous integrate-and-fire (CIF) predictor tells how many there are and when, a decoder which.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from runners.interface import Recognition
from runners.kit.batching import length_buckets
from runners.kit.features import FRAME_LENGTH, fbank, stack_frames
from runners.kit.funasr_models import ModelDirectory, Modules
from runners.paraformer.decoding import best_tokens
from runners.paraformer.hotwords import Hotwords, Spelling
from runners.paraformer.language_model import LanguageModel

_DECODER, _ENCODER = "paraformer.decoder", "sanm.encoder"
_PREDICTOR, _BICIF_PREDICTOR = "paraformer.cif_predictor", "bicif_paraformer.cif_predictor"
MODULES: Modules = {
    "Paraformer": ("paraformer.model", _DECODER, _PREDICTOR, _ENCODER),
    "BiCifParaformer": ("bicif_paraformer.model", _DECODER, _BICIF_PREDICTOR, _ENCODER),
    "SeacoParaformer": ("seaco_paraformer.model", _DECODER, _BICIF_PREDICTOR, _ENCODER),
    "ContextualParaformer": ("contextual_paraformer.model", "contextual_paraformer.decoder", _PREDICTOR, _ENCODER),
}
_BIASED_BY_THEMSELVES = ("SeacoParaformer", "ContextualParaformer")
# SeACo-Paraformer attends to this many hotwords; which of more, it decides by the whole batch.
_MOST_ATTENDED = 50
_LFR_FRAME_MS = 60
# A token's CIF weight gathers around the middle of its syllable: it fires this long after it begins.
# 1.5 frames of 20 ms is FunASR's figure for BiCif; 2 of 60 ms was measured against synthetic speech.
_FIRING_DELAY_MS = {"BiCif": 30.0, "Paraformer": 120.0}
_LONGEST_TOKEN_MS = 400.0


class ParaformerEngine:
    """Recognises batches of 16 kHz PCM16.

    It is not thread-safe. Results are identical in any company: items are only batched with items of similar length,
    and padding is masked everywhere.

    Attributes:
        batch_size: How many recordings are computed at once, at most.
        device: Where the model computes: `cpu` or `cuda`.
        tokens: The vocabulary, by id.
        language_model: Chooses among likely tokens; None: nothing does.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        *,
        batch_size: int,
        device: str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        language_model: LanguageModel | None = None,
    ) -> None:
        """Loads the model, with an encoder (six sevenths of the cost) of ``precision``; all else computes in fp32.

        Raises:
            UnsupportedModelError: it is none of the Paraformers that run here.
        """
        self._model: Any = directory.build(MODULES).to(device)
        self.batch_size = batch_size
        self.device = device
        self._encoder_type = torch.bfloat16 if precision == "bf16" else torch.float32
        self.tokens = directory.tokens
        frontend = directory.config["frontend_conf"]
        self._lfr = int(frontend["lfr_m"]), int(frontend["lfr_n"])
        shift, scale = directory.cmvn()
        self._cmvn = shift.to(device), scale.to(device)
        # BiCif has a second, upsampled predictor for times alone
        predictor = directory.config["predictor_conf"]
        upsampled = directory.config["predictor"] == "CifPredictorV3"
        self._upsampling = int(predictor.get("upsample_times", 3)) if upsampled else 1
        self._firing_delay_ms = _FIRING_DELAY_MS["BiCif" if upsampled else "Paraformer"]
        self._special: set[int] = {getattr(self._model, name) for name in ("sos", "eos", "blank_id")}
        self._biased_by_itself = directory.model_class in _BIASED_BY_THEMSELVES
        self.language_model = language_model
        spelling = Spelling(self.tokens, self._special, directory.path)
        # the utterances of a request have the same hotwords
        self._hotwords = functools.lru_cache(64)(lambda weights: Hotwords.of(dict(weights), spelling))

    def recognise(
        self, recordings: Sequence[NDArray[np.int16]], hotwords: Sequence[Mapping[str, int]] | None = None
    ) -> list[Recognition]:
        """Recognises each recording; one shorter than a frame (25 ms) or without speech has no tokens.

        ``hotwords`` are each recording's, with weights from 1 to 100; None: there are none.
        """
        wanted = [self._hotwords(tuple(h.items())) if h else None for h in hotwords or [{}] * len(recordings)]
        results = [Recognition(ignored_hotwords=list(h.unknown) if h else []) for h in wanted]
        long_enough = [i for i, r in enumerate(recordings) if len(r) >= FRAME_LENGTH]
        for mates in self._mates(long_enough, wanted):
            for group in length_buckets([len(recordings[i]) for i in mates], self.batch_size):
                positions = [mates[g] for g in group]
                found = self._batch([recordings[p] for p in positions], [wanted[p] for p in positions])
                for position, tokens in zip(positions, found, strict=True):
                    ignored = results[position].ignored_hotwords
                    results[position] = tokens.model_copy(update={"ignored_hotwords": ignored})
        return results

    def _mates(self, positions: Sequence[int], hotwords: Sequence[Hotwords | None]) -> list[list[int]]:
        """Groups positions that may share a batch: a model with its own biasing has one list of hotwords at a time."""
        if not self._biased_by_itself:
            return [list(positions)]
        groups: dict[tuple[int, int], list[int]] = {}
        for position in positions:
            words = hotwords[position]
            alone = words is not None and len(words.rewards) > _MOST_ATTENDED
            groups.setdefault((id(words), position if alone else -1), []).append(position)
        return list(groups.values())

    @torch.inference_mode()
    def _batch(self, recordings: list[NDArray[np.int16]], hotwords: Sequence[Hotwords | None]) -> list[Recognition]:
        model = self._model
        shift, scale = self._cmvn
        features = [(stack_frames(fbank(r), *self._lfr).to(self.device) + shift) * scale for r in recordings]
        lengths = torch.tensor([len(f) for f in features], device=self.device)
        with torch.autocast(self.device, self._encoder_type, enabled=self._encoder_type != torch.float32):
            encoded, encoded_lengths = model.encode(pad_sequence(features, batch_first=True), lengths)
        encoded = encoded.float()
        # The predictor's convolution looks one frame past the end, where a recording alone has zeros.
        padding = torch.arange(encoded.shape[1], device=self.device) >= encoded_lengths[:, None]
        encoded = encoded.masked_fill(padding[..., None], 0.0)
        # oneDNN convolves one recording otherwise than several, with other last digits: the predictor always has two.
        least = [0, 0] if len(recordings) == 1 else slice(None)
        predicted = model.calc_predictor(encoded[least], encoded_lengths[least])[:4]
        embeds, counts, alphas, peaks = (found[: len(recordings)] for found in predicted)
        counts = counts.round().long()
        if int(counts.max()) < 1:
            return [Recognition() for _ in recordings]
        scores = self._scores(encoded, encoded_lengths, embeds, counts, hotwords[0])
        if self._upsampling > 1:
            _, _, alphas, peaks = model.calc_predictor_timestamp(encoded, encoded_lengths, counts)
        best, ids = (t.cpu().numpy() for t in scores.max(-1))
        for i, (count, words) in enumerate(zip(counts.tolist(), hotwords, strict=True)):
            words = None if self._biased_by_itself else words
            if count and (words or self.language_model):
                ids[i, :count] = best_tokens(scores[i, :count], self._special, words, self.language_model)
                best[i, :count] = scores[i, range(count), ids[i, :count]].cpu().numpy()
        alphas, peaks = alphas.float().cpu().numpy(), peaks.float().cpu().numpy()
        tail = 1 if self._upsampling == 1 else 0  # the predictor appends one frame that flushes the last token
        return [
            self._tokens(
                ids[i, :count],
                best[i, :count],
                alphas[i, : int(length) * self._upsampling + tail],
                peaks[i, : int(length) * self._upsampling + tail],
                len(recordings),
            )
            for i, (count, length) in enumerate(zip(counts.tolist(), encoded_lengths.tolist(), strict=True))
        ]

    def _scores(
        self,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        embeds: torch.Tensor,
        counts: torch.Tensor,
        hotwords: Hotwords | None,
    ) -> torch.Tensor:
        """Computes (utterances, positions, vocabulary) log-probabilities, biased to ``hotwords`` by models that can."""
        model, listed = self._model, None
        if hotwords and hotwords.rewards:
            listed = [*map(list, hotwords.rewards), [model.sos]]  # the last stands for none of them
        if hasattr(model, "seaco_decoder"):
            scores = model._seaco_decode_with_ASF(encoded, lengths, embeds, counts, listed, nfilter=_MOST_ATTENDED)
        elif self._biased_by_itself:
            scores = model.cal_decoder_with_predictor(encoded, lengths, embeds, counts, hw_list=listed)[0]
        else:
            scores = model.cal_decoder_with_predictor(encoded, lengths, embeds, counts)[0]
        return scores  # type: ignore[no-any-return]

    def _tokens(
        self, ids: NDArray[Any], logprobs: NDArray[Any], alphas: NDArray[Any], peaks: NDArray[Any], batch_size: int
    ) -> Recognition:
        spoken = [(int(i), float(p)) for i, p in zip(ids, logprobs, strict=True) if int(i) not in self._special]
        times = firing_times(alphas, peaks, len(spoken), _LFR_FRAME_MS / self._upsampling, self._firing_delay_ms)
        return Recognition(
            tokens=[self.tokens[i] for i, _ in spoken],
            ids=[i for i, _ in spoken],
            starts_ms=[start for start, _ in times],
            ends_ms=[end for _, end in times],
            logprobs=[p for _, p in spoken],
            batch_size=batch_size,
        )


def firing_times(
    alphas: NDArray[Any], peaks: NDArray[Any], count: int, frame_ms: float, delay_ms: float
) -> list[tuple[int, int]]:
    """Finds (start, end) in ms of ``count`` tokens, from the weights and firings of a CIF predictor.

    After FunASR's ``ts_prediction_lfr6_standard``: a token lasts from its firing (less the delay) to
    the next one's, the end of sentence firing last; here at most 400 ms, so that a pause is no token's.
    """
    if count == 0:
        return []
    fired = np.flatnonzero(peaks >= 1.0 - 1e-4)
    if len(fired) != count + 1:
        # scale the weights so that exactly the wanted number fires
        total = np.cumsum(alphas.astype(np.float64) * ((count + 1) / max(float(alphas.sum()), 1e-9)))
        fired = np.searchsorted(total, np.arange(1, count + 2) - 1e-4)
    borders = np.clip(fired * frame_ms - delay_ms, 0, len(peaks) * frame_ms)
    starts = borders[:-1]
    ends = np.minimum(borders[1:], starts + _LONGEST_TOKEN_MS)
    return [(round(start), round(end)) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
