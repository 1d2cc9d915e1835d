"""Measures the demo Qwen3-ASR and its aligner through the engine: text, text of speech that breaks off, word times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runners.interface import Recognition, RecognitionItem
from runners.qwen3.engine import Pcm, Qwen3Engine
from runners.qwen3.transformers_backend import TransformersBackend
from scripts.character_errors import error_rate
from scripts.demo.qwen3_checkpoint import LONGEST_ALIGNED_S
from scripts.demo.scenes import to_pcm
from scripts.demo.sentences import draw_held_out_sentence, strip_punctuation
from scripts.demo.speech import SAMPLE_RATE_HZ, VOICES, Voice, augment, silence
from scripts.demo.synthesize_qwen3 import speak_timed

TOLERANCE_MS = 120


@dataclass(frozen=True)
class Timed:
    """Holds a recording with the times of what is said.

    Attributes:
        pcm: The recording, 16 kHz mono PCM16.
        text: Its characters without punctuation.
        edges_ms: When each is said, from and to.
    """

    pcm: Pcm
    text: str
    edges_ms: list[tuple[float, float]]

    @classmethod
    def draw(cls, rng: random.Random, voices: list[str], *, most_s: float, augmented: bool) -> Timed:
        """Draws one sentence, then more of the same voice while they fit ``most_s``."""
        voice = Voice.draw(rng, voices)
        waves, text, edges, position = [silence(rng.uniform(0.1, 0.4))], "", list[tuple[float, float]](), 0.0
        while not text or most_s > 0:
            sentence = draw_held_out_sentence(rng)
            spoken, times = speak_timed(sentence, voice)
            position = sum(map(len, waves))
            if text and position + len(spoken) > most_s * SAMPLE_RATE_HZ:
                break
            for character, (start, end) in zip(sentence, times, strict=True):
                if strip_punctuation(character):
                    text += character
                    edges.append(((position + start) / 16, (position + end) / 16))
            waves += [spoken, silence(rng.uniform(0.1, 0.6))]
        wave = np.concatenate(waves)
        wave = augment(wave, rng, snr_db=(10, 30)) if augmented else wave * np.float32(0.5)
        return cls(to_pcm(wave), text, edges)


async def recognised(engine: Qwen3Engine, recordings: Sequence[Pcm], *, word_times: bool = False) -> list[Recognition]:
    """Recognises all recordings at once."""
    items = [RecognitionItem(model="", pcm=pcm, language="Chinese", word_times=word_times) for pcm in recordings]
    return list(await asyncio.gather(*map(engine.recognise, items)))


def qwen3_rows(models: Path, count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Measures character error rates, of speech that breaks off too, and edges of words that were heard right."""
    backend = TransformersBackend(models / "qwen3_asr", models / "qwen3_aligner", batch_size=8)
    engine = Qwen3Engine(backend, ["Chinese"])
    for name, voices in VOICES.items():
        for condition in ("clean", "augmented"):
            drawn = [Timed.draw(rng, voices, most_s=0, augmented=condition == "augmented") for _ in range(count)]
            heard = asyncio.run(recognised(engine, [d.pcm for d in drawn], word_times=True))
            yield f"Qwen3-ASR CER, {name}, {condition}", _error_rate([d.text for d in drawn], heard)
            yield f"Qwen3-ASR word edges within {TOLERANCE_MS} ms, {name}, {condition}", _near(drawn, heard)
        drawn = [Timed.draw(rng, voices, most_s=LONGEST_ALIGNED_S, augmented=False) for _ in range(count // 4)]
        heard = asyncio.run(recognised(engine, [d.pcm for d in drawn], word_times=True))
        what = f"{name}, several sentences of up to {LONGEST_ALIGNED_S:.0f} s"
        yield f"Qwen3-ASR CER, {what}", _error_rate([d.text for d in drawn], heard)
        yield f"Qwen3-ASR word edges within {TOLERANCE_MS} ms, {what}", _near(drawn, heard)
        drawn = [Timed.draw(rng, voices, most_s=0, augmented=False) for _ in range(count)]
        cuts_ms = [rng.choice([end for _, end in d.edges_ms]) for d in drawn]
        said = [sum(end <= cut for _, end in d.edges_ms) for d, cut in zip(drawn, cuts_ms, strict=True)]
        heard = asyncio.run(
            recognised(engine, [d.pcm[: round(cut * 16)] for d, cut in zip(drawn, cuts_ms, strict=True)])
        )
        rate = _error_rate([d.text[:n] for d, n in zip(drawn, said, strict=True)], heard)
        yield f"Qwen3-ASR CER, {name}, speech that breaks off", rate


def _error_rate(texts: Sequence[str], heard: Sequence[Recognition]) -> str:
    return error_rate(texts, ["".join(r.tokens) for r in heard])


def _near(drawn: Sequence[Timed], heard: Sequence[Recognition]) -> str:
    """Measures recordings that were heard right; of others it isn't known which word is which."""
    late = [
        abs(ours - true)
        for d, r in zip(drawn, heard, strict=True)
        if "".join(r.tokens) == d.text
        for (start, end), our_start, our_end in zip(d.edges_ms, r.starts_ms, r.ends_ms, strict=True)
        for true, ours in ((start, our_start), (end, our_end))
    ]
    return f"{100 * float(np.mean(np.array(late) <= TOLERANCE_MS)):.1f} % of {len(late)}"
