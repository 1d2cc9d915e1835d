"""What operators deploy with agrees with the code and with the schemas of the tools that read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import attr
import pytest
import yaml
from bentoml._internal.cloud.schemas.modelschemas import DeploymentServiceConfig, DeploymentStrategy
from bentoml._internal.cloud.schemas.schemasv2 import CreateDeploymentSchema
from bentoml._internal.utils.cattr import bentoml_cattr

from runners.catalog import PROJECT_ROOT
from scripts.bento import project_version
from scripts.serve import LaunchSettings
from service.api import ASRService

KUBERNETES = PROJECT_ROOT / "configs" / "kubernetes"
SERVICES = {"ASRService", *(dependency.on.name for dependency in ASRService.dependencies.values())}


def read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=["base", "gpu", "jobs"])
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What kustomize makes of a folder."""
    command = [["kubectl", "kustomize"], ["kustomize", "build"]][shutil.which("kubectl") is None]
    if shutil.which(command[0]) is None:
        pytest.skip("neither kubectl nor kustomize is installed")
    rendered = subprocess.run([*command, str(KUBERNETES / request.param)], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(rendered.stdout))


def containers(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pods = [m["spec"]["template"]["spec"] for m in manifests if m["kind"] == "Deployment"]
    return [container for pod in pods for container in pod["containers"] + pod.get("initContainers", [])]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def health_checks() -> list[str]:
    """The Python programs that containers run as health checks."""
    image = re.search(
        r"HEALTHCHECK .*?CMD (\[.*?\])$", read("configs/container/Dockerfile.j2"), re.DOTALL | re.MULTILINE
    )
    assert image
    api = next(m for m in yaml.safe_load_all(read("configs/kubernetes/base/api.yaml")) if m["kind"] == "Deployment")
    probes = [p for c in containers([api]) for name, p in c.items() if name.endswith("Probe") and "exec" in p]
    assert probes
    commands = [json.loads(image[1]), *(probe["exec"]["command"] for probe in probes)]
    assert all(command[:2] == ["python", "-c"] for command in commands)
    return [command[2] for command in commands]


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()


@pytest.mark.parametrize("program", health_checks())
def test_a_health_check_asks_its_own_container_whatever_the_proxy(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with HTTPServer(("127.0.0.1", 0), _Ready) as server:
        monkeypatch.setenv("BENTOML_PORT", str(server.server_port))
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        subprocess.run([sys.executable, "-c", program.replace(":8001", f":{server.server_port}")], check=True)
        answering.join()


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_manifests_fit_the_schemas_of_kubernetes(manifests: list[dict[str, Any]], version: str) -> None:
    import kubernetes_validate

    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_check_finds_a_misspelt_field(manifests: list[dict[str, Any]]) -> None:
    import kubernetes_validate

    deployment = next(m for m in manifests if m["kind"] == "Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**deployment, "spec": {**deployment["spec"], "replica": 2}}, "1.37", strict=True)


def test_every_bentoml_service_has_a_container_of_its_own(manifests: list[dict[str, Any]]) -> None:
    names = [environment(container)["BENTOML_SERVE_SERVICE_NAME"] for container in containers(manifests)]
    assert sorted(names) == sorted(SERVICES)


def test_the_api_is_told_an_address_of_each_of_its_runners(manifests: list[dict[str, Any]]) -> None:
    api = next(c for c in containers(manifests) if environment(c)["BENTOML_SERVE_SERVICE_NAME"] == "ASRService")
    addresses = dict(entry.split("=") for entry in environment(api)["BENTOML_SERVE_DEPENDS"].split())
    assert set(addresses) == SERVICES - {"ASRService"}
    offered = {
        f"http://{m['metadata']['name']}:{m['spec']['ports'][0]['port']}": m
        for m in manifests
        if m["kind"] == "Service"
    }
    for name, address in addresses.items():
        if name == "ParaformerStreamingRunner":  # its sessions are in its memory: the one in the same pod
            assert address == "http://127.0.0.1:8001"
        else:
            selector = offered[address]["spec"]["selector"]
            runner = next(
                m for m in manifests if m["kind"] == "Deployment" and m["spec"]["selector"]["matchLabels"] == selector
            )
            assert (
                environment(runner["spec"]["template"]["spec"]["containers"][0])["BENTOML_SERVE_SERVICE_NAME"] == name
            )


def test_an_api_pod_always_meets_the_same_replica_of_a_runner_with_live_sessions(
    manifests: list[dict[str, Any]],
) -> None:
    service = next(m for m in manifests if m["kind"] == "Service" and m["metadata"]["name"] == "asr-qwen3")
    assert service["spec"]["sessionAffinity"] == "ClientIP"


def test_only_the_api_may_call_runners(manifests: list[dict[str, Any]]) -> None:
    policy = next(m for m in manifests if m["kind"] == "NetworkPolicy" and m["metadata"]["name"] == "asr-runners")
    wanted = policy["spec"]["podSelector"]["matchLabels"].items()
    for deployment in (m for m in manifests if m["kind"] == "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert (wanted <= labels.items()) == (labels["app.kubernetes.io/component"] != "api")
    sources = [source for rule in policy["spec"]["ingress"] for source in rule["from"]]
    assert {tuple(source) for source in sources} == {("podSelector",)}
    allowed = {source["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for source in sources}
    workers = {"worker"} if any(m["kind"] == "StatefulSet" for m in manifests) else set()
    assert allowed == {"api"} | workers


def test_every_container_is_locked_down(manifests: list[dict[str, Any]]) -> None:
    for container in containers(manifests):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"])


def test_gpus_are_asked_for_where_utterances_are_recognised(manifests: list[dict[str, Any]]) -> None:
    with_gpu = [c["name"] for c in containers(manifests) if "nvidia.com/gpu" in c["resources"]["limits"]]
    gpu_image = any(c["image"].endswith("-gpu") for c in containers(manifests))
    assert with_gpu == (["paraformer", "qwen3"] if gpu_image else [])


def test_bentocloud_knows_every_field_and_service() -> None:
    config = yaml.safe_load(read("configs/bentocloud.yaml"))
    deployment = bentoml_cattr.structure(config, CreateDeploymentSchema)
    assert set(config) <= {field.name for field in attr.fields(CreateDeploymentSchema)}
    assert set(deployment.services) == SERVICES
    known = {field.name for field in attr.fields(DeploymentServiceConfig)}
    for service in config["services"].values():
        assert set(service) <= known
        assert set(service["scaling"]) == {"min_replicas", "max_replicas"}
        DeploymentStrategy[service.get("deployment_strategy", "RollingUpdate")]
    assert config["bento"] == f"asr-service:{project_version()}"
    # BentoCloud sends each call to any replica, and live sessions are in one process's memory.
    for name in ("ParaformerStreamingRunner", "Qwen3Runner"):
        assert config["services"][name]["scaling"]["max_replicas"] == 1


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose-cpu.yml"])
def test_compose_files_are_as_documented(name: str, tmp_path: Path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    shutil.copy(PROJECT_ROOT / ".env.example", tmp_path / ".env")
    shown = subprocess.run(
        ["docker-compose", "-f", name, "config"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    service = yaml.safe_load(shown.stdout)["services"]["asr"]
    assert service["ports"] in (["17003:8000"], ["17003:8000/tcp"], [{"published": 17003, "target": 8000}])
    assert service["environment"]["PORT"] == "8000"
    assert [v.partition(":")[2] for v in service["volumes"]] == [
        "/models/modelscope:rw",
        "/models/huggingface:rw",
        "/tmp:rw",
        "/data:rw",
    ]
    assert service["read_only"]
    assert ("deploy" in service) == ("cpu" not in name)


def test_settings_named_in_deployment_files_exist() -> None:
    known = {name.upper() for name in LaunchSettings.model_fields}
    kustomization = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    literals = [entry.partition("=")[0] for entry in kustomization["configMapGenerator"][0]["literals"]]
    cloud = [entry["name"] for entry in yaml.safe_load(read("configs/bentocloud.yaml"))["envs"]]
    assert set(literals) | set(cloud) <= known


def test_versions_agree() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    assert kustomization["images"][0]["newTag"] == project_version()
