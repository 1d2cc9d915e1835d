"""Measures the demo model pack on sentences, voices and noises drawn afresh, with the service's own engines.

    python -m scripts.demo.evaluate --count 400 --seed 1

Prints one markdown table. Sentences are those kept out of training; "kept-out voices" are too.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scripts.character_errors import error_rate
from scripts.demo.engines import Engines
from scripts.demo.evaluate_qwen3 import qwen3_rows
from scripts.demo.evaluate_speakers import speaker_rows
from scripts.demo.evaluate_streaming import streaming_rows
from scripts.demo.scenes import HOP, Scene, Utterance, add_sounds, compose, record, to_pcm, unsteady_noise
from scripts.demo.sentences import PUNCTUATION, SHORT_ANSWERS, draw_held_out_sentence, strip_punctuation
from scripts.demo.speech import (
    VOICES,
    Voice,
    Wave,
    add_noise,
    augment,
    rms,
    silence,
    speak,
)
from scripts.demo.train_punctuation import MOST_SENTENCES, draw_paragraph, split_marks
from service.audio.spans import Span

NUMERALS = frozenset("零一二三四五六七八九十百千万两幺半点")
EDGE_TOLERANCE_MS = 150
# Names of characters that sound like others of the domain, or like its words.
HOTWORDS = (
    "高舒音 高书音 周士元 马明园 于文亮 常知音 张士南 陈书文 王心音 周园明 "
    "刘士工 李元正 刘心语 陈正明 高文亮 王语元 周南音 李音书 马知文 常明心"
).split()
HOTWORD_WEIGHT = 20
HOTWORD_PATTERNS = ("给{}打电话", "我叫{}", "请把文件交给{}", "我是{}", "{}说明天要开会，但是他很忙")
Row = tuple[str, str]


def numerals(text: str) -> str:
    """Keeps the numerals of a text."""
    return "".join(c for c in text if c in NUMERALS)


def recognition_rows(engines: Engines, count: int, rng: random.Random) -> Iterator[Row]:
    """Measures character error rates, those of numerals too, clean and augmented."""
    for name, voices in VOICES.items():
        for condition in ("clean", "augmented"):
            texts, recordings = [], []
            for _ in range(count):
                text = draw_held_out_sentence(rng)
                spoken = speak(text, Voice.draw(rng, voices))
                wave = np.concatenate([silence(rng.uniform(0.1, 0.4)), spoken, silence(rng.uniform(0.1, 0.5))])
                recordings.append(to_pcm(augment(wave, rng) if condition == "augmented" else wave * np.float32(0.5)))
                texts.append(strip_punctuation(text))
            heard = engines.texts(recordings)
            yield f"CER, {name}, {condition}", error_rate(texts, heard)
            rate = error_rate([numerals(t) for t in texts], [numerals(t) for t in heard])
            yield f"CER of numerals, {name}, {condition}", rate


def read_out(text: str, voices: list[str], rng: random.Random, snr_db: tuple[float, float] | None) -> Wave:
    """Says ``text`` with a little silence about it, and noise at an SNR of the range, if there is one."""
    spoken = speak(text, Voice.draw(rng, voices))
    wave = np.concatenate([silence(rng.uniform(0.1, 0.4)), spoken, silence(rng.uniform(0.1, 0.5))]) * np.float32(0.5)
    return add_noise(wave, rms(spoken * np.float32(0.5)), rng.uniform(*snr_db), rng) if snr_db else wave


def language_model_rows(engines: Engines, count: int, rng: random.Random) -> Iterator[Row]:
    """Measures character error rates with and without the language model, clean and noisy."""
    for name, voices in VOICES.items():
        for condition, snr_db in (("clean", None), ("SNR 5-10 dB", (5.0, 10.0))):
            texts = [draw_held_out_sentence(rng) for _ in range(count)]
            recordings = [to_pcm(read_out(text, voices, rng, snr_db)) for text in texts]
            spoken = [strip_punctuation(text) for text in texts]
            for what, used in (("without", False), ("with", True)):
                heard = engines.texts(recordings, with_language_model=used)
                yield f"CER {what} language model, {name}, {condition}", error_rate(spoken, heard)


def hotword_rows(engines: Engines, count: int, rng: random.Random) -> Iterator[Row]:
    """Measures names as hotwords; then ordinary sentences, which the same hotwords must not spoil."""
    hotwords = dict.fromkeys(HOTWORDS, HOTWORD_WEIGHT)
    for name, voices in VOICES.items():
        said = [rng.choice(HOTWORDS) for _ in range(count)]
        sentences = [rng.choice(HOTWORD_PATTERNS).format(word) for word in said]
        recordings = [to_pcm(read_out(text, voices, rng, None)) for text in sentences]
        texts = [draw_held_out_sentence(rng) for _ in range(count)]
        ordinary = [to_pcm(read_out(text, voices, rng, None)) for text in texts]
        for what, used in (("without", {}), ("with", hotwords)):
            for lm in (False, True):
                kind = f"{what} hotwords, {'with' if lm else 'without'} language model"
                heard = engines.texts(recordings, used, with_language_model=lm)
                right = sum(word in text for word, text in zip(said, heard, strict=True))
                yield f"names right {kind}, {name}", f"{100 * right / count:.1f} %"
                heard = engines.texts(ordinary, used, with_language_model=lm)
                rate = error_rate([strip_punctuation(t) for t in texts], heard)
                yield f"CER of other sentences {kind}, {name}", rate


def short_answer_rows(engines: Engines, count: int, rng: random.Random) -> Iterator[Row]:
    """Measures short answers alone in a recording, found by the VAD and then recognised."""
    for name, voices in VOICES.items():
        right, missed = 0, Counter[str]()
        total = max(1, count // 2)
        for _ in range(total):
            text = rng.choice(SHORT_ANSWERS)
            utterance = Utterance.of(speak(text, Voice.draw(rng, voices)))
            wave, _ = compose([utterance], [rng.randint(20, 200), rng.randint(30, 150)])
            pcm = to_pcm(record(wave, rng, snr_db=(10, 30), sounds=0))
            parts = [pcm[r.start_ms * 16 : r.end_ms * 16] for r in engines.regions(pcm)]
            correct = "".join(engines.texts(parts)) == strip_punctuation(text)
            right += correct
            missed[text] += not correct
        worst = " ".join(f"{t}{n}" for t, n in missed.most_common(3) if n)
        yield f"short answers right, {name}, SNR 10-30 dB", f"{100 * right / total:.1f} % (wrong: {worst or 'none'})"


@dataclass
class EdgeCount:
    """Counts how regions meet the utterances that they should cover.

    Attributes:
        utterances: How many there were.
        missed: How many no region meets.
        within: How many have both edges within the tolerance.
        extra: How many regions meet no utterance.
        start_errors_ms: How much later than each utterance its first region starts.
        end_errors_ms: How much later than each utterance its last region ends.
    """

    utterances: int = 0
    missed: int = 0
    within: int = 0
    extra: int = 0
    start_errors_ms: list[int] | None = None
    end_errors_ms: list[int] | None = None

    def add(self, scene: Scene, regions: Sequence[Span]) -> None:
        """Counts one recording's regions."""
        self.start_errors_ms = self.start_errors_ms or []
        self.end_errors_ms = self.end_errors_ms or []
        for start_ms, end_ms in scene.utterances_ms:
            over = [r for r in regions if r.start_ms < end_ms and r.end_ms > start_ms]
            self.utterances += 1
            if not over:
                self.missed += 1
                continue
            early, late = over[0].start_ms - start_ms, over[-1].end_ms - end_ms
            self.start_errors_ms.append(early)
            self.end_errors_ms.append(late)
            self.within += max(abs(early), abs(late)) <= EDGE_TOLERANCE_MS
        self.extra += sum(
            all(r.end_ms <= start or r.start_ms >= end for start, end in scene.utterances_ms) for r in regions
        )

    def __str__(self) -> str:
        starts, ends = (
            "/".join(f"{v:+.0f}" for v in np.percentile(errors or [0], (2.5, 50, 97.5)))
            for errors in (self.start_errors_ms, self.end_errors_ms)
        )
        return (
            f"{100 * self.within / self.utterances:.1f} %, missed {self.missed} of {self.utterances}, "
            f"extra {self.extra} (start {starts} ms, end {ends} ms)"
        )


