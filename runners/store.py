"""Finds a model's files: an explicit directory, what is shipped, the Bento's models, the caches, the hub.

The order is that one; the first place that holds the part wins. Where nothing does and downloading
is off or fails, the error names the part, every place looked at and the command that prepares it.
A Bento's models are the ones it was built with, however many versions the machine's model store has;
outside a Bento that store is not looked at.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import yaml

from runners.catalog import PROJECT_ROOT, Model, Part
from runners.settings import RunnerSettings

log = logging.getLogger(__name__)

# A directory is taken for a part's if it holds one of these files.
_MARKS = {"language_model": ("TLG.fst",)}


class ModelFilesMissingError(RuntimeError):
    """A model's files are nowhere to be found."""


def find_part(model: Model, part_name: str, settings: RunnerSettings) -> Path:
    """The directory of a model's part (``asr``, ``vad``, ``punctuation``), downloading it if allowed."""
    part = model.parts[part_name]
    looked_at: list[str] = []
    for place, directory in _candidates(model, part_name, part, settings):
        marks = _MARKS.get(part_name, ("config.yaml", "config.json"))
        if any((directory / mark).is_file() for mark in marks):
            log.info("%s %s: found in %s", model.id, part_name, place)
            return directory
        looked_at.append(f"{place}: {directory}")
    if part.repository and settings.allow_model_download:
        return _download(model, part_name, part.repository, settings, looked_at)
    raise _missing(model, part_name, looked_at, "downloading is off (ALLOW_MODEL_DOWNLOAD=false)")


def _candidates(model: Model, part_name: str, part: Part, settings: RunnerSettings) -> Iterator[tuple[str, Path]]:
    if model.id in settings.model_paths:
        explicit = settings.model_paths[model.id]
        yield "MODEL_PATHS", explicit / part_name
        if part_name == "asr":
            yield "MODEL_PATHS", explicit
    if part.repository in settings.model_paths:
        yield "MODEL_PATHS", settings.model_paths[part.repository]
    if part.directory:  # not in a Bento, which has its models in the model store
        yield "the project", PROJECT_ROOT / part.directory
    yield from _bento_model(model, part_name)
    if part.repository:
        organisation, name = part.repository.split("/")
        for layout in (settings.modelscope_path, settings.modelscope_path / "models"):
            yield "MODELSCOPE_PATH", layout / organisation / name
        snapshots = settings.hf_home / "hub" / f"models--{organisation}--{name}" / "snapshots"
        for snapshot in sorted(snapshots.glob("*"), reverse=True) if snapshots.is_dir() else []:
            yield "HF_HOME", snapshot


@functools.cache
def bento_models() -> dict[str, str]:
    """Tags of the models of the Bento whose code this is, by name; empty outside a Bento."""
    description = PROJECT_ROOT.parent / "bento.yaml"
    if PROJECT_ROOT.name != "src" or not description.is_file():
        return {}
    models = yaml.safe_load(description.read_text(encoding="utf-8"))["models"]
    return {tag.partition(":")[0]: tag for tag in (model["tag"] for model in models)}


def bento_model_directory(tag: str) -> Path | None:
    """Where a model of this Bento lies: in the Bento itself (containers), else in the machine's model store."""
    import bentoml

    inside = PROJECT_ROOT.parent / "models" / tag.replace(":", "/")
    if inside.is_dir():
        return inside
    try:
        return Path(bentoml.models.get(tag).path)
    except bentoml.exceptions.NotFound:
        return None


def _bento_model(model: Model, part_name: str) -> Iterator[tuple[str, Path]]:
    tag = bento_models().get(model.id)
    if tag is not None:
        directory = bento_model_directory(tag)
        yield "this Bento's model", directory / part_name if directory else Path(f"{tag} (not in the model store)")


def _download(model: Model, part_name: str, repository: str, settings: RunnerSettings, looked_at: list[str]) -> Path:
    from modelscope import snapshot_download

    target = settings.modelscope_path / repository
    log.info("%s %s: downloading %s to %s", model.id, part_name, repository, target)
    try:
        return Path(snapshot_download(repository, local_dir=str(target)))
    except (OSError, ValueError, RuntimeError) as error:
        raise _missing(model, part_name, looked_at, f"the download failed: {error}") from error


def _missing(model: Model, part_name: str, looked_at: list[str], why: str) -> ModelFilesMissingError:
    part = model.parts[part_name]
    places = "".join(f"\n  - {place}" for place in looked_at) or " nowhere"
    return ModelFilesMissingError(
        f"{model.id} needs its {part_name} part ({part.name}, {part.size_mb} MB) and {why}.\n"
        f"Looked in:{places}\n{_remedy(model, part)}"
    )


def _remedy(model: Model, part: Part) -> str:
    if model.id in bento_models():
        return "Import the Bento's archive again, which carries its models: bentoml import FILE"
    if not part.repository:
        return f"Restore the directory {part.directory} of the project."
    return (
        f"To fetch it here: modelscope download --model {part.repository} "
        f"--local_dir $MODELSCOPE_PATH/{part.repository}\n"
        f"For a closed network, on a machine with internet: python -m scripts.prepare_models {model.id}"
    )
