"""Holds the composed API service; BentoML's entry is ``service:ASRService``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.api import ASRService

__all__ = ["ASRService"]


def __getattr__(name: str) -> Any:
    # Imported on demand: the pipeline and its tests need neither settings nor BentoML's service.
    if name == "ASRService":
        from service.api import ASRService

        return ASRService
    raise AttributeError(name)
