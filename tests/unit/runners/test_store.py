"""Where a model's files are looked for, in which order, and what is said when they are nowhere."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bentoml
import pytest

from runners import catalog, store, verify
from runners.settings import RunnerSettings
from runners.store import ModelFilesMissingError, find_part

LARGE = catalog.models()["paraformer-large"]
REPOSITORY = LARGE.asr.repository or ""


@pytest.fixture
def bento(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a Bento that carries version `old` of a model, and whose code is this project's."""
    path = tmp_path / "bento"
    (path / "src").mkdir(parents=True)
    (path / "bento.yaml").write_text(f"models:\n- tag: {LARGE.id}:old\n  registry: default\n")
    monkeypatch.setattr(store, "PROJECT_ROOT", path / "src")
    store.bento_models.cache_clear()
    yield path
    store.bento_models.cache_clear()


def stored_model(version: str) -> Path:
    """A model in the machine's model store."""
    digests = {"asr/config.yaml": hashlib.sha256(b"model: Paraformer\n").hexdigest()}
    with bentoml.models.create(f"{LARGE.id}:{version}", metadata={"sha256": digests}) as model:
        directory(Path(model.path_of("asr")))
    return Path(bentoml.models.get(f"{LARGE.id}:{version}").path)


@pytest.fixture
def two_versions() -> Iterator[dict[str, Path]]:
    """Versions `old` and `newer` in the machine's model store."""
    yield {version: stored_model(version) for version in ("old", "newer")}
    for version in ("old", "newer"):
        with contextlib.suppress(bentoml.exceptions.NotFound):
            bentoml.models.delete(f"{LARGE.id}:{version}")


def settings(tmp_path: Path, **changes: Any) -> RunnerSettings:
    values = {"enabled_models": "paraformer-large", "modelscope_path": tmp_path / "ms", "hf_home": tmp_path / "hf"}
    return RunnerSettings(_env_file=None, **{**values, "allow_model_download": False, "model_paths": {}, **changes})


def directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text("model: Paraformer\n")
    (path / "model.pt").touch()
    return path


SMALL = catalog.models()["qwen3-asr-0.6b"]  # its repository's name has a dot


def weights(path: Path) -> Path:
    """A model directory as Hugging Face's tools write it."""
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").touch()
    return path


@pytest.mark.parametrize(
    "layout",
    [
        "Qwen/Qwen3-ASR-0.6B",  # --local_dir, prepare_models, what is downloaded here
        "Qwen/Qwen3-ASR-0___6B",  # up to 1.37, with MODELSCOPE_CACHE set to it
        "hub/Qwen/Qwen3-ASR-0___6B",  # before there were data sets
        "models/Qwen/Qwen3-ASR-0___6B",
        "hub/models/Qwen/Qwen3-ASR-0___6B",
        "hub/models/Qwen/Qwen3-ASR-0.6B",
        "models/Qwen--Qwen3-ASR-0.6B/snapshots/master",  # 1.38 and later
        "models/Qwen--Qwen3-ASR-0.6B/snapshots/v2",
    ],
)
@pytest.mark.parametrize("named", ["", "hub", "hub/models", "models"])
def test_every_layout_of_modelscopes_clients_is_found(tmp_path: Path, layout: str, named: str) -> None:
    expected = weights(tmp_path / "cache" / layout)
    assert find_part(SMALL, "asr", settings(tmp_path, modelscope_path=tmp_path / "cache" / named)) == expected


def test_modelscopes_own_variable_names_the_cache_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "client"))
    assert RunnerSettings(_env_file=None).modelscope_path == tmp_path / "client"
    monkeypatch.setenv("MODELSCOPE_PATH", str(tmp_path / "ours"))
    assert RunnerSettings(_env_file=None).modelscope_path == tmp_path / "ours"


def hugging_face(cache: Path, **refs: str) -> Path:
    repository = cache / "models--Qwen--Qwen3-ASR-0.6B"
    (repository / "refs").mkdir(parents=True)
    for name, commit in refs.items():
        (repository / "refs" / name).write_text(commit)
    return repository / "snapshots"


@pytest.mark.parametrize("place", ["hub", ""])
def test_the_hugging_face_cache_is_found(tmp_path: Path, place: str) -> None:
    expected = weights(hugging_face(tmp_path / "hf" / place, main="abc") / "abc")
    assert find_part(SMALL, "asr", settings(tmp_path)) == expected


def test_hugging_faces_reference_says_which_snapshot(tmp_path: Path) -> None:
    snapshots = hugging_face(tmp_path / "hf/hub", main="1abc")
    expected = weights(snapshots / "1abc")
    weights(snapshots / "9def")
    assert find_part(SMALL, "asr", settings(tmp_path)) == expected


def test_a_snapshot_fetched_by_its_revision_is_found(tmp_path: Path) -> None:
    expected = weights(hugging_face(tmp_path / "hf/hub") / "abc")
    assert find_part(SMALL, "asr", settings(tmp_path)) == expected


