"""The shipped recordings and what is said in them; and what can be made without speech."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from scripts.character_errors import edit_distance

FOLDER = Path(__file__).parent / "fixtures" / "speech"
Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class Sentence:
    text: str
    start_s: float
    end_s: float
    speaker: int | None = None


@dataclass(frozen=True)
class Recording:
    name: str
    duration_s: float
    sentences: tuple[Sentence, ...]

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.flac"

    @property
    def text(self) -> str:
        return "".join(s.text for s in self.sentences)

    @property
    def pcm(self) -> Pcm:
        return soundfile.read(self.path, dtype="int16")[0]


RECORDINGS = {
    name: Recording(name, entry["duration_s"], tuple(Sentence(**s) for s in entry["sentences"]))
    for name, entry in json.loads((FOLDER / "truth.json").read_text(encoding="utf-8")).items()
}


def silence(seconds: float) -> Pcm:
    return np.zeros(int(seconds * 16_000), np.int16)


def noise(seconds: float, level: float = 0.02) -> Pcm:
    wave = np.random.default_rng(5).standard_normal(int(seconds * 16_000)) * level * 32767
    return wave.astype(np.int16)


def characters(text: str) -> str:
    """What is said, without punctuation and spaces."""
    return "".join(c for c in text if c not in "，。？！、,.?! \n")


def error_rate(reference: str, text: str) -> float:
    """Character error rate, punctuation aside."""
    reference, text = characters(reference), characters(text)
    return edit_distance(reference, text) / len(reference)
