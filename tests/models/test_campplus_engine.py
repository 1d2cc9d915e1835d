"""Speaker vectors are FunASR's, don't depend on batch-mates, and windows keep within the speech."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from runners.campplus.engine import MODULES, CampplusEngine
from runners.campplus.network import Network
from runners.catalog import PROJECT_ROOT
from runners.interface import Embedding
from runners.kit.funasr_models import ModelDirectory, UnsupportedModelError
from tests.speech import RECORDINGS, noise, silence

DEMO_SPEAKER = PROJECT_ROOT / "models" / "demo" / "speaker"
SPEECH = RECORDINGS["date"].pcm
Pcm = NDArray[np.int16]


@pytest.fixture(scope="module")
def directory() -> ModelDirectory:
    return ModelDirectory.read(DEMO_SPEAKER)


@pytest.fixture(scope="module")
def engine(directory: ModelDirectory) -> CampplusEngine:
    return CampplusEngine(directory, batch_size=8)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def spoken(name: str) -> Pcm:
    """The first sentence of a recording."""
    recording = RECORDINGS[name]
    start, end = (int(16_000 * s) for s in (recording.sentences[0].start_s, recording.sentences[0].end_s))
    return recording.pcm[start:end]


def embed(engine: CampplusEngine, pcm: Pcm) -> Embedding:
    return engine.embed([pcm])[0]


def test_vectors_are_funasrs(directory: ModelDirectory, engine: CampplusEngine) -> None:
    model = directory.build(MODULES)
    extract_feature = pytest.importorskip("funasr.models.campplus.utils").extract_feature
    found = embed(engine, SPEECH)
    assert len(found.starts_ms) > 0
    for start_ms, end_ms, vector in zip(found.starts_ms, found.ends_ms, found.vectors, strict=True):
        wave = torch.from_numpy(SPEECH[start_ms * 16 : end_ms * 16].astype(np.float32) / 32768)
        features, _, _ = extract_feature([wave])
        with torch.inference_mode():
            expected = model(features)[0].numpy()
        assert cosines(vector, expected) > 0.999


@pytest.mark.parametrize("frames", [20, 73, 148, 200])
def test_the_fast_network_computes_what_funasrs_does(directory: ModelDirectory, frames: int) -> None:
    model = directory.build(MODULES)
    features = torch.randn(3, frames, 80, generator=torch.Generator().manual_seed(frames))
    with torch.inference_mode():
        np.testing.assert_allclose(Network(model, "cpu", torch.float32)(features), model(features), atol=2e-4)


def test_vectors_do_not_depend_on_batch_mates(engine: CampplusEngine) -> None:
    recordings = [r.pcm[: 5 * 16_000] for r in list(RECORDINGS.values())[:6]] + [silence(0), noise(3)]
    for pcm, together in zip(recordings, engine.embed(recordings), strict=True):
        alone = embed(engine, pcm)
        assert alone.starts_ms == together.starts_ms
        assert alone.ends_ms == together.ends_ms
        if alone.starts_ms:
            assert cosines(alone.vectors, together.vectors).min() > 0.999


def test_loudness_changes_nothing(engine: CampplusEngine) -> None:
    found, quiet = embed(engine, SPEECH), embed(engine, SPEECH // 4)
    assert cosines(found.vectors, quiet.vectors).min() > 0.98


@pytest.mark.parametrize("pcm", [silence(0), silence(0.02), SPEECH[8000:13_000]], ids=len)
def test_too_little_speech_has_no_windows(engine: CampplusEngine, pcm: Pcm) -> None:
    found = embed(engine, pcm)
    assert (found.starts_ms, found.ends_ms, len(found.vectors), found.error) == ([], [], 0, None)


def test_a_short_answer_has_one_window(engine: CampplusEngine) -> None:
    found = embed(engine, spoken("service")[: 16_000 * 6 // 10])
    assert found.vectors.shape == (1, 192)


def test_windows_lie_within_the_utterance_and_overlap_by_half(engine: CampplusEngine) -> None:
    found = embed(engine, spoken("date"))
    duration_ms = len(spoken("date")) // 16
    assert 0 <= min(found.starts_ms) < 300
    assert duration_ms - 300 < max(found.ends_ms) <= duration_ms
    assert found.starts_ms[1] - found.starts_ms[0] == engine.options.hop_ms


@pytest.mark.parametrize("snr_db", [None, 15])
def test_no_window_reaches_over_a_pause(engine: CampplusEngine, snr_db: float | None) -> None:
    first, second = spoken("date"), spoken("meeting")
    pcm = np.concatenate([first, silence(0.3), second]).astype(np.float64)
    if snr_db is not None:
        level = np.sqrt(np.mean(np.square(pcm))) * 10 ** (-snr_db / 20)
        pcm += level * np.random.default_rng(0).standard_normal(len(pcm))
    found = embed(engine, pcm.astype(np.int16))
    pause_ms = len(first) // 16 + 150
    assert any(end < pause_ms for end in found.ends_ms)
    assert any(start > pause_ms for start in found.starts_ms)
    for start, end in zip(found.starts_ms, found.ends_ms, strict=True):
        assert end < pause_ms or start > pause_ms


def test_the_hubs_directory_loads_with_its_own_weight_file(engine: CampplusEngine, tmp_path: Path) -> None:
    """``iic/speech_campplus_sv_zh-cn_16k-common`` calls its weights campplus_cn_common.bin and tells no windows."""
    shutil.copy(DEMO_SPEAKER / "model.pt", tmp_path / "campplus_cn_common.bin")
    metas = {"init_param": "campplus_cn_common.bin", "config": "config.yaml"}
    (tmp_path / "configuration.json").write_text(json.dumps({"framework": "pytorch", "file_path_metas": metas}))
    config = (DEMO_SPEAKER / "config.yaml").read_text().split("diarization_conf")[0]
    (tmp_path / "config.yaml").write_text(config)
    hubs = CampplusEngine(ModelDirectory.read(tmp_path), batch_size=4)
    assert (hubs.options.window_ms, hubs.options.hop_ms) == (1500, 750)
    assert cosines(embed(hubs, SPEECH).vectors[:1], embed(engine, SPEECH).vectors[:1]) > 0.99


def test_a_directory_of_another_model_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="not CAMPPlus"):
        CampplusEngine(ModelDirectory.read(DEMO_SPEAKER.parent / "punctuation"), batch_size=4)
