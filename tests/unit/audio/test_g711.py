"""G.711 beside libsndfile's."""

import io

import numpy as np
import pytest
import soundfile

from service.audio.g711 import Law, pcm16


@pytest.mark.parametrize(("law", "subtype"), [("mu", "ULAW"), ("a", "ALAW")])
def test_every_code_means_what_libsndfile_says(law: Law, subtype: str) -> None:
    codes = bytes(range(256))
    expected, _ = soundfile.read(
        io.BytesIO(codes), dtype="int16", format="RAW", subtype=subtype, samplerate=8000, channels=1
    )
    assert np.array_equal(np.frombuffer(pcm16(codes, law), "<i2"), expected)
