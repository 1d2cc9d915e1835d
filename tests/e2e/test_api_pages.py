"""Swagger's page in a real Chromium, below a prefix that a reverse proxy strips."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.browser import CHROMIUM, browser
from tests.e2e.server import Served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PREFIX = "/speech"


@pytest.fixture
def proxied(server: Served) -> Iterator[str]:
    """The service's address below a prefix, as nginx serves it with `location /speech/ { proxy_pass …/; }`."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            answer = httpx.get(server.url + self.path.removeprefix(PREFIX), timeout=30)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("content-type", ""))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever).start()
        yield f"http://127.0.0.1:{proxy.server_port}{PREFIX}"
        proxy.shutdown()


def test_trying_an_operation_out_stays_below_the_prefix(proxied: str, tmp_path: Path) -> None:
    operation = "[...document.querySelectorAll('.opblock-get')].find(o => o.innerText.includes('/v1/models'))"
    with browser(tmp_path) as page:
        page.open(f"{proxied}/docs")
        page.until(operation)
        page.evaluate(f"{operation}.querySelector('.opblock-summary-control').click()")
        page.until("document.querySelector('.try-out__btn')")
        page.click(".try-out__btn")
        page.until("document.querySelector('.execute')")
        page.click(".execute")
        page.until("document.querySelector('.request-url pre')")
        assert page.text(".request-url pre") == f"{proxied}/v1/models"
        page.until("document.querySelector('.live-responses-table .response-col_status')")
        assert "401" in page.text(".live-responses-table tbody .response-col_status")  # it asks for a key
