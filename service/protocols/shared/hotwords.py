"""Reads hotwords as requests bring them: ``词1 权重1 词2 权重2`` in ``vocabulary_id``, or the words of a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runners import catalog
from service.domain import Hotword
from service.errors import InvalidRequest

MOST_HOTWORDS = 1000
_WEIGHT = re.compile(r"[1-9][0-9]?|100")
_BETWEEN_WORDS = re.compile(r"[\s,，、;；:：.。!！?？…\"'“”‘’()（）\[\]【】《》〈〉「」]+")
_PROMPT_WORD_CHARACTERS = range(2, 11)  # a longer run without a separator is a sentence
_PROMPT_LATIN_CHARACTERS = range(2, 31)


def parse_vocabulary(text: str) -> tuple[Hotword, ...]:
    """Returns the words with their weights of 1 to 100, in their order; none for an empty text.

    Raises:
        InvalidRequest: not pairs of a word and a weight, or a weight out of bounds.
    """
    parts = text.split()
    if len(parts) % 2:
        raise _wrong(f"the last of its {len(parts)} parts has no partner")
    hotwords = []
    for word, weight in zip(parts[::2], parts[1::2], strict=True):
        if not _WEIGHT.fullmatch(weight):
            raise _wrong(f"{weight[:50]!r} after {word[:50]!r} is no weight from 1 to 100")
        hotwords.append(Hotword(word, int(weight)))
    refuse_too_many(hotwords, "vocabulary_id")
    return tuple(hotwords)


def refuse_too_many(hotwords: Sequence[Hotword], param: str) -> None:
    """Refuses more hotwords than a request may have.

    Raises:
        InvalidRequest: there are more than MOST_HOTWORDS; it names ``param``.
    """
    if len(hotwords) > MOST_HOTWORDS:
        raise InvalidRequest(
            f"`{param}` has {len(hotwords)} hotwords; at most {MOST_HOTWORDS} may be sent.", param=param
        )


def prompt_hotwords(prompt: str, model: catalog.Model) -> tuple[tuple[Hotword, ...], tuple[str, ...]]:
    """Returns (the words of a prompt, what of it is no word): sentences and single characters make no hotwords.

    Of a prompt that the model reads as it is, nothing is left to prefer; other models can only prefer its words.

    Raises:
        InvalidRequest: there are too many words.
    """
    if model.family.reads_prompts:
        return (), ()
    parts = dict.fromkeys(part for part in _BETWEEN_WORDS.split(prompt) if part)
    words = [p for p in parts if len(p) in (_PROMPT_LATIN_CHARACTERS if p.isascii() else _PROMPT_WORD_CHARACTERS)]
    hotwords = tuple(Hotword(word) for word in words)
    refuse_too_many(hotwords, "prompt")
    return hotwords, tuple(part for part in parts if part not in set(words))


def _wrong(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"`vocabulary_id` must be words with their weights, such as `词1 20 词2 50`: {what}.", param="vocabulary_id"
    )
