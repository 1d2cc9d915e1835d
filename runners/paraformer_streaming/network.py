"""Computes one chunk of many live sentences through a streaming Paraformer, as one batch.

FunASR's ``forward_chunk`` methods for batches: the same layers in the same order, with what a sentence
remembers (attention keys and values, convolution inputs, the predictor's remainder) passed in and
given back, so nothing changes where a computation fails. Rows and keys that a shorter chunk or a
younger sentence lacks are masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runners.kit.precision import Precision, with_precision

CHUNK, LOOK_AHEAD = 10, 5  # stacked frames of 60 ms: new ones of a chunk, and those it sees again in the next
LOOK_BACK = 4 * CHUNK  # frames before the chunk that the encoder attends to; the decoder: the last chunk's


class StreamingNetwork:
    """Computes the encoder, predictor and decoder of FunASR's ParaformerStreaming.

    Attributes:
        width: The encoder's output size.
        keys_type: The type of remembered keys and values.
        keys_shape: (layers, 2, heads, LOOK_BACK, size): an encoder's keys and values of a sentence.
        decoder_keys_shape: (layers, 2, heads, CHUNK, size): the decoder's.
        decoder_memory_shape: (layers, kernel - 1, width): inputs of the decoder's convolutions.
    """

    def __init__(self, model: Any, precision: Precision) -> None:
        self._encoder, self._decoder, self._predictor = model.encoder, model.decoder, model.predictor
        for part in (self._encoder, self._decoder):
            with_precision(part, precision)
        self._linear_type = torch.bfloat16 if precision == "bf16" else torch.float32
        self.keys_type = torch.float32 if precision == "fp32" else torch.bfloat16
        self._layers: list[Any] = [*self._encoder.encoders0, *self._encoder.encoders]
        self._decoder_layers: list[Any] = list(self._decoder.decoders)
        self.width: int = model.encoder.output_size()
        attention = self._layers[0].self_attn
        self.keys_shape = len(self._layers), 2, attention.h, LOOK_BACK, attention.d_k
        attention = self._decoder_layers[0].src_attn
        self.decoder_keys_shape = len(self._decoder_layers), 2, attention.h, CHUNK, attention.d_k
        kernel = self._decoder_layers[0].self_attn.kernel_size
        self.decoder_memory_shape = len(self._decoder_layers), kernel - 1, self.width

    def encode(
        self, frames: torch.Tensor, lengths: torch.Tensor, keys: Sequence[torch.Tensor], known: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encodes (batch, time, inputs).

        ``keys`` holds each sentence's (layers, 2, heads, LOOK_BACK, size), of which the first ``known`` are filled.
        Gives (batch, time, width), zero past a sentence's length, and the keys and values of the chunk's first CHUNK
        frames, (layers, 2, batch, heads, CHUNK, size).
        """
        past = max(known)
        padding = _padding(lengths, frames.shape[1])
        mask = _mask(torch.cat([_padding(torch.tensor(known, device=frames.device), past), padding], 1))
        shorter = padding[..., None] if padding.any() else None
        x: torch.Tensor = frames
        found: list[torch.Tensor] = []
        for index, layer in enumerate(self._layers):
            attention = layer.self_attn
            q, k, v = attention.linear_q_k_v(layer.norm1(x).to(self._linear_type)).chunk(3, -1)
            if shorter is not None:
                v = v.masked_fill(shorter, 0.0)
            now = torch.stack([_heads(k, attention.h), _heads(v, attention.h)]).to(self.keys_type)
            found.append(now[..., :CHUNK, :])
            before = torch.stack([s[index, :, :, :past] for s in keys], 1)
            attended = attention.linear_out(self._attend(_heads(q, attention.h), before, now, mask))
            attended = _convolve(attention, v.float()).add_(v).add_(attended)
            x = x + attended if layer.in_size == layer.size else attended
            x = x + layer.feed_forward(layer.norm2(x).to(self._linear_type))
        x = self._encoder.after_norm(x)
        return x if shorter is None else x.masked_fill(shorter, 0.0), torch.stack(found)

    def integrate(
        self,
        encoded: torch.Tensor,
        lengths: Sequence[int],
        final: Sequence[bool],
        hidden: torch.Tensor,
        weights: Sequence[np.float32],
    ) -> tuple[torch.Tensor, list[list[int]], list[np.float32]]:
        """Integrates and fires continuously (CIF) over the chunk, from each sentence's remainder.

        The remainder is ``hidden`` (batch, width) of ``weights``. Gives (batch, 1 + tokens, width), the new remainder
        first; the frames at which each sentence's tokens fired; and the new remainders' weights.
        """
        predictor = self._predictor
        local = torch.relu(predictor.cif_conv1d(predictor.pad(encoded.transpose(1, 2)))).transpose(1, 2)
        alphas = torch.sigmoid(predictor.cif_output(local))[..., 0]
        alphas = torch.relu(alphas * predictor.smooth_factor - predictor.noise_threshold)
        found = []
        for row, length, is_final, weight in zip(alphas.cpu().numpy(), lengths, final, weights, strict=True):
            seen = row[:length] if is_final else row[:CHUNK]
            tail = [np.float32(predictor.tail_threshold)] if is_final else []
            found.append(_fire([weight, *seen, *tail], np.float32(predictor.threshold)))
        most = max(len(fired) for _, fired, _ in found)
        shares = np.zeros((len(found), 1 + most, encoded.shape[1] + 2), np.float32)
        for i, (rows, _, _) in enumerate(found):
            shares[i, : rows.shape[0], : rows.shape[1]] = rows
        # the tail's column is left out: its frame is zero
        gathered = torch.from_numpy(shares[..., :-1]).to(encoded.device) @ torch.cat([hidden[:, None], encoded], 1)
        return gathered, [[t - 1 for t in fired] for _, fired, _ in found], [rest for _, _, rest in found]

    def decode(
        self,
        encoded: torch.Tensor,
        lengths: torch.Tensor,
        embeds: torch.Tensor,
        counts: Sequence[int],
        keys: Sequence[torch.Tensor | None],
        memories: Sequence[torch.Tensor | None],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decodes ``counts`` tokens of each sentence from (batch, tokens, width).

        ``keys`` (layers, 2, heads, CHUNK, size) and ``memories`` (layers, kernel - 1, width) are None where a sentence
        decodes for the first time. Gives ids (batch, tokens), and the new keys and memories with the batch as third and
        second dimension.
        """
        device = encoded.device
        started = torch.tensor([0 if k is None else CHUNK for k in keys], device=device)
        mask = _mask(torch.cat([_padding(started, CHUNK), _padding(lengths, encoded.shape[1])], 1))
        blank_keys = torch.zeros(self.decoder_keys_shape, dtype=self.keys_type, device=device)
        blank_memory = torch.zeros(self.decoder_memory_shape, device=device)
        memory = encoded.to(self._linear_type)
        past_keys = torch.stack([blank_keys if k is None else k for k in keys], 2)
        past_memory = torch.stack([blank_memory if m is None else m for m in memories], 1)
        kept = torch.arange(past_memory.shape[2], device=device) + torch.tensor(counts, device=device)[:, None]
        sentence = torch.arange(len(counts), device=device)[:, None]
        new_keys, new_memory = [], []
        x = embeds
        for index, layer in enumerate(self._decoder_layers):
            fed = layer.norm2(self._feed(layer.feed_forward, layer.norm1(x)))
            # causal: what pads the shorter sentences comes after all that counts
            inputs = torch.cat([past_memory[index], fed], 1)
            new_memory.append(inputs[sentence, kept])
            x = x + layer.self_attn.fsmn_block(inputs.transpose(1, 2)).transpose(1, 2) + fed
            attention = layer.src_attn
            q = _heads(attention.linear_q(layer.norm3(x).to(self._linear_type)), attention.h)
            k, v = attention.linear_k_v(memory).chunk(2, -1)
            now = torch.stack([_heads(k, attention.h), _heads(v, attention.h)]).to(self.keys_type)
            new_keys.append(now[..., -CHUNK:, :])
            x = x + attention.linear_out(self._attend(q, past_keys[index], now, mask))
        for layer in self._decoder.decoders3:
            x = self._feed(layer.feed_forward, layer.norm1(x))
        ids = self._decoder.output_layer(self._decoder.after_norm(x).to(self._linear_type)).argmax(-1)
        return ids, torch.stack(new_keys), torch.stack(new_memory)

    def _feed(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        """Computes a decoder's feed-forward layer, whose inner normalisation is in float32 in any precision."""
        inner = layer.norm(torch.relu(layer.w_1(x.to(self._linear_type))).float())
        fed: torch.Tensor = layer.w_2(inner.to(self._linear_type)).float()
        return fed

    def _attend(
        self, q: torch.Tensor, past: torch.Tensor, now: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attends to keys and values of before and now (2, batch, heads, time, size): cheaper than joining them."""
        q = q.to(self.keys_type) * q.shape[-1] ** -0.5
        scores = torch.cat([q @ past[0].transpose(-1, -2), q @ now[0].transpose(-1, -2)], -1).float()
        if mask is not None:
            scores += mask
        shares = scores.softmax(-1).to(self.keys_type)
        context = shares[..., : past.shape[3]] @ past[1] + shares[..., past.shape[3] :] @ now[1]
        return context.transpose(1, 2).flatten(2).to(self._linear_type)


def _padding(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """Marks (batch, longest) true past each length."""
    return torch.arange(longest, device=lengths.device) >= lengths[:, None]


def _mask(hidden: torch.Tensor) -> torch.Tensor | None:
    """Makes what hides keys (batch, keys) from an attention; None where none are."""
    if not hidden.any():
        return None
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, float("-inf"))[:, None, None]


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Turns (batch, time, width) into (batch, heads, time, size)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def _convolve(attention: Any, x: torch.Tensor) -> torch.Tensor:
    """Convolves (batch, time, width) over time as the memory block does, in the layout that torch is fast at."""
    left, right = attention.pad_fn.padding
    padded = torch.nn.functional.pad(x, (0, 0, left, right)).transpose(1, 2).unsqueeze(2)
    weight = attention.fsmn_block.weight.unsqueeze(2)
    return torch.nn.functional.conv2d(padded, weight, groups=len(weight)).squeeze(2).transpose(1, 2)


def _fire(alphas: Sequence[np.float32], threshold: np.float32) -> tuple[NDArray[np.float32], list[int], np.float32]:
    """Shares frames out among tokens, as FunASR's loop does.

    Gives each token's shares of the frames, that of the remainder first; where the tokens fired; the remainder's
    weight. Order and precision are FunASR's too, so that sums meet the threshold where its do.
    """
    total, shares = np.float32(0), np.zeros(len(alphas), np.float32)
    tokens, fired = [], []
    for t, alpha in enumerate(alphas):
        if alpha + total < threshold:
            total += alpha
            shares[t] = alpha
            continue
        shares[t] = threshold - total
        tokens.append(shares)
        fired.append(t)
        total = total + alpha - threshold
        shares = np.zeros(len(alphas), np.float32)
        shares[t] = total
    return np.stack([shares / total if total > 0 else shares, *tokens]), fired, total
