"""Which loaded model a client's name means, whatever the protocol."""

from __future__ import annotations

from collections.abc import Sequence

from runners import catalog
from service.errors import ModelNotFound


def loaded_model(name: str, enabled: Sequence[str]) -> catalog.Model:
    """The model of that id; the first of ``enabled`` where there is no name. ModelNotFound lists what is loaded."""
    model_id = name.strip() or enabled[0]
    if model_id in enabled:
        return catalog.models()[model_id]
    problem = "is not loaded here" if model_id in catalog.models() else "does not exist"
    raise ModelNotFound(f"The model `{model_id[:100]}` {problem}; loaded: {', '.join(enabled)}.", param="model")
