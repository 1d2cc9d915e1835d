"""The endpoint rules make FunASR's decisions, whole recordings and block by block."""

from typing import Any

import numpy as np
import pytest
import torch

from runners.interface import VadOptions
from runners.kit.funasr_models import model_class
from service.audio.endpoint import Endpointer
from service.audio.spans import Span
from tests.funasr_vad import MODULES

OPTIONS = VadOptions(
    max_end_silence_time=800,
    window_size_ms=200,
    sil_to_speech_time_thres=150,
    speech_to_sil_time_thres=150,
    lookback_time_start_point=200,
    lookahead_time_end_point=100,
    max_single_segment_time=5_000,
    speech_noise_thres=0.6,
    do_extend=1,
    context_frames=78,
    lookahead_frames=2,
)


def random_scores(seed: int) -> np.ndarray:
    """Silence probabilities that stay high or low for random while, with stray frames."""
    rng = np.random.default_rng(seed)
    runs = [np.full(rng.integers(5, 200), rng.choice([0.05, 0.95])) for _ in range(12)]
    scores = np.concatenate(runs)
    stray = rng.random(len(scores)) < 0.08
    scores[stray] = 1 - scores[stray]
    return scores.astype(np.float32)


def funasr_regions(scores: np.ndarray, max_end_silence_ms: int) -> list[tuple[int, int]]:
    """What FunASR's own state machine makes of the scores, given in place of its network's."""
    options = OPTIONS.model_dump(exclude={"context_frames", "lookahead_frames"})
    encoder_conf = {"input_dim": 400, "input_affine_dim": 8, "fsmn_layers": 1, "linear_dim": 8, "proj_dim": 8}
    encoder_conf |= {"lorder": 2, "rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 8, "output_dim": 2}
    model: Any = model_class("FsmnVADStreaming", MODULES)(encoder="FSMN", encoder_conf=encoder_conf, **options)
    posteriors = torch.from_numpy(np.stack([scores, 1 - scores], 1))[None]
    torch.nn.Module.__setattr__(model, "encoder", SimpleFsmn(posteriors))
    cache: dict[str, Any] = model.init_cache({}, max_end_silence_time=max_end_silence_ms)
    waveform = torch.zeros(1, (len(scores) - 1) * 160 + 400)
    found = model.forward(
        torch.zeros(1, len(scores), 400), waveform, cache=cache, is_final=True, is_streaming_input=False
    )
    return [tuple(region) for region in found[0]] if found else []


class SimpleFsmn(torch.nn.Module):
    def __init__(self, posteriors: torch.Tensor) -> None:
        super().__init__()
        self.posteriors = posteriors

    def forward(self, feats: torch.Tensor, cache: Any = None) -> torch.Tensor:
        return self.posteriors


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("max_end_silence_ms", [200, 500, 800, 2000])
def test_regions_are_funasrs(seed: int, max_end_silence_ms: int) -> None:
    scores = random_scores(seed)
    regions = Endpointer(OPTIONS, max_end_silence_ms=max_end_silence_ms).accept(scores, is_last=True)
    assert [(r.start_ms, r.end_ms) for r in regions] == funasr_regions(scores, max_end_silence_ms)


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_regions_do_not_depend_on_the_blocks(block: int) -> None:
    scores = random_scores(99)
    whole = Endpointer(OPTIONS).accept(scores, is_last=True)
    endpointer = Endpointer(OPTIONS)
    regions = [r for i in range(0, len(scores), block) for r in endpointer.accept(scores[i : i + block])]
    assert [*regions, *endpointer.accept(np.empty(0, np.float32), is_last=True)] == whole


def test_no_region_begins_before_the_settled_time() -> None:
    scores = random_scores(7)
    endpointer, settled_ms = Endpointer(OPTIONS), 0
    for i in range(0, len(scores), 10):
        for region in endpointer.accept(scores[i : i + 10]):
            assert region.start_ms >= settled_ms
        settled_ms = endpointer.settled_ms


def test_a_short_silence_at_the_end_of_the_recording_is_trimmed() -> None:
    scores = np.array([0.95] * 50 + [0.05] * 100 + [0.95] * 60, np.float32)
    assert Endpointer(OPTIONS).accept(scores, is_last=True)[-1].end_ms == 2100
    (trimmed,) = Endpointer(OPTIONS, trim_end=True).accept(scores, is_last=True)
    (ended,) = Endpointer(OPTIONS).accept(np.concatenate([scores, np.full(100, 0.95, np.float32)]), is_last=True)
    assert trimmed == ended
    assert trimmed.end_ms < 1700


def test_silence_has_no_region() -> None:
    assert Endpointer(OPTIONS).accept(np.full(1000, 0.99, np.float32), is_last=True) == []


@pytest.mark.parametrize(("restart_ms", "end_ms"), [(None, 1250), (50, 1500)])
def test_the_next_word_can_begin_a_silence_anew(restart_ms: int | None, end_ms: int) -> None:
    scores = np.array([0.05] * 100 + [0.95] * 18 + [0.05] * 12 + [0.95] * 40, np.float32)
    endpointer = Endpointer(OPTIONS, max_end_silence_ms=350, restart_ms=restart_ms)
    ends_ms = [10 * (i + 1) for i in range(len(scores)) if endpointer.accept(scores[i : i + 1])]
    assert ends_ms[0] == end_ms


def test_a_region_can_be_cut_and_goes_on() -> None:
    endpointer = Endpointer(OPTIONS)
    endpointer.accept(np.full(300, 0.05, np.float32))
    assert endpointer.start_ms == 0
    assert endpointer.cut(2000) == Span(0, 2000)
    assert endpointer.start_ms == endpointer.settled_ms == 2000
    assert endpointer.accept(np.empty(0, np.float32), is_last=True) == [Span(2000, 3000)]
