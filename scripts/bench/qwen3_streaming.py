"""Measures what a live Qwen3-ASR segment costs: ours beside the qwen-asr package's streaming, on the same weights.

    python -m scripts.bench.qwen3_streaming
    python -m scripts.bench.qwen3_streaming --model DIRECTORY       # any checkpoint in the original layout

Both hear the same speech without a pause, 2 s at a time, on one thread. The package encodes everything again at each
step; its streaming is written for vLLM, so its `generate` is answered by its own transformers model here. Ours includes
the clean pass at the segment's end, which the package has not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = PROJECT_ROOT / "tests" / "fixtures" / "speech"
CHUNK_S, RATE_HZ = 2.0, 16_000
CHUNK = int(CHUNK_S * RATE_HZ)


def speech(seconds: int) -> NDArray[np.int16]:
    """Puts sentences one right after the other, for so many seconds."""
    truth = json.loads((RECORDINGS / "truth.json").read_text(encoding="utf-8"))
    parts = []
    for name in (n for n in sorted(truth) if n.startswith(("sentence", "weather", "home", "meeting", "date"))):
        pcm = soundfile.read(RECORDINGS / f"{name}.flac", dtype="int16")[0]
        parts += [pcm[int(s["start_s"] * RATE_HZ) : int(s["end_s"] * RATE_HZ)] for s in truth[name]["sentences"]]
    whole = np.concatenate(parts)
    return np.resize(whole, seconds * RATE_HZ)


def ours(model: Path, seconds: int) -> tuple[float, float]:
    """Measures this project's: (audio seconds encoded, CPU seconds)."""
    from runners.interface import RecognitionItem, StreamingItem
    from runners.qwen3.engine import Qwen3Engine
    from runners.qwen3.transformers_backend import TransformersBackend

    backend = TransformersBackend(model, None)
    engine = Qwen3Engine(backend, [])

    async def hear(pcm: NDArray[np.int16]) -> None:
        for at in range(0, len(pcm), CHUNK):
            step = StreamingItem(
                model="", sentence="s", pcm=pcm[at : at + CHUNK], is_first=at == 0, is_last=at + CHUNK >= len(pcm)
            )
            heard = await engine.step(step)
        draft = "".join(token + mark for token, mark in zip(heard.tokens, heard.marks, strict=True))
        await engine.recognise(RecognitionItem(model="", pcm=pcm, draft=draft))

    asyncio.run(hear(speech(4)))
    encoded_s, started = backend.encoded_s, time.process_time()
    asyncio.run(hear(speech(seconds)))
    return backend.encoded_s - encoded_s, time.process_time() - started


def official(model: Path, seconds: int) -> tuple[float, float]:
    """Measures the package's: (audio seconds encoded, CPU seconds)."""
    from qwen_asr import Qwen3ASRModel
    from transformers import GenerationConfig

    asr = Qwen3ASRModel.from_pretrained(str(model))
    network, encoded_s = asr.model, 0.0
    ends = GenerationConfig.from_pretrained(str(model)).eos_token_id

    def generate(inputs: list[dict[str, Any]], **_: Any) -> list[Any]:
        nonlocal encoded_s
        (asked,) = inputs
        (audio,) = asked["multi_modal_data"]["audio"]
        encoded_s += len(audio) / RATE_HZ
        given = asr.processor(text=[asked["prompt"]], audio=[audio], return_tensors="pt", padding=True)
        said = network.generate(**given, max_new_tokens=1024, eos_token_id=ends)
        new = said.sequences[:, given["input_ids"].shape[1] :]
        (text,) = asr.processor.batch_decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [SimpleNamespace(outputs=[SimpleNamespace(text=text)])]

    asr.backend, asr.model = "vllm", SimpleNamespace(generate=generate)

    def hear(pcm: NDArray[np.int16]) -> None:
        state = asr.init_streaming_state(chunk_size_sec=CHUNK_S)
        for at in range(0, len(pcm), CHUNK):
            asr.streaming_transcribe(pcm[at : at + CHUNK], state)
        asr.finish_streaming_transcribe(state)

    hear(speech(4))
    encoded_s, started = 0.0, time.process_time()
    hear(speech(seconds))
    return encoded_s, time.process_time() - started


def measured(side: str, model: Path, seconds: int) -> tuple[float, float]:
    """Measures in a process of its own: the two load the package in ways that do not go together."""
    command = [sys.executable, "-m", "scripts.bench.qwen3_streaming", "--side", side, "--model", str(model)]
    done = subprocess.run([*command, "--seconds", str(seconds)], capture_output=True, text=True, check=True)
    encoded_s, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return encoded_s, cpu_s


def main() -> None:
    """Prints a table with a row for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=PROJECT_ROOT / "models" / "demo" / "qwen3_asr")
    parser.add_argument("--seconds", type=int, nargs="*", default=[20, 40, 60])
    parser.add_argument("--side", choices=["ours", "official"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        import torch

        torch.set_num_threads(1)
        side = ours if arguments.side == "ours" else official
        print(json.dumps(side(arguments.model, arguments.seconds[0])))
        return
    print("Seconds of audio encoded, and of CPU, for each second of speech:\n")
    print("| segment | encoded, ours | qwen-asr | ratio | CPU, ours | qwen-asr | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for seconds in arguments.seconds:
        (encoded, cpu), (their_encoded, their_cpu) = (
            [value / seconds for value in measured(side, arguments.model, seconds)] for side in ("ours", "official")
        )
        print(
            f"| {seconds} s | {encoded:.2f} | {their_encoded:.2f} | {their_encoded / encoded:.1f} "
            f"| {cpu:.3f} | {their_cpu:.3f} | {their_cpu / cpu:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
