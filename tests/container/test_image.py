"""The CPU image, built from Debian's packages and run: non-root, read-only, healthy, draining, its models inside.

`make test-container`: some minutes and gigabytes.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runners.catalog import PROJECT_ROOT
from tests.container import images
from tests.container.images import Container
from tests.speech import FOLDER

pytestmark = pytest.mark.slow

IMAGE = "localhost/asr-service:test"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := images.why_not():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("home")
    try:
        images.make_base(home)
        built = images.run(
            str(PROJECT_ROOT / ".venv/bin/python"), "-m", "scripts.bento", "demo", BENTOML_HOME=str(home)
        )
        found = re.search(r"^Built (\S+) with", built, re.MULTILINE)
        assert found, built
        images.containerize(found[1], IMAGE, home)
        print(f"\nsizes in MB: base {images.size_mb(images.BASE)}, image {images.size_mb(IMAGE)}", flush=True)
        yield IMAGE
    finally:
        images.remove(IMAGE, images.BASE)


@pytest.fixture
def container(image: str, tmp_path: Path) -> Iterator[Container]:
    with images.running(image, tmp_path, PORT="18765") as started:
        wait_until_ready(started, "http://127.0.0.1:18765")
        yield started


def wait_until_ready(container: Container, url: str) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert container.runtime.poll() is None, container.log.read_text()
        try:
            if httpx.get(f"{url}/readyz", timeout=3).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    raise AssertionError(container.log.read_text())


def test_the_image_says_how_it_is_run(image: str) -> None:
    config = images.inspect(image)
    assert config["User"] == "bentoml"
    assert "/tmp" in config["Volumes"]
    assert "8000/tcp" in config["ExposedPorts"]
    assert config["StopSignal"] == "SIGTERM"
    assert "/readyz" in " ".join(config["Healthcheck"]["Test"])
    assert not any(re.match(r"(UV|PIP)_\w*(INDEX|LINKS|CACHE)", entry) for entry in config["Env"])


def test_it_serves_as_an_ordinary_user_from_a_read_only_root(container: Container) -> None:
    with (FOLDER / "date.flac").open("rb") as file:
        answer = httpx.post(
            "http://127.0.0.1:18765/v1/audio/transcriptions",
            files={"file": file},
            data={"response_format": "text"},
            timeout=60,
        )
    assert answer.text.strip() == "今天是2026年11月23日。"
    assert {process.uids().effective for process in container.processes} == {container.uid}
    assert container.uid != 0
    refused = container.execute("touch", "/home/bentoml/bento/src/new")
    assert "Read-only file system" in refused.stderr
    # HEALTHCHECK, as a runtime would run it
    check = images.inspect(IMAGE)["Healthcheck"]["Test"][1:]
    assert container.execute(*check).returncode == 0
    verified = container.execute("sh", "-c", "cd /home/bentoml/bento/src && python -m runners.verify")
    assert "every file is as it was when the Bento was built" in verified.stdout, verified.stderr
    carried = container.execute(
        "sh", "-c", "ls /home/bentoml/bento/src /home/bentoml/bento/models; which gcc uv"
    ).stdout
    assert "paraformer-demo" in carried
    assert not re.search(r"tests|scripts|gcc", carried)


def test_sigterm_lets_requests_finish(container: Container) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        with (FOLDER / "dialogue.flac").open("rb") as file:
            answers.append(
                httpx.post("http://127.0.0.1:18765/v1/audio/transcriptions", files={"file": file}, timeout=120)
            )

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    deadline = time.monotonic() + 30
    while not re.search(r"asr_queue_requests(\{.*\})? [1-4]", httpx.get("http://127.0.0.1:18765/metrics").text):
        assert time.monotonic() < deadline
    assert container.stop() == 0, container.log.read_text()
    for thread in asking:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(answer.json()["text"] for answer in answers)


def test_one_service_runs_alone_as_on_kubernetes(image: str, tmp_path: Path) -> None:
    address = {"PORT": "18766", "BENTOML_SERVE_SERVICE_NAME": "VadRunner"}
    with images.running(image, tmp_path, "start-http-server", **address) as alone:
        wait_until_ready(alone, "http://127.0.0.1:18766")
        log = alone.log.read_text()
        assert "Service VadRunner initialized" in log
        assert "ParaformerRunner" not in log
        assert alone.stop() == 0, alone.log.read_text()


def test_without_any_network_it_serves_its_own_models(image: str, tmp_path: Path) -> None:
    with images.running(image, tmp_path, network=False) as offline:
        deadline = time.monotonic() + 240
        while "200" not in offline.inside_network("http://127.0.0.1:8000/readyz"):
            assert time.monotonic() < deadline, offline.log.read_text()
            assert offline.runtime.poll() is None, offline.log.read_text()
            time.sleep(1)
