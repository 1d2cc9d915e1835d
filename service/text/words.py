"""Turns recogniser tokens into words: joins subword pieces, drops special tokens, places times in the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from runners.catalog import Model
from runners.interface import Recognition
from service.domain import RecognitionOptions, Word

_CONTINUED = "@@"
_SENTENCE_ENDS = frozenset("。？！?!.")
_MOST_NAMED = 20  # of words in a warning, which may be a header; and the most characters of each


def words_of(recognition: Recognition, model: Model, start_ms: int, end_ms: int) -> list[Word]:
    """Returns the words that ``model`` found in an utterance, in order of time.

    The utterance lasts from ``start_ms`` to ``end_ms`` of the file.
    """
    words: list[Word] = []
    text, first_ms, logprob, ids = "", 0, 0.0, []
    for token, mark, token_id, begins, ends, token_logprob in zip(
        recognition.tokens,
        recognition.marks or [""] * len(recognition.tokens),
        recognition.ids,
        recognition.starts_ms,
        recognition.ends_ms,
        recognition.logprobs,
        strict=True,
    ):
        if token in model.family.special_tokens:
            continue
        if not text:
            first_ms = begins
        text += token.removesuffix(_CONTINUED)
        logprob += token_logprob
        ids.append(token_id)
        if token.endswith(_CONTINUED):
            continue
        begin_s, end_s = (min(start_ms + ms, end_ms) / 1000 for ms in (first_ms, ends))
        words.append(Word(text, begin_s, end_s, mark, logprob, tuple(ids), recognition.timed))
        text, logprob, ids = "", 0.0, []
    if text:  # a last piece whose continuation is missing
        words.append(Word(text, (start_ms + first_ms) / 1000, end_ms / 1000, logprob=logprob, token_ids=tuple(ids)))
    return words


def ignored_hotword_warnings(hotwords: Sequence[str], model: str) -> tuple[str, ...]:
    """Warns a client whose ``hotwords`` had no effect: one warning, or none."""
    if not hotwords:
        return ()
    named = ", ".join(word[:_MOST_NAMED] for word in hotwords[:_MOST_NAMED])
    others = f" and {len(hotwords) - _MOST_NAMED} others" if len(hotwords) > _MOST_NAMED else ""
    return (f"Hotwords had no effect, as {model} cannot write them: {named}{others}.",)


def cut_context_warnings(options: RecognitionOptions) -> tuple[str, ...]:
    """Warns a client whose prompt and hotwords are more than the model reads: one warning, or none."""
    model = options.model
    if not model.family.reads_prompts:
        return ()
    read = " ".join(filter(None, (options.prompt, *(word.text for word in options.hotwords))))
    if len(read) <= model.context_characters:
        return ()
    return (f"Of prompt and hotwords only the first {model.context_characters} characters count with {model.id}.",)


def untimed_warnings(language: str, model: Model) -> tuple[str, ...]:
    """Warns a client some of whose words have no times: the model finds none in their language, or found none."""
    if language in model.aligned_languages:
        return (f"Some words have no times: {model.id} did not find them in the audio.",)
    known = ", ".join(model.aligned_languages)
    return (f"There are no word times: {model.id} finds them in {known}, not in {language or 'this language'}.",)


def ends_sentence(word: Word) -> bool:
    """Says whether a sentence ends with the mark after ``word``."""
    return not _SENTENCE_ENDS.isdisjoint(word.punctuation)


def sentences_of(words: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    """Yields the words sentence by sentence; the last may have no end."""
    first = 0
    for end, word in enumerate(words, 1):
        if ends_sentence(word) or end == len(words):
            yield tuple(words[first:end])
            first = end


def with_marks(words: Sequence[Word], marks: Sequence[str]) -> list[Word]:
    """Returns the words, each followed by its punctuation mark."""
    return [
        dataclasses.replace(w, punctuation=m) if m != w.punctuation else w for w, m in zip(words, marks, strict=True)
    ]
