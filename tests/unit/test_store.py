"""Where a model's files are looked for, in which order, and what is said when they are nowhere."""

from pathlib import Path
from typing import Any

import pytest

from runners import catalog, store
from runners.settings import RunnerSettings
from runners.store import ModelFilesMissingError, find_part

LARGE = catalog.models()["paraformer-large"]
REPOSITORY = LARGE.asr.repository or ""


@pytest.fixture(autouse=True)
def empty_bento_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_bento_model", lambda model, part: iter(()))


def settings(tmp_path: Path, **changes: Any) -> RunnerSettings:
    values = {"enabled_models": "paraformer-large", "modelscope_path": tmp_path / "ms", "hf_home": tmp_path / "hf"}
    return RunnerSettings(_env_file=None, **{**values, "allow_model_download": False, "model_paths": {}, **changes})


def directory(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("model: Paraformer\n")
    return path


def test_the_modelscope_cache_is_found(tmp_path: Path) -> None:
    expected = directory(tmp_path / "ms" / REPOSITORY)
    assert find_part(LARGE, "asr", settings(tmp_path)) == expected


def test_the_hugging_face_cache_is_found(tmp_path: Path) -> None:
    expected = directory(tmp_path / "hf/hub" / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots/abc")
    assert find_part(LARGE, "asr", settings(tmp_path)) == expected


@pytest.mark.parametrize("key", ["paraformer-large", REPOSITORY])
def test_an_explicit_directory_comes_first(tmp_path: Path, key: str) -> None:
    directory(tmp_path / "ms" / REPOSITORY)
    expected = directory(tmp_path / "mine")
    assert find_part(LARGE, "asr", settings(tmp_path, model_paths={key: expected})) == expected


def test_an_explicit_directory_may_hold_all_parts(tmp_path: Path) -> None:
    expected = directory(tmp_path / "mine" / "vad")
    assert find_part(LARGE, "vad", settings(tmp_path, model_paths={LARGE.id: tmp_path / "mine"})) == expected


def test_the_demo_pack_is_part_of_the_project(tmp_path: Path) -> None:
    demo = catalog.models()["paraformer-demo"]
    for part in demo.parts:
        assert (find_part(demo, part, settings(tmp_path)) / "model.pt").is_file()


def test_missing_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesMissingError) as caught:
        find_part(LARGE, "asr", settings(tmp_path))
    message = str(caught.value)
    assert "paraformer-large needs its asr part" in message
    assert str(tmp_path / "ms" / REPOSITORY) in message
    assert f"modelscope download --model {REPOSITORY}" in message


def test_a_failed_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import modelscope

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(modelscope, "snapshot_download", refuse)
    with pytest.raises(ModelFilesMissingError, match="no route to host"):
        find_part(LARGE, "asr", settings(tmp_path, allow_model_download=True))


def test_a_download_goes_to_the_modelscope_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import modelscope

    def download(repository: str, *, local_dir: str) -> str:
        return str(directory(Path(local_dir)))

    monkeypatch.setattr(modelscope, "snapshot_download", download)
    assert find_part(LARGE, "asr", settings(tmp_path, allow_model_download=True)) == tmp_path / "ms" / REPOSITORY


def test_the_download_is_called_as_the_installed_modelscope_wants_it() -> None:
    import inspect

    from modelscope import snapshot_download

    inspect.signature(snapshot_download).bind("org/name", local_dir="/tmp/x")
