"""Hotwords and the language model in the engine, and models that have a biasing of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runners.catalog import PROJECT_ROOT
from runners.kit.funasr_models import ModelDirectory
from runners.paraformer.engine import MODULES, ParaformerEngine
from runners.paraformer.language_model import LanguageModel
from scripts.demo.train_paraformer import configuration
from scripts.demo.training import write_directory
from tests.speech import RECORDINGS, characters

DEMO = PROJECT_ROOT / "models" / "demo"
NAME = RECORDINGS["hotword"]
WORD = "陈书文"
CLIPS = [NAME.pcm, RECORDINGS["weather"].pcm, RECORDINGS["home"].pcm]


@pytest.fixture(scope="module")
def engine() -> ParaformerEngine:
    return ParaformerEngine(ModelDirectory.read(DEMO / "paraformer"), batch_size=8)


def text(engine: ParaformerEngine, pcm: Any, hotwords: dict[str, int] | None = None) -> str:
    (result,) = engine.recognise([pcm], [hotwords or {}])
    return "".join(result.tokens)


@pytest.mark.parametrize("language_model", [None, "demo"])
def test_a_name_that_sounds_like_others_is_heard_as_the_hotword(
    engine: ParaformerEngine, monkeypatch: pytest.MonkeyPatch, language_model: str | None
) -> None:
    model = LanguageModel.read(DEMO / "language_model") if language_model else None
    monkeypatch.setattr(engine, "language_model", model)
    said = characters(NAME.text)
    assert text(engine, NAME.pcm) != said
    assert text(engine, NAME.pcm, {WORD: 20}) == said
    assert text(engine, NAME.pcm, {WORD: 20, "王心音": 20, "今天": 5}) == said


def test_hotwords_that_are_not_said_change_nothing(engine: ParaformerEngine) -> None:
    for clip in CLIPS[1:]:
        assert text(engine, clip, {WORD: 20, "王心音": 20}) == text(engine, clip)


def test_each_utterance_of_a_batch_has_its_own_hotwords(engine: ParaformerEngine) -> None:
    hotwords = [{}, {WORD: 20}, {WORD: 20, "龘": 1}, {"天汽": 5}, {}]
    clips = [NAME.pcm, NAME.pcm, NAME.pcm, CLIPS[1], CLIPS[2]]
    together = engine.recognise(clips, hotwords)
    assert together[0].batch_size > 1
    for clip, words, found in zip(clips, hotwords, together, strict=True):
        (alone,) = engine.recognise([clip], [words])
        assert (alone.tokens, alone.ignored_hotwords) == (found.tokens, found.ignored_hotwords)


def test_words_that_cannot_be_written_are_named(engine: ParaformerEngine) -> None:
    results = engine.recognise([NAME.pcm, np.zeros(0, np.int16)], [{"龘龘": 9, WORD: 9, "hello": 9}, {"龘": 1}])
    assert [r.ignored_hotwords for r in results] == [["龘龘", "hello"], ["龘"]]


def test_log_probabilities_are_the_recognisers_own(engine: ParaformerEngine) -> None:
    (plain,), (biased,) = engine.recognise([NAME.pcm]), engine.recognise([NAME.pcm], [{WORD: 100}])
    assert len(plain.logprobs) == len(biased.logprobs)
    for before, after, same in zip(plain.logprobs, biased.logprobs, np.equal(plain.ids, biased.ids), strict=True):
        assert after == pytest.approx(before, abs=1e-5) if same else after < before


def configuration_of(model_class: str) -> dict[str, Any]:
    """A small model of the class, with the architecture of the hub's."""
    config = configuration()
    width = config["encoder_conf"]["output_size"]
    config["encoder_conf"]["num_blocks"] = 2
    config["model"] = model_class
    config["model_conf"] |= {"inner_dim": width, "bias_encoder_type": "lstm"}
    if model_class == "ContextualParaformer":
        config["decoder"] = "ContextualParaformerDecoder"
        return config
    config["model_conf"] |= {"bias_encoder_bid": False, "seaco_lsm_weight": 0.1, "train_decoder": True, "NO_BIAS": 5}
    config["predictor"] = "CifPredictorV3"
    config["predictor_conf"] |= {"smooth_factor2": 0.25, "noise_threshold2": 0.01, "upsample_times": 3}
    config["predictor_conf"] |= {"use_cif1_cnn": False, "upsample_type": "cnn_blstm"}
    config["seaco_decoder"] = "ParaformerSANMDecoder"
    config["seaco_decoder_conf"] = {
        **{"attention_heads": 4, "linear_units": 64, "num_blocks": 6, "att_layer_num": 6, "kernel_size": 11},
        **{"sanm_shfit": 0, "use_output_layer": False, "wo_input_layer": True},
    }
    return config


@pytest.fixture(scope="module", params=["SeacoParaformer", "ContextualParaformer"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of random weights that fires as often as the demo model does."""
    path: Path = tmp_path_factory.mktemp(request.param)
    demo = ModelDirectory.read(DEMO / "paraformer")
    write_directory(path, configuration_of(request.param), "auto-speech-recognition", demo.tokens, {})
    (path / "am.mvn").write_bytes((DEMO / "paraformer" / "am.mvn").read_bytes())
    torch.manual_seed(1)
    model: Any = ModelDirectory.read(path).build(MODULES, load_weights=False)
    torch.nn.init.constant_(model.predictor.cif_output.bias, -1.5)
    torch.save(model.state_dict(), path / "model.pt")
    return path


def test_a_model_with_its_own_biasing_hears_its_hotwords(directory: Path) -> None:
    engine = ParaformerEngine(ModelDirectory.read(directory), batch_size=8)
    (plain,), (biased,) = engine.recognise([NAME.pcm]), engine.recognise([NAME.pcm], [{WORD: 20, "龘": 20}])
    assert plain.tokens
    assert len(plain.starts_ms) == len(plain.tokens)
    assert plain.logprobs != biased.logprobs
    assert biased.ignored_hotwords == ["龘"]


def test_its_hotwords_are_each_requests_own(directory: Path) -> None:
    engine = ParaformerEngine(ModelDirectory.read(directory), batch_size=8)
    tokens = [t for t in engine.tokens if not t.startswith("<")]
    many = {first + second: 10 for first in tokens[:8] for second in tokens[:8]}
    hotwords = [{}, {WORD: 20}, {WORD: 20}, many, many, {}]
    clips = [NAME.pcm, NAME.pcm, CLIPS[1], CLIPS[1], CLIPS[2], CLIPS[2]]
    together = engine.recognise(clips, hotwords)
    for clip, words, found in zip(clips, hotwords, together, strict=True):
        (alone,) = engine.recognise([clip], [words])
        assert alone.ids == found.ids
        np.testing.assert_allclose(alone.logprobs, found.logprobs, atol=1e-3)
