"""Building, moving and serving Bentos with the command line, each machine a BENTOML_HOME of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def command_line(*command: str, home: Path, cwd: Path) -> str:
    """Standard output and error of `python -m COMMAND`, which must succeed."""
    result = subprocess.run(
        [sys.executable, "-m", *command],
        env=_environment(home),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def _environment(home: Path) -> dict[str, str]:
    # nothing of the caller's settings: the Bento itself says which models it carries
    environment = {**os.environ, "BENTOML_HOME": str(home)}
    environment.pop("ENABLED_MODELS", None)
    return environment


@contextmanager
def served(tag: str, home: Path, cwd: Path) -> Iterator[str]:
    """The address of `bentoml serve TAG`, once ready; ended with SIGTERM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (cwd / "server.log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
            env=_environment(home),
            cwd=cwd,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        base = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 180
            while not _answers(f"{base}/readyz"):
                log.seek(0)
                assert server.poll() is None, log.read()
                assert time.monotonic() < deadline, log.read()
                time.sleep(0.5)
            yield base
        finally:
            members = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=60)
            finally:
                for member in members:
                    if member.is_running():
                        member.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
