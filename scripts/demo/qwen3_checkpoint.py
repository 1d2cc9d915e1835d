"""Writes the demo Qwen3-ASR's and aligner's directories: the hub's files and layout, with a tokenizer of the domain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runners.qwen3.prompt import AUDIO_END, AUDIO_PAD, AUDIO_START, TEXT_TAG, TIMESTAMP
from scripts.demo.sentences import PUNCTUATION, characters

TIMESTAMP_MS = 80
TIMESTAMPS = 128
LONGEST_ALIGNED_S = 10.0  # what these hold; window_s in configs/models.yaml
WIDTH, AUDIO_LAYERS, TEXT_LAYERS = 144, 4, 3
_END, _PAD = "<|im_end|>", "<|endoftext|>"
_SPECIAL = (_PAD, "<|im_start|>", _END, AUDIO_START, AUDIO_END, AUDIO_PAD)
_WORDS = ("language", " Chinese", " None", "system", "user", "assistant")
# What the real checkpoints' templates come to: all system text, then the audio, then the answer.
_TEMPLATE = (
    "<|im_start|>system\n"
    "{% for m in messages if m.role == 'system' %}"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{{ c.text }}{% endfor %}{% endif %}"
    "{% endfor %}<|im_end|>\n"
    "{% for m in messages if m.role == 'user' %}<|im_start|>user\n"
    "{% for c in m.content %}{% if c.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tokenizer(out: Path) -> Any:
    """Writes and returns the tokenizer: bytes, merged so that each character of the domain is one token."""
    from transformers import AddedToken, Qwen2TokenizerFast, WhisperFeatureExtractor
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    letters = bytes_to_unicode()
    merges: dict[tuple[str, str], None] = {}
    for text in (*characters(), *PUNCTUATION, *_WORDS):
        symbols = [letters[byte] for byte in text.encode()]
        for at in range(1, len(symbols)):
            merges["".join(symbols[:at]), symbols[at]] = None
    vocabulary = {symbol: i for i, symbol in enumerate([*letters.values(), *(a + b for a, b in merges)])}
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (out / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = Qwen2TokenizerFast(
        vocab_file=str(out / "vocab.json"),
        merges_file=str(out / "merges.txt"),
        unk_token=None,
        eos_token=_END,
        pad_token=_PAD,
        extra_special_tokens={
            "audio_bos_token": AUDIO_START,
            "audio_eos_token": AUDIO_END,
            "audio_token": AUDIO_PAD,
        },
    )
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in _SPECIAL], special_tokens=True)
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in (TEXT_TAG, TIMESTAMP)])
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(out)
    WhisperFeatureExtractor(feature_size=128, return_attention_mask=True).save_pretrained(out)
    preprocessor = json.loads((out / "preprocessor_config.json").read_text())
    (out / "preprocessor_config.json").write_text(
        json.dumps(preprocessor | {"processor_class": "Qwen3ASRProcessor"}, indent=2) + "\n"
    )
    return tokenizer


def configuration(tokenizer: Any, *, aligner: bool) -> dict[str, Any]:
    """Makes config.json: the architecture of `Qwen/Qwen3-ASR-0.6B` or its aligner, of two million parameters.

    Heads are of sizes that vLLM's kernels take: multiples of 8, and 32 in the decoder.
    """
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    audio = {
        "model_type": "qwen3_asr_audio_encoder",
        **{"d_model": WIDTH, "encoder_layers": AUDIO_LAYERS, "encoder_attention_heads": WIDTH // 24},
        **{"encoder_ffn_dim": 4 * WIDTH, "downsample_hidden_size": 24, "output_dim": WIDTH, "num_mel_bins": 128},
        **{"n_window": 50, "n_window_infer": 800, "max_source_positions": 1500, "conv_chunksize": 500},
        **{"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "activation_function": "gelu"},
    }
    text = {
        "model_type": "qwen3_asr_text",
        **{"vocab_size": -(-len(tokenizer) // 64) * 64, "hidden_size": WIDTH, "intermediate_size": 3 * WIDTH},
        **{"num_hidden_layers": TEXT_LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2},
        **{"head_dim": 32, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "hidden_act": "silu"},
        **{"rope_theta": 10000.0, "attention_bias": False, "attention_dropout": 0.0},
        **{"tie_word_embeddings": not aligner, "eos_token_id": end, "pad_token_id": pad, "bos_token_id": None},
        "rope_scaling": {
            **{"rope_type": "default", "type": "default", "interleaved": True, "mrope_interleaved": True},
            "mrope_section": [6, 5, 5],
        },
    }
    thinker = {
        "model_type": "qwen3_forced_aligner" if aligner else "qwen3_asr",
        **{"audio_config": audio, "text_config": text, "pad_token_id": pad, "tie_word_embeddings": False},
        "audio_token_id": tokenizer.convert_tokens_to_ids(AUDIO_PAD),
        "audio_start_token_id": tokenizer.convert_tokens_to_ids(AUDIO_START),
        "audio_end_token_id": tokenizer.convert_tokens_to_ids(AUDIO_END),
    }
    config: dict[str, Any] = {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        **{"model_type": "qwen3_asr", "support_languages": ["Chinese"], "thinker_config": thinker},
    }
    if aligner:
        thinker["classify_num"] = TIMESTAMPS
        config["timestamp_token_id"] = tokenizer.convert_tokens_to_ids(TIMESTAMP)
        config["timestamp_segment_time"] = TIMESTAMP_MS
    return config


def initialise(network: Any) -> None:
    """Draws random weights that let the sound through: the class's own are for a network a hundred times wider."""
    import torch
    from torch.nn import init

    thinker = network.thinker
    for module in thinker.audio_tower.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            if isinstance(module, torch.nn.Conv2d):
                init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                init.zeros_(module.bias)
    for module in thinker.model.modules():
        if isinstance(module, torch.nn.Linear):
            init.xavier_uniform_(module.weight)
    init.normal_(thinker.model.embed_tokens.weight, std=0.06)
    tie(network)


def tie(network: Any) -> None:
    """Makes one matrix of both ends of the decoder, where the configuration says so."""
    thinker = network.thinker
    if thinker.config.text_config.tie_word_embeddings:
        thinker.lm_head.weight = thinker.model.embed_tokens.weight


def write_weights(out: Path, network: Any) -> None:
    """Writes generation_config.json and model.safetensors in half precision, in the original layout."""
    from safetensors.torch import save_file

    state = {k: v.detach().half().contiguous().clone() for k, v in network.state_dict().items()}
    save_file(state, out / "model.partial", metadata={"format": "pt"})
    (out / "model.partial").rename(out / "model.safetensors")
    text = network.config.thinker_config.text_config
    generation = {"do_sample": False, "eos_token_id": [text.eos_token_id], "pad_token_id": text.pad_token_id}
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def write_config(out: Path, config: dict[str, Any]) -> None:
    """Writes config.json, which says that the weights are in half precision."""
    (out / "config.json").write_text(json.dumps(config | {"torch_dtype": "float16"}, indent=2) + "\n")
