"""Decodes known speakers as the OpenAI API brings them: names, and data URLs of how they sound."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from service.audio.recording import Recording
from service.domain import SAMPLE_RATE_HZ, AudioSource, KnownSpeaker, Pcm
from service.errors import AudioTooLarge, InvalidRequest, UndecodableAudio
from service.intake import disk
from service.protocols.shared.values import decode_base64

_SHORTEST_S, _LONGEST_S = 2.0, 10.0
_TOLERANCE_S = 0.3  # encoders pad, and cut at their own frames


async def known_speakers(references: Iterable[tuple[str, str]]) -> tuple[KnownSpeaker, ...]:
    """Decodes each (name, data URL).

    Raises:
        InvalidRequest: not a base64 data URL, not audio, or not 2 to 10 s of it.
    """
    return tuple([KnownSpeaker(name, await _decoded(name, url)) for name, url in references])


async def _decoded(name: str, url: str) -> Pcm:
    scheme, _, content = url.partition(",")
    if not (scheme.startswith("data:") and scheme.endswith(";base64")):
        raise _wrong(name, "must be a data URL: data:audio/wav;base64,…")
    try:
        data = decode_base64(content)
    except ValueError:
        raise _wrong(name, "is not valid base64") from None
    with disk.temporary_audio_file() as file:
        await disk.write(file, data, is_last=True)
        try:
            blocks = Recording(AudioSource(file.name)).blocks(_LONGEST_S + _TOLERANCE_S)
            pcm = np.concatenate([block async for block in blocks])
        except AudioTooLarge:
            raise _wrong(name, f"is longer than {_LONGEST_S:.0f} s") from None
        except (UndecodableAudio, ValueError):  # nothing to concatenate
            raise _wrong(name, "is not audio that can be decoded") from None
    if len(pcm) < (_SHORTEST_S - _TOLERANCE_S) * SAMPLE_RATE_HZ:
        raise _wrong(name, f"is shorter than {_SHORTEST_S:.0f} s")
    return pcm


def _wrong(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"`known_speaker_references[]`: the reference of {name[:50]!r} {what}.", param="known_speaker_references"
    )