def test_the_hub_cache_comes_before_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights(hugging_face(tmp_path / "hf/hub", main="abc") / "abc")
    expected = weights(hugging_face(tmp_path / "large", main="abc") / "abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "large"))
    assert find_part(SMALL, "asr", settings(tmp_path)) == expected


@pytest.mark.parametrize(
    "lacking",
    [
        {"model.safetensors": None},  # small files come first
        {"model.safetensors": None, "model.safetensors.incomplete": "..."},
        {"vocab.json.incomplete": "{"},
        {"._____temp/merges.txt": "a"},  # up to 1.37
        {"model.safetensors": None, "model.safetensors.index.json": '{"weight_map": {"a": "1.safetensors"}}'},
    ],
)
def test_an_unfinished_download_is_passed_over_and_told(tmp_path: Path, lacking: dict[str, str | None]) -> None:
    broken = weights(tmp_path / "ms" / "Qwen/Qwen3-ASR-0.6B")
    for name, content in lacking.items():
        (broken / name).parent.mkdir(exist_ok=True)
        (broken / name).unlink() if content is None else (broken / name).write_text(content)
    with pytest.raises(ModelFilesMissingError) as caught:
        find_part(SMALL, "asr", settings(tmp_path))
    assert f"MODELSCOPE_PATH: {broken} (unfinished, without " in str(caught.value)
    whole = weights(hugging_face(tmp_path / "hf/hub", main="abc") / "abc")
    assert find_part(SMALL, "asr", settings(tmp_path)) == whole


def test_weights_in_several_files_are_whole_with_the_last(tmp_path: Path) -> None:
    found = weights(tmp_path / "ms" / "Qwen/Qwen3-ASR-0.6B")
    (found / "model.safetensors").rename(found / "1.safetensors")
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (found / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFilesMissingError, match=r"without 2\.safetensors"):
        find_part(SMALL, "asr", settings(tmp_path))
    (found / "2.safetensors").touch()
    assert find_part(SMALL, "asr", settings(tmp_path)) == found


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
        weights = "TLG.fst" if part == "language_model" else "model.pt"
        assert (find_part(demo, part, settings(tmp_path)) / weights).is_file()


def test_a_language_model_is_known_by_its_graph(tmp_path: Path) -> None:
    repository = LARGE.parts["language_model"].repository or ""
    found = directory(tmp_path / "ms" / repository)
    with pytest.raises(ModelFilesMissingError):
        find_part(LARGE, "language_model", settings(tmp_path))
    (found / "TLG.fst").touch()
    assert find_part(LARGE, "language_model", settings(tmp_path)) == found


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

    def download(repository: str, *, cache_dir: str, local_dir: str) -> str:
        return str(directory(Path(local_dir)))

    monkeypatch.setattr(modelscope, "snapshot_download", download)
    assert find_part(LARGE, "asr", settings(tmp_path, allow_model_download=True)) == tmp_path / "ms" / REPOSITORY


def test_the_download_is_called_as_the_installed_modelscope_wants_it() -> None:
    import inspect

    from modelscope import snapshot_download

    inspect.signature(snapshot_download).bind("org/name", cache_dir="/tmp", local_dir="/tmp/x")


def test_a_bento_uses_the_version_it_was_built_with(tmp_path: Path, bento: Path, two_versions: dict[str, Path]) -> None:
    assert bentoml.models.get(f"{LARGE.id}:latest").tag.version == "newer"
    assert find_part(LARGE, "asr", settings(tmp_path)) == two_versions["old"] / "asr"


def test_a_containers_models_lie_in_the_bento(tmp_path: Path, bento: Path) -> None:
    expected = directory(bento / "models" / LARGE.id / "old" / "asr")
    assert find_part(LARGE, "asr", settings(tmp_path)) == expected


def test_outside_a_bento_the_model_store_is_not_looked_at(tmp_path: Path, two_versions: dict[str, Path]) -> None:
    with pytest.raises(ModelFilesMissingError):
        find_part(LARGE, "asr", settings(tmp_path))


def test_a_bento_without_its_model_says_how_to_get_it(tmp_path: Path, bento: Path) -> None:
    with pytest.raises(ModelFilesMissingError, match="bentoml import FILE") as caught:
        find_part(LARGE, "asr", settings(tmp_path))
    assert f"this Bento's model: {LARGE.id}:old (not in the model store)" in str(caught.value)


def test_a_changed_file_of_a_bentos_model_is_found(
    bento: Path, two_versions: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    verify.main()
    assert "every file is as it was" in capsys.readouterr().out
    (two_versions["old"] / "asr" / "config.yaml").write_text("model: Other\n")
    with pytest.raises(SystemExit):
        verify.main()
    assert f"{LARGE.id}:old: asr/config.yaml differs" in capsys.readouterr().out


def test_a_missing_model_is_found(bento: Path) -> None:
    assert [problem.partition(" is ")[0] for problem in verify.problems(f"{LARGE.id}:old")] == [f"{LARGE.id}:old"]
