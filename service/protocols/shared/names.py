"""Finds the loaded model and the language that a client's name means, whatever the protocol."""

from __future__ import annotations

from collections.abc import Sequence

from runners import catalog
from runners.languages import language_code
from service.errors import InvalidRequest, ModelNotFound


def loaded_model(name: str, enabled: Sequence[str]) -> catalog.Model:
    """Returns the model of that id; the first of ``enabled`` where there is no name.

    Raises:
        ModelNotFound: it is not among ``enabled``, which the message lists.
    """
    model_id = name.strip() or enabled[0]
    if model_id in enabled:
        return catalog.models()[model_id]
    problem = "is not loaded here" if model_id in catalog.models() else "does not exist"
    raise ModelNotFound(f"The model `{model_id[:100]}` {problem}; loaded: {', '.join(enabled)}.", param="model")


def known_language(name: str, param: str, model: catalog.Model) -> str:
    """Returns the code of the language that ``name`` means.

    Raises:
        InvalidRequest: it is unknown, or not one of the model's; it names ``param``.
    """
    code = language_code(name)
    if code is None:
        raise InvalidRequest(f"`{param}`: {name[:100]!r} is no language known here.", param=param)
    if code not in model.languages:
        known = ", ".join(model.languages)
        raise InvalidRequest(f"`{param}`: the model {model.id} knows {known}, not {code}.", param=param)
    return code
