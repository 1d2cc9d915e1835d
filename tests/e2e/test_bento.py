"""`make bento`: what a Bento carries, and that its archive is all that a machine without network needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from runners import checksums
from runners.catalog import PROJECT_ROOT
from scripts.bento import project_version
from service.api import ASRService
from tests.e2e.bentos import command_line

# A machine of its own network, which has no route to anywhere; the map lets an ordinary user make one.
WITHOUT_NETWORK = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]


class Built(NamedTuple):
    home: Path
    tag: str
    model: str

    @property
    def bento(self) -> Path:
        return self.home / "bentos" / self.tag.replace(":", "/")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    home = tmp_path_factory.mktemp("home")
    output = command_line("scripts.bento", "demo", home=home, cwd=PROJECT_ROOT)
    match = re.search(r"^Built (asr-service:\S+) with (paraformer-demo:\w+)", output, re.MULTILINE)
    assert match, output
    return Built(home, match[1], match[2])


def test_a_bento_has_the_projects_version_and_pins_its_models(built: Built) -> None:
    assert built.tag == f"asr-service:{project_version()}"
    description = yaml.safe_load((built.bento / "bento.yaml").read_text())
    stored = [model["tag"].partition(":")[0] for model in description["models"]]
    assert stored == ["paraformer-demo", "qwen3-asr-demo"]
    assert built.model in [model["tag"] for model in description["models"]]


def test_a_bento_has_every_service_whatever_models_it_carries(built: Built) -> None:
    description = yaml.safe_load((built.bento / "bento.yaml").read_text())
    services = {service["name"] for service in description["services"]}
    assert services == {"ASRService", *(dependency.on.name for dependency in ASRService.dependencies.values())}


def test_a_bento_carries_no_tests_training_code_models_or_caches(built: Built) -> None:
    files = [path.relative_to(built.bento).as_posix() for path in built.bento.rglob("*") if path.is_file()]
    assert "src/service/api.py" in files
    unwanted = re.compile(r"(^|/)(tests|scripts|models|build|__pycache__|\..*)/|\.(pyc|pt|log)$|(^|/)\.env$")
    assert [name for name in files if unwanted.search(name)] == []


def test_a_bento_for_gpus_installs_vllm_and_the_compiler_that_it_needs(tmp_path: Path) -> None:
    command_line("scripts.bento", "qwen3-asr-demo", "--gpu", home=tmp_path, cwd=PROJECT_ROOT)
    docker = tmp_path / "bentos" / "asr-service" / project_version() / "env"
    assert re.search(r"^vllm==", (docker / "python" / "requirements.txt").read_text(), re.MULTILINE)
    assert "gcc" in (docker / "docker" / "Dockerfile").read_text()


def test_a_models_metadata_has_the_checksum_of_each_of_its_files(built: Built) -> None:
    model = built.home / "models" / built.model.replace(":", "/")
    recorded = yaml.safe_load((model / "model.yaml").read_text())["metadata"]["sha256"]
    assert {"asr/model.pt", "vad/model.pt", "punctuation/model.pt"} <= set(recorded)
    stored = checksums.of_directory(model)
    del stored["model.yaml"]
    assert recorded == stored


@pytest.mark.slow
def test_building_again_keeps_one_copy_of_an_unchanged_model(built: Built) -> None:
    again = command_line("scripts.bento", "demo", home=built.home, cwd=PROJECT_ROOT)
    assert "is in the model store" in again
    versions = [path for path in (built.home / "models" / "paraformer-demo").iterdir() if path.is_dir()]
    assert len(versions) == 1


def test_an_exported_bento_serves_from_an_empty_home_without_any_network(built: Built, tmp_path: Path) -> None:
    if subprocess.run([*WITHOUT_NETWORK, "ip", "link", "set", "lo", "up"], check=False).returncode:
        pytest.skip("this machine lets us make no network namespace")
    archive, empty = tmp_path / "service.bento", tmp_path / "home"
    empty.mkdir()
    command_line("bentoml", "export", built.tag, str(archive), home=built.home, cwd=tmp_path)
    result = subprocess.run(
        [*WITHOUT_NETWORK, sys.executable, "-m", "tests.e2e.isolated_machine", str(archive), built.tag, str(empty)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    outcome = json.loads(result.stdout.splitlines()[-1])
    assert outcome["network"].endswith("Network is unreachable")
    assert "every file is as it was when the Bento was built" in outcome["verified"]
    assert (outcome["status"], outcome["text"].strip()) == (200, "今天是2026年11月23日。")