def vad_rows(engines: Engines, count: int, rng: random.Random) -> Iterator[Row]:
    """Measures two utterances a recording, at least 1.3 s apart; then recordings without speech."""
    for name, voices in VOICES.items():
        for condition in ("sentences, clean", "sentences, SNR 10-30 dB", "syllables, SNR 10-30 dB", "quiet, gain 0.05"):
            edges = EdgeCount()
            for _ in range(max(1, count // 4)):
                draw = (lambda r: r.choice("好是对")) if condition.startswith("syllables") else draw_held_out_sentence
                utterances = [Utterance.of(speak(draw(rng), Voice.draw(rng, voices))) for _ in range(2)]
                wave, scene = compose(utterances, [rng.randint(30, 200), rng.randint(130, 300), rng.randint(20, 200)])
                if condition.endswith("dB"):
                    wave = record(wave, rng, snr_db=(10, 30), sounds=0)
                elif condition.startswith("quiet"):
                    wave = wave * np.float32(0.05)
                edges.add(scene, engines.regions(to_pcm(wave)))
            yield f"VAD edges within 150 ms, {name}, {condition}", str(edges)
    for name, draw_wave in (
        ("noise, hum or silence", quiet_room),
        ("clicks, coughs, breaths, beeps, knocks", noisy_room),
    ):
        found = sum(bool(engines.regions(to_pcm(draw_wave(rng)))) for _ in range(count))
        yield f"VAD, recordings of 10 s with a region: {name}", f"{found} of {count}"


def quiet_room(rng: random.Random) -> Wave:
    """Draws 10 s of unsteady noise, at any level."""
    return unsteady_noise(1000 * HOP, rng) * np.float32(10 ** (rng.uniform(-110, -3) / 20))


def noisy_room(rng: random.Random) -> Wave:
    """Draws 10 s of noise with sounds that are not speech."""
    return add_sounds(quiet_room(rng), 10 ** (rng.uniform(-45, -6) / 20), rng.randint(1, 6), rng)


def punctuation_rows(engines: Engines, count: int, rng: random.Random) -> Iterator[Row]:
    """Measures F1 of single sentences and of paragraphs, over all marks and of each."""
    for name, longest in (("single sentences", 1), (f"paragraphs of 1-{MOST_SENTENCES} sentences", MOST_SENTENCES)):
        right, found, wanted = Counter[str](), Counter[str](), Counter[str]()
        for _ in range(count):
            tokens, marks = split_marks(draw_paragraph(rng, True, rng.randint(1, longest)))
            (best,) = engines.punctuation.punctuate([tokens])
            found.update(m for m in best if m)
            wanted.update(m for m in marks if m)
            right.update(m for m, w in zip(best, marks, strict=True) if m and m == w)
        each = ", ".join(f"{m} {200 * right[m] / max(1, found[m] + wanted[m]):.1f}" for m in PUNCTUATION)
        overall = 200 * right.total() / max(1, found.total() + wanted.total())
        yield f"punctuation F1, {name}", f"{overall:.1f} ({each})"


def size_rows(models: Path) -> Iterator[Row]:
    """Adds up the files of each part, and of all."""
    total = 0
    for directory in sorted(p for p in models.iterdir() if p.is_dir()):
        size = sum(f.stat().st_size for f in directory.iterdir() if f.is_file())
        total += size
        yield f"size, {directory.name}", f"{size / 1e6:.2f} MB"
    yield "size, all", f"{total / 1e6:.2f} MB"


PARTS = {
    "recognition": recognition_rows,
    "language_model": language_model_rows,
    "hotwords": hotword_rows,
    "answers": short_answer_rows,
    "vad": vad_rows,
    "punctuation": punctuation_rows,
    "speaker": speaker_rows,
    "streaming": lambda engines, count, rng: streaming_rows(engines.models, count, rng),
    "qwen3": lambda engines, count, rng: qwen3_rows(engines.models, count, rng),
}


def main() -> None:
    """Prints the table of the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models/demo"))
    parser.add_argument("--count", type=int, default=400, help="recordings or texts per measurement")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    engines = Engines(arguments.models)
    print("| what | result |\n| --- | --- |")
    for part in arguments.parts:
        print(f"measuring: {part}", file=sys.stderr, flush=True)
        for what, result in PARTS[part](engines, arguments.count, random.Random(f"{part} {arguments.seed}")):
            print(f"| {what} | {result} |", flush=True)
    for what, result in size_rows(arguments.models):
        print(f"| {what} | {result} |")


if __name__ == "__main__":
    main()
