"""Reads the Task of Alibaba Cloud's file transcription, and what it comes down to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from runners.catalog import Model
from service.domain import Diarization, RecognitionOptions
from service.errors import AddressRefused, InvalidRequest
from service.intake.fetch import checked_url
from service.jobs.job import JobRequest
from service.protocols.shared.fields import json_object
from service.protocols.shared.hotwords import Hotwords
from service.protocols.shared.names import loaded_model
from service.protocols.shared.values import ClientValues, Flag, Nearest, Text, unknown_fields

DIALECT = "aliyun"
_FOUND_BY_ALGORITHM = 2
_LONGEST_MS = 10**9


class ValidTime(ClientValues):
    """Holds a stretch of the recording, in ms from its start."""

    begin_time: Annotated[int, Nearest(0, _LONGEST_MS)]
    end_time: Annotated[int, Nearest(0, _LONGEST_MS)]


_VALID_TIMES = {"type": "array", "items": {"type": "object"}}


class FileTask(ClientValues):
    """Holds the JSON of SubmitTask's ``Task``; those that say what is done anyway are accepted."""

    appkey: Annotated[str, Text(1000)] = Field(default="", description="Any text; this service has no projects.")
    file_link: Annotated[str, Text(10_000)] = Field(default="", description="An http(s) URL of the recording.")
    model_id: Annotated[str, Text(1000)] = Field(
        default="", description="A model id of `/stream/v1/asr/models`; absent: the default model. Ours."
    )
    version: Annotated[str, Text(100)] = Field(default="4.0", description="Accepted; answers are those of 4.0.")
    enable_words: Flag = Field(default=False, description="`Words` in the result, with their times.")
    enable_sample_rate_adaptive: Flag = Field(default=True, description="Accepted; any sample rate is read.")
    enable_callback: Flag = Field(default=False, description="Tell the end of the task to `callback_url`.")
    callback_url: Annotated[str, Text(10_000)] = Field(default="", description="An http(s) URL.")
    auto_split: Flag = Field(default=False, description="`SpeakerId` in the sentences.")
    supervise_type: Annotated[int, Nearest(1, 2, less_is_none=True)] | SkipJsonSchema[None] = Field(
        default=None, description="2: how many speakers there are is found, whatever `speaker_num` says."
    )
    speaker_num: Annotated[int, Nearest(2, 100, less_is_none=True)] | SkipJsonSchema[None] = Field(
        default=None, description="How many speakers there are; absent: it is found."
    )
    enable_inverse_text_normalization: Flag = Field(default=False, description="Numbers, dates and units in digits.")
    enable_punctuation_prediction: Flag = Field(default=True, description="Punctuated text.")
    enable_timestamp_alignment: Flag = Field(
        default=False, description="Accepted; the times of words are always found in the audio."
    )
    vocabulary_id: Hotwords = Field(
        default=(), description="Hotwords with weights from 1 to 100: `词1 权重1 词2 权重2`."
    )
    sentence_max_length: Annotated[int, Nearest(4, 50)] | SkipJsonSchema[None] = Field(
        default=None, description="Cut sentences of more characters, for subtitles; absent: none are cut."
    )
    valid_times: Annotated[list[ValidTime], Field(max_length=1000), WithJsonSchema(_VALID_TIMES)] = Field(
        default=[],
        description="Tell only what is said from `begin_time` to `end_time` of one of them, in ms; all channels.",
    )


def task_object(text: str) -> dict[str, Any]:
    """Returns the object that a ``Task`` is.

    Raises:
        InvalidRequest: it is none.
    """
    given = json_object(text)
    if given is None:
        raise InvalidRequest("`Task` must be a JSON object.", param="Task")
    return given


def read_task(given: Mapping[str, Any]) -> FileTask:
    """Reads what a ``Task`` says.

    Raises:
        InvalidRequest: it has a value that can't be understood; ``param`` names it.
    """
    return FileTask.read({name: value for name, value in given.items() if value != ""})


def resolve(task: FileTask, names: Iterable[str], enabled: Sequence[str]) -> JobRequest:
    """Turns a task into the request for a job that it makes.

    ``names`` are those that were sent, ``enabled`` the loaded models.

    Raises:
        InvalidRequest: ``appkey``, ``file_link`` or ``callback_url`` is wrong; ``param`` says which.
        ModelNotFound: the model is not among ``enabled``.
    """
    if not task.appkey.strip():
        raise InvalidRequest("`appkey` is missing; any text will do here.", param="appkey")
    _check_address(task.file_link, "file_link")
    if task.enable_callback:
        _check_address(task.callback_url, "callback_url")
    model = loaded_model(task.model_id, enabled)
    diarization, warnings = _diarization(task, model)
    return JobRequest(
        options=RecognitionOptions(
            model=model,
            hotwords=task.vocabulary_id,
            punctuation=task.enable_punctuation_prediction,
            inverse_text_normalization=task.enable_inverse_text_normalization,
            diarization=diarization,
        ),
        audio_address=task.file_link,
        callback_url=task.callback_url if task.enable_callback else "",
        warnings=(*task.warnings, *warnings, *unknown_fields(names, FileTask.model_fields)),
        dialect=DIALECT,
        details=_details(task),
    )


def _check_address(text: str, param: str) -> None:
    try:
        checked_url(text)
    except AddressRefused:
        raise InvalidRequest(f"`{param}` must be an http(s) URL, without a password in it.", param=param) from None


def _diarization(task: FileTask, model: Model) -> tuple[Diarization | None, tuple[str, ...]]:
    if not task.auto_split:
        return None, ()
    if model.speaker is None:
        return None, (f"auto_split: had no effect: the model {model.id} does not tell voices apart.",)
    return Diarization(None if task.supervise_type == _FOUND_BY_ALGORITHM else task.speaker_num), ()


def _details(task: FileTask) -> Mapping[str, Any]:
    """Returns what is wanted of the answer alone."""
    return {
        "enable_words": task.enable_words,
        "sentence_max_length": task.sentence_max_length,
        "valid_times": [(time.begin_time, time.end_time) for time in task.valid_times],
    }
