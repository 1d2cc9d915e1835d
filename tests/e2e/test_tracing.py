"""Traces and request ids of a real server: one trace through every process, and the id in each one's log."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.server import served
from tests.speech import FOLDER


class Span(NamedTuple):
    name: str
    trace: bytes
    id: bytes
    parent: bytes
    request: str


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Span]]]:
    """The address of a collector of traces, and what has come to it."""
    spans: list[Span] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for of_service in ExportTraceServiceRequest.FromString(body).resource_spans:
                for span in (span for scope in of_service.scope_spans for span in scope.spans):
                    request = next((a.value.string_value for a in span.attributes if a.key == "request.id"), "")
                    spans.append(Span(span.name, span.trace_id, span.span_id, span.parent_span_id, request))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    server.server_close()


def test_a_request_is_one_trace_and_its_id_is_in_every_process(
    tmp_path: Path, collector: tuple[str, list[Span]]
) -> None:
    address, spans = collector
    log = tmp_path / "log"
    client = {"X-Request-Id": "night-7", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    with (
        served(log, OTEL_EXPORTER_OTLP_ENDPOINT=address, LOG_LEVEL="DEBUG") as server,
        httpx.Client(base_url=server.url, timeout=120) as connection,
    ):
        for headers in (client, {}):  # on one connection
            with (FOLDER / "dialogue.flac").open("rb") as file:
                answer = connection.post("/v1/audio/transcriptions", files={"file": file}, headers=headers)
                assert answer.status_code == 200
        assert answer.headers["X-Request-Id"] not in ("", "night-7")
    by_id = {span.id: span for span in spans}
    traced = [span for span in spans if span.trace == bytes.fromhex("ab" * 16)]
    root = next(span for span in traced if span.parent == bytes.fromhex("cd" * 8))
    assert (root.name, root.request) == ("POST /v1/audio/transcriptions", "night-7")
    assert {span.request for span in traced} == {"night-7"}
    assert all(span.request for span in spans)
    calls = {(by_id[span.parent].name, span.name) for span in traced if span.name.startswith("call ")}
    assert {
        ("vad", "call vad"),
        ("recognise", "call paraformer"),
        ("embed", "call campplus"),
        ("punctuate", "call paraformer"),
    } <= calls
    assert {"decode", "cluster"} <= {span.name for span in traced}
    told = re.findall(r"DEBUG (runners\.[\w.]+) \[(.*?)\]", log.read_text())
    assert {"runners.vad.runner", "runners.kit.runtime"} <= {logger for logger, ids in told if ids == "night-7"}
