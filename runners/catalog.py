"""The models this service knows: ids, parts, capabilities; read from configs/models.yaml."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict

from runners.families import PARAFORMER, Family, family_named

log = logging.getLogger(__name__)
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


_PARTS = ("asr", "vad", "punctuation", "speaker", "streaming", "realtime_punctuation", "language_model", "aligner")
# A model that has such a part in the catalog also runs without its files.
OPTIONAL_PARTS = frozenset({"language_model"})


class Model(BaseModel):
    """A servable model. ``window_s`` is the longest stretch that is recognised in one piece.

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
    aligned_languages: tuple[str, ...] = ()
    window_s: float
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
        """Whether there is text of a sentence while it is being spoken."""
        return self.family.live_part in self.parts

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


# From this much GPU memory on, `auto` takes the larger Qwen3-ASR (1.7B beside its aligner and Paraformer).
_LARGE_GPU_GB = 32


def resolve_enabled(names: tuple[str, ...], gpu_memory_gb: float | None) -> tuple[str, ...]:
    """Model ids for ENABLED_MODELS: expands ``auto``, ``all`` and ``demo``; ValueError on an unknown name.

    ``gpu_memory_gb`` is that of the GPU, None where there is none: then a model that needs one must be named.
    """
    known = models()
    real = [m.id for m in known.values() if not m.demo]
    large, small = "qwen3-asr-1.7b", "qwen3-asr-0.6b"
    if gpu_memory_gb is None:
        left_out = [name for name in real if known[name].family.needs_gpu]
        groups = {name: [n for n in real if n not in left_out] for name in ("auto", "all")}
    else:
        left_out = []
        chosen = large if gpu_memory_gb >= _LARGE_GPU_GB else small
        groups = {"auto": [chosen, "paraformer-large"], "all": [chosen, *(n for n in real if n != chosen)]}
    groups["demo"] = [m.id for m in known.values() if m.demo]
    resolved: dict[str, None] = {}
    for name in names:
        if name not in known and name not in groups:
            raise ValueError(f"{name!r} is not a model; known: {', '.join([*groups, *known])}")
        if left_out and name in ("auto", "all"):
            log.info("%s: no CUDA GPU, so %s are left out; name one to run it on the CPU", name, ", ".join(left_out))
        resolved.update(dict.fromkeys(groups.get(name, [name])))
    return tuple(resolved)
