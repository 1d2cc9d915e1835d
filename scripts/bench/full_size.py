"""Makes full-size Paraformer-large and CAM++ directories with random weights, laid out as the hub's repositories.

    python -m scripts.bench.full_size --out build/full-size

Their text and speakers are nonsense; their cost, files and shapes are those of
``iic/speech_paraformer-large-vad-punc_asr_nat-zh-cn-16k-common-vocab8404-pytorch``, for live speech
``iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online``, and
``iic/speech_campplus_sv_zh-cn_16k-common``. The predictors fire about as often as speech has characters.
All other parts, small beside them, are the demo pack's.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch

from runners import catalog
from runners.campplus import engine as campplus
from runners.catalog import PROJECT_ROOT
from runners.kit.funasr_models import ModelDirectory
from runners.paraformer import engine as paraformer
from runners.paraformer_streaming import engine as paraformer_streaming
from scripts.demo.training import write_directory

_DROPOUT = {"dropout_rate": 0.1, "positional_dropout_rate": 0.1}
_SANM = {"attention_heads": 4, "linear_units": 2048, "kernel_size": 11, "sanm_shfit": 0, **_DROPOUT}
PARAFORMER: dict[str, Any] = {
    "model": "BiCifParaformer",
    "model_conf": {
        **{"ctc_weight": 0.0, "lsm_weight": 0.1, "length_normalized_loss": True, "predictor_weight": 1.0},
        **{"predictor_bias": 1, "sampling_ratio": 0.75},
    },
    "encoder": "SANMEncoder",
    "encoder_conf": {
        **_SANM,
        **{"output_size": 512, "num_blocks": 50, "attention_dropout_rate": 0.1, "input_layer": "pe"},
        **{"pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True},
        "selfattention_layer_type": "sanm",
    },
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {
        **_SANM,
        **{"num_blocks": 16, "att_layer_num": 16, "self_attention_dropout_rate": 0.1},
        "src_attention_dropout_rate": 0.1,
    },
    "predictor": "CifPredictorV3",
    "predictor_conf": {
        **{"idim": 512, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
        **{"smooth_factor2": 0.25, "noise_threshold2": 0.01, "upsample_times": 3, "use_cif1_cnn": False},
        "upsample_type": "cnn_blstm",
    },
    "frontend": "WavFrontend",
    "frontend_conf": {
        **{"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10},
        **{"lfr_m": 7, "lfr_n": 6, "dither": 0.0},
    },
    "specaug": "SpecAugLFR",
    "specaug_conf": {
        **{"apply_time_warp": False, "time_warp_window": 5, "time_warp_mode": "bicubic"},
        **{"apply_freq_mask": True, "freq_mask_width_range": [0, 30], "num_freq_mask": 1},
        **{"apply_time_mask": True, "time_mask_width_range": [0, 12], "num_time_mask": 1, "lfr_rate": 6},
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}
STREAMING: dict[str, Any] = PARAFORMER | {
    "model": "ParaformerStreaming",
    "encoder": "SANMEncoderChunkOpt",
    "encoder_conf": PARAFORMER["encoder_conf"]
    | {"input_layer": "pe_online", "chunk_size": [12, 15], "stride": [8, 10], "pad_left": [0, 0]}
    | {"encoder_att_look_back_factor": [4, 4], "decoder_att_look_back_factor": [1, 1]},
    "decoder_conf": PARAFORMER["decoder_conf"] | {"sanm_shfit": 5},
    "predictor": "CifPredictorV2",
    "predictor_conf": {"idim": 512, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    "frontend": "WavFrontendOnline",
}
_VOCABULARY_SIZE = 8404
_MODULES = {**paraformer.MODULES, **paraformer_streaming.MODULES}
CAMPPLUS: dict[str, Any] = {
    "model": "CAMPPlus",
    "model_conf": {
        **{"feat_dim": 80, "embedding_size": 192, "growth_rate": 32, "bn_size": 4, "init_channels": 128},
        **{"config_str": "batchnorm-relu", "memory_efficient": True, "output_level": "segment"},
    },
    "frontend": "WavFrontend",
    "frontend_conf": {"fs": 16000},
}


def write_model(out: Path, config: dict[str, Any]) -> None:
    """Writes a directory (about 890 MB); the same weights every time."""
    characters = [chr(0x4E00 + i) for i in range(_VOCABULARY_SIZE - 4)]
    files = {"tokenizer_conf": {"token_list": "tokens.json"}, "frontend_conf": {"cmvn_file": "am.mvn"}}
    tokens = ["<blank>", "<s>", "</s>", *characters, "<unk>"]
    write_directory(out, config, "auto-speech-recognition", tokens, files)
    size = 560
    zeros, ones = " ".join(["-10.0"] * size), " ".join(["0.25"] * size)
    (out / "am.mvn").write_text(
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n<LearnRateCoef> 0 [ {zeros} ]\n"
        f"<Rescale> {size} {size}\n<LearnRateCoef> 0 [ {ones} ]\n</Nnet>\n"
    )
    torch.manual_seed(0)
    model: Any = ModelDirectory.read(out).build(_MODULES, load_weights=False)
    with torch.no_grad():  # 0.27 a frame of 60 ms: four and a half characters a second
        for name, bias in (("cif_output", -0.97), ("cif_output2", 1.0)):
            if layer := getattr(model.predictor, name, None):
                layer.weight.mul_(0.1)
                layer.bias.fill_(bias)
    torch.save(model.state_dict(), out / "model.pt")


def write_campplus(out: Path) -> None:
    """Writes the directory (28 MB); the same weights every time."""
    weights = "campplus_cn_common.bin"
    write_directory(out, CAMPPLUS, "speaker-verification", [], {"init_param": weights})
    torch.manual_seed(0)
    config = CAMPPLUS["model_conf"] | {"memory_efficient": False}  # which is about gradients
    model: Any = ModelDirectory.read(out).build(campplus.MODULES, load_weights=False, model_conf=config).train()
    with torch.no_grad():  # normalisations that fit the weights
        for _ in range(10):
            model(torch.randn(4, 100, 80))
    torch.save(model.state_dict(), out / weights)


def write_full_size(out: Path) -> None:
    """Writes a directory for MODEL_PATHS, of which ``asr``, ``streaming`` and ``speaker`` are of full size.

    The rest is copied from the demo pack; what of full size is there already is kept.
    """
    if not (out / "speaker" / "campplus_cn_common.bin").exists():
        write_campplus(out / "speaker")
    for part, config in (("asr", PARAFORMER), ("streaming", STREAMING)):
        if not (out / part / "model.pt").exists():
            write_model(out / part, config)
    for part, demo in catalog.models()["paraformer-demo"].parts.items():
        if part not in ("asr", "streaming", "speaker") and demo.directory:
            shutil.copytree(PROJECT_ROOT / demo.directory, out / part, dirs_exist_ok=True)


def main() -> None:
    """Writes what ``--out`` lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/full-size"))
    write_full_size(parser.parse_args().out)


if __name__ == "__main__":
    main()
