"""Reads what a client of Qwen3-ASR's streaming protocol may say: a start with its parameters, and a stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runners import catalog
from service.domain import RecognitionOptions
from service.errors import InvalidRequest, ModelNotFound
from service.live.options import SessionOptions
from service.protocols.shared.names import check_language, loaded_model
from service.protocols.shared.values import (
    FORMAT_NAMES,
    LONGEST_PROMPT,
    Choice,
    ClientValues,
    Flag,
    Language,
    Nearest,
    PcmRate,
    Text,
)

# What ends a segment; 60 s of speech do as well.
_SILENCE_MS = 2000
_LONGEST_MS = 60_000


class Message(BaseModel):
    """Holds a text message: ``start`` begins a session, ``stop`` asks for its end."""

    type: Annotated[Literal["start", "stop"], Choice()]
    payload: dict[str, Any] = {}

    model_config = ConfigDict(hide_input_in_errors=True)

    @classmethod
    def read(cls, text: str) -> Message:
        """Reads a text message.

        Raises:
            InvalidRequest: it is none of the protocol's; no parameter is named.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"])) or "it"
            raise InvalidRequest(f"This is no message of the protocol: {where}: {problem['msg'][:200]}") from None


class StartPayload(ClientValues):
    """Says what a start asks for.

    Attributes:
        format: What the bytes of the audio are.
        sample_rate: Of headerless PCM, in Hz.
        language: A code, read from any name; null: the model tells which it hears.
        context: What the model reads before it listens.
        chunk_size_sec: How much more speech is heard between two partials, in seconds.
        unfixed_chunk_num: How many partials of a segment begin anew, before the others begin with what was agreed on.
        unfixed_token_num: How many of the last tokens of that are left out of it.
        word_timestamps: Whether words are told with their times.
        model: The id of a loaded Qwen3-ASR, "" for the first; ours.
    """

    format: Annotated[Literal["pcm", "wav", "opus", "speex", "amr", "mp3", "aac"], Choice(FORMAT_NAMES)] = "pcm"
    sample_rate: Annotated[int, PcmRate()] = 16_000
    language: Language = None
    context: Annotated[str, Text(LONGEST_PROMPT, cut=True)] = ""
    chunk_size_sec: Annotated[float, Nearest(0.2, 30)] = 2.0
    unfixed_chunk_num: Annotated[int, Nearest(0, 1000)] = 2
    unfixed_token_num: Annotated[int, Nearest(0, 1000)] = 5
    word_timestamps: Flag = False
    model: Annotated[str, Text(1000)] = ""

    def session_options(self, enabled: Sequence[str]) -> SessionOptions:
        """Makes the options of the session that is asked for.

        Raises:
            ModelNotFound: no such Qwen3-ASR is loaded.
            InvalidRequest: the model doesn't know the language.
        """
        model = _model_that_rolls_back(self.model, enabled)
        return SessionOptions(
            recognition=RecognitionOptions(
                model=model,
                language=check_language(self.language, "language", model) if self.language else None,
                prompt=self.context,
                word_timestamps=self.word_timestamps,
                inverse_text_normalization=False,  # the model writes numbers as it finds right
            ),
            max_sentence_silence_ms=_SILENCE_MS,
            longest_sentence_ms=_LONGEST_MS,
            chunk_ms=round(1000 * self.chunk_size_sec),
            unfixed_chunks=self.unfixed_chunk_num,
            unfixed_tokens=self.unfixed_token_num,
        )


def _model_that_rolls_back(name: str, enabled: Sequence[str]) -> catalog.Model:
    loaded = [model for model in enabled if catalog.models()[model].family.rolls_back]
    if not loaded:
        raise ModelNotFound(
            f"This path needs a Qwen3-ASR, and none is loaded; loaded: {', '.join(enabled)}.", param="model"
        )
    return loaded_model(name, loaded)
