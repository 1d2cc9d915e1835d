"""Measures live streams per core: bare engine steps in batches of sessions beside FunASR's own class, same weights.

    python -m scripts.bench.streaming_engine                                   # the demo pack
    python -m scripts.bench.streaming_engine --full-size build/full-size      # Paraformer-large, random weights

A step advances every session of a batch by one chunk of 600 ms; a core carries as many streams as chunks fit
into its time. CPU time of one thread, features and all; figures are ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

PROJECT_ROOT = Path(__file__).resolve().parents[2]
SPEECH = PROJECT_ROOT / "tests" / "fixtures" / "speech" / "dialogue.flac"
CHUNK_S = 0.6
CHUNK_SAMPLES = 9600
WARM_UP_STEPS = 5  # until the encoder looks back as far as it ever does


def cost(step: Callable[[int], None], steps: int) -> float:
    """Returns the median CPU seconds of a step, which gets the number of the chunk."""
    for chunk in range(WARM_UP_STEPS):
        step(chunk)
    taken = []
    for chunk in range(WARM_UP_STEPS, WARM_UP_STEPS + steps):
        started = time.process_time()
        step(chunk)
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def chunk_of(speech: NDArray[np.int16], number: int) -> NDArray[np.int16]:
    """Cuts the chunk of that number from speech that begins again at its end."""
    start = number * CHUNK_SAMPLES % (len(speech) - CHUNK_SAMPLES)
    return speech[start : start + CHUNK_SAMPLES]


def run_engine(directory: Path, precision: str, batches: list[int], steps: int) -> None:
    """Prints a JSON object of CPU seconds per step by batch size."""
    import torch

    from runners.interface import StreamingItem
    from runners.kit.funasr_models import ModelDirectory
    from runners.paraformer_streaming.engine import ParaformerStreamingEngine

    torch.set_num_threads(1)
    engine = ParaformerStreamingEngine(ModelDirectory.read(directory), precision=precision)  # type: ignore[arg-type]
    speech = soundfile.read(SPEECH, dtype="int16")[0]
    results = {}
    for batch in batches:
        names = [f"{batch}-{k}" for k in range(batch)]

        def step(chunk: int, names: list[str] = names) -> None:
            pcm = [chunk_of(speech, chunk + 7 * k) for k in range(len(names))]
            items = [
                StreamingItem(model="", sentence=name, pcm=p, is_first=chunk == 0)
                for name, p in zip(names, pcm, strict=True)
            ]
            assert all(r.error is None for r in engine.step(items))

        results[batch] = cost(step, steps)
        engine.close(names)
    print(json.dumps(results))


def run_funasr(directory: Path, steps: int) -> None:
    """Prints the same for FunASR's ParaformerStreaming, through AutoModel."""
    import torch
    from funasr import AutoModel

    settings = {"ncpu": 1, "disable_update": True, "disable_pbar": True, "log_level": "ERROR"}
    model = AutoModel(model=str(directory), device="cpu", **settings)
    speech = soundfile.read(SPEECH, dtype="int16")[0].astype(np.float32) / 32768
    cache: dict[str, object] = {}

    def step(chunk: int) -> None:
        look_back = {"encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
        wave = torch.from_numpy(chunk_of(speech, chunk))
        model.generate(input=wave, cache=cache, is_final=False, chunk_size=[0, 10, 5], **look_back)

    print(json.dumps({1: cost(step, steps)}))


def measure(what: str, arguments: argparse.Namespace, directory: Path) -> dict[int, float]:
    """Runs one of the above in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "scripts.bench.streaming_engine", "--run", what]
    command += ["--directory", str(directory), "--steps", str(arguments.steps)]
    command += ["--batches", ",".join(map(str, arguments.batches))]
    output = subprocess.run(command, cwd=PROJECT_ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return {int(k): v for k, v in json.loads(output.stdout.splitlines()[-1]).items()}


def print_engine_table(arguments: argparse.Namespace, directory: Path) -> None:
    """Prints streams per core: FunASR's class, then a row for each precision."""
    (funasr,) = measure("funasr", arguments, directory).values()
    columns = arguments.batches
    print(f"\n{directory.name}: live streams per core (milliseconds of CPU a step), {os.cpu_count()} CPUs\n")
    print("| | " + " | ".join(f"{n} at once" for n in columns) + " | best, of FunASR's |")
    print("| --- |" + " --- |" * (len(columns) + 1))
    print(f"| FunASR's class | {CHUNK_S / funasr:.1f} ({1000 * funasr:.0f}) |" + " |" * len(columns), flush=True)
    for precision in arguments.precisions:
        found = measure(precision, arguments, directory)
        cells = [f"{n * CHUNK_S / found[n]:.1f} ({1000 * found[n]:.0f})" for n in columns]
        best = max(n * funasr / found[n] for n in columns)
        print(f"| {precision} | " + " | ".join(cells) + f" | {best:.1f}x |", flush=True)


def main() -> None:
    """Measures the demo pack, or the directory of ``--full-size``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", type=Path, help="directory of scripts.bench.full_size to measure instead")
    parser.add_argument("--batches", type=lambda v: [int(n) for n in v.split(",")], default=[1, 4, 8, 16, 32])
    parser.add_argument("--precisions", type=lambda v: v.split(","), default=["fp32", "bf16", "int8"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run == "funasr":
        run_funasr(arguments.directory, arguments.steps)
    elif arguments.run:
        run_engine(arguments.directory, arguments.run, arguments.batches, arguments.steps)
    elif arguments.full_size:
        print_engine_table(arguments, (arguments.full_size / "streaming").resolve())
    else:
        print_engine_table(arguments, PROJECT_ROOT / "models" / "demo" / "paraformer_streaming")


if __name__ == "__main__":
    main()
