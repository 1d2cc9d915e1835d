"""Reads what a request of Alibaba Cloud's FlashRecognizer may say in its query, and what it comes down to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from service.domain import RecognitionOptions
from service.protocols.aliyun.rest_request import AudioQuery, RecognitionRequest
from service.protocols.shared.names import loaded_model
from service.protocols.shared.values import Flag, Nearest


class FlashQuery(AudioQuery):
    """Holds the query of ``POST /stream/v1/FlashRecognizer``."""

    enable_inverse_text_normalization: Flag = Field(default=False, description="Numbers, dates and units in digits.")
    enable_word_level_result: Flag = Field(default=False, description="`words` in the sentences, with their times.")
    enable_timestamp_alignment: Flag = Field(
        default=False, description="Accepted; the times of words are always found in the audio."
    )
    first_channel_only: Flag = Field(
        default=False, description="Recognise the first channel alone; otherwise each channel on its own."
    )
    sentence_max_length: Annotated[int, Nearest(4, 50)] | SkipJsonSchema[None] = Field(
        default=None, description="Cut sentences of more characters, for subtitles; absent: none are cut."
    )


@dataclass(frozen=True, slots=True)
class FlashRequest(RecognitionRequest):
    """Says what is to be done, free of the query's spellings.

    Attributes:
        with_words: Whether sentences have their words.
        first_channel_only: Whether the other channels are left out.
        sentence_max_length: How many characters a sentence may have; None: as many as there are.
    """

    with_words: bool
    first_channel_only: bool
    sentence_max_length: int | None

    def channels(self, count: int) -> Sequence[int | None]:
        """Chooses among so many channels those that are recognised, each on its own."""
        if count == 1:
            return (None,)
        return range(1 if self.first_channel_only else count)


def resolve(query: FlashQuery, names: Iterable[str], enabled: Sequence[str]) -> FlashRequest:
    """Turns a query into the request that it makes.

    ``names`` are those that were sent, ``enabled`` the loaded models.

    Raises:
        ModelNotFound: the model is not among ``enabled``.
    """
    return FlashRequest(
        options=RecognitionOptions(
            model=loaded_model(query.model_id, enabled),
            hotwords=query.vocabulary_id,
            inverse_text_normalization=query.enable_inverse_text_normalization,
        ),
        audio_address=query.audio_address,
        raw=query.raw,
        audio_track=query.audio_track,
        warnings=query.all_warnings(names),
        with_words=query.enable_word_level_result,
        first_channel_only=query.first_channel_only,
        sentence_max_length=query.sentence_max_length,
    )
