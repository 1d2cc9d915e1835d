"""The project's own files agree with each other: settings, locks, versions, what a Bento includes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from runners.catalog import PROJECT_ROOT
from scripts import configuration_docs
from scripts.bento import project_version
from scripts.env_example import render
from scripts.serve import LaunchSettings
from service.app import VERSION


def read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> set[str]:
    return {line for line in read(name).splitlines() if line and not line.startswith("#")}


def name_of(pin: str) -> str:
    return pin.partition("==")[0]


def test_env_example_lists_every_setting_with_its_description_and_default() -> None:
    assert read(".env.example") == render(), "run: .venv/bin/python -m scripts.env_example"


@pytest.mark.parametrize("language", [configuration_docs.ENGLISH, configuration_docs.CHINESE])
def test_the_configuration_pages_list_every_setting(language: configuration_docs.Language) -> None:
    made = configuration_docs.render(language)
    assert read(language.path) == made, "run: .venv/bin/python -m scripts.configuration_docs"
    for name in LaunchSettings.model_fields:
        assert f"| `{name.upper()}` |" in made


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in LaunchSettings.model_fields.items() if not field.description] == []


def test_a_copied_env_example_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENABLED_MODELS")
    copy = tmp_path / ".env"
    copy.write_text(re.sub(r"(?m)^#(?=[A-Z_]+=)", "", read(".env.example")), encoding="utf-8")
    assert LaunchSettings(_env_file=copy).model_dump() == LaunchSettings().model_dump()


def test_locks_pin_exact_versions_and_name_no_place_to_fetch_from() -> None:
    for line in pins("constraints.txt") | pins("requirements.txt"):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?", line), line


def test_what_runs_the_service_is_locked_to_the_versions_that_are_tested() -> None:
    assert pins("requirements.txt") <= pins("constraints.txt")


def test_what_is_installed_without_its_dependencies_is_pinned_to_what_is_tested() -> None:
    alone = pins("requirements-no-deps.txt")
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in alone)
    assert {name_of(line) for line in alone} >= {"funasr", "qwen-asr"}
    assert not {name_of(line) for line in alone} & {name_of(line) for line in pins("requirements.txt")}
    elsewhere = {name_of(line): line for line in pins("constraints.txt") | pins("requirements-gpu.txt")}
    assert all(elsewhere.get(name_of(line), line) == line for line in alone)


def test_what_only_demos_and_training_need_is_not_installed() -> None:
    names = {name_of(line) for line in pins("requirements.txt")}
    assert not names & {"gradio", "flask", "numba", "umap-learn", "scikit-learn", "pandas", "accelerate", "hydra-core"}


def test_every_dependency_of_the_project_is_locked() -> None:
    named = re.findall(r'^    "([a-z0-9-]+)[=>"]', read("pyproject.toml"), re.MULTILINE)
    locked = {name_of(line) for name in ("constraints.txt", "requirements-gpu.txt") for line in pins(name)}
    assert len(named) > 20
    assert set(named) <= locked


def test_the_app_tells_the_project_version() -> None:
    assert project_version() == VERSION


def test_a_bento_includes_the_code_and_no_models_tests_or_training() -> None:
    config = yaml.safe_load(read("bentofile.yaml"))
    assert config["service"] == "service:ASRService"
    assert {"service/", "runners/", "configs/", "requirements-no-deps.txt"} <= set(config["include"])
    assert not any(re.match(r"models|tests|scripts|build|\*", entry) for entry in config["include"])
    assert config["python"] == {"requirements_txt": "requirements.txt", "lock_packages": False}
