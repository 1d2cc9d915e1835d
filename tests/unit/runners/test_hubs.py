"""The hubs' real clients against stand-ins of the hubs: what is fetched, broken off, damaged, and found again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import modelscope
import modelscope_hub._download
import modelscope_hub.config
import pytest

from runners import catalog
from runners.settings import RunnerSettings
from runners.store import ModelFilesMissingError, find_part
from scripts import prepare_models
from tests.hubs import COMMIT, Hub, serving

MODEL = catalog.models()["qwen3-asr-0.6b"]
REPOSITORY = MODEL.asr.repository or ""
WEIGHTS = random.Random(1).randbytes(2_500_000)
HALF = len(WEIGHTS) // 2


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {"config.json": b"{}", "model.safetensors": WEIGHTS, "fig/loss.png": b"png", "README.md": b"# Qwen"}
    with serving(Hub(REPOSITORY, files)) as hub:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setattr(modelscope_hub.config, "_default_config", None)  # read once, else
        monkeypatch.setattr(modelscope_hub._download, "DOWNLOAD_RETRY_TIMES", 0)  # it waits for seconds between them
        monkeypatch.setattr(modelscope_hub._download, "DOWNLOAD_INTEGRITY_RETRY_BACKOFF", 0)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        address = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.file_download, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # what is kept of a broken one
        yield hub


def find(tmp_path: Path, *, download: bool) -> Path:
    settings = RunnerSettings(
        modelscope_path=tmp_path / "ms", hf_home=tmp_path / "hf", allow_model_download=download, _env_file=None
    )
    return find_part(MODEL, "asr", settings)


def assert_whole(directory: Path, hub: Hub) -> None:
    for name, content in hub.files.items():
        assert (directory / name).read_bytes() == content


def test_what_is_downloaded_is_found_again_without_a_network(tmp_path: Path, hub: Hub) -> None:
    found = find(tmp_path, download=True)
    assert found == tmp_path / "ms" / REPOSITORY
    assert_whole(found, hub)
    hub.asked.clear()
    assert find(tmp_path, download=True) == find(tmp_path, download=False) == found
    assert hub.asked == []


def test_a_read_only_home_is_enough(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/nowhere")
    assert_whole(find(tmp_path, download=True), hub)


def test_a_broken_download_is_no_model_and_goes_on_where_it_stopped(tmp_path: Path, hub: Hub) -> None:
    hub.breaks["model.safetensors"] = HALF
    with pytest.raises(ModelFilesMissingError, match="the download failed") as caught:
        find(tmp_path, download=True)
    assert "model.safetensors" in str(caught.value)
    with pytest.raises(ModelFilesMissingError, match=r"unfinished, without model\.safetensors"):
        find(tmp_path, download=False)
    hub.asked.clear()
    assert_whole(find(tmp_path, download=True), hub)
    assert hub.asked == [("model.safetensors", f"bytes={HALF}-")]


def test_a_download_without_one_of_its_small_files_is_no_model(tmp_path: Path, hub: Hub) -> None:
    hub.breaks["README.md"] = 1
    with pytest.raises(ModelFilesMissingError, match="the download failed"):
        find(tmp_path, download=True)
    with pytest.raises(ModelFilesMissingError, match="unfinished"):
        find(tmp_path, download=False)
    assert_whole(find(tmp_path, download=True), hub)


def test_a_damaged_file_is_noticed_and_never_used(tmp_path: Path, hub: Hub) -> None:
    hub.damaged = {"model.safetensors"}
    with pytest.raises(ModelFilesMissingError, match="Hash mismatch"):
        find(tmp_path, download=True)
    with pytest.raises(ModelFilesMissingError, match="unfinished"):
        find(tmp_path, download=False)
    hub.damaged = set()
    assert_whole(find(tmp_path, download=True), hub)


def test_a_repository_without_weights_is_told(tmp_path: Path, hub: Hub) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelFilesMissingError, match=r"Qwen3-ASR-0\.6B has no model\.safetensors"):
        find(tmp_path, download=True)


def test_without_permission_nothing_is_fetched_and_everything_is_named(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(ModelFilesMissingError) as caught:
        find(tmp_path, download=False)
    message = str(caught.value)
    places = (tmp_path / "ms" / REPOSITORY, tmp_path / "hf/hub/models--Qwen--Qwen3-ASR-0.6B/snapshots")
    for said in ("qwen3-asr-0.6b needs its asr part", "1880 MB", "ALLOW_MODEL_DOWNLOAD=false", *map(str, places)):
        assert said in message
    assert f"modelscope download --model {REPOSITORY}" in message
    assert hub.asked == []


def test_what_modelscopes_client_caches_is_found(tmp_path: Path, hub: Hub) -> None:
    cached = Path(modelscope.snapshot_download(REPOSITORY, cache_dir=str(tmp_path / "ms")))
    assert cached == tmp_path / "ms/models/Qwen--Qwen3-ASR-0.6B/snapshots/master"
    assert find(tmp_path, download=False) == cached
    assert_whole(cached, hub)


def test_what_modelscopes_client_was_stopped_at_is_no_model(tmp_path: Path, hub: Hub) -> None:
    hub.breaks["model.safetensors"] = HALF
    with pytest.raises(Exception, match="failed to download"):
        modelscope.snapshot_download(REPOSITORY, cache_dir=str(tmp_path / "ms"))
    with pytest.raises(ModelFilesMissingError, match=r"unfinished, without model\.safetensors"):
        find(tmp_path, download=False)


def test_what_a_stopped_client_left_in_our_place_is_gone_on_with(tmp_path: Path, hub: Hub) -> None:
    hub.breaks["model.safetensors"] = HALF
    with pytest.raises(Exception, match="failed to download"):
        modelscope.snapshot_download(REPOSITORY, local_dir=str(tmp_path / "ms" / REPOSITORY))
    hub.asked.clear()
    assert_whole(find(tmp_path, download=True), hub)
    assert hub.asked == [("model.safetensors", f"bytes={HALF}-")]


def hugging_face(tmp_path: Path, hub: Hub) -> Path:
    return Path(huggingface_hub.snapshot_download(REPOSITORY, cache_dir=tmp_path / "hf/hub"))


def test_what_hugging_faces_client_caches_is_found(tmp_path: Path, hub: Hub) -> None:
    cached = hugging_face(tmp_path, hub)
    assert cached == tmp_path / f"hf/hub/models--Qwen--Qwen3-ASR-0.6B/snapshots/{COMMIT}"
    assert find(tmp_path, download=False) == cached
    assert_whole(cached, hub)


def test_what_hugging_faces_client_was_stopped_at_is_no_model_until_it_has_gone_on(tmp_path: Path, hub: Hub) -> None:
    hub.breaks["model.safetensors"] = HALF
    with pytest.raises(OSError, match="Connection broken"):
        hugging_face(tmp_path, hub)
    with pytest.raises(ModelFilesMissingError, match=r"without (model\.safetensors|config\.yaml)"):
        find(tmp_path, download=False)
    hub.asked.clear()
    cached = hugging_face(tmp_path, hub)
    resumed = dict(hub.asked)["model.safetensors"] or ""
    assert 0 < int(resumed.removeprefix("bytes=").rstrip("-")) <= HALF
    assert find(tmp_path, download=False) == cached
    assert_whole(cached, hub)


def test_an_earlier_revision_stays_in_use_while_the_next_is_unfinished(tmp_path: Path, hub: Hub) -> None:
    earlier = hugging_face(tmp_path, hub)
    repository = earlier.parents[1]
    (repository / "refs/main").write_text("6" * 40)
    (repository / "snapshots" / ("6" * 40)).mkdir()
    (repository / "snapshots" / ("6" * 40) / "config.json").write_text(json.dumps({}))
    assert find(tmp_path, download=False) == earlier


@pytest.mark.parametrize("client", prepare_models.HUBS)
def test_models_are_prepared_from_either_hub_and_a_broken_connection_costs_a_try(
    tmp_path: Path, hub: Hub, client: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.breaks["model.safetensors"] = HALF
    repository = prepare_models.Repository(REPOSITORY, 0, (MODEL.id,))
    prepare_models.download([repository], tmp_path / "ms", prepare_models.HUBS[client])
    assert "try 1 of 3 failed" in capsys.readouterr().out
    assert prepare_models.is_whole(REPOSITORY, tmp_path / "ms")
    found = find(tmp_path, download=False)
    assert_whole(found, hub)
