"""Finds the loaded model that a client's name means, and what it has of a language, whatever the protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from runners import catalog
from service.errors import InvalidRequest, ModelNotFound
from service.protocols.shared.values import cleaned, is_chosen

# Names that clients send of their own accord; they mean the default model. As all patterns here: without the
# organisation before a slash, in lower case, with hyphens.
_DEFAULT = (
    "default", "*whisper*", "large", "large-v[0-9]*", "distil-large-v[0-9]*", "gpt-4o-*transcribe*", "gpt-transcribe*",
    "gpt-live-transcribe*", "gpt-*realtime*",
)  # fmt: skip


def loaded_model(name: str, enabled: Sequence[str]) -> catalog.Model:
    """Returns the model that a name means: its id, its hub repository, its family's name.

    It is the first of ``enabled`` where there is no name, or one that clients send of their own accord.

    Raises:
        ModelNotFound: it plainly means none of ``enabled``, which the message lists.
    """
    models = catalog.models()
    wanted = _plain(name)
    if not is_chosen(name) or _fits(wanted, _DEFAULT):
        return models[enabled[0]]
    named = [model for model in models.values() if _fits(wanted, _names(model))]
    kin = [model for model in models.values() if _fits(wanted, (model.family.name, *model.family.other_names))]
    for meant in (named, kin):
        if found := next((models[id] for id in enabled if models[id] in meant), None):
            return found
    problem = "is not loaded here" if named or kin else "does not exist"
    raise ModelNotFound(f"The model `{cleaned(name)[:100]}` {problem}; loaded: {', '.join(enabled)}.", param="model")


def check_language(code: str, param: str, model: catalog.Model) -> str:
    """Returns the code of a language if the model knows it.

    Raises:
        InvalidRequest: it is not one of the model's; it names ``param``.
    """
    if code not in model.languages:
        known = ", ".join(model.languages)
        raise InvalidRequest(f"`{param}`: the model {model.id} knows {known}, not {code}.", param=param)
    return code


def _names(model: catalog.Model) -> tuple[str, ...]:
    repositories = [part.repository for part in (model.asr, model.streaming) if part and part.repository]
    return (*map(_plain, (model.id, model.title, *repositories)), *model.other_names)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", "-", cleaned(name).strip().lower()).rpartition("/")[2][:200]
