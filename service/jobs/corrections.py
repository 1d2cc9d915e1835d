"""Corrects transcripts: speakers' names, and the text of segments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from service.domain import Segment, Speaker, Transcript, Word, join_words
from service.errors import InvalidRequest

# A CJK character, or what stands between spaces and these; what is no letter or digit belongs to the word before.
_WORD = re.compile(
    r"([\u2e80-\u2fff\u3040-\u9fff\uf900-\ufaff]|[^\W_\u2e80-\u9fff\uf900-\ufaff]+(?:[.,:'’%°/-]+[^\W_\u2e80-\u9fff]+)*)"
    r"([^\w\u2e80-\u2fff\u3040-\u9fff]*)"
)


def corrected(transcript: Transcript, speakers: Mapping[str, str], texts: Mapping[int, str]) -> Transcript:
    """Returns a transcript with other names for its speakers, by their labels, and other texts, by their segments.

    The words of a new text are spread over the segment's time.

    Raises:
        InvalidRequest: there is no such speaker or segment.
    """
    known = {segment.speaker.label for segment in transcript.segments if segment.speaker}
    if unknown := sorted(speakers.keys() - known):
        raise InvalidRequest(f"No speaker is called {unknown[0]!r} here.", param="speakers")
    if unknown_ids := sorted(texts.keys() - {segment.index for segment in transcript.segments}):
        raise InvalidRequest(f"There is no segment {unknown_ids[0]}.", param="segments")
    segments = []
    for segment in transcript.segments:
        if segment.speaker and segment.speaker.label in speakers:
            segment = replace(segment, speaker=Speaker(speakers[segment.speaker.label]))
        if segment.index in texts:
            segment = _with_text(segment, texts[segment.index])
        segments.append(segment)
    return replace(transcript, segments=tuple(segments))


def _with_text(segment: Segment, text: str) -> Segment:
    words = [(found.group(1), found.group(2).strip()) for found in _WORD.finditer(text)]
    letters = sum(len(word) for word, _ in words)
    rate = (segment.end_s - segment.start_s) / letters if letters else 0.0
    placed, at = [], 0
    for word, mark in words:
        begin_s, end_s = (round(segment.start_s + n * rate, 3) for n in (at, at + len(word)))
        placed.append(Word(word, begin_s, end_s, mark))
        at += len(word)
    return replace(segment, text=join_words(placed) if placed else "", words=tuple(placed))
