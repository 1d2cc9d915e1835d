"""Measures what requests take from each other: short ones and live sentences beside long ones, one key beside another.

    python -m scripts.bench.fairness                                  # the demo pack
    python -m scripts.bench.fairness --full-size build/full-size      # Paraformer-large, random weights

Everything is measured on one server: each alone, then together. Short recordings come at random moments, one after the
other, from a client of their own; live final latency is that of scripts.bench.streaming. A batch's time is what the
audio of one takes at the pace of the long recordings alone. Figures are ratios within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import soundfile

from runners.interface import Capacity
from runners.kit.runtime import capacity
from scripts.bench.offline import SPEECH, Clip, Server, long_clip
from scripts.bench.streaming import Client, Told

_SHORT_S = 5
_KEYS = ("one", "many")
_MANY = 12


def short_clip() -> Clip:
    """Reads the first seconds of the shipped dialogue."""
    pcm, rate = soundfile.read(SPEECH / "dialogue.flac", dtype="int16")
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm[: _SHORT_S * rate], rate, format="WAV")
    return Clip(buffer.getvalue(), _SHORT_S)


def p95(seconds: list[float]) -> float:
    """Returns the 95th percentile; the longest of a few."""
    return statistics.quantiles(seconds, n=20, method="inclusive")[18] if len(seconds) > 1 else max(seconds)


@dataclass
class Bench:
    """Asks one server for things.

    Attributes:
        server: Which.
        model: The model's id.
        http: The session that requests are made in.
        texts: What was recognised, by what was sent.
    """

    server: Server
    model: str
    http: aiohttp.ClientSession
    texts: dict[int, set[str]]

    async def send(self, clip: Clip, key: str = _KEYS[0]) -> float:
        """Sends a recording; returns how long the answer took.

        Raises:
            SystemExit: the server answered something else than 200.
        """
        form = aiohttp.FormData({"model": self.model, "response_format": "text"})
        form.add_field("file", clip.wav, filename="clip.wav", content_type="audio/wav")
        headers = {"Authorization": f"Bearer {key}"}
        started = time.perf_counter()
        async with self.http.post(f"{self.server.url}/v1/audio/transcriptions", data=form, headers=headers) as answer:
            text = await answer.text()
            if answer.status != 200:
                raise SystemExit(f"the server answered {answer.status}: {text[:500]}")
        self.texts.setdefault(len(clip.wav), set()).add(text)
        return time.perf_counter() - started

    async def shorts(self, clip: Clip, count: int, longest_gap_s: float) -> list[float]:
        """Sends a recording again and again; returns how long each took."""
        moments, taken = random.Random(0), []
        for _ in range(count):
            await asyncio.sleep(moments.uniform(0, longest_gap_s))
            taken.append(await self.send(clip))
        return taken

    async def longs(self, clip: Clip, clients: int, until: asyncio.Event | None = None) -> tuple[float, float]:
        """Sends a recording from each client, again until an event is set; returns the seconds of audio and of time."""
        sent = 0
        started = time.perf_counter()

        async def client() -> None:
            nonlocal sent
            while True:
                await self.send(clip)
                sent += 1
                if until is None or until.is_set():
                    return

        await asyncio.gather(*(client() for _ in range(clients)))
        return sent * clip.duration_s, time.perf_counter() - started

    async def finals(self, seconds: float) -> list[float]:
        """Speaks for so long; returns how late each sentence's end was told."""
        told = Told()
        await Client(self.server, seconds, told, _KEYS[0]).run(self.http, offset_s=0)
        if told.failures:
            raise SystemExit(f"a live session failed: {told.failures}")
        return told.finals_s


