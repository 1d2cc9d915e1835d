"""The models this service knows: ids, parts, capabilities; read from configs/models.yaml."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

PROJECT_ROOT = Path(__file__).resolve().parents[1]


class Part(BaseModel):
    """One model directory: a hub repository, a directory shipped with the project, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str | None = None
    directory: str | None = None
    size_mb: int

    @property
    def name(self) -> str:
        return self.repository or self.directory or ""


_PARTS = ("asr", "vad", "punctuation", "speaker", "streaming", "realtime_punctuation", "language_model")
# A model that has such a part in the catalog also runs without its files.
OPTIONAL_PARTS = frozenset({"language_model"})


class Model(BaseModel):
    """A servable model. ``window_s`` is the longest utterance that is recognised in one piece.

    Parts that a model does without are None: then what needs them is refused or said to be missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    owner: str
    description: str
    languages: tuple[str, ...]
    window_s: float
    demo: bool = False
    asr: Part
    vad: Part
    punctuation: Part
    speaker: Part | None = None
    streaming: Part | None = None
    realtime_punctuation: Part | None = None
    language_model: Part | None = None

    @property
    def parts(self) -> dict[str, Part]:
        """Every part that the model has, by name."""
        found = ((name, getattr(self, name)) for name in _PARTS)
        return {name: part for name, part in found if part is not None}


@functools.cache
def models() -> dict[str, Model]:
    """Every model of the catalog by id, in the catalog's order (the first is the preferred default)."""
    entries = yaml.safe_load((PROJECT_ROOT / "configs" / "models.yaml").read_text(encoding="utf-8"))
    return {name: Model(id=name, **entry) for name, entry in entries.items()}


def resolve_enabled(names: tuple[str, ...]) -> tuple[str, ...]:
    """Model ids for ENABLED_MODELS: expands ``auto``, ``all`` and ``demo``; ValueError on an unknown name."""
    known = models()
    groups = {
        "auto": [m.id for m in known.values() if not m.demo],
        "all": [m.id for m in known.values() if not m.demo],
        "demo": [m.id for m in known.values() if m.demo],
    }
    resolved: dict[str, None] = {}
    for name in names:
        if name not in known and name not in groups:
            raise ValueError(f"{name!r} is not a model; known: {', '.join([*groups, *known])}")
        resolved.update(dict.fromkeys(groups.get(name, [name])))
    return tuple(resolved)
