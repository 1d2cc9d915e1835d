"""Decodes telephone audio: mu-law and A-law, one byte a sample at 8 kHz (ITU-T G.711), to PCM16."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Law = Literal["mu", "a"]
RATE_HZ = 8000


def _table(law: Law) -> NDArray[np.int16]:
    codes = np.arange(256) ^ (0xFF if law == "mu" else 0x55)
    exponent, mantissa = codes >> 4 & 7, codes & 15
    if law == "mu":
        magnitude = ((mantissa << 3) + 132 << exponent) - 132
        sign = np.where(codes & 0x80, -1, 1)
    else:
        magnitude = np.where(exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 264 << np.maximum(exponent, 1) - 1)
        sign = np.where(codes & 0x80, 1, -1)
    table: NDArray[np.int16] = (sign * magnitude).astype("<i2")
    return table


_TABLES = {"mu": _table("mu"), "a": _table("a")}


def pcm16(data: bytes, law: Law) -> bytes:
    """Returns encoded samples as little-endian PCM16."""
    samples: bytes = _TABLES[law][np.frombuffer(data, np.uint8)].tobytes()
    return samples
