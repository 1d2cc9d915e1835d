"""Finds a model's files: an explicit directory, what is shipped, the Bento's models, the caches, the hub.

The order is that one; the first place that holds the part wins. Where nothing does and downloading
is off or fails, the error names the part, every place looked at and the command that prepares it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from runners.catalog import PROJECT_ROOT, Model, Part
from runners.settings import RunnerSettings

log = logging.getLogger(__name__)


class ModelFilesMissingError(RuntimeError):
    """A model's files are nowhere to be found."""


def find_part(model: Model, part_name: str, settings: RunnerSettings) -> Path:
    """The directory of a model's part (``asr``, ``vad``, ``punctuation``), downloading it if allowed."""
    part = model.parts[part_name]
    looked_at: list[str] = []
    for place, directory in _candidates(model, part_name, part, settings):
        if (directory / "config.yaml").is_file():
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


def _bento_model(model: Model, part_name: str) -> Iterator[tuple[str, Path]]:
    import bentoml

    try:
        stored = bentoml.models.get(f"{model.id}:latest")
    except bentoml.exceptions.NotFound:
        return
    yield f"the BentoML model {stored.tag}", Path(stored.path_of(part_name))


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
    command = (
        f"modelscope download --model {part.repository} --local_dir $MODELSCOPE_PATH/{part.repository}"
        if part.repository
        else f"restore the directory {part.directory} of the project"
    )
    return ModelFilesMissingError(
        f"{model.id} needs its {part_name} part ({part.name}, {part.size_mb} MB) and {why}.\n"
        f"Looked in:{places}\nTo prepare it on a machine with internet: {command}"
    )
