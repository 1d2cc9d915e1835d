"""Measures the demo pack's live recognition on sentences as a session hears them: text, delay, marks so far."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from runners.interface import StreamingItem
from runners.kit.funasr_models import ModelDirectory
from runners.kit.precision import Precision
from runners.paraformer_streaming.engine import ParaformerStreamingEngine
from runners.paraformer_streaming.punctuation import RealtimePunctuationEngine
from scripts.character_errors import edit_distance
from scripts.demo.scenes import to_pcm
from scripts.demo.sentences import draw_held_out_sentence, strip_punctuation
from scripts.demo.speech import VOICES, Voice, augment, silence, speak
from scripts.demo.train_punctuation import draw_paragraph, split_marks

PIECE_MS = 100
SESSIONS_AT_ONCE = 16


@dataclass(frozen=True)
class LiveSentence:
    """Holds a sentence from where its session begins, a little before the speech, to where silence ends it.

    Attributes:
        pcm: The audio, 16 kHz mono PCM16.
        text: What is said, without punctuation.
        start_ms: When the speech starts.
    """

    pcm: NDArray[np.int16]
    text: str
    start_ms: int

    @classmethod
    def draw(cls, rng: random.Random, voices: list[str], augmented: bool) -> LiveSentence:
        """Draws a sentence kept out of training, said by one of ``voices``."""
        text = draw_held_out_sentence(rng)
        lead_s = rng.uniform(0.2, 0.4)
        spoken = speak(text, Voice.draw(rng, voices))
        wave = np.concatenate([silence(lead_s), spoken, silence(rng.uniform(0.2, 0.8))])
        wave = augment(wave, rng) if augmented else wave * np.float32(0.5)
        return cls(to_pcm(wave), strip_punctuation(text), round(1000 * lead_s))


def listen(engine: ParaformerStreamingEngine, sentences: Sequence[LiveSentence]) -> list[tuple[str, int]]:
    """Returns the online text of each, and how many ms after the start of its speech the first of it was there."""
    heard = []
    size = 16 * PIECE_MS
    for start in range(0, len(sentences), SESSIONS_AT_ONCE):
        group = dict(enumerate(sentences[start : start + SESSIONS_AT_ONCE]))
        texts, first_ms = dict.fromkeys(group, ""), dict.fromkeys(group, 0)
        position = 0
        while going := [k for k, s in group.items() if position < len(s.pcm)]:
            items = [
                StreamingItem(
                    model="",
                    sentence=str(k),
                    pcm=group[k].pcm[position : position + size],
                    is_first=position == 0,
                    is_last=position + size >= len(group[k].pcm),
                )
                for k in going
            ]
            position += size
            for k, result in zip(going, engine.step(items), strict=True):
                if result.tokens and not texts[k]:
                    first_ms[k] = min(position, len(group[k].pcm)) // 16 - group[k].start_ms
                texts[k] = "".join(result.tokens)
        heard += [(texts[k], first_ms[k]) for k in group]
    return heard


def streaming_rows(models: Path, count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Measures the online text's character error rate in each precision, its first character's delay, and marks."""
    directory = ModelDirectory.read(models / "paraformer_streaming")
    engines = {p: ParaformerStreamingEngine(directory, precision=p) for p in get_args(Precision)}
    delays_ms: list[int] = []
    for name, voices in VOICES.items():
        for condition in ("clean", "augmented"):
            sentences = [LiveSentence.draw(rng, voices, condition == "augmented") for _ in range(count)]
            said = sum(len(s.text) for s in sentences)
            rates = []
            for precision, engine in engines.items():
                heard = listen(engine, sentences)
                errors = sum(edit_distance(s.text, text) for s, (text, _) in zip(sentences, heard, strict=True))
                rates.append(f"{100 * errors / said:.2f} % {precision}")
                if precision == "fp32":
                    delays_ms += [ms for text, ms in heard if text]
            yield f"online CER, {name}, {condition}", ", ".join(rates)
    quantiles = "/".join(f"{ms / 1000:.2f}" for ms in np.percentile(delays_ms, (50, 95, 100)))
    yield "first partial after speech begins, median/95 %/most", f"{quantiles} s of audio"
    yield "realtime punctuation F1, sentences so far", punctuation_f1(models, count, rng)


def punctuation_f1(models: Path, count: int, rng: random.Random) -> str:
    """Measures F1 of the marks of texts of 1-4 sentences that stop anywhere, but for the mark after the last token."""
    engine = RealtimePunctuationEngine(ModelDirectory.read(models / "realtime_punctuation"))
    tally = Counter[str]()
    for _ in range(count):
        tokens, marks = split_marks(draw_paragraph(rng, True, rng.randint(1, 4)))
        length = rng.randint(min(4, len(tokens)), len(tokens))
        (found,) = engine.mark([tokens[:length]])
        for best, wanted in zip(found[:-1], marks[: length - 1], strict=True):
            tally["right"] += bool(best) and best == wanted
            tally["all"] += bool(best) + bool(wanted)
    return f"{200 * tally['right'] / max(1, tally['all']):.1f}"
