"""One served API for all tests that only talk to it."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.e2e.server import Served, served
from tests.speech import RECORDINGS

KEY = "a-key"
# The examples of the documentation have one word in place of a key and of a pair.
PAIR = {"ALIYUN_ACCESS_KEY_ID": KEY, "ALIYUN_ACCESS_KEY_SECRET": KEY}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    with served(
        folder / "log", API_KEY=f"{KEY},another", TMPDIR=str(folder), ALLOW_PRIVATE_AUDIO_URLS="true", **PAIR
    ) as running:
        yield running


@pytest.fixture(scope="session")
def talk() -> bytes:
    """Minutes of speech, which take a while to be recognised."""
    return make_talk(6)


def make_talk(minutes: float) -> bytes:
    """A FLAC file of the shipped recordings in an order of its own, with pauses between."""
    draw = random.Random(7)
    parts: list[Any] = []
    samples = 0
    while samples < minutes * 60 * 16_000:
        parts += [draw.choice(list(RECORDINGS.values())).pcm, np.zeros(draw.randrange(4_000, 30_000), np.int16)]
        samples += sum(map(len, parts[-2:]))
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), 16_000, format="FLAC")
    return file.getvalue()
