"""Speaks DashScope's hotword lists: made, listed, shown, changed and deleted by their owner."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from service.auth import caller
from service.errors import InvalidRequest, QueueFull
from service.intake.uploads import receive_small_body
from service.jobs.jobs import Jobs
from service.protocols.dashscope.customization_request import Action, Customization, body_schema, read_customization
from service.protocols.dashscope.envelope import Answer, RefusalBody
from service.protocols.dashscope.tasks import LABEL
from service.protocols.dashscope.tasks_response import TIME_ZONE
from service.protocols.shared.fields import failures, json_object
from service.protocols.shared.names import loaded_model
from service.protocols.shared.vocabularies import KeptWord, Vocabulary
from service.serving import counted, serving_of

MOST_LISTS = 100
router = APIRouter(prefix="/api/v1", tags=["DashScope"], responses=failures(RefusalBody, 401, 404, 503))


class CreatedVocabulary(BaseModel):
    """Names a new list."""

    vocabulary_id: str


class ListedVocabulary(BaseModel):
    """Describes a list without its words."""

    vocabulary_id: str
    gmt_create: str
    gmt_modified: str
    status: str


class VocabularyList(BaseModel):
    """Holds a page of a key's lists, in the order in which they were made."""

    vocabulary_list: list[ListedVocabulary]


class Nothing(BaseModel):
    """Says no more than that it is done."""


_Output = CreatedVocabulary | VocabularyList | Vocabulary | Nothing


class CustomizationBody(Answer):
    """Answers what was asked for."""

    output: _Output


@router.post(
    "/services/audio/asr/customization",
    summary="Keep hotword lists",
    response_model=CustomizationBody,
    responses=failures(RefusalBody, 400, 408, 429),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema()}}}},
)
async def customize(request: Request, key: Annotated[str, Depends(caller)]) -> Response:
    """The id of a list stands for its words in every `vocabulary_id`, with the key that made it."""
    with counted(LABEL):
        serving = serving_of(request)
        jobs = serving.jobs
        body = json_object((await receive_small_body(request)).decode("utf-8", "replace"))
        asked = read_customization(body)
        if asked.target_model:
            loaded_model(asked.target_model, serving.settings.enabled_models)
        output = await _ACTIONS[asked.action](jobs, key, asked)
    return Response(CustomizationBody(output=output).model_dump_json(), media_type="application/json")


async def _create(jobs: Jobs, key: str, asked: Customization) -> CreatedVocabulary:
    prefix, words = asked.check_prefix(), _kept(asked)
    if len(await jobs.vocabularies(key)) >= MOST_LISTS:
        raise QueueFull(f"There are {MOST_LISTS} hotword lists already: delete one.")
    now = _now()
    kept = Vocabulary(target_model=asked.target_model, vocabulary=words, gmt_create=now, gmt_modified=now)
    vocabulary_id = f"vocab-{prefix}-{uuid.uuid4().hex}"
    await jobs.put_vocabulary(key, vocabulary_id, kept.model_dump_json())
    return CreatedVocabulary(vocabulary_id=vocabulary_id)


async def _list(jobs: Jobs, key: str, asked: Customization) -> VocabularyList:
    begins = f"vocab-{asked.check_prefix()}-" if asked.prefix else ""
    found = [(name, data) for name, data in (await jobs.vocabularies(key)).items() if name.startswith(begins)]
    first = asked.page_index * asked.page_size
    lists = []
    for name, data in found[first : first + asked.page_size]:
        kept = Vocabulary.model_validate_json(data)
        lists.append(ListedVocabulary(vocabulary_id=name, **kept.model_dump(exclude={"target_model", "vocabulary"})))
    return VocabularyList(vocabulary_list=lists)


async def _update(jobs: Jobs, key: str, asked: Customization) -> Nothing:
    kept = await _found(jobs, key, asked)
    changed = kept.model_copy(update={"vocabulary": _kept(asked), "gmt_modified": _now()})
    await jobs.put_vocabulary(key, asked.vocabulary_id, changed.model_dump_json())
    return Nothing()


async def _delete(jobs: Jobs, key: str, asked: Customization) -> Nothing:
    await _found(jobs, key, asked)
    await jobs.delete_vocabulary(key, asked.vocabulary_id)
    return Nothing()


async def _found(jobs: Jobs, key: str, asked: Customization) -> Vocabulary:
    data = await jobs.vocabulary(key, asked.vocabulary_id)
    if data is None:
        raise InvalidRequest(
            "There is no hotword list of yours with this `vocabulary_id`.", param="input.vocabulary_id"
        )
    return Vocabulary.model_validate_json(data)


_ACTIONS: dict[Action, Callable[[Jobs, str, Customization], Awaitable[_Output]]] = {
    "create_vocabulary": _create,
    "list_vocabulary": _list,
    "query_vocabulary": _found,
    "update_vocabulary": _update,
    "delete_vocabulary": _delete,
}


def _kept(asked: Customization) -> list[KeptWord]:
    return [KeptWord(text=word.text, weight=word.weight, lang=word.lang) for word in asked.words]


def _now() -> str:
    return datetime.now(TIME_ZONE).strftime("%Y-%m-%d %H:%M:%S")
