"""Three machines: the API on one, a recogniser on each of two behind one address. One dies, one is cut off, under load.

Every service is started as a container of configs/kubernetes starts it, by environment variables alone.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from runners.catalog import PROJECT_ROOT
from tests.cluster.network import PORT, SERVICE_ADDRESS, Host, balance, hosts, why_not
from tests.speech import FOLDER

pytestmark = pytest.mark.slow

_TEXT = "今天是2026年11月23日。"
_CLIENTS = 6
_PHASE_S = 20
_START_S = 180
_CHECK_S = 1.0
_BESIDE = {"VadRunner": 8001, "CampplusRunner": 8002, "ParaformerStreamingRunner": 8003}


def start(host: Host, service: str, folder: Path, *, port: int = PORT, depends: str = "") -> None:
    """A container's start command, with its environment, on a host."""
    home = folder / f"{host.name}-{service}"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "bentoml_cli._internal.start", "start-http-server", "--host", "0.0.0.0"]
    environment = {
        "BENTOML_HOME": str(home),
        "BENTOML_CONTAINERIZED": "true",
        "BENTOML_SERVE_SERVICE_NAME": service,
        "BENTOML_PORT": str(port),
        "ENABLED_MODELS": "demo",
        "ALLOW_MODEL_DOWNLOAD": "false",
        "TMPDIR": str(home),
    }
    if depends:
        environment["BENTOML_SERVE_DEPENDS"] = depends
    host.start([*command, "--working-dir", str(PROJECT_ROOT), "service:ASRService"], home / "log", environment)


def wait_until_ready(seen_from: Host, url: str) -> None:
    with ThreadPoolExecutor(1, initializer=seen_from.enter) as there:
        deadline = time.monotonic() + _START_S
        while not there.submit(is_ready, url).result():
            assert time.monotonic() < deadline, f"{url} is not ready"
            time.sleep(1)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def endpoints(client: Host, runners: list[Host]) -> Iterator[None]:
    """Keeps the service's address leading to the runners that answer, as an orchestrator does, a little late."""
    over = threading.Event()

    def watch() -> None:
        client.enter()
        missed = dict.fromkeys(runners, 0)
        known: list[Host] = []
        while not over.wait(_CHECK_S):
            for runner in runners:
                missed[runner] = 0 if is_ready(f"http://{runner.address}:{PORT}") else missed[runner] + 1
            ready = [runner for runner in runners if missed[runner] < 2]
            if ready != known:
                balance(client, ready)
                known = ready

    balance(client, runners)
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


@dataclass
class Phase:
    name: str
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.took_s

    def __str__(self) -> str:
        right = sorted(self.seconds) or [0.0]
        p95 = right[int(len(right) * 0.95)]
        counts = f"{len(self.seconds):5} right {len(self.errors):3} clean errors {len(self.wrong):3} wrong"
        times = f"p50 {statistics.median(right):6.2f} s, p95 {p95:6.2f} s, most {right[-1]:6.2f} s"
        return f"{self.name:<26} {counts}  {self.per_second:5.1f}/s  {times}"


def ask(url: str, phase: Phase) -> None:
    started = time.monotonic()
    with (FOLDER / "date.flac").open("rb") as file:
        try:
            answer = httpx.post(
                f"{url}/v1/audio/transcriptions",
                files={"file": file},
                data={"response_format": "text", "enable_speaker_diarization": "false"},
                timeout=120,
            )
        except httpx.HTTPError as error:
            phase.wrong.append(f"no answer: {error!r}")
            return
    if answer.status_code == 200 and answer.text.strip() == _TEXT:
        phase.seconds.append(time.monotonic() - started)
    elif answer.status_code == 503 and answer.json()["error"]["message"] and int(answer.headers["Retry-After"]):
        phase.errors.append(answer.json()["error"]["message"])
    else:
        phase.wrong.append(f"{answer.status_code} {answer.text[:200]}")


def load(client: Host, url: str, name: str, until: Callable[[], bool]) -> Phase:
    """Clients that ask one request after another until told to stop; those they have begun are waited for."""
    phase = Phase(name)

    def keep_asking() -> None:
        client.enter()
        while not until():
            ask(url, phase)

    began = time.monotonic()
    threads = [threading.Thread(target=keep_asking) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    phase.took_s = time.monotonic() - began
    print(phase, flush=True)
    return phase


def after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def calls_answered(host: Host) -> float:
    """How many calls a runner has answered, from its own metrics."""
    with ThreadPoolExecutor(1, initializer=host.enter) as there:
        text = there.submit(lambda: httpx.get(f"http://{host.address}:{PORT}/metrics", timeout=5).text).result()
    lines = [
        line for line in text.splitlines() if line.startswith("bentoml_service_request_total{") and "recognise" in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_requests_survive_a_recogniser_that_dies_and_one_that_is_cut_off(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    url = f"http://127.0.0.1:{PORT}"
    with hosts("api", "first", "second") as (api, first, second):
        for runner in (first, second):
            start(runner, "ParaformerRunner", tmp_path)
        for name, port in _BESIDE.items():
            start(api, name, tmp_path, port=port)
        for runner in (first, second):
            wait_until_ready(api, f"http://{runner.address}:{PORT}")
        for port in _BESIDE.values():
            wait_until_ready(api, f"http://127.0.0.1:{port}")
        addresses = {name: f"http://127.0.0.1:{port}" for name, port in _BESIDE.items()}
        addresses["ParaformerRunner"] = f"http://{SERVICE_ADDRESS}:{PORT}"
        with endpoints(api, [first, second]):
            start(api, "ASRService", tmp_path, depends=" ".join(f"{k}={v}" for k, v in addresses.items()))
            wait_until_ready(api, url)
            load(api, url, "warm-up", after(3))
            phases = [both := load(api, url, "both recognisers", after(_PHASE_S))]

            kill = threading.Timer(3, first.crash)
            kill.start()
            phases.append(load(api, url, "the first is killed", after(_PHASE_S)))
            start(first, "ParaformerRunner", tmp_path)
            wait_until_ready(api, f"http://{first.address}:{PORT}")
            time.sleep(3 * _CHECK_S)
            before = calls_answered(first)
            phases.append(back := load(api, url, "it is back", after(_PHASE_S)))
            assert calls_answered(first) > before, "the recogniser that is back gets no calls"

            cut = threading.Timer(3, second.cut_off)
            cut.start()
            phases.append(load(api, url, "the second is cut off", after(2 * _PHASE_S)))
            second.reconnect()
            time.sleep(3 * _CHECK_S)
            before = calls_answered(second)
            phases.append(whole := load(api, url, "it is connected again", after(_PHASE_S)))
            assert calls_answered(second) > before, "the recogniser that is connected again gets no calls"
    assert [problem for phase in phases for problem in phase.wrong] == []
    assert all(phase.seconds for phase in phases)
    # Two recognisers again: as fast as before, on a machine that has other work too.
    assert back.per_second > both.per_second / 2
    assert whole.per_second > both.per_second / 2
