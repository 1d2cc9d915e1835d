"""Defines what the service and its decoders say to each other: messages of a kind, a length and a body.

A recording: OPEN is answered by OPENED; each NEXT by PCM, or by DONE when there is no more; a block that is not full
is the last, and DONE follows unasked. CLOSE ends it early, and is answered by DONE. A live stream: LIVE, each DATA and
END are answered by any number of PCM and, last, by HUNGRY or DONE. FAILED may take the place of any answer, and ends
the job as DONE does.
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct("<BI")  # kind, bytes of the body
MOST_BODY_BYTES = 1 << 20


class Kind(IntEnum):
    """Names the messages: PCM has 16 kHz mono PCM16 as its body, DATA the stream's bytes, any other JSON or nothing."""

    OPEN = 1  # path, track
    NEXT = 2  # max_duration_s and channel, in the first one
    CLOSE = 3
    LIVE = 4  # demuxer, formats
    DATA = 5
    END = 6
    OPENED = 16  # announced_s, channels
    PCM = 17
    HUNGRY = 18
    DONE = 19  # notes; is_spent: the process ends with the job
    FAILED = 20  # error, message, is_spent
