"""Recognition in batches: the same result in any company; FunASR's own result; times that are true."""

import itertools
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runners.catalog import PROJECT_ROOT
from runners.kit.funasr_models import ModelDirectory, UnsupportedModelError
from runners.paraformer.engine import ParaformerEngine, firing_times
from tests.speech import RECORDINGS, silence

DEMO = PROJECT_ROOT / "models" / "demo"


@pytest.fixture(scope="module")
def engine() -> ParaformerEngine:
    return ParaformerEngine(ModelDirectory.read(DEMO / "paraformer"), batch_size=8)


def test_a_recording_among_fifty_is_recognised_as_alone(engine: ParaformerEngine) -> None:
    recordings = [RECORDINGS[n].pcm for n in sorted(RECORDINGS) if n not in ("dialogue", "long-pause")] * 3
    random.Random(1).shuffle(recordings)
    for pcm, together in zip(recordings, engine.recognise(recordings), strict=True):
        (alone,) = engine.recognise([pcm])
        assert (together.tokens, together.starts_ms, together.ends_ms) == (
            alone.tokens,
            alone.starts_ms,
            alone.ends_ms,
        )
        np.testing.assert_allclose(together.logprobs, alone.logprobs, atol=1e-4)


def test_what_is_too_short_to_hold_a_frame_has_no_tokens(engine: ParaformerEngine) -> None:
    results = engine.recognise([silence(0.0), silence(0.02), RECORDINGS["weather"].pcm])
    assert [len(r.tokens) for r in results] == [0, 0, 7]


def test_batches_are_really_formed(engine: ParaformerEngine) -> None:
    results = engine.recognise([RECORDINGS["weather"].pcm] * 8)
    assert [r.batch_size for r in results] == [8] * 8


def test_a_pause_is_no_characters_time() -> None:
    peaks = np.zeros(100)
    peaks[[10, 15, 60, 65]] = 1.0
    times = firing_times(peaks, peaks, 3, 60.0, 120.0)
    assert times == [(480, 780), (780, 1180), (3480, 3780)]


def test_firings_that_do_not_match_the_tokens_are_scaled_to_them() -> None:
    alphas = np.full(50, 0.1)
    times = firing_times(alphas, np.zeros(50), 3, 60.0, 0.0)
    assert len(times) == 3
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(times))


def test_an_incomplete_directory_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"config\.yaml"):
        ModelDirectory.read(tmp_path)


_FUNASR = """
import json, sys, numpy as np, torch
from funasr import AutoModel
model = AutoModel(model=sys.argv[1], device="cpu", ncpu=1, disable_update=True, disable_pbar=True, log_level="ERROR")
texts = [model.generate(input=torch.from_numpy(pcm.astype(np.float32) / 32768), fs=16000)[0]["text"]
         for pcm in np.load(sys.argv[2]).values()]
print(json.dumps(texts))
"""


def funasr_texts(model: Path, recordings: list[np.ndarray], folder: Path) -> list[str]:
    """What FunASR's AutoModel makes of the recordings, in a process of its own."""
    import json

    np.savez(folder / "recordings.npz", *recordings)
    command = [sys.executable, "-W", "ignore", "-c", _FUNASR, str(model), str(folder / "recordings.npz")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [text.replace(" ", "") for text in json.loads(output.splitlines()[-1])]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["demo", "full"])
def test_text_is_that_of_funasrs_automodel(size: str, tmp_path: Path) -> None:
    model, mates = DEMO / "paraformer", 8
    if size == "full":  # random weights: their near-ties fall as they like in a batch, so one by one
        from scripts.bench.full_size import PARAFORMER, write_model

        model, mates = tmp_path / "model", 1
        write_model(model, PARAFORMER)
    recordings = [RECORDINGS[n].pcm for n in ("weather", "numbers", "date", "sentence-0", "dialogue")]
    engine = ParaformerEngine(ModelDirectory.read(model), batch_size=mates)
    ours = ["".join(r.tokens) for r in engine.recognise(recordings)]
    assert ours == funasr_texts(model, recordings, tmp_path)


def test_a_bf16_encoder_hears_the_same_words(engine: ParaformerEngine) -> None:
    cheaper = ParaformerEngine(ModelDirectory.read(DEMO / "paraformer"), batch_size=8, precision="bf16")
    recordings = [RECORDINGS[f"sentence-{i}"].pcm for i in range(8)]
    for exact, found in zip(engine.recognise(recordings), cheaper.recognise(recordings), strict=True):
        assert found.tokens == exact.tokens
        assert np.abs(np.subtract(found.starts_ms, exact.starts_ms)).max() <= 60
