"""Defines what an operator sees: the request id of log records, the service's Prometheus metrics, traces."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import Counter, Gauge, Histogram

from runners.logs import request_id

__all__ = ["request_id"]

# Our own, once there is a collector, not the provider of the whole process: by that FastAPI traces requests as well,
# in spans of the same names that know no request id, and tell queries, in which there may be keys.
_provider: TracerProvider | None = None
_tracer: trace.Tracer = trace.NoOpTracer()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
audio_seconds = Counter("asr_audio_seconds", "Seconds of audio transcribed.", ["model"])
requests = Counter("asr_requests", "Transcription requests by outcome (ok, or an error code).", ["protocol", "outcome"])
real_time_factor = Histogram(
    "asr_real_time_factor",
    "Processing time over audio duration, by request.",
    ["model"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
stage_seconds = Histogram(
    "asr_stage_seconds", "Time of each stage's work items, queueing included.", ["stage"], buckets=_SECONDS
)
batch_size = Histogram(
    "asr_batch_size", "Utterances computed together.", ["runner"], buckets=(1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
)
queue_seconds = Histogram(
    "asr_queue_seconds", "How long utterances waited to be handed to a recogniser.", ["class"], buckets=_SECONDS
)
queue_audio_seconds = Gauge("asr_queue_audio_seconds", "Audio seconds waiting or in work.", multiprocess_mode="livesum")
queue_requests = Gauge("asr_queue_requests", "Requests waiting or in work.", multiprocess_mode="livesum")
live_sessions = Gauge("asr_live_sessions", "Live sessions open.", ["protocol"], multiprocess_mode="livesum")
nearfield_filtered_frames = Counter(
    "asr_nearfield_filtered_frames", "Frames of 10 ms of live audio that were too quiet to be listened to."
)
runner_retries = Counter("asr_runner_retries", "Runner calls repeated after a connection was lost.", ["runner"])

# Of the database, so every pod that shares one tells the same: take the max, not the sum.
jobs = Gauge("asr_jobs", "Jobs that are kept, by status.", ["status"], multiprocess_mode="livemax")
jobs_queued_seconds = Gauge(
    "asr_jobs_queued_seconds", "Audio seconds of the jobs that wait, as far as known.", multiprocess_mode="livemax"
)
jobs_oldest_seconds = Gauge(
    "asr_jobs_oldest_queued_seconds", "How long the oldest queued job has waited.", multiprocess_mode="livemax"
)
jobs_storage_bytes = Gauge("asr_jobs_storage_bytes", "What the recordings of jobs take.", multiprocess_mode="livemax")
jobs_finished = Counter("asr_jobs_finished", "Jobs that this process has ended, by how.", ["status"])


def show_jobs(by_status: Mapping[str, int], *, queued_s: float, oldest_s: float, stored_bytes: int) -> None:
    """Shows how the jobs of the database stand."""
    for status in ("queued", "running", "completed", "failed", "cancelled"):
        jobs.labels(status).set(by_status.get(status, 0))
    jobs_queued_seconds.set(queued_s)
    jobs_oldest_seconds.set(oldest_s)
    jobs_storage_bytes.set(stored_bytes)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Times a stage's work item, and makes it a span of its request's trace."""
    started = time.perf_counter()
    with _tracer.start_as_current_span(stage, attributes={"request.id": request_id.get()}):
        try:
            yield
        finally:
            stage_seconds.labels(stage).observe(time.perf_counter() - started)


@contextmanager
def calling(runner: str) -> Iterator[None]:
    """Makes a runner call a span of its request's trace."""
    attributes = {"request.id": request_id.get()}
    with _tracer.start_as_current_span(f"call {runner}", kind=trace.SpanKind.CLIENT, attributes=attributes):
        yield


@contextmanager
def tracing_request(method: str, path: str, headers: Mapping[str, str]) -> Iterator[None]:
    """Makes a whole request a span, below the client's where a ``traceparent`` header names one."""
    if _provider is None:
        yield
        return
    # Nothing of the running context: on a connection that is used again it may be an earlier request's.
    parent = propagate.extract(headers, context=Context())
    attributes = {"request.id": request_id.get(), "url.path": path}
    kind = trace.SpanKind.SERVER
    with _tracer.start_as_current_span(f"{method} {path}", context=parent, kind=kind, attributes=attributes):
        yield


def start_tracing(collector: str) -> None:
    """Sends spans to an OpenTelemetry collector from now on, OTLP over HTTP; "" means no tracing."""
    global _provider, _tracer
    if not collector:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    _provider = TracerProvider(resource=Resource.create({"service.name": "asr-service"}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces")))
    _tracer = _provider.get_tracer("asr")


def stop_tracing() -> None:
    """Sends the spans that have not been sent, and no more after them."""
    if _provider is not None:
        _provider.shutdown()
