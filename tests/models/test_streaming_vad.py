"""Audio is scored without torch, and gets the scores of FunASR's network however it is cut."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from runners.catalog import PROJECT_ROOT
from runners.interface import VadNetwork
from runners.kit.features import fbank
from runners.vad.engine import VadEngine
from runners.vad.streaming import StreamingVad, _fbank
from tests.funasr_vad import FunasrVad
from tests.speech import RECORDINGS, Pcm, noise, silence

DEMO_VAD = PROJECT_ROOT / "models" / "demo" / "vad"
REAL_ASSETS = os.environ.get("REAL_ASSETS")
SPEECH = RECORDINGS["weather"].pcm
LOUD = np.where(np.arange(16_000) % 100 < 50, 32_767, -32_768).astype(np.int16)

Both = tuple[FunasrVad, VadNetwork]


def read(path: Path) -> Both:
    return FunasrVad(path), VadEngine(path).network


@pytest.fixture(scope="module")
def demo() -> Both:
    return read(DEMO_VAD)


def live(network: VadNetwork, pcm: Pcm, ends: Iterable[int]) -> np.ndarray:
    """Scores of audio that comes in pieces up to each of ``ends``, the last of which ends it."""
    vad, start, parts = StreamingVad(network), 0, []
    for end in ends:
        parts.append(vad.accept(pcm[start:end], is_last=False))
        start = end
    parts.append(vad.accept(pcm[start:], is_last=True))
    return np.concatenate(parts)


def assert_scores_equal(both: Both, pcm: Pcm, ends: Iterable[int] = ()) -> None:
    reference, network = both
    expected = reference.scores(pcm)
    found = live(network, pcm, ends)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def random_ends(seed: int, samples: int) -> list[int]:
    """Cuts in any place; some pieces are empty, some are shorter than a frame, some are seconds long."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([0, 1, 159, 160, 161, 400, 3_200, 20_000], 400) + rng.integers(0, 2, 400)
    return [int(end) for end in np.cumsum(sizes) if end <= samples]


@pytest.mark.parametrize("seed", range(8))
def test_scores_do_not_depend_on_the_pieces(demo: Both, seed: int) -> None:
    assert_scores_equal(demo, SPEECH, random_ends(seed, len(SPEECH)))


def test_audio_may_come_sample_by_sample(demo: Both) -> None:
    assert_scores_equal(demo, SPEECH[:3_000], range(1, 3_001))


@pytest.mark.parametrize("name", RECORDINGS)
def test_scores_are_those_of_funasrs_network(demo: Both, name: str) -> None:
    pcm = RECORDINGS[name].pcm
    assert_scores_equal(demo, pcm, range(6_400, len(pcm), 6_400))


@pytest.mark.parametrize("pcm", [silence(3), noise(3, 0.001), noise(3, 0.3), LOUD], ids=["silence", "1", "2", "loud"])
def test_scores_are_funasrs_without_speech(demo: Both, pcm: Pcm) -> None:
    assert_scores_equal(demo, pcm, range(3_200, len(pcm), 3_200))


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 559, 560, 719, 720, 880, 1_039, 1_040, 1_200])
@pytest.mark.parametrize("size", [160, 10_000])
def test_short_recordings_have_funasrs_scores(demo: Both, samples: int, size: int) -> None:
    assert_scores_equal(demo, SPEECH[8_000 : 8_000 + samples], range(size, samples, size))


def test_a_frame_is_scored_when_its_surroundings_are_known(demo: Both) -> None:
    _, network = demo
    for samples in (400 + 160 * 2 - 1, 400 + 160 * 2, 16_000):
        frames = (samples - 400) // 160 + 1
        scores = StreamingVad(network).accept(SPEECH[:samples], is_last=False)
        assert len(scores) == frames - (network.stacked_frames - 1) // 2


def test_sessions_do_not_disturb_each_other(demo: Both) -> None:
    _, network = demo
    first, second = StreamingVad(network), StreamingVad(network)
    alone = live(network, SPEECH, range(5_000, len(SPEECH), 5_000))
    parts = []
    for start in range(0, len(SPEECH), 5_000):
        parts.append(first.accept(SPEECH[start : start + 5_000], is_last=start + 5_000 >= len(SPEECH)))
        second.accept(LOUD, is_last=False)
    assert np.array_equal(np.concatenate(parts), alone)


def test_a_session_keeps_as_little_after_a_minute_as_after_a_second(demo: Both) -> None:
    _, network = demo
    vad = StreamingVad(network)
    for _ in range(60):
        vad.accept(LOUD, is_last=False)
    assert len(vad._pcm) < 400
    assert len(vad._features) == network.stacked_frames - 1
    assert all(array.base is None for array in (vad._pcm, vad._features, vad._memory))
    assert vad._memory.nbytes < 50_000


def test_features_equal_those_on_torch() -> None:
    np.testing.assert_allclose(_fbank(SPEECH), fbank(SPEECH).numpy(), atol=2e-3)


def test_live_scoring_needs_no_torch() -> None:
    program = "import sys, runners.vad.streaming; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=False).returncode == 0


@pytest.mark.real
@pytest.mark.skipif(REAL_ASSETS is None, reason="REAL_ASSETS names no folder of real weights and recordings")
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_funasrs_with_the_hubs_vad(seed: int) -> None:
    hubs = read(Path(REAL_ASSETS or "") / "models/iic/speech_fsmn_vad_zh-cn-16k-common-pytorch")
    assert_scores_equal(hubs, SPEECH, random_ends(seed, len(SPEECH)))
