"""Reads what a request about hotword lists may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from service.errors import InvalidRequest
from service.protocols.shared.fields import field_schemas
from service.protocols.shared.values import Choice, ClientValues, Nearest, Text
from service.protocols.shared.vocabularies import USUAL_WEIGHT

MOST_WORDS = 500
LONGEST_WORD = 100
_PREFIX = re.compile(r"[a-z0-9]{1,10}")
Action = Literal["create_vocabulary", "list_vocabulary", "query_vocabulary", "update_vocabulary", "delete_vocabulary"]


class GivenWord(ClientValues):
    """Holds a word as a client sends it."""

    text: Annotated[str, Field(min_length=1), Text(LONGEST_WORD)]
    weight: Annotated[int, Nearest(1, 50)] = USUAL_WEIGHT
    lang: Annotated[str, Text(20)] | None = None


class Customization(ClientValues):
    """Holds ``input``."""

    action: Annotated[Action, Choice()] = Field(description="What is asked for.")
    target_model: Annotated[str, Text(1000)] = Field(default="", description="Of a new list: kept, and shown again.")
    prefix: Annotated[str, Text(100)] = Field(
        default="", description="Of a new list's id, or of those that are listed: up to 10 of a-z and 0-9."
    )
    vocabulary: list[dict[str, Any]] = Field(
        default=[], max_length=MOST_WORDS, description="`text`, `weight` (1 to 5, up to 50) and `lang` of each word."
    )
    vocabulary_id: Annotated[str, Text(200)] = Field(default="", description="Which list is meant.")
    page_index: Annotated[int, Nearest(0, 1_000_000)] = Field(default=0, description="From 0.")
    page_size: Annotated[int, Nearest(1, 1000)] = 10

    @property
    def words(self) -> list[GivenWord]:
        """Returns the list's words.

        Raises:
            InvalidRequest: there are none, or one is wrong.
        """
        if not self.vocabulary:
            raise InvalidRequest("`input.vocabulary` must have a word.", param="input.vocabulary")
        return [GivenWord.read(word, within=f"input.vocabulary.{n}") for n, word in enumerate(self.vocabulary)]

    def check_prefix(self) -> str:
        """Returns the prefix.

        Raises:
            InvalidRequest: it can't be one.
        """
        if not _PREFIX.fullmatch(self.prefix):
            raise InvalidRequest("`input.prefix` must be 1 to 10 lower-case letters and digits.", param="input.prefix")
        return self.prefix


def read_customization(body: Mapping[str, Any] | None) -> Customization:
    """Reads a body.

    Raises:
        InvalidRequest: it is none, or has a value that can't be understood; ``param`` names that.
    """
    given = (body or {}).get("input")
    if not isinstance(given, dict):
        raise InvalidRequest("The body must be a JSON object with `input`.", param="input")
    return Customization.read(given, within="input")


def body_schema() -> dict[str, Any]:
    """Describes the body in the OpenAPI document's words."""
    model = {"type": "string", "description": "`speech-biasing`; not looked at."}
    given = {"type": "object", "properties": field_schemas(Customization), "required": ["action"]}
    return {"type": "object", "properties": {"model": model, "input": given}, "required": ["input"]}
