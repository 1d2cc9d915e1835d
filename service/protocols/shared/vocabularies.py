"""Finds the hotword lists that callers keep here: their ids stand for their words wherever a protocol has hotwords."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection

from service.auth import caller
from service.errors import NotFound, NotReady
from service.protocols.shared.values import cleaned
from service.serving import serving_of

T = TypeVar("T")

USUAL_WEIGHT = 4
# 4 is the usual weight of a kept word, 10 that of a hotword.
_WEIGHT = 2.5
_OWN_ID = re.compile(r"vocab-[a-z0-9]{0,10}-[0-9a-f]{32}")


class KeptWord(BaseModel):
    """Holds a word of a list; ``weight`` is 1 to 5, or up to 50, ``lang`` is not looked at."""

    text: str
    weight: int = USUAL_WEIGHT
    lang: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None


class Vocabulary(BaseModel):
    """Holds a list as it is kept, and as its owner is shown it."""

    target_model: str
    vocabulary: list[KeptWord]
    gmt_create: str
    gmt_modified: str
    status: Literal["OK"] = "OK"


async def with_own_words(connection: HTTPConnection, value: T) -> T | str:
    """Returns the words of the caller's list where a value of ``vocabulary_id`` is its id, as text; any other as it is.

    An id that can't be looked up, because the jobs' database is away, is like one that is not known.
    """
    name = cleaned(value).strip() if isinstance(value, str) else ""
    if not _OWN_ID.fullmatch(name):
        return value
    with suppress(NotFound, NotReady):
        kept = await serving_of(connection).jobs.vocabulary(caller(connection), name)
        if kept is not None:
            words = Vocabulary.model_validate_json(kept).vocabulary
            pairs = [(word.text, min(100, round(_WEIGHT * word.weight))) for word in words]
            return json.dumps(pairs, ensure_ascii=False)
    return value
