"""Tells who speaks when: voices are embedded while a recording is decoded, and told apart once all was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from runners.catalog import Model
from runners.interface import Embedding
from service import observability
from service.audio.spans import Span
from service.domain import Diarization, KnownSpeaker
from service.errors import InvalidRequest
from service.inference import Runners
from service.recordings.clustering import cluster
from service.recordings.turns import Window

Vectors = NDArray[np.float32]


class Diarizer:
    """Collects the voices of one recording: ``add`` its utterances in any order, then ask for the ``speakers``."""

    def __init__(self, runners: Runners, model: Model, options: Diarization) -> None:
        self._runners = runners
        self._model = model
        self._options = options
        self._heard: list[tuple[Span, Vectors]] = []
        self._references: list[Vectors] = []

    async def hear_references(self) -> None:
        """Hears how known speakers sound.

        Raises:
            InvalidRequest: nobody is to be heard in a reference.
        """
        known = self._options.known_speakers
        self._references = list(await asyncio.gather(*(self._reference(speaker) for speaker in known)))

    def add(self, start_ms: int, heard: Embedding) -> None:
        """Takes in the voices of an utterance that begins at ``start_ms`` of the recording."""
        for start, end, vector in zip(heard.starts_ms, heard.ends_ms, heard.vectors, strict=True):
            self._heard.append((Span(start_ms + start, start_ms + end), vector))

    async def speakers(self) -> tuple[list[Window], dict[int, str]]:
        """Returns who speaks in every window, in order of time, and the names of those that are known."""
        self._heard.sort(key=lambda heard: heard[0].start_ms)
        if not self._heard:  # nothing was long enough to tell a voice
            return [], {}
        spans, vectors = [span for span, _ in self._heard], np.stack([vector for _, vector in self._heard])
        options = await self._runners.diarization_options(self._model)
        with observability.timed("cluster"):
            labels = await asyncio.to_thread(cluster, vectors, options, count=self._options.speaker_count)
        windows = [Window(span, int(label)) for span, label in zip(spans, labels, strict=True)]
        return windows, self._names(vectors, labels, options.same_speaker)

    def _names(self, vectors: Vectors, labels: NDArray[np.int_], same_speaker: float) -> dict[int, str]:
        """Gives each known speaker's name to the voice that is most like the reference, if it is like it at all."""
        known = self._options.known_speakers
        if not known:
            return {}
        voices = np.unique(labels)
        centres = np.stack([_direction(vectors[labels == voice]) for voice in voices])
        likeness = np.stack(self._references) @ centres.T
        return {
            int(voices[voice]): known[speaker].name
            for speaker, voice in zip(*linear_sum_assignment(-likeness), strict=True)
            if likeness[speaker, voice] >= same_speaker
        }

    async def _reference(self, speaker: KnownSpeaker) -> Vectors:
        heard = await self._runners.embed(self._model, speaker.reference)
        if not len(heard.vectors):
            raise InvalidRequest(
                f"`known_speaker_references[]`: nobody speaks in the reference of {speaker.name[:50]!r}.",
                param="known_speaker_references",
            )
        return _direction(heard.vectors)


def _direction(vectors: Sequence[Vectors] | Vectors) -> Vectors:
    """Returns the mean of vectors, of length 1; zero where there are none."""
    unit = [vector / np.linalg.norm(vector) for vector in vectors]
    mean = np.sum(unit, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)  # type: ignore[no-any-return]
