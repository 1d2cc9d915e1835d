"""Runs live clients at real-time pace against a served API: how late text comes, and what a stream costs.

    python -m scripts.bench.streaming --streams 1,8,16,32                         # the demo pack
    python -m scripts.bench.streaming --streams 1,4,8 --full-size build/full-size --precision bf16

Every client is an Alibaba Cloud SpeechTranscriber that sends the shipped dialogue over and over in frames of
100 ms. Partial latency is from sending the last sample that a text covers to its arrival; final latency from
sending the last sample of a sentence's speech to SentenceEnd, the sentence-ending silence (800 ms) included.
CPU is that of the server's processes; the clients share the machine. Figures are ratios within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import os
import statistics
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import soundfile

from scripts.bench.offline import SPEECH, Server, peak_memory

FRAME_MS = 100
LATE_S = 0.6


@dataclass
class Told:
    """Holds what all clients of one run were told.

    Attributes:
        partials_s: How late each partial was, in seconds.
        finals_s: How late each final was.
        failures: What went wrong, in the server's words.
    """

    partials_s: list[float] = field(default_factory=list)
    finals_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Client:
    """Sends one stream as if somebody spoke, and notes when its text comes."""

    def __init__(self, server: Server, seconds: float, told: Told, key: str = "") -> None:
        self._server = server
        self._seconds = seconds
        self._told = told
        self._headers = {"X-NLS-Token": key} if key else {}
        self._sent_ms: list[int] = []
        self._sent_at: list[float] = []

    async def run(self, http: aiohttp.ClientSession, offset_s: float) -> None:
        """Sends the dialogue from ``offset_s`` on, and listens until the server has told everything."""
        pcm, rate = soundfile.read(SPEECH / "dialogue.flac", dtype="int16")
        assert rate == 16_000
        pcm = np.roll(pcm, -int(offset_s * rate))
        async with http.ws_connect(f"{self._server.url}/ws/v1/asr", max_msg_size=0, headers=self._headers) as socket:
            await socket.send_str(self._message("StartTranscription"))
            started = json.loads((await socket.receive()).data)
            if started["header"]["name"] != "TranscriptionStarted":
                self._told.failures.append(str(started["header"]))
                return
            listening = asyncio.create_task(self._listen(socket))
            await self._speak(socket, pcm)
            await socket.send_str(self._message("StopTranscription"))
            await listening

    async def _speak(self, socket: aiohttp.ClientWebSocketResponse[bool], pcm: np.ndarray) -> None:
        samples = FRAME_MS * 16
        began = time.perf_counter()
        for number in range(int(self._seconds * 1000 / FRAME_MS)):
            await asyncio.sleep(max(0.0, began + (number + 1) * FRAME_MS / 1000 - time.perf_counter()))
            frame = np.take(pcm, range(number * samples, (number + 1) * samples), mode="wrap")
            self._sent_ms.append((number + 1) * FRAME_MS)
            self._sent_at.append(time.perf_counter())
            await socket.send_bytes(frame.tobytes())

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        async for message in socket:
            now = time.perf_counter()
            event = json.loads(message.data)
            name, payload = event["header"]["name"], event.get("payload", {})
            if name == "TranscriptionResultChanged":
                self._told.partials_s.append(now - self._when_sent(payload["time"]))
            elif name == "SentenceEnd":
                self._told.finals_s.append(now - self._when_sent(payload["time"]))
            elif name == "TaskFailed":
                self._told.failures.append(event["header"]["status_text"])
            elif name == "TranscriptionCompleted":
                return

    def _when_sent(self, audio_ms: int) -> float:
        return self._sent_at[min(bisect.bisect_left(self._sent_ms, audio_ms), len(self._sent_at) - 1)]

    def _message(self, name: str) -> str:
        header = {"message_id": uuid.uuid4().hex, "task_id": uuid.uuid4().hex, "namespace": "SpeechTranscriber"}
        payload: dict[str, Any] = {"format": "pcm", "sample_rate": 16000, "enable_intermediate_result": True}
        payload |= {"enable_punctuation_prediction": True, "enable_inverse_text_normalization": True}
        body: dict[str, Any] = {"header": {**header, "name": name, "appkey": ""}}
        return json.dumps(body | {"payload": payload} if name.startswith("Start") else body)


async def measure(server: Server, streams: int, seconds: float) -> tuple[Told, float, float]:
    """Measures what ``streams`` clients were told, CPU seconds per second of a stream, and memory (MB) of a stream."""
    told = Told()
    idle_mb = server.memory_mb()
    with peak_memory(server) as peak:
        started_cpu = server.cpu_s()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            clients = [Client(server, seconds, told) for _ in range(streams)]

            async def join(number: int, client: Client) -> None:
                await asyncio.sleep(number * 0.6 / streams)  # people don't begin at the same time
                await client.run(http, offset_s=number * 1.7)

            await asyncio.gather(*(join(number, client) for number, client in enumerate(clients)))
        cpu_s = server.cpu_s() - started_cpu
    return told, cpu_s / (streams * seconds), (peak[0] - idle_mb) / streams


def percentiles(seconds: list[float]) -> str:
    """Formats the median and the 95th percentile as two cells in ms; none of fewer than two values."""
    if len(seconds) < 2:
        return "none | none"
    return f"{1000 * statistics.median(seconds):.0f} | {1000 * statistics.quantiles(seconds, n=20)[18]:.0f}"


async def run(arguments: argparse.Namespace, model: str, environment: dict[str, str]) -> None:
    """Prints a row for each number of streams, until the p95 of partial latency is too high."""
    server = Server(environment)
    try:
        await server.ready()
        await measure(server, 2, 8.0)
        print(f"\n{model}, {arguments.precision}: {os.cpu_count()} CPUs, {arguments.seconds:g} s a stream\n")
        print(
            "| streams | partial p50 ms | p95 ms | final p50 ms | p95 ms | CPU s per stream s | MB a stream | failed |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for streams in arguments.streams:
            told, cpu, memory_mb = await measure(server, streams, arguments.seconds)
            print(
                f"| {streams} | {percentiles(told.partials_s)} | {percentiles(told.finals_s)} "
                f"| {cpu:.4f} | {memory_mb:.1f} | {len(told.failures)} |",
                flush=True,
            )
            if len(told.partials_s) > 1 and statistics.quantiles(told.partials_s, n=20)[18] > LATE_S:
                print(f"\nAt {streams} streams the p95 of partial latency passes {1000 * LATE_S:.0f} ms.")
                break
    finally:
        server.stop()


def main() -> None:
    """Measures the demo pack, or the directory of ``--full-size``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=lambda v: [int(n) for n in v.split(",")], default=[1, 8, 16, 24, 32])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "int8"),
        default="auto",
        help="of the live recogniser; bf16: of the second pass as well",
    )
    parser.add_argument("--full-size", type=Path, help="directory of scripts.bench.full_size to measure instead")
    arguments = parser.parse_args()
    environment = {**os.environ, "LOG_LEVEL": "WARNING", "STREAMING_PRECISION": arguments.precision}
    environment |= {"ASR_PRECISION": "bf16" if arguments.precision == "bf16" else "fp32"}
    environment |= {"ALLOW_MODEL_DOWNLOAD": "false", "BENTOML_DO_NOT_TRACK": "True"}
    model = "paraformer-demo"
    if arguments.full_size:
        model = "paraformer-large"
        environment["MODEL_PATHS"] = f"{model}={arguments.full_size.resolve()}"
    environment["ENABLED_MODELS"] = model
    asyncio.run(run(arguments, model, environment))


if __name__ == "__main__":
    main()
