"""Checks Qwen3-ASR on vLLM: what it hears against the transformers backend, and its speed at full size.

    .venv/bin/python -m scripts.gpu_check --write build/heard.json     # in the ordinary environment
    python -m scripts.gpu_check --against build/heard.json             # where requirements-gpu.txt is installed

The two backends need different versions of transformers, so each has a run of its own. The second compares the demo
checkpoint's texts, word times and live sentences, and then measures a 0.6B of random weights: requests of 10 s, 50
tokens each. Exits with 1 where the two hear differently. Runs on whatever vLLM runs on; its CPU build too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from runners import catalog, gpu
from runners.catalog import PROJECT_ROOT
from runners.interface import RecognitionItem, StreamingItem
from runners.qwen3.engine import Backend, Pcm, Question, Qwen3Engine
from scripts.character_errors import edit_distance

DEMO = "qwen3-asr-demo"
RECORDINGS = PROJECT_ROOT / "tests" / "fixtures" / "speech"
STEP_SAMPLES = 16_000
# Where the backends may differ: they compute in other precisions and orders.
MOST_ERRORS, MOST_LATE_MS = 0.02, 80
REQUEST_S, REQUEST_TOKENS = 10, 50
# Of Qwen/Qwen3-ASR-0.6B.
FULL_SIZE_AUDIO = {
    **{"d_model": 896, "encoder_layers": 18, "encoder_attention_heads": 14, "encoder_ffn_dim": 3584},
    **{"downsample_hidden_size": 480, "output_dim": 1024},
}
FULL_SIZE_TEXT = {
    **{"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "rope_theta": 1_000_000.0},
}
Heard = dict[str, Any]


def recordings() -> dict[str, Pcm]:
    """Reads the fixtures that one call of the recogniser takes."""
    found = {path.stem: soundfile.read(path, dtype="int16")[0] for path in sorted(RECORDINGS.glob("*.flac"))}
    return {name: pcm for name, pcm in found.items() if len(pcm) <= 20 * 16_000}


async def hear(backend: Backend) -> dict[str, Heard]:
    """Finds text, word edges in ms, and the text of a live sentence, of each recording."""
    engine = Qwen3Engine(backend, ["Chinese"])

    async def one(name: str, pcm: Pcm) -> Heard:
        item = RecognitionItem(id=name, model=DEMO, pcm=pcm, language="Chinese", word_times=True)
        offline = await engine.recognise(item)
        for at in range(0, len(pcm), STEP_SAMPLES):
            last = at + STEP_SAMPLES >= len(pcm)
            step = StreamingItem(
                model=DEMO, sentence=name, pcm=pcm[at : at + STEP_SAMPLES], is_first=at == 0, is_last=last
            )
            live = await engine.step(step)
        return {
            "text": "".join(offline.tokens),
            "edges_ms": [*offline.starts_ms, *offline.ends_ms],
            "live": "".join(live.tokens),
        }

    found = recordings()
    heard = await asyncio.gather(*(one(name, pcm) for name, pcm in found.items()))
    return dict(zip(found, heard, strict=True))


def compare(ours: dict[str, Heard], theirs: dict[str, Heard]) -> bool:
    """Prints how far the two are apart, and returns whether that is near enough."""
    good = True
    for kind in ("text", "live"):
        errors = sum(edit_distance(theirs[name][kind], ours[name][kind]) for name in theirs)
        said = sum(len(theirs[name][kind]) for name in theirs)
        equal = sum(theirs[name][kind] == ours[name][kind] for name in theirs)
        good = good and errors <= MOST_ERRORS * said
        print(f"{kind}: {equal} of {len(theirs)} equal; {errors} of {said} characters differ")
    same = [name for name in theirs if theirs[name]["text"] == ours[name]["text"]]
    apart = np.abs(
        np.concatenate([np.subtract(ours[name]["edges_ms"], theirs[name]["edges_ms"]) for name in same] or [[]])
    )
    late = int((apart > MOST_LATE_MS).sum())
    print(f"word edges: {late} of {apart.size} more than {MOST_LATE_MS} ms apart")
    return good and apart.size > 0 and late <= MOST_ERRORS * apart.size


def write_full_size(demo: Path, directory: Path) -> None:
    """Writes the demo's files with another size; vLLM makes up the weights."""
    shutil.copytree(demo, directory, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    config = json.loads((demo / "config.json").read_text(encoding="utf-8"))
    config["thinker_config"]["audio_config"] |= FULL_SIZE_AUDIO
    config["thinker_config"]["text_config"] |= FULL_SIZE_TEXT
    config["thinker_config"]["text_config"]["rope_scaling"]["mrope_section"] = [24, 20, 20]
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")


async def measure(backend: Backend, concurrent: int, requests: int) -> None:
    """Prints throughput and latency of ``requests`` requests, ``concurrent`` of them at a time."""
    rng = np.random.default_rng(concurrent)
    places = asyncio.Semaphore(concurrent)
    first_s: list[float] = []
    whole_s: list[float] = []

    async def one(tokens: int, took_s: list[float]) -> None:
        # Never the same audio twice: vLLM would remember it.
        pcm = (rng.standard_normal(REQUEST_S * 16_000) * 3000).astype(np.int16)
        async with places:
            started = time.monotonic()
            await backend.answer(Question([pcm], language="Chinese", most_tokens=tokens))
            took_s.append(time.monotonic() - started)

    started = time.monotonic()
    await asyncio.gather(*(one(REQUEST_TOKENS, whole_s) for _ in range(requests)))
    rate = requests / (time.monotonic() - started)
    await asyncio.gather(*(one(1, first_s) for _ in range(requests)))
    ms = [1000 * np.median(first_s), *(1000 * np.percentile(whole_s, p) for p in (50, 95))]
    print(
        f"| {concurrent} | {rate:.1f} | {rate * REQUEST_S:.0f} | {ms[0]:.0f} | {ms[1]:.0f} | {ms[2]:.0f} |", flush=True
    )


async def run(arguments: argparse.Namespace) -> bool:
    """Compares what vLLM hears, and measures it at full size; returns whether it hears the same."""
    from runners.qwen3.vllm_backend import VllmBackend

    print(", ".join(f"{name} {version(name)}" for name in (arguments.package, "torch", "transformers")))
    model = catalog.models()[DEMO]
    assert model.aligner is not None
    share, dtype = arguments.share, arguments.dtype
    directories = [PROJECT_ROOT / str(part.directory) for part in (model.asr, model.aligner)]
    demo = VllmBackend(directories[0], directories[1], recogniser_share=share, aligner_share=share, dtype=dtype)
    good = compare(await hear(demo), json.loads(arguments.against.read_text(encoding="utf-8")))
    demo.close()
    if arguments.concurrent:
        with tempfile.TemporaryDirectory() as folder:
            write_full_size(directories[0], Path(folder))
            big = VllmBackend(
                Path(folder), None, recogniser_share=arguments.full_share, dtype=dtype, load_format="dummy"
            )
            await big.answer(Question([np.zeros(160_000, np.int16)], most_tokens=REQUEST_TOKENS))
            print("| at a time | requests/s | s of audio per s | first token, ms | answer, ms | its 95th percentile |")
            print("| --- | --- | --- | --- | --- | --- |")
            for concurrent in arguments.concurrent:
                await measure(big, concurrent, max(arguments.requests, 2 * concurrent))
            if (used_gb := gpu.used_gb()) is not None:
                print(f"GPU memory in use: {used_gb:.1f} GiB of {gpu.memory_gb():.1f}")
            big.close()
    return good


def main() -> None:
    """Writes what the transformers backend hears, or compares; exits with 1 where the two hear differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--write", type=Path, help="writes what the transformers backend hears")
    task.add_argument("--against", type=Path, help="compares what vLLM hears with such a file, and measures")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--share", type=float, default=0.1, help="of the memory, for each demo engine")
    parser.add_argument("--full-share", type=float, default=0.7, help="of the memory, for the full size")
    parser.add_argument("--concurrent", type=int, nargs="*", default=[1, 8, 32, 64], help="none: only compares")
    parser.add_argument("--requests", type=int, default=128, help="at each; at least two for each at a time")
    parser.add_argument("--package", default="vllm", help="the name vLLM was installed by")
    arguments = parser.parse_args()
    if arguments.write:
        from runners.qwen3.transformers_backend import TransformersBackend

        model = catalog.models()[DEMO]
        assert model.aligner is not None
        backend = TransformersBackend(*(PROJECT_ROOT / str(part.directory) for part in (model.asr, model.aligner)))
        arguments.write.parent.mkdir(parents=True, exist_ok=True)
        arguments.write.write_text(json.dumps(asyncio.run(hear(backend)), ensure_ascii=False), encoding="utf-8")
        backend.close()
    elif not asyncio.run(run(arguments)):
        sys.exit(1)


if __name__ == "__main__":
    main()
