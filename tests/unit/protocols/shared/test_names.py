"""Names of models as clients of every protocol send them."""

from __future__ import annotations

import pytest

from runners import catalog
from service.errors import InvalidRequest, ModelNotFound
from service.protocols.shared.names import check_language, loaded_model

ENABLED = ("paraformer-large", "qwen3-asr-0.6b")


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Qwen3-ASR-0.6B", "qwen3-asr-0.6b"),
        ("qwen3_asr_0.6b", "qwen3-asr-0.6b"),
        ("Qwen/Qwen3-ASR-0.6B", "qwen3-asr-0.6b"),
        ("qwen3-asr", "qwen3-asr-0.6b"),
        ("qwen3-asr-flash-realtime", "qwen3-asr-0.6b"),
        ("iic/speech_paraformer-large-vad-punc_asr_nat-zh-cn-16k-common-vocab8404-pytorch", "paraformer-large"),
        ("damo/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online", "paraformer-large"),
        ("Paraformer", "paraformer-large"),
        ("paraformer-zh", "paraformer-large"),
        ("paraformer-zh-streaming", "paraformer-large"),
        ("paraformer-realtime-v2", "paraformer-large"),
        (" paraformer-large\u200b ", "paraformer-large"),
        ("Paraformer Large", "paraformer-large"),
    ],
)
def test_a_loaded_model_has_its_id_its_repositories_and_its_familys_name(name: str, id: str) -> None:
    for enabled in (ENABLED, ENABLED[::-1]):
        assert loaded_model(name, enabled).id == id


@pytest.mark.parametrize(
    "name",
    [
        "", "auto", "null", "default", "whisper-1", "Whisper", "whisper-large-v3", "openai/whisper-large-v3-turbo",
        "Systran/faster-whisper-large-v3", "large-v3", "gpt-4o-transcribe", "GPT-4o-mini-transcribe",
        "gpt-4o-transcribe-diarize", "gpt-transcribe", "gpt-live-transcribe", "gpt-realtime-whisper", "gpt-realtime",
    ],
)  # fmt: skip
def test_names_that_clients_send_of_their_own_accord_mean_the_default_model(name: str) -> None:
    for enabled in (ENABLED, ENABLED[::-1]):
        assert loaded_model(name, enabled).id == enabled[0]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Qwen/Qwen3-ASR-1.7B", "is not loaded here"), ("paraformer-demo", "is not loaded here"),
        ("gpt-9", "does not exist"), ("iic/SenseVoiceSmall", "does not exist"), ("/", "does not exist"),
        ("x" * 5000, "does not exist"),
    ],
)  # fmt: skip
def test_what_means_no_loaded_model_is_not_found(name: str, why: str) -> None:
    with pytest.raises(ModelNotFound, match=why) as raised:
        loaded_model(name, ENABLED)
    assert raised.value.param == "model"
    assert "qwen3-asr-0.6b" in raised.value.message
    assert len(raised.value.message) < 300


def test_a_familys_name_without_a_model_of_it_says_that_none_is_loaded() -> None:
    with pytest.raises(ModelNotFound, match="is not loaded here"):
        loaded_model("paraformer-zh", ("qwen3-asr-0.6b",))


def test_a_language_must_be_the_models() -> None:
    model = catalog.models()["paraformer-demo"]
    assert check_language("zh", "language", model) == "zh"
    with pytest.raises(InvalidRequest) as raised:
        check_language("yue", "languages", model)
    assert raised.value.param == "languages"
