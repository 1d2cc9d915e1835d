"""Puts what is said in the channels of a recording together in one transcript, in the order of its times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from service.domain import Segment, Transcript


def together(channels: Sequence[Transcript]) -> Transcript:
    """Returns the transcripts of a recording's channels as one; their segments name their channels."""
    if len(channels) == 1:
        return channels[0]
    return replace(
        max(channels, key=lambda transcript: len(transcript.text)),  # in the language that most was said in
        duration_s=max(transcript.duration_s for transcript in channels),
        segments=in_order(segment for transcript in channels for segment in transcript.segments),
        levels=tuple(sorted((level for t in channels for level in t.levels), key=lambda level: level.start_s)),
        # What is noticed of a file is noticed with every channel.
        warnings=tuple(dict.fromkeys(warning for transcript in channels for warning in transcript.warnings)),
    )


def in_order(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Returns segments by their times, counted anew."""
    ordered = sorted(segments, key=lambda segment: (segment.start_s, segment.channel or 0))
    return tuple(replace(segment, index=index) for index, segment in enumerate(ordered))
