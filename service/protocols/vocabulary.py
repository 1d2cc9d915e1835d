"""Hotwords as Alibaba Cloud's protocols bring them here: ``词1 权重1 词2 权重2`` in ``vocabulary_id``."""

from __future__ import annotations

import re

from service.domain import Hotword
from service.errors import InvalidRequest

_WEIGHT = re.compile(r"[1-9][0-9]?|100")


def parse_vocabulary(text: str) -> tuple[Hotword, ...]:
    """The words with their weights of 1 to 100, in their order; none for an empty text.

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
    return tuple(hotwords)


def _wrong(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"`vocabulary_id` must be words with their weights, such as `词1 20 词2 50`: {what}.", param="vocabulary_id"
    )
