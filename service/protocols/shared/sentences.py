"""Cuts a transcript into sentences, and those into pieces that fit a line, each with its words and their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.domain import Segment, Transcript, Word, join_words

SENTENCE_END = frozenset("。！？!?….")
CLAUSE_END = frozenset("，、；：,;:—")
# What may stand behind such a mark.
CLOSING = "”’\"'》〉」』）】)]} "


def sentences_of(transcript: Transcript, max_length: int | None = None) -> Iterator[tuple[Word, ...]]:
    """Yields the words of each sentence, in order: up to a sentence's final mark, or the end of its segment.

    With ``max_length`` a sentence of more characters, marks included, is cut: after the last clause that fits, else
    after the last word that does. A word that alone is longer stays whole.
    """
    for segment in transcript.segments:
        yield from sentences_in(segment, max_length)


def sentences_in(segment: Segment, max_length: int | None = None) -> Iterator[tuple[Word, ...]]:
    """Yields the words of each sentence of a segment, as ``sentences_of``."""
    first = 0
    for end, word in enumerate(segment.words, start=1):
        if _ends_with(word, SENTENCE_END) or end == len(segment.words):
            sentence = segment.words[first:end]
            yield from [sentence] if max_length is None else _lines(sentence, max_length)
            first = end


def _lines(words: Sequence[Word], max_length: int) -> Iterator[tuple[Word, ...]]:
    rest = tuple(words)
    while len(join_words(rest)) > max_length:
        fitting = next((n for n in range(2, len(rest) + 1) if len(join_words(rest[:n])) > max_length), 2) - 1
        cut = next((n for n in range(fitting, 0, -1) if _ends_with(rest[n - 1], CLAUSE_END)), fitting)
        yield rest[:cut]
        rest = rest[cut:]
    if rest:
        yield rest


def _ends_with(word: Word, marks: frozenset[str]) -> bool:
    return word.punctuation.rstrip(CLOSING)[-1:] in marks
