"""What an operator sees: log records with a request id, and the service's Prometheus metrics."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")

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
queue_audio_seconds = Gauge("asr_queue_audio_seconds", "Audio seconds waiting or in work.", multiprocess_mode="livesum")
queue_requests = Gauge("asr_queue_requests", "Requests waiting or in work.", multiprocess_mode="livesum")
runner_retries = Counter("asr_runner_retries", "Runner calls repeated after a connection was lost.", ["runner"])


@contextmanager
def timed(stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        stage_seconds.labels(stage).observe(time.perf_counter() - started)
