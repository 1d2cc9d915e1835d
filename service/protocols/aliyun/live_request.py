"""Reads what a client of Alibaba Cloud's WebSocket protocol may say: directives, and what a start asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.domain import RecognitionOptions
from service.errors import InvalidRequest, UnknownDirective
from service.live.options import SessionOptions
from service.protocols.aliyun.live_response import Namespace
from service.protocols.shared.hotwords import Hotwords
from service.protocols.shared.names import loaded_model
from service.protocols.shared.values import FORMAT_NAMES, Choice, ClientValues, Flag, Nearest, PcmRate, Text

Action = Literal["start", "stop", "control"]

_DIRECTIVES: dict[tuple[str, str], tuple[Namespace, Action]] = {
    ("SpeechTranscriber", "StartTranscription"): ("SpeechTranscriber", "start"),
    ("SpeechTranscriber", "StopTranscription"): ("SpeechTranscriber", "stop"),
    ("SpeechTranscriber", "ControlTranscriber"): ("SpeechTranscriber", "control"),
    ("SpeechTranscriber", "ControlTranscription"): ("SpeechTranscriber", "control"),  # as npm's client has it
    ("SpeechRecognizer", "StartRecognition"): ("SpeechRecognizer", "start"),
    ("SpeechRecognizer", "StopRecognition"): ("SpeechRecognizer", "stop"),
}


class Directive(NamedTuple):
    """Says what a text message tells the service to do.

    Attributes:
        namespace: Which of the two kinds of task it is of.
        action: What to do; "control" changes nothing.
        task_id: The client's choice.
        payload: What a start asks for; empty where there is none.
    """

    namespace: Namespace
    action: Action
    task_id: str
    payload: dict[str, Any]


class _Header(BaseModel):
    namespace: str = Field(max_length=100)
    name: str = Field(max_length=100)
    task_id: str = Field(min_length=1, max_length=128)

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class _Message(BaseModel):
    header: _Header
    payload: dict[str, Any] | None = None

    model_config = ConfigDict(hide_input_in_errors=True)


def read_directive(text: str) -> Directive:
    """Reads a text message.

    Raises:
        InvalidRequest: it is no message of this protocol.
        UnknownDirective: it is one, but there is no such directive.
    """
    try:
        message = _Message.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "it"
        raise InvalidRequest(f"This is no message of the protocol: {where}: {problem['msg'][:200]}") from None
    header = message.header
    known = _DIRECTIVES.get((header.namespace, header.name))
    if known is None:
        raise UnknownDirective(f"{header.namespace} has no directive {header.name}.")
    return Directive(*known, header.task_id, message.payload or {})


class StartPayload(ClientValues):
    """Says what a start asks for, with the cloud's defaults; what else it says has no effect, as there.

    Attributes:
        format: What the bytes of the audio are.
        sample_rate: Of headerless PCM, in Hz.
        enable_intermediate_result: Whether text is told while a sentence is being spoken.
        enable_punctuation_prediction: Whether text is punctuated.
        enable_inverse_text_normalization: Whether numbers, dates and units are written in digits.
        max_sentence_silence: The silence that ends a sentence, in ms.
        enable_words: Whether words are told with their times.
        vocabulary_id: Hotwords with their weights.
        enable_semantic_sentence_detection: Whether a sentence ends where its marks say so, not just at a pause.
        speech_noise_threshold: From -1 to 1; higher takes less for speech; null: the model's own.
        model_id: The id of a loaded model, "" for the default; ours, as in the REST API.
    """

    format: Annotated[Literal["pcm", "wav", "opus", "speex", "amr", "mp3", "aac"], Choice(FORMAT_NAMES)] = "pcm"
    sample_rate: Annotated[int, PcmRate(rates=(8000, 16000))] = 16000
    enable_intermediate_result: Flag = False
    enable_punctuation_prediction: Flag = False
    enable_inverse_text_normalization: Flag = False
    max_sentence_silence: Annotated[int, Nearest(200, 6000)] = 800
    enable_words: Flag = False
    vocabulary_id: Hotwords = ()
    enable_semantic_sentence_detection: Flag = False
    speech_noise_threshold: Annotated[float, Nearest(-1, 1)] | None = None
    model_id: Annotated[str, Text(1000)] = ""

    def session_options(self, enabled: Sequence[str]) -> SessionOptions:
        """Makes the options of the session that is asked for.

        Raises:
            ModelNotFound: the model is not among ``enabled``.
        """
        return SessionOptions(
            recognition=RecognitionOptions(
                model=loaded_model(self.model_id, enabled),
                hotwords=self.vocabulary_id,
                word_timestamps=self.enable_words,
                punctuation=self.enable_punctuation_prediction,
                inverse_text_normalization=self.enable_inverse_text_normalization,
            ),
            partials=self.enable_intermediate_result,
            partial_punctuation=self.enable_punctuation_prediction,
            max_sentence_silence_ms=self.max_sentence_silence,
            ends_at_marks=self.enable_semantic_sentence_detection,
            speech_noise_threshold=self.speech_noise_threshold,
        )
