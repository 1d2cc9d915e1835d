"""`make serve`: progress, failures that are told, and no process left, whatever ends the server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from runners.catalog import PROJECT_ROOT


class Launched:
    def __init__(self, *command: str, **environment: str) -> None:
        """``command``: what runs the launcher, such as nohup."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*command, sys.executable, "-m", "scripts.serve", "tests.e2e.stub_service:ASRService"],
            cwd=PROJECT_ROOT,
            env={**os.environ, "HOST": "127.0.0.1", "PORT": str(self.port), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.members: list[psutil.Process] = []

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("Stop with"):
                self.members = psutil.Process(self.process.pid).children(recursive=True)
                return
        raise AssertionError("not ready:\n" + "".join(self.lines))

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def end(self) -> tuple[int, str]:
        """Exit code and all output."""
        output, _ = self.process.communicate(timeout=90)
        return self.process.returncode, "".join(self.lines) + output

    def left(self) -> list[psutil.Process]:
        return [p for p in self.members if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def launch() -> Iterator[type[Launched]]:
    started: list[Launched] = []

    class Recorded(Launched):
        def __init__(self, *command: str, **environment: str) -> None:
            super().__init__(*command, **environment)
            started.append(self)

    yield Recorded
    for launched in started:
        if launched.process.poll() is None:
            launched.process.terminate()
            launched.process.wait(timeout=90)


def test_sigterm_lets_a_request_finish_and_leaves_no_process(launch: type[Launched]) -> None:
    launched = launch()
    launched.wait_until_ready()
    assert f"http://127.0.0.1:{launched.port}/docs" in "".join(launched.lines)
    assert "  paraformer-demo vad: " in "".join(launched.lines)
    assert "demo pack" in "".join(launched.lines)
    answers = []

    def ask() -> None:
        answers.append(launched.get("/work"))

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(timeout=0.7)  # the request is in its second of four calls
    launched.process.send_signal(signal.SIGTERM)
    code, output = launched.end()
    asking.join(timeout=10)
    assert answers == [b"16"]
    assert code == 0, output
    assert len(launched.members) >= 3
    assert launched.left() == []


def test_a_closed_terminal_ends_the_server_too(launch: type[Launched]) -> None:
    launched = launch()
    launched.wait_until_ready()
    launched.process.send_signal(signal.SIGHUP)
    code, output = launched.end()
    assert code == 0, output
    assert launched.left() == []


def test_nohup_keeps_it(launch: type[Launched]) -> None:
    launched = launch("nohup")
    launched.wait_until_ready()
    launched.process.send_signal(signal.SIGHUP)
    assert launched.get("/work") == b"16"


def test_a_reader_of_the_output_that_leaves_does_not_stall_the_server(launch: type[Launched]) -> None:
    launched = launch()
    launched.wait_until_ready()
    assert launched.process.stdout is not None
    launched.process.stdout.close()  # as `| head` does
    for _ in range(3):
        assert launched.get("/log") == b"logged"
    launched.process.send_signal(signal.SIGTERM)
    assert launched.process.wait(timeout=90) == 0
    assert launched.left() == []


def test_a_killed_server_is_reported_and_its_processes_end(launch: type[Launched]) -> None:
    launched = launch()
    launched.wait_until_ready()
    psutil.Process(launched.process.pid).children()[0].kill()
    code, output = launched.end()
    assert code == 1
    assert "The server ended by itself" in output
    assert launched.left() == []


def test_a_runner_that_cannot_start_ends_the_start_with_its_message(launch: type[Launched]) -> None:
    code, output = launch(STUB_FAILS="1").end()
    assert code == 1
    reason = output.partition("The service did not start: ")[2]
    assert "StubRunner" in reason
    assert "stub needs its asr part.\nLooked in:\n  - nowhere" in reason


def test_everything_that_is_missing_is_said_before_anything_is_started(launch: type[Launched]) -> None:
    nowhere = {"MODELSCOPE_PATH": "/nowhere/ms", "HF_HOME": "/nowhere/hf"}
    launched = launch(ENABLED_MODELS="paraformer-large", ALLOW_MODEL_DOWNLOAD="false", **nowhere)
    code, output = launched.end()
    assert code == 1
    for part in ("asr", "vad", "punctuation"):
        assert f"paraformer-large needs its {part} part" in output
    assert "modelscope download --model iic/" in output
    assert "python -m scripts.prepare_models paraformer-large" in output


def test_a_wrong_setting_is_one_line_and_starts_nothing(launch: type[Launched]) -> None:
    code, output = launch(MAX_SEGMENT_SEC="1").end()
    assert code == 2
    assert output == "wrong setting: MAX_SEGMENT_SEC Input should be greater than or equal to 5\n"


def test_a_port_in_use_is_one_line(launch: type[Launched]) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        code, output = launch(PORT=str(occupied.getsockname()[1])).end()
    assert code == 1
    assert output.startswith("cannot listen on 127.0.0.1 port ")
    assert len(output.splitlines()) == 1
