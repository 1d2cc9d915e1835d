"""VAD scores don't depend on blocks or batch-mates; the real model finds FunASR's regions."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runners.catalog import PROJECT_ROOT
from runners.interface import VadBlock
from runners.kit.funasr_models import model_class
from runners.vad.engine import _DEFAULTS, UnsupportedVadError, VadEngine
from service.audio.endpoint import Endpointer
from tests.funasr_vad import MODULES, FunasrVad
from tests.speech import RECORDINGS, noise, silence

DEMO_VAD = PROJECT_ROOT / "models" / "demo" / "vad"
REAL_ASSETS = os.environ.get("REAL_ASSETS")
REAL_REGIONS_MS = {
    "asr_example": [(610, 5530)],
    "long": [(250, 7980)],
    "mid": [(360, 4970)],
    "short_two_sentences": [(770, 2400), (3380, 5980)],
}


@pytest.fixture(scope="module")
def engine() -> VadEngine:
    return VadEngine(DEMO_VAD)


def whole(engine: VadEngine, pcm: np.ndarray) -> np.ndarray:
    return engine.score([VadBlock(model="", pcm=pcm, context_frames=0, is_last=True)])[0]


def blockwise(engine: VadEngine, pcm: np.ndarray, block_frames: int) -> np.ndarray:
    """Scores of a recording that arrives in blocks, each with the surroundings the engine asks for."""
    options, scored, parts = engine.options, 0, []
    for received in [*range(block_frames * 160, len(pcm), block_frames * 160), None]:
        context = min(scored, options.context_frames)
        audio = pcm[(scored - context) * 160 : received]
        block = VadBlock(model="", pcm=audio, context_frames=context, is_last=received is None)
        parts += engine.score([block])
        scored += len(parts[-1])
    return np.concatenate(parts)


@pytest.mark.parametrize("block_frames", [1, 10, 333])
def test_scores_do_not_depend_on_the_blocks(engine: VadEngine, block_frames: int) -> None:
    pcm = RECORDINGS["weather"].pcm[: 16_000 * 2 if block_frames == 1 else None]
    np.testing.assert_allclose(blockwise(engine, pcm, block_frames), whole(engine, pcm), atol=1e-4)


@pytest.mark.parametrize("name", RECORDINGS)
def test_scores_are_those_of_funasrs_network(engine: VadEngine, name: str) -> None:
    pcm = RECORDINGS[name].pcm
    np.testing.assert_allclose(whole(engine, pcm), FunasrVad(DEMO_VAD).scores(pcm), atol=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
def test_scores_do_not_depend_on_batch_mates(engine: VadEngine, threads: int) -> None:
    recordings = [r.pcm for r in RECORDINGS.values()] + [np.zeros(10, np.int16)]
    blocks = [VadBlock(model="", pcm=p, context_frames=0, is_last=True) for p in recordings]
    together = engine.score(blocks, threads=threads)
    for pcm, scores in zip(recordings, together, strict=True):
        np.testing.assert_allclose(scores, whole(engine, pcm), atol=1e-4)


@pytest.mark.parametrize("pcm", [silence(5), noise(5, 0.001), noise(5, 0.05), noise(5, 0.3)], ids=str)
def test_silence_and_noise_hold_no_speech(engine: VadEngine, pcm: np.ndarray) -> None:
    assert Endpointer(engine.options).accept(whole(engine, pcm), is_last=True) == []


def test_what_a_configuration_does_not_say_is_what_funasr_takes() -> None:
    taken = model_class("FsmnVADStreaming", MODULES).__init__.__globals__["VADXOptions"]()
    assert {name: getattr(taken, name) for name in _DEFAULTS} == _DEFAULTS


def test_reading_and_scoring_need_no_torch() -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path; from runners.vad.engine import VadEngine, VadBlock;"
        f"VadEngine(Path({str(DEMO_VAD)!r})).score("
        "[VadBlock(model='', pcm=np.zeros(16000, np.int16), context_frames=0, is_last=True)]);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=False).returncode == 0


def test_a_directory_of_another_model_is_refused() -> None:
    with pytest.raises(UnsupportedVadError, match="not FsmnVADStreaming"):
        VadEngine(DEMO_VAD.parent / "punctuation")


@pytest.mark.real
@pytest.mark.skipif(REAL_ASSETS is None, reason="REAL_ASSETS names no folder of real weights and recordings")
@pytest.mark.parametrize("block_frames", [None, 60, 1000])
def test_the_hubs_vad_finds_funasrs_regions(block_frames: int | None) -> None:
    assert REAL_ASSETS is not None
    model = Path(REAL_ASSETS) / "models/iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"
    engine = VadEngine(model)

    def regions(name: str) -> list[tuple[int, int]]:
        pcm, _ = soundfile.read(Path(REAL_ASSETS or "") / "audio" / f"{name}.wav", dtype="int16")
        scores = whole(engine, pcm) if block_frames is None else blockwise(engine, pcm, block_frames)
        found = Endpointer(engine.options, max_end_silence_ms=800).accept(scores, is_last=True)
        return [(r.start_ms, r.end_ms) for r in found]

    for name, expected in REAL_REGIONS_MS.items():
        assert regions(name) == expected
    vad_example = regions("vad_example")
    assert (len(vad_example), vad_example[0], vad_example[-1][1]) == (12, (70, 2340), 70_450)
