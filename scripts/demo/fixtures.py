"""Writes the speech that the tests ship: short recordings of the demo domain and what is said in them.

    python -m scripts.demo.fixtures --out tests/fixtures/speech

Sentences are kept out of training; half of the voices are too.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import soundfile

from scripts.demo.sentences import SHORT_ANSWERS, draw_sentence, is_held_out, strip_punctuation
from scripts.demo.speech import HELD_OUT_VOICES, SAMPLE_RATE_HZ, Voice, Wave, silence, speak

_FIXED = {
    "weather": ("今天天气怎么样？", "f1"),
    "numbers": ("一共三百零五元。", "m3"),
    "date": ("今天是二零二六年十一月二十三日。", "f2"),
    "home": ("请打开客厅的灯。", "m1"),
    "meeting": ("会议改到下周五下午两点。", "f4"),
    "service": ("好的，请稍等。", "m2"),
}
# Who says what in a talk of three.
_SPEAKERS = (Voice("m7", 165, 42), Voice("Alicia", 175, 55), Voice("zac", 170, 50))
_TALK = (
    (0, "欢迎使用语音服务。"),
    (1, "广州周末天气怎么样？"),
    (0, "今天下午有雾，注意安全。"),
    (2, "他们想去重庆旅行。"),
    (1, "请把订单交给陈女士。"),
    (2, "现在开始看书。"),
    (0, "你正在学习中文。"),
    (1, "你们住在北京。"),
)
_LEVEL = np.float32(0.5)


def _recording(waves: list[Wave], rng: random.Random) -> Wave:
    wave = np.concatenate(waves) * _LEVEL
    hiss = np.random.default_rng(rng.getrandbits(32)).standard_normal(len(wave)).astype(np.float32)
    return wave + hiss * np.float32(3e-4)


def main() -> None:
    """Writes the recordings, and truth.json about them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures/speech"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random("fixtures")
    truth: dict[str, dict[str, object]] = {}

    def write(
        name: str, sentences: list[tuple[str, Voice]], pause_s: tuple[float, float], rng: random.Random = rng
    ) -> list[dict[str, object]]:
        """Writes a recording; returns what is known of its sentences, to add to."""
        waves, position = [silence(0.4)], int(0.4 * SAMPLE_RATE_HZ)
        spans: list[dict[str, object]] = []
        for text, voice in sentences:
            wave, pause = speak(text, voice), silence(rng.uniform(*pause_s))
            spans.append({"text": text, "start_s": position / 16_000, "end_s": (position + len(wave)) / 16_000})
            waves += [wave, pause]
            position += len(wave) + len(pause)
        recording = _recording(waves, rng)
        soundfile.write(out / f"{name}.flac", recording, SAMPLE_RATE_HZ, subtype="PCM_16")
        truth[name] = {"duration_s": len(recording) / SAMPLE_RATE_HZ, "sentences": spans}
        return spans

    for name, (text, variant) in _FIXED.items():
        write(name, [(text, Voice(variant))], (0.5, 0.5))
    for i, text in enumerate(SHORT_ANSWERS[:5]):
        write(f"short-{i}", [(text, Voice(("f1", "m1", "f3", "m4", "f2")[i]))], (0.4, 0.4))
    held_out: list[str] = []
    while len(held_out) < 8:
        text = draw_sentence(rng)
        if is_held_out(text) and 6 <= len(strip_punctuation(text)) <= 14:
            held_out.append(text)
    for i, text in enumerate(held_out):
        voices = HELD_OUT_VOICES if i % 2 else ["f1", "m1", "f4", "m6"]
        write(f"sentence-{i}", [(text, Voice(rng.choice(voices)))], (0.4, 0.8))
    voices = ["f1", "m3", "f2", "m5"]
    write("dialogue", [(draw_sentence(rng), Voice(voices[i % 4])) for i in range(12)], (0.4, 1.5))
    pauses = [(draw_sentence(rng), Voice("f1")) for _ in range(2)]
    write("long-pause", pauses, (4.0, 4.0))
    # a name that is heard as other characters, unless it is a hotword
    write("hotword", [("给陈书文打电话。", Voice("Alicia"))], (0.5, 0.5))
    talk = write("speakers", [(text, _SPEAKERS[i]) for i, text in _TALK], (0.3, 1.2), random.Random("speakers"))
    for span, (speaker, _) in zip(talk, _TALK, strict=True):
        span["speaker"] = speaker
    (out / "truth.json").write_text(json.dumps(truth, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    size_kb = sum(f.stat().st_size for f in out.iterdir()) // 1024
    print(f"{len(truth)} recordings, {sum(float(str(t['duration_s'])) for t in truth.values()):.0f} s, {size_kb} KB")


if __name__ == "__main__":
    main()
