"""`make bento`: the Bento is built with its models, exported, imported into an empty home, served and transcribes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from runners.catalog import PROJECT_ROOT

RECORDING = PROJECT_ROOT / "tests" / "fixtures" / "speech" / "date.flac"


def run(*command: str, home: Path, cwd: Path) -> str:
    # nothing of the caller's settings: the Bento itself says which models it carries
    environment = {**os.environ, "BENTOML_HOME": str(home)}
    environment.pop("ENABLED_MODELS", None)
    result = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@contextmanager
def served(tag: str, home: Path, cwd: Path) -> Iterator[str]:
    """The address of `bentoml serve TAG`, once ready; ended with SIGTERM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "BENTOML_HOME": str(home)}
    environment.pop("ENABLED_MODELS", None)
    with (cwd / "server.log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=cwd,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        base = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 120
            while not answers(f"{base}/readyz"):
                log.seek(0)
                assert server.poll() is None, log.read()
                assert time.monotonic() < deadline, log.read()
                time.sleep(0.5)
            yield base
        finally:
            members = psutil.Process(server.pid).children(recursive=True)
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=60)
            finally:
                for member in members:
                    if member.is_running():
                        member.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_built_bento_moves_to_an_empty_home_and_transcribes_there(tmp_path: Path) -> None:
    home, other_home, elsewhere = (tmp_path / name for name in ("home", "other-home", "elsewhere"))
    elsewhere.mkdir()
    built = run("scripts.bento", "demo", home=home, cwd=PROJECT_ROOT)
    match = re.search(r"^Built (asr-service:\S+) with paraformer-demo:", built, re.MULTILINE)
    assert match, built
    tag = match[1]
    archive = tmp_path / "service.bento"
    run("bentoml", "export", tag, str(archive), home=home, cwd=elsewhere)
    run("bentoml", "import", str(archive), home=other_home, cwd=elsewhere)
    with served(tag, other_home, elsewhere) as base, RECORDING.open("rb") as file:
        answer = httpx.post(
            f"{base}/v1/audio/transcriptions", files={"file": file}, data={"response_format": "text"}, timeout=60
        )
    assert answer.status_code == 200, answer.text
    assert answer.text.strip() == "今天是2026年11月23日。"


@pytest.mark.slow
def test_building_again_keeps_one_copy_of_an_unchanged_model(tmp_path: Path) -> None:
    run("scripts.bento", "demo", home=tmp_path, cwd=PROJECT_ROOT)
    again = run("scripts.bento", "demo", home=tmp_path, cwd=PROJECT_ROOT)
    assert "is in the model store" in again
    versions = [path for path in (tmp_path / "models" / "paraformer-demo").iterdir() if path.is_dir()]
    assert len(versions) == 1
