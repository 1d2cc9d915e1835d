"""The whole service in this process: BentoML's app with the real runners, and variants of our own app."""

from __future__ import annotations

import atexit
import functools
import http.server
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

# Settings are read once, at import; whatever the caller's environment or .env says must not matter.
os.environ.update({"ENABLED_MODELS": "demo", "API_KEY": "", "MAX_AUDIO_SIZE": "20MB", "DATA_DIR": tempfile.mkdtemp()})

from service.api import ASRService
from service.app import create_app
from service.serving import Serving
from service.settings import Settings
from tests.engines import in_process_runners
from tests.speech import FOLDER

atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)

Serve = Callable[..., TestClient]
Started = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """The service as BentoML serves it. Made once: a process can make it once only."""
    with TestClient(ASRService.to_asgi()) as client:
        yield client


@pytest.fixture
def serve() -> Serve:
    """Makes a client of the app alone, on the real runners, with settings of its own."""

    def make(*, ready: bool = True, **settings: Any) -> TestClient:
        chosen = Settings(enabled_models="demo", **settings)
        serving = Serving(chosen)
        if ready:
            serving.bind(in_process_runners())
        return TestClient(create_app(serving))

    return make


@pytest.fixture
def jobs(serve: Serve, tmp_path: Path) -> Started:
    """Makes a client of an app that does jobs, to the end of a block."""

    @contextmanager
    def start(**settings: Any) -> Iterator[TestClient]:
        with serve(data_dir=tmp_path / "data", **settings) as client:
            key = str(settings.get("api_key", "")).partition(",")[0]
            while client.get("/v1/audio/jobs", headers=bearer(key)).status_code == 503:
                time.sleep(0.02)
            yield client

    return start


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def ended(client: TestClient, job: str, headers: dict[str, str] | None = None) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        body = client.get(f"/v1/audio/jobs/{job}", headers=headers or {}).json()
        if body["status"] in ("completed", "failed", "cancelled"):
            return body
        time.sleep(0.05)
    raise AssertionError(body)


@dataclass(frozen=True)
class Posted:
    """An address on this machine, and (headers in lower case, body) of what is posted there."""

    address: str
    bodies: queue.Queue[tuple[dict[str, str], bytes]]


@pytest.fixture
def posted() -> Iterator[Posted]:
    bodies: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            bodies.put((headers, self.rfile.read(int(headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Posted(f"http://127.0.0.1:{server.server_port}/told", bodies)
    server.shutdown()
    server.server_close()


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a web server on this machine that has the shipped recordings."""
    with web_server(FOLDER) as address:
        yield address


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The address of a web server on this machine that has the files of a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def nothing_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test's temporary files lie in a folder of their own, which must be empty again at its end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
