"""Measures offline throughput: the served API under N clients beside the bare engines in one process, same weights.

    python -m scripts.bench.offline                      # the demo pack
    python -m scripts.bench.offline --full-size build/full-size   # Paraformer-large, random weights

Figures are ratios within one run: these numbers mean little across machines. Compare one client with
engines that get one utterance at a time, and many clients with engines that get batches. CPU is that of the
server's processes (the client's own is not counted, but it shares the machine); memory is the
growth of their private memory over the idle server.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import soundfile

PROJECT_ROOT = Path(__file__).resolve().parents[2]
SPEECH = PROJECT_ROOT / "tests" / "fixtures" / "speech"


@dataclass(frozen=True)
class Clip:
    """Holds a recording as the bytes of a wav file."""

    wav: bytes
    duration_s: float


def clips() -> list[Clip]:
    """Reads the shipped recordings as 16 kHz wav files."""
    found = []
    for path in sorted(SPEECH.glob("*.flac")):
        pcm, rate = soundfile.read(path, dtype="int16")
        buffer = io.BytesIO()
        soundfile.write(buffer, pcm, rate, format="WAV")
        found.append(Clip(buffer.getvalue(), len(pcm) / rate))
    return found


def long_clip(minutes: float) -> Clip:
    """Repeats the shipped dialogue for that many minutes."""
    pcm, rate = soundfile.read(SPEECH / "dialogue.flac", dtype="int16")
    repeated = np.tile(pcm, int(minutes * 60 * rate / len(pcm)) + 1)
    buffer = io.BytesIO()
    soundfile.write(buffer, repeated, rate, format="WAV")
    return Clip(buffer.getvalue(), len(repeated) / rate)


# --- the bare engines, in a process of their own -------------------------------------------------


def run_bare(model_id: str, rounds: int, batch_size: int, variant: str) -> None:
    """Prints CPU seconds per audio second of VAD, recognition and punctuation without any service.

    Recognition has the language model where the server has it, but for the ``variant`` ``plain``; that of
    ``hotwords`` has 20 hotwords as well.
    """
    import torch

    from runners import catalog, store
    from runners.interface import VadBlock
    from runners.kit.funasr_models import ModelDirectory
    from runners.paraformer.engine import ParaformerEngine
    from runners.paraformer.language_model import LanguageModel
    from runners.paraformer.punctuation import PunctuationEngine
    from runners.settings import RunnerSettings
    from runners.vad.engine import VadEngine
    from service.audio.endpoint import Endpointer

    torch.set_num_threads(1)
    model, settings = catalog.models()[model_id], RunnerSettings()
    needed = ("asr", "punctuation")
    directories = {part: ModelDirectory.read(store.find_part(model, part, settings)) for part in needed}
    vad = VadEngine(store.find_part(model, "vad", settings))
    recogniser = ParaformerEngine(directories["asr"], batch_size=batch_size, precision=settings.asr_precision)
    if variant != "plain" and has_language_model(model_id):
        recogniser.language_model = LanguageModel.read(store.find_part(model, "language_model", settings))
    characters = [t for t in recogniser.tokens if len(t) == 1][:60]
    words = ["".join(characters[i : i + 3]) for i in range(0, 60, 3)]
    hotwords = dict.fromkeys(words, 20) if variant == "hotwords" else {}
    punctuation = PunctuationEngine(directories["punctuation"], batch_size=4 * batch_size)
    recordings = [soundfile.read(io.BytesIO(clip.wav), dtype="int16")[0] for clip in clips()]

    def once() -> None:
        utterances = []
        for pcm in recordings:
            scores = vad.score([VadBlock(model="", pcm=pcm, context_frames=0, is_last=True)])[0]
            for region in Endpointer(vad.options).accept(scores, is_last=True):
                utterances.append(pcm[region.start_ms * 16 : region.end_ms * 16])
        for start in range(0, len(utterances), 4 * batch_size):
            batch = utterances[start : start + 4 * batch_size]
            results = recogniser.recognise(batch, [hotwords] * len(batch))
            punctuation.punctuate([r.tokens for r in results])

    once()
    started, started_cpu = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        once()
    audio_s = rounds * sum(len(r) for r in recordings) / 16_000
    cpu_s, wall_s = time.process_time() - started_cpu, time.perf_counter() - started
    print(json.dumps({"cpu": cpu_s / audio_s, "speed": audio_s / wall_s}))


def has_language_model(model_id: str) -> bool:
    """Says whether the server measured here has one: a full-size directory is made without."""
    return model_id == "paraformer-demo"


def bare(
    model_id: str, environment: dict[str, str], rounds: int, batch_size: int, variant: str = ""
) -> dict[str, float]:
    """Runs ``run_bare`` in a process of its own; returns what it printed."""
    command = [sys.executable, "-m", "scripts.bench.offline", "--bare", model_id, "--variant", variant]
    command += ["--rounds", str(rounds), "--batch-size", str(batch_size)]
    output = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)
    return dict(json.loads(output.stdout.splitlines()[-1]))


# --- the server ----------------------------------------------------------------------------------


class Server:
    """Runs a `bentoml serve` of this checkout, and tells the CPU time and memory of all its processes.

    Attributes:
        port: Where it listens.
        log: The file that it writes to.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "bentoml", "serve", "service:ASRService", "--port", str(self.port)]
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)  # noqa: SIM115  (open as long as the server)
        self._process = subprocess.Popen(
            command, env=environment, cwd=PROJECT_ROOT, stdout=self.log, stderr=self.log, start_new_session=True
        )

    @property
    def url(self) -> str:
        """Returns the address of its API."""
        return f"http://127.0.0.1:{self.port}"

    async def ready(self) -> None:
        """Returns once `/readyz` answers 200.

        Raises:
            SystemExit: the server ended, or isn't ready after minutes; the message names its log.
        """
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as client:
            for _ in range(300):
                if self._process.poll() is not None:
                    raise SystemExit(f"the server did not start; its log is {self.log.name}")
                try:
                    async with client.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, asyncio.TimeoutError):
                    pass
                await asyncio.sleep(1)
        raise SystemExit(f"the server is not ready after minutes; its log is {self.log.name}")

    def _processes(self) -> Iterator[psutil.Process]:
        try:
            parent = psutil.Process(self._process.pid)
            yield from [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return

    def cpu_s(self) -> float:
        """Returns the CPU seconds that its processes have taken."""
        return sum(p.cpu_times().user + p.cpu_times().system for p in self._processes())

    def memory_mb(self) -> float:
        """Returns the private memory of its processes."""
        total = 0
        for process in self._processes():
            try:
                total += process.memory_full_info().uss
            except psutil.Error:
                continue
        return total / 2**20

    def stop(self) -> None:
        """Ends the server; kills it after 30 s."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def peak_memory(server: Server) -> Iterator[list[float]]:
    """Watches memory while the block runs: the highest seen, in MB, is in the list it yields."""
    peak, stop = [server.memory_mb()], threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            peak[0] = max(peak[0], server.memory_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


async def load(
    server: Server, work: list[Clip], clients: int, model: str, response_format: str = "json"
) -> dict[str, float]:
    """Sends every clip of ``work`` once, ``clients`` at a time; `verbose_json` has speakers told apart.

    Returns audio seconds per second (speed), CPU seconds per audio second (cpu), latencies in seconds (p50, p95),
    and MB over the idle server (memory).

    Raises:
        SystemExit: the server answered something else than 200.
    """
    queue = list(reversed(work))
    latencies: list[float] = []
    idle_mb = server.memory_mb()

    async def client(session: aiohttp.ClientSession) -> None:
        while queue:
            clip = queue.pop()
            form = aiohttp.FormData()
            form.add_field("model", model)
            form.add_field("response_format", response_format)
            form.add_field("file", clip.wav, filename="clip.wav", content_type="audio/wav")
            started = time.perf_counter()
            async with session.post(f"{server.url}/v1/audio/transcriptions", data=form) as answer:
                body = await answer.text()
                if answer.status != 200:
                    raise SystemExit(f"the server answered {answer.status}: {body[:500]}")
            latencies.append(time.perf_counter() - started)

    timeout = aiohttp.ClientTimeout(None)
    with peak_memory(server) as peak:
        started, started_cpu = time.perf_counter(), server.cpu_s()
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))
        wall_s, cpu_s = time.perf_counter() - started, server.cpu_s() - started_cpu
    audio_s = sum(c.duration_s for c in work)
    quantiles = statistics.quantiles(latencies, n=20) if len(latencies) > 1 else latencies * 19
    return {
        "speed": audio_s / wall_s,
        "cpu": cpu_s / audio_s,
        "p50": statistics.median(latencies),
        "p95": quantiles[18],
        "memory": peak[0] - idle_mb,
    }


async def measure(model: str, environment: dict[str, str], arguments: argparse.Namespace) -> None:
    """Prints the table of one model: the bare engines, then the server under each number of clients."""
    alone = bare(model, environment, arguments.rounds, batch_size=1)
    batched = bare(model, environment, arguments.rounds, arguments.batch_size)
    engines = [("one utterance at a time", alone), ("batched", batched)]
    variants = [("batched, 20 hotwords", "hotwords")]
    if has_language_model(model):
        variants.append(("batched, no language model", "plain"))
    for name, variant in variants:
        engines.append((name, bare(model, environment, arguments.rounds, arguments.batch_size, variant)))
    server = Server(environment)
    rows: list[tuple[str, dict[str, Any]]] = []
    try:
        await server.ready()
        work = clips() * arguments.rounds
        await load(server, clips(), 4, model)
        for clients in arguments.clients:
            rows.append((f"{clients} clients", await load(server, work, clients, model)))
        minutes = arguments.long_minutes
        rows.append((f"one file of {minutes:g} min", await load(server, [long_clip(minutes)], 1, model)))
        apart = await load(server, [long_clip(minutes)], 1, model, "verbose_json")
        rows.append((f"one file of {minutes:g} min, speakers told apart", apart))
    finally:
        server.stop()
    print(f"\n{model}: {os.cpu_count()} CPUs, {arguments.batch_size} utterances a batch\n")
    print("| | audio s per s | CPU s per audio s | of bare, single | of bare, batched | p50 s | p95 s | memory MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, row in engines:
        ratios = [f"{row['cpu'] / other['cpu']:.2f}" for other in (alone, batched)]
        print(f"| bare engines, {name} | {row['speed']:.0f} | {row['cpu']:.4f} | {ratios[0]} | {ratios[1]} | | | |")
    for name, row in rows:
        print(
            f"| served, {name} | {row['speed']:.0f} | {row['cpu']:.4f} | {row['cpu'] / alone['cpu']:.2f} "
            f"| {row['cpu'] / batched['cpu']:.2f} | {row['p50']:.2f} | {row['p95']:.2f} | {row['memory']:.0f} |",
            flush=True,
        )


def main() -> None:
    """Measures the demo pack, or the directory of ``--full-size``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", type=Path, help="directory of scripts.bench.full_size to measure instead")
    parser.add_argument("--clients", type=lambda v: [int(n) for n in v.split(",")], default=[1, 16, 50])
    parser.add_argument("--rounds", type=int, default=6, help="times that every recording is sent (about 110 s each)")
    parser.add_argument("--long-minutes", type=float, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--variant", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        run_bare(arguments.bare, arguments.rounds, arguments.batch_size, arguments.variant)
        return
    environment = {**os.environ, "ASR_BATCH_SIZE": str(arguments.batch_size), "LOG_LEVEL": "WARNING"}
    environment |= {"ALLOW_MODEL_DOWNLOAD": "false", "BENTOML_DO_NOT_TRACK": "True"}
    model = "paraformer-demo"
    if arguments.full_size:
        model = "paraformer-large"
        environment["MODEL_PATHS"] = f"{model}={arguments.full_size.resolve()}"
    environment["ENABLED_MODELS"] = model
    asyncio.run(measure(model, environment, arguments))


if __name__ == "__main__":
    main()
