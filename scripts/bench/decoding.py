"""Decoding in the pool of processes beside decoding in this one: pairs in one run, so that their ratios mean something.

    python -m scripts.bench.decoding

CPU counts this process and its decoders, without the start of a decoder: it is used again. Recordings are 5 s long.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil

from service import observability
from service.audio.decode import decode, probe
from service.audio.recording import Recording
from service.domain import AudioSource

_SECONDS = 5
# Muxer, encoder, rate in Hz, channels.
_KINDS = {
    "mp3, 16 kHz mono": ("mp3", "libmp3lame", 16_000, 1),
    "mp3, 44.1 kHz stereo": ("mp3", "libmp3lame", 44_100, 2),
    "m4a, 16 kHz mono": ("ipod", "aac", 16_000, 1),
    "webm, opus 48 kHz mono": ("webm", "libopus", 48_000, 1),
}


def encoded(muxer: str, encoder: str, rate_hz: int, channels: int) -> bytes:
    """A recording of noise whose loudness changes, as speech's does."""
    count = _SECONDS * rate_hz
    loudness = 0.1 * (1 + np.sin(2 * np.pi * 3 * np.arange(count) / rate_hz))
    noise = np.random.default_rng(0).standard_normal(count) * loudness
    samples = np.repeat(noise.astype(np.float32), channels).reshape(1, -1)
    target = io.BytesIO()
    with av.open(target, "w", format=muxer) as container:
        layout = "mono" if channels == 1 else "stereo"
        stream = container.add_stream(encoder, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


async def here(source: AudioSource) -> int:
    """Probes and decodes in this process, in threads, as a service without a pool would."""
    await asyncio.to_thread(probe, source)
    blocks = decode(source)
    samples = 0
    while True:
        with observability.timed("decode"):
            block = await asyncio.to_thread(next, blocks, None)
        if block is None:
            return samples
        samples += len(block)


async def pooled(source: AudioSource) -> int:
    """The same in the pool."""
    recording = Recording(source)
    await recording.estimate_s()
    return sum([len(block) async for block in recording.blocks()])


def cpu_s() -> float:
    """Of this process and all below it, to the nanosecond (Linux)."""
    own = psutil.Process()
    processes = (own, *own.children(recursive=True))
    tasks = [task for process in processes for task in Path(f"/proc/{process.pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def measured(
    way: Callable[[AudioSource], Awaitable[int]], source: AudioSource, count: int
) -> tuple[float, float]:
    """(median wall time, mean CPU time) in ms."""
    walls = []
    before = cpu_s()
    for _ in range(count):
        started = time.perf_counter()
        await way(source)
        walls.append(time.perf_counter() - started)
    return 1000 * statistics.median(walls), 1000 * (cpu_s() - before) / count


async def compare(rounds: int, count: int) -> None:
    """Measures both ways, pair by pair."""
    print(f"{_cpu_name()}; {rounds} pairs of {count} recordings of {_SECONDS} s; medians\n")
    print("| | wall ms here | in the pool | more | CPU ms here | in the pool | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, kind in _KINDS.items():
        with tempfile.NamedTemporaryFile() as file:
            file.write(encoded(*kind))
            file.flush()
            source = AudioSource(file.name)
            await measured(pooled, source, 3)
            await measured(here, source, 3)
            pairs = [
                (await measured(here, source, count), await measured(pooled, source, count)) for _ in range(rounds)
            ]
        wall, pool_wall = (statistics.median(pair[way][0] for pair in pairs) for way in (0, 1))
        cpu, pool_cpu = (statistics.median(pair[way][1] for pair in pairs) for way in (0, 1))
        ratio = statistics.median(pool[1] / own[1] for own, pool in pairs)
        print(
            f"| {name} | {wall:.1f} | {pool_wall:.1f} | {pool_wall - wall:+.1f} "
            f"| {cpu:.1f} | {pool_cpu:.1f} | {ratio:.2f} |"
        )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=51)
    parser.add_argument("--recordings", type=int, default=10, help="in each half of a pair")
    arguments = parser.parse_args()
    asyncio.run(compare(arguments.rounds, arguments.recordings))


if __name__ == "__main__":
    main()
