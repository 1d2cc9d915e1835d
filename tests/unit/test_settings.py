"""Environment variables: units, lists, model names, and wrong values that name the variable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from runners.catalog import PROJECT_ROOT
from service.settings import Settings, describe_problems

MB = 2**20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2048", 2048 * MB),
        ("1", MB),
        ("0.5", MB // 2),
        ("500KB", 500 * 2**10),
        ("500 kb", 500 * 2**10),
        ("3M", 3 * MB),
        ("2GB", 2 * 2**30),
        ("1.5g", 3 * 2**29),
        ("1048576B", MB),
    ],
)
def test_a_size_without_unit_is_megabytes_and_units_are_powers_of_1024(
    monkeypatch: pytest.MonkeyPatch, text: str, size: int
) -> None:
    monkeypatch.setenv("MAX_AUDIO_SIZE", text)
    assert Settings().max_audio_size == size


def test_the_largest_file_is_2_gb_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAX_AUDIO_SIZE", raising=False)
    assert Settings().max_audio_size == 2 * 2**30


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_key_asks_for_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("API_KEY", value)
    assert Settings().api_key == ()


@pytest.mark.parametrize("value", [",", " , ,"])
def test_commas_without_a_key_do_not_open_the_service(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("API_KEY", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert describe_problems(caught.value).startswith("API_KEY has no key between its commas")


def test_keys_are_a_list_without_surrounding_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "first, second ,,third")
    assert [key.get_secret_value() for key in Settings().api_key] == ["first", "second", "third"]


def test_a_key_is_in_no_representation_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "sesame")
    assert "sesame" not in repr(Settings())


def test_models_are_resolved_in_their_order_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLED_MODELS", "paraformer-demo, paraformer-large,demo")
    assert Settings().enabled_models == ("paraformer-demo", "paraformer-large", "qwen3-asr-demo")


def test_model_paths_are_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PATHS", "paraformer-large=/models/a, org/name=/models/b")
    assert Settings().model_paths == {"paraformer-large": Path("/models/a"), "org/name": Path("/models/b")}


def test_a_cache_in_the_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_PATH", "~/models")
    assert Settings().modelscope_path == Path.home() / "models"


def test_the_default_caches_are_in_the_home_directory() -> None:
    assert Settings().modelscope_path == Path.home() / ".cache/modelscope/hub/models"
    assert Settings().hf_home == Path.home() / ".cache/huggingface"


def test_the_level_of_logs_is_case_insensitive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    assert Settings().log_level == "DEBUG"


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("MAX_AUDIO_SIZE", "lots", "MB"),
        ("MAX_AUDIO_SIZE", "-5", "MB"),
        ("MAX_AUDIO_SIZE", "0", "greater than 0"),
        ("MAX_AUDIO_SIZE", "2TB", "MB"),
        ("ENABLED_MODELS", "whisper-1", "paraformer-large"),
        ("ENABLED_MODELS", "", "empty"),
        ("LOG_LEVEL", "LOUD", "'DEBUG'"),
        ("ASR_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("ASR_BATCH_SIZE", "four", "integer"),
        ("MAX_SEGMENT_SEC", "4", "greater than or equal to 5"),
        ("MODEL_PATHS", "/models/a", "id=directory"),
        ("ALLOW_MODEL_DOWNLOAD", "perhaps", "boolean"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable_and_what_is_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    line = describe_problems(caught.value)
    assert line.startswith(name + " ")
    assert hint in line
    assert "\n" not in line


def test_the_launcher_stops_before_anything_loads_with_the_line_alone(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "scripts.serve"],
        env={"PATH": "", "PYTHONPATH": str(PROJECT_ROOT), "MAX_AUDIO_SIZE": "lots", "PORT": "http"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("wrong setting: MAX_AUDIO_SIZE ")
    assert second.startswith("wrong setting: PORT ")


def test_an_access_key_is_a_pair_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().aliyun_access_key is None
    for missing in ("ALIYUN_ACCESS_KEY_ID", "ALIYUN_ACCESS_KEY_SECRET"):
        monkeypatch.setenv("ALIYUN_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("ALIYUN_ACCESS_KEY_SECRET", "sesame")
        pair = Settings().aliyun_access_key
        assert pair is not None
        assert (pair.id, pair.secret.get_secret_value()) == ("id", "sesame")
        assert "sesame" not in repr(Settings())
        monkeypatch.delenv(missing)
        with pytest.raises(ValidationError) as caught:
            Settings()
        assert describe_problems(caught.value).startswith("ALIYUN_ACCESS_KEY_SECRET goes with ALIYUN_ACCESS_KEY_ID")
