"""Stand-ins for the hubs on the loopback: ModelScope's and Hugging Face's HTTP APIs, as their clients download."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "5" * 40


class Hub(ThreadingHTTPServer):
    """Serves one repository's files.

    Attributes:
        files: content by name.
        breaks: for a file's name, after how many bytes its connection is cut; each break happens once.
        damaged: names of files whose last byte is delivered wrong.
        asked: path and Range header of every request for a file's content, in order.
    """

    daemon_threads = True

    def __init__(self, repository: str, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.files = dict(files)
        self.breaks: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Runs a hub until the block ends."""
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, url = self.server, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = unquote(url.path)
        if path == f"/api/v1/models/{hub.repository}/repo/files":
            self._json(200, {"Code": 200, "Success": True, "Data": {"Files": _modelscope_listing(hub.files)}})
        elif path == f"/api/v1/models/{hub.repository}/repo" and query["FilePath"] in hub.files:
            self._content(query["FilePath"])
        elif path in (f"/api/models/{hub.repository}", f"/api/models/{hub.repository}/revision/main"):
            siblings = [{"rfilename": name} for name in hub.files]
            self._json(200, {"id": hub.repository, "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"/{hub.repository}/resolve/") and path.split("/", 5)[5] in hub.files:
            self._redirect_to_store(path.split("/", 5)[5])
        elif path.startswith("/store/"):
            self._content(path.removeprefix("/store/"))
        else:
            self._json(404, {"Code": 404, "Message": "not here", "error": "not here"})

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _redirect_to_store(self, name: str) -> None:
        """Large files lie elsewhere, as Hugging Face's do; where is told with what they are."""
        content = self.server.files[name]
        self.send_response(302)
        self.send_header("Location", f"{self.server.url}/store/{name}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Linked-ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _content(self, name: str) -> None:
        hub, content = self.server, self.server.files[name]
        if name in hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        hub.asked.append((name, wanted))
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in hub.breaks:
            self.wfile.write(content[start : hub.breaks.pop(name)])
            self.wfile.flush()
            self.close_connection = True
        else:
            self.wfile.write(content[start:])


def _modelscope_listing(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    return [
        {
            "Name": name.rpartition("/")[2],
            "Path": name,
            "Type": "blob",
            "Size": len(content),
            "Sha256": hashlib.sha256(content).hexdigest(),
            "Revision": COMMIT,
        }
        for name, content in files.items()
    ]
