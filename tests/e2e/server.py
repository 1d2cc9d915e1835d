"""A real `bentoml serve` for a test: its address, its processes, its log."""

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
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from runners.catalog import PROJECT_ROOT
from service.settings import Settings


@dataclass(frozen=True)
class Served:
    url: str
    pid: int
    log: Path

    @property
    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def process_of(self, service: str) -> psutil.Process:
        """The worker process of one service."""
        return next(p for p in self.processes if f"--service-name {service}" in " ".join(p.cmdline()))

    def wait_until_ready(self, limit_s: float = 60) -> None:
        """Until every runner answers again; at most ``limit_s``."""
        deadline = time.monotonic() + limit_s
        while httpx.get(f"{self.url}/readyz", timeout=10).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.2)

    def live_sessions(self) -> float:
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("asr_live_sessions{"))


@contextmanager
def served(
    log: Path, *, target: str = "service:ASRService", cwd: Path = PROJECT_ROOT, **environment: str
) -> Iterator[Served]:
    """``bentoml serve target`` on a free port, once it is ready; ended with SIGTERM, and checked to leave nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # what other tests have set for services in their own process is not for this one
    settings = {name.upper() for name in Settings.model_fields} - {"ENABLED_MODELS"}
    inherited = {name: value for name, value in os.environ.items() if name not in settings}
    # Of two servers with one home, the later deletes the earlier one's metrics.
    environment.setdefault("BENTOML_HOME", str(log.parent / "bentoml-home"))
    environment.setdefault("DATA_DIR", str(log.parent / "data"))
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(
            command, env={**inherited, **environment}, cwd=cwd, stdout=output, stderr=subprocess.STDOUT
        )
    members: list[psutil.Process] = []
    try:
        _wait_until_ready(server, f"http://127.0.0.1:{port}/readyz", log)
        yield Served(f"http://127.0.0.1:{port}", server.pid, log)
        members = psutil.Process(server.pid).children(recursive=True)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=60)
        finally:
            left = [p for p in members if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
            for process in left:
                process.kill()
    assert not left, f"processes left after SIGTERM: {left}"


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=3) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text())
