"""Knows the models of this service: ids, parts, capabilities; read from configs/models.yaml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict

from runners.families import PARAFORMER, Family, family_named

PROJECT_ROOT = Path(__file__).resolve().parents[1]


class Part(BaseModel):
    """Names one model directory: a hub repository, a directory shipped with the project, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str | None = None
    directory: str | None = None
    size_mb: int

    @property
    def name(self) -> str:
        """Returns what the directory is called in messages."""
        return self.repository or self.directory or ""


_PARTS = ("asr", "vad", "punctuation", "speaker", "streaming", "realtime_punctuation", "language_model", "aligner")
# A model that has such a part in the catalog also runs without its files.
OPTIONAL_PARTS = frozenset({"language_model"})


class Model(BaseModel):
    """Describes a servable model; ``window_s`` is the longest stretch that is recognised in one piece.

    Of prompt and hotwords a model that reads prompts is given ``context_characters`` at most.

    Parts that a model does without are None: then what needs them is refused or said to be missing. What else it can
    and needs says its ``family``. A model with an aligner has word times in ``aligned_languages``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    owner: str
    description: str
    family: Annotated[Family, BeforeValidator(family_named)] = PARAFORMER
    languages: tuple[str, ...]
    dialects: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    aligned_languages: tuple[str, ...] = ()
    window_s: float
    context_characters: int = 2_000
    demo: bool = False
    asr: Part
    vad: Part
    punctuation: Part | None = None
    speaker: Part | None = None
    streaming: Part | None = None
    realtime_punctuation: Part | None = None
    language_model: Part | None = None
    aligner: Part | None = None

    @property
    def hears_live(self) -> bool:
        """Says whether there is text of a sentence while it is being spoken."""
        return self.family.live_part in self.parts

    @property
    def parts(self) -> dict[str, Part]:
        """Returns every part that the model has, by name."""
        found = ((name, getattr(self, name)) for name in _PARTS)
        return {name: part for name, part in found if part is not None}


@functools.cache
def models() -> dict[str, Model]:
    """Reads every model of the catalog by id, in the catalog's order (the first is the preferred default)."""
    entries = yaml.safe_load((PROJECT_ROOT / "configs" / "models.yaml").read_text(encoding="utf-8"))
    return {name: Model(id=name, **entry) for name, entry in entries.items()}
