"""Preparing models for a closed network: the plan, fetching with resume, packing, and what `--check` says."""

from __future__ import annotations

import inspect
import subprocess
import tarfile
from pathlib import Path

import pytest

from runners import catalog
from runners.settings import RunnerSettings
from scripts import prepare_models
from scripts.prepare_models import Repository, check, download, is_whole, pack, plan

LARGE = "paraformer-large"
SMALL = [Repository("org/one", 0, (LARGE,)), Repository("org/two", 0, (LARGE,))]


class Hub:
    """A hub on this machine; the repositories in ``broken`` stop in the middle as often as that says."""

    def __init__(self, **broken: int) -> None:
        self.broken = broken
        self.calls: list[str] = []

    def __call__(self, repository: str, directory: Path) -> None:
        self.calls.append(repository)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.yaml").write_text(f"name: {repository}\n")
        name = repository.split("/")[1]
        if self.broken.get(name, 0):
            self.broken[name] -= 1
            raise OSError("connection reset")
        (directory / "model.pt").write_bytes(repository.encode() * 100)
        (directory / ".msc").write_text("the downloader's own")


def settings(tmp_path: Path) -> RunnerSettings:
    return RunnerSettings(enabled_models=LARGE, modelscope_path=tmp_path / "cache", hf_home=tmp_path / "hf")


def prepared(directory: Path) -> list[Repository]:
    """Every repository of the large model, in place, without its weight."""
    repositories = [Repository(r.name, 0, r.models) for r in plan([LARGE])]
    download(repositories, directory, Hub())
    return repositories


def test_a_plan_names_each_repository_once() -> None:
    repositories = plan([LARGE, LARGE])
    names = [r.name for r in repositories]
    assert catalog.models()[LARGE].asr.repository in names
    assert len(names) == len(set(names))


def test_shipped_models_have_nothing_to_fetch() -> None:
    assert plan(["paraformer-demo"]) == []
    assert "paraformer-demo" not in prepare_models.on_hubs()


def test_a_broken_download_is_tried_again(tmp_path: Path) -> None:
    hub = Hub(one=2)
    download(SMALL, tmp_path, hub)
    assert hub.calls == ["org/one"] * 3 + ["org/two"]
    assert all(is_whole(r.name, tmp_path) for r in SMALL)


def test_what_is_whole_is_not_fetched_again_and_what_is_not_goes_on(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run the same command again"):
        download(SMALL, tmp_path, Hub(two=99))
    assert is_whole("org/one", tmp_path)
    assert not is_whole("org/two", tmp_path)
    hub = Hub()
    download(SMALL, tmp_path, hub)
    assert hub.calls == ["org/two"]


def test_a_download_far_smaller_than_announced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has only 0 MB of about 900"):
        download([Repository("org/one", 900, (LARGE,))], tmp_path, Hub())
    assert not is_whole("org/one", tmp_path)


def test_too_small_a_disk_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    hub = Hub()
    with pytest.raises(SystemExit, match="MB of free space"):
        download([Repository("org/one", 10**9, (LARGE,))], tmp_path, hub)
    assert hub.calls == []


def test_the_archive_unpacks_to_the_directory_that_compose_mounts_and_its_sums_hold(tmp_path: Path) -> None:
    source = tmp_path / "source"
    download(SMALL, source, Hub())
    download([Repository("org/other", 0, (LARGE,))], source, Hub())
    archive = tmp_path / "asr-models-20261123.tar.gz"
    pack(SMALL, source, archive)
    with tarfile.open(archive) as tar:
        assert {member.uid for member in tar} == {0}
        tar.extractall(tmp_path / "there", filter="data")
    unpacked = tmp_path / "there" / "models" / "modelscope"
    files = sorted(p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file())
    assert files == ["SHA256SUMS", *(f"org/{n}/{f}" for n in ("one", "two") for f in ("config.yaml", "model.pt"))]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=unpacked, check=True)
    assert [p.name for p in tmp_path.iterdir() if "unfinished" in p.name] == []


def test_check_says_what_is_there_and_what_lacks(tmp_path: Path) -> None:
    directory = tmp_path / "models"
    lines = list(check([LARGE], settings(tmp_path), directory))
    assert not all(fine for fine, _ in lines)
    assert any(line.startswith(f"LACKS  {LARGE} asr: iic/") for _, line in lines)
    prepared(directory)
    lines = list(check([LARGE], settings(tmp_path), directory))
    assert all(fine for fine, line in lines), lines
    assert f"set MODELSCOPE_PATH={directory}" in lines[0][1]


def test_check_finds_a_damaged_file(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    asr = prepared(directory)[0]
    (directory / asr.name / "model.pt").write_bytes(b"bit rot")
    lines = list(check([LARGE], settings(tmp_path), directory))
    assert [line for fine, line in lines if not fine] == [
        f"DAMAGED  {LARGE} asr: {directory / asr.name}",
        "         model.pt differs",
    ]


def test_a_person_chooses_by_number_or_name(tmp_path: Path) -> None:
    known = prepare_models.on_hubs()
    answers = iter(["whisper", "99", f"1, {known[-1]}"])
    assert prepare_models.ask(tmp_path, lambda _: next(answers)) == [known[0], known[-1]]
    assert prepare_models.ask(tmp_path, lambda _: "") == []


def test_without_a_terminal_the_models_must_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
    with pytest.raises(SystemExit) as caught:
        prepare_models.main([])
    assert caught.value.code == 2
    assert "name the models" in capsys.readouterr().err


def test_list_shows_sizes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    prepare_models.main(["--list", "--directory", str(tmp_path)])
    assert f"{LARGE} " in capsys.readouterr().out


def test_the_hubs_are_called_as_their_installed_packages_want_it() -> None:
    import huggingface_hub
    import modelscope

    inspect.signature(modelscope.snapshot_download).bind("org/name", local_dir="/tmp/x")
    inspect.signature(huggingface_hub.snapshot_download).bind("org/name", local_dir=Path("/tmp/x"))


def test_a_hubs_function_passes_repository_and_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for package in ("modelscope", "huggingface_hub"):
        monkeypatch.setattr(f"{package}.snapshot_download", lambda *args, **kwargs: calls.append((args, kwargs)))
    for fetch in prepare_models.HUBS.values():
        fetch("org/name", tmp_path)
    assert [(args, str(kwargs["local_dir"])) for args, kwargs in calls] == [(("org/name",), str(tmp_path))] * 2
