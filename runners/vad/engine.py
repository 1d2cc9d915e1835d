"""Scores the silence in every 10 ms of audio with FSMN-VAD, for blocks of many recordings at once.

The network (Zhang et al. 2018, arXiv:1803.05030) looks only so far back, so a block carries the
audio it needs before it instead of a state: any worker can score any block, and a recording's
scores don't depend on how it was cut. It takes numpy less time than torch, which is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from runners.interface import VadBlock, VadNetwork, VadOptions
from runners.store import checkpoint_name
from runners.vad.checkpoint import read_checkpoint
from runners.vad.streaming import StreamingVad

# What FunASR takes where a model's configuration is silent.
_DEFAULTS = {
    "max_end_silence_time": 800,
    "window_size_ms": 200,
    "sil_to_speech_time_thres": 150,
    "speech_to_sil_time_thres": 150,
    "lookback_time_start_point": 200,
    "lookahead_time_end_point": 100,
    "max_single_segment_time": 60_000,
    "speech_noise_thres": 0.6,
    "do_extend": 1,
    "speech_2_noise_ratio": 1.0,
    "snr_thres": -100.0,
    "decibel_thres": -100.0,
    "sil_pdf_ids": [0],
}


class UnsupportedVadError(ValueError):
    """A model directory of another class, or of options that are not computed here."""


class VadEngine:
    """Scores batches of blocks.

    Attributes:
        options: How scores become regions, and how much surrounding a block needs.
        network: The weights.
    """

    def __init__(self, directory: Path) -> None:
        config = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
        if config["model"] != "FsmnVADStreaming":
            raise UnsupportedVadError(f"{directory}: {config['model']} is not FsmnVADStreaming")
        opts: dict[str, Any] = {**_DEFAULTS, **config.get("model_conf", {})}
        encoder, frontend = config["encoder_conf"], config["frontend_conf"]
        by_level = opts["decibel_thres"] > -60 or opts["snr_thres"] > -60 or opts["speech_2_noise_ratio"] != 1
        if by_level or encoder["rorder"]:
            raise UnsupportedVadError(f"{directory}: thresholds on level or SNR are not supported")
        if int(frontend["lfr_n"]) != 1:
            raise UnsupportedVadError(f"{directory}: lfr_n must be 1")
        around = (int(frontend["lfr_m"]) - 1) // 2
        memory = encoder["fsmn_layers"] * (encoder["lorder"] - 1) * encoder["lstride"]
        shared = VadOptions.model_fields.keys() & opts.keys()
        self.options = VadOptions(
            **{name: opts[name] for name in shared}, context_frames=memory + around, lookahead_frames=around
        )
        try:
            self.network = _read_network(directory, config, silence_outputs=opts["sil_pdf_ids"])
        except KeyError as missing:
            raise UnsupportedVadError(f"{directory}: the checkpoint has no {missing}") from missing

    def score(self, blocks: Sequence[VadBlock], *, threads: int = 1) -> list[NDArray[np.float32]]:
        """Per block, the probability of silence in each of its frames (context and look-ahead excluded)."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self._score, blocks))

    def _score(self, block: VadBlock) -> NDArray[np.float32]:
        return StreamingVad(self.network).accept(block.pcm, is_last=block.is_last)[block.context_frames :]


def _read_network(directory: Path, config: Mapping[str, Any], *, silence_outputs: Sequence[int]) -> VadNetwork:
    """The network of a model directory, ``config`` its config.yaml; neighbouring affine layers become one."""
    parameters = read_checkpoint(directory / checkpoint_name(directory))
    weights = {name.removeprefix("encoder."): np.asarray(value, np.float64) for name, value in parameters.items()}
    encoder = config["encoder_conf"]
    lines = (directory / "am.mvn").read_text(encoding="utf-8").splitlines()
    rows = [line.split()[3:-1] for line in lines if line.startswith("<LearnRateCoef>")]
    shift, scale = (np.array(row, np.float32).astype(np.float64) for row in rows)

    def stacked(name: str) -> NDArray[np.float64]:
        return np.stack([weights[f"fsmn.{i}.{name}"] for i in range(encoder["fsmn_layers"])])

    def fused(first: str, second: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(inputs, outputs) weight and bias of one affine layer after the other."""
        second_weight = weights[f"{second}.linear.weight"].T
        bias = weights[f"{first}.linear.bias"] @ second_weight + weights[f"{second}.linear.bias"]
        return weights[f"{first}.linear.weight"].T @ second_weight, bias

    in_weight, in_bias = fused("in_linear1", "in_linear2")
    out_weight, out_bias = fused("out_linear1", "out_linear2")
    taps = stacked("fsmn_block.conv_left.weight")[:, :, 0, :, 0].transpose(0, 2, 1).copy()
    taps[:, -1] += 1  # the present frame is added to its memory
    arrays = {
        "in_weight": scale[:, None] * in_weight,
        "in_bias": (shift * scale) @ in_weight + in_bias,
        "project": stacked("linear.linear.weight").transpose(0, 2, 1),
        "taps": taps,
        "expand": stacked("affine.linear.weight").transpose(0, 2, 1),
        "expand_bias": stacked("affine.linear.bias"),
        "out_weight": out_weight,
        "out_bias": out_bias,
    }
    return VadNetwork(
        stacked_frames=config["frontend_conf"]["lfr_m"],
        tap_stride=encoder["lstride"],
        silence_outputs=list(silence_outputs),
        **{name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()},
    )