async def measure(bench: Bench, arguments: argparse.Namespace, batch: Capacity) -> None:
    """Prints what everything takes alone and beside the others, with the bars."""
    short, long = short_clip(), long_clip(arguments.minutes)
    await asyncio.gather(*(bench.send(short) for _ in range(8)))
    alone = await bench.shorts(short, arguments.shorts, 0.1)
    short_alone = p95(alone)
    live_alone = p95(await bench.finals(arguments.live_seconds))
    audio_s, wall_s = await bench.longs(long, arguments.longs)
    pace = wall_s / audio_s
    batch_s = pace * (batch.batch_s or batch.batch_size * _SHORT_S)

    over = asyncio.Event()
    longs = asyncio.create_task(bench.longs(long, arguments.longs, over))
    await asyncio.sleep(2 * batch_s)
    taken = await bench.shorts(short, arguments.shorts, 2 * batch_s)
    live_beside = p95(await bench.finals(arguments.live_seconds))
    # what they themselves took is not lost
    own_s = arguments.shorts * short.duration_s + arguments.live_seconds
    over.set()
    beside_s, beside_wall_s = await longs
    share = (beside_s + own_s) / beside_wall_s * pace

    many = [asyncio.create_task(bench.send(long, "many")) for _ in range(_MANY)]
    await asyncio.sleep(2 * batch_s)
    one_beside = p95([await bench.send(short, "one") for _ in range(arguments.shorts)])
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)

    short_beside = p95(taken)
    others = f"median {statistics.median(alone):.2f} s alone, {statistics.median(taken):.2f} s beside them"
    print(f"\n{bench.model}, {cpu_name()}, {os.cpu_count()} CPUs; a batch takes {batch_s:.2f} s.")
    print(f"Beside {arguments.longs} recordings of {arguments.minutes:g} min, again and again:\n")
    print("| | alone | beside them | bar |")
    print("| --- | --- | --- | --- |")
    bar = 2.5 * short_alone + batch_s
    print(f"| a recording of {_SHORT_S} s, p95 | {short_alone:.2f} s | {short_beside:.2f} s | {bar:.2f} s |")
    bar = live_alone + batch_s
    print(f"| a live sentence's final text, p95 | {live_alone:.2f} s | {live_beside:.2f} s | {bar:.2f} s |")
    print(f"| all audio, per second | {1 / pace:.1f} s | {share / pace:.1f} s ({100 * share - 100:+.0f} %) | -5 % |")
    bar = 2.5 * short_alone + batch_s
    name = f"one key's {_SHORT_S} s beside {_MANY} recordings of another"
    print(f"| {name} | {short_alone:.2f} s | {one_beside:.2f} s | {bar:.2f} s |")
    print(f"\nA recording of {_SHORT_S} s: {others}. A p95 alone far from its median means that the machine was busy.")
    print(f"\ntexts as alone: {'yes' if all(len(texts) == 1 for texts in bench.texts.values()) else 'NO'}", flush=True)


def cpu_name() -> str:
    """Returns the processor's name, as far as the system knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


async def run(arguments: argparse.Namespace, model: str, environment: dict[str, str]) -> None:
    """Starts a server, and measures it."""
    server = Server(environment)
    try:
        await server.ready()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None), connector=connector) as http:
            await measure(Bench(server, model, http, {}), arguments, capacity("cpu"))
    finally:
        server.stop()


def main() -> None:
    """Measures the demo pack, or the directory of ``--full-size``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", type=Path, help="directory of scripts.bench.full_size to measure instead")
    parser.add_argument("--longs", type=int, default=4, help="how many long recordings are in work at a time")
    parser.add_argument("--minutes", type=float, default=10, help="how long each of them is")
    parser.add_argument("--shorts", type=int, default=40, help="how many short ones are sent")
    parser.add_argument("--live-seconds", type=float, default=60, help="how long the live client speaks")
    arguments = parser.parse_args()
    environment = {**os.environ, "LOG_LEVEL": "WARNING", "API_KEY": ",".join(_KEYS), "JOBS_ENABLED": "false"}
    environment |= {"ALLOW_MODEL_DOWNLOAD": "false", "BENTOML_DO_NOT_TRACK": "True"}
    model = "paraformer-demo"
    if arguments.full_size:
        model = "paraformer-large"
        environment["MODEL_PATHS"] = f"{model}={arguments.full_size.resolve()}"
    environment["ENABLED_MODELS"] = model
    asyncio.run(run(arguments, model, environment))


if __name__ == "__main__":
    main()
