"""Qwen3-ASR's and its aligner's network classes, of the `qwen-asr` package, loaded from the original layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from runners.kit.bare import import_bare

_WINDOWS = "qwen3_audio_windows"


def _backend() -> Any:
    """The package's module of network classes."""
    try:
        import_bare("qwen_asr")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "without a CUDA GPU and vLLM, Qwen3-ASR needs qwen-asr: pip install --no-deps -r requirements-no-deps.txt",
            name=error.name,
        ) from None
    from qwen_asr.core import transformers_backend
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_WINDOWS, _attend_within_windows)
    return transformers_backend


def _attend_within_windows(
    _: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    cu_seq_lens_q: torch.Tensor,
    scaling: float,
    **__: Any,
) -> tuple[torch.Tensor, None]:
    """Attends, (1, heads, tokens, size), within the stretches that ``cu_seq_lens_q`` bounds.

    qwen-asr's tower passes the bounds to flash attention only; its other kernels attend across windows, which is
    not what the model was trained with.
    """
    lengths = (cu_seq_lens_q[1:] - cu_seq_lens_q[:-1]).tolist()
    longest = max(lengths)

    def stretched(states: torch.Tensor) -> torch.Tensor:
        parts = torch.split(states[0].transpose(0, 1), lengths)
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).transpose(1, 2)  # type: ignore[arg-type]

    real = torch.arange(longest, device=query.device)[None] < torch.tensor(lengths, device=query.device)[:, None]
    mask = None if min(lengths) == longest else real[:, None, None]
    attended = functional.scaled_dot_product_attention(
        stretched(query), stretched(key), stretched(value), attn_mask=mask, scale=scaling
    )
    return attended.transpose(1, 2)[real][None], None


def build(config: dict[str, Any]) -> Any:
    """Builds a network with random weights, for a config.json's content.

    Raises:
        ModuleNotFoundError: qwen-asr is not installed.
    """
    backend = _backend()
    network = backend.Qwen3ASRForConditionalGeneration(backend.Qwen3ASRConfig(**config))
    return _with_windows(network)


def load(directory: Path, dtype: torch.dtype, device: str) -> Any:
    """Loads the network of a checkpoint in the original layout (``thinker.*``), ready to infer.

    Raises:
        ModuleNotFoundError: qwen-asr is not installed.
    """
    network = _backend().Qwen3ASRForConditionalGeneration.from_pretrained(directory, dtype=dtype, device_map=None)
    return _with_windows(network).to(device).eval()


def _with_windows(network: Any) -> Any:
    network.thinker.audio_tower.config._attn_implementation = _WINDOWS
    return network
