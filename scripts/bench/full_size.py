"""Makes a full-size Paraformer-large directory with random weights, laid out as the hub's repository.

    python -m scripts.bench.full_size --out build/full-size

Its text is nonsense; its cost, files and shapes are those of
``iic/speech_paraformer-large-vad-punc_asr_nat-zh-cn-16k-common-vocab8404-pytorch``. The predictor fires
about as often as speech has characters. VAD and punctuation, small beside it, are the demo pack's.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch

from runners.catalog import PROJECT_ROOT
from runners.engines.funasr_models import ModelDirectory
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
_VOCABULARY_SIZE = 8404


def write_paraformer_large(out: Path) -> None:
    """Writes the directory (about 890 MB); the same weights every time."""
    characters = [chr(0x4E00 + i) for i in range(_VOCABULARY_SIZE - 4)]
    files = {"tokenizer_conf": {"token_list": "tokens.json"}, "frontend_conf": {"cmvn_file": "am.mvn"}}
    tokens = ["<blank>", "<s>", "</s>", *characters, "<unk>"]
    write_directory(out, PARAFORMER, "auto-speech-recognition", tokens, files)
    size = 560
    zeros, ones = " ".join(["-10.0"] * size), " ".join(["0.25"] * size)
    (out / "am.mvn").write_text(
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n<LearnRateCoef> 0 [ {zeros} ]\n"
        f"<Rescale> {size} {size}\n<LearnRateCoef> 0 [ {ones} ]\n</Nnet>\n"
    )
    torch.manual_seed(0)
    model: Any = ModelDirectory.read(out).build(load_weights=False)
    with torch.no_grad():  # 0.27 a frame of 60 ms: four and a half characters a second
        for layer, bias in ((model.predictor.cif_output, -0.97), (model.predictor.cif_output2, 1.0)):
            layer.weight.mul_(0.1)
            layer.bias.fill_(bias)
    torch.save(model.state_dict(), out / "model.pt")


def write_full_size(out: Path) -> None:
    """A directory for MODEL_PATHS: ``asr`` of full size, ``vad`` and ``punctuation`` of the demo pack."""
    if not (out / "asr" / "model.pt").exists():
        write_paraformer_large(out / "asr")
    for part in ("vad", "punctuation"):
        shutil.copytree(PROJECT_ROOT / "models" / "demo" / part, out / part, dirs_exist_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/full-size"))
    write_full_size(parser.parse_args().out)


if __name__ == "__main__":
    main()
