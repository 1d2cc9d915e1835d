"""Utterances: how loud they are."""

from __future__ import annotations

import numpy as np
import pytest

from service.audio.spans import Span
from service.domain import Level
from service.recordings.utterances import Utterance


@pytest.mark.parametrize(("sample", "dbfs"), [(-(2**15), 0.0), (2**14, -6.02), (-328, -40.0), (1, -90.31), (0, -90.31)])
def test_a_level_is_in_db_of_full_scale_and_silence_has_the_least(sample: int, dbfs: float) -> None:
    utterance = Utterance(Span(1500, 2500), np.full(16_000, sample, np.int16))
    assert utterance.level == Level(1.5, pytest.approx(dbfs, abs=0.01))
