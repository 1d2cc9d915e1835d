"""Draws voices that espeak-ng doesn't come with: random formants, pitch, timbre, as variant files beside its own.

The hundred variants that it ships are too few for a network to learn what tells two voices apart.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path


def draw_variant(rng: random.Random) -> str:
    """Draws a variant file (see espeak-ng's docs/voices.md): percentages of the default voice, pitch in Hz."""
    size = rng.uniform(0.84, 1.3)  # of the vocal tract: all formants move together
    low = 65 * (260 / 65) ** rng.random()
    lines = ["language variant", f"pitch {low:.0f} {low * rng.uniform(1.25, 1.8):.0f}"]
    for number in range(9):
        spread = 0.1 if number < 4 else 0.18
        frequency = 100 * size * rng.uniform(1 - spread, 1 + spread)
        strength = rng.uniform(60, 160) if number < 4 else rng.uniform(20, 130)
        lines.append(f"formant {number} {frequency:.0f} {strength:.0f} {rng.uniform(60, 160):.0f}")
    if rng.random() < 0.4:
        bands = sorted(rng.uniform(100, 4000) for _ in range(rng.randint(2, 4)))
        lines.append("tone " + " ".join(f"{hz:.0f} {rng.uniform(40, 255):.0f}" for hz in bands))
    for chance, line in (
        (0.5, f"voicing {rng.uniform(30, 160):.0f}"),
        (0.4, f"consonants {rng.uniform(50, 150):.0f} {rng.uniform(30, 150):.0f}"),
        (0.5, f"flutter {rng.randint(0, 10)}"),
        (0.5, f"roughness {rng.randint(0, 4)}"),
        (0.25, "breath " + " ".join(f"{rng.uniform(0, 8):.0f}" for _ in range(8))),
        (0.15, f"echo {rng.randint(10, 140)} {rng.randint(5, 50)}"),
        (0.1, f"klatt {rng.randint(1, 6)}"),
    ):
        if rng.random() < chance:
            lines.append(line)
    return "\n".join(lines) + "\n"


def install_espeak(data: Path) -> Path:
    """Copies espeak-ng's data into ``data``, for this process's espeak-ng from now on; returns its variants' folder."""
    target = data / "espeak-ng-data"
    if not target.exists():
        version = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True).stdout
        found = re.search(r"Data at: (.+)", version)
        assert found is not None, version
        shutil.copytree(found[1].strip(), target)
    os.environ["ESPEAK_DATA_PATH"] = str(data.resolve())
    return target / "voices" / "!v"
