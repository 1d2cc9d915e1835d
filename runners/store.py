"""Finds a model's files: an explicit directory, what is shipped, the Bento's models, the caches, the hub.

The order is that one; the first place that holds the part whole wins. Where nothing does and downloading
is off or fails, the error names the part, every place looked at and the command that prepares it.
A Bento's models are the ones it was built with, however many versions the machine's model store has;
outside a Bento that store is not looked at.

The caches are read in every layout that a release of the hubs' clients writes, or reads from older ones.
What is downloaded here is marked until it is whole; after a broken connection it goes on where it stopped.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import yaml
from filelock import FileLock

from runners.catalog import PROJECT_ROOT, Model, Part
from runners.settings import RunnerSettings

log = logging.getLogger(__name__)

# Lies in a directory while it is downloaded to.
_UNFINISHED = ".unfinished"


class ModelFilesMissingError(RuntimeError):
    """Tells that a model's files are nowhere to be found."""


def find_part(model: Model, part_name: str, settings: RunnerSettings) -> Path:
    """Finds the directory of a model's part (``asr``, ``vad``, ``punctuation``), downloading it if allowed."""
    part = model.parts[part_name]
    looked_at: list[str] = []
    for place, directory in _candidates(model, part_name, part, settings):
        lacking = _lacking(directory, part_name)
        if not lacking:
            log.info("%s %s: found in %s", model.id, part_name, place)
            return directory
        unfinished = f" (unfinished, without {lacking[0]})" if directory.is_dir() else ""
        looked_at.append(f"{place}: {directory}{unfinished}")
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
        for directory in _in_modelscope_cache(settings.modelscope_path, part.repository):
            yield "MODELSCOPE_PATH", directory
        hub_caches = [("HF_HUB_CACHE", settings.hf_hub_cache)] if settings.hf_hub_cache else []
        for name, cache in (*hub_caches, ("HF_HOME", settings.hf_home / "hub"), ("HF_HOME", settings.hf_home)):
            for directory in _in_hugging_face_cache(cache, part.repository):
                yield name, directory


def _in_modelscope_cache(path: Path, repository: str) -> Iterator[Path]:
    """``<org>/<name>`` is the layout of ``--local_dir`` and of clients up to 1.37, which write a dot as ``___``.

    Later ones write ``models/<org>--<name>/snapshots/<revision>``. ``path`` may be a client's cache (MODELSCOPE_CACHE)
    or, as older releases have it, the ``hub`` or ``hub/models`` in it.
    """
    organisation, name = repository.split("/")
    root = path
    while root.name in ("hub", "models"):
        root = root.parent
    yield path / organisation / name
    for directory in dict.fromkeys((path, root / "models", root / "hub" / "models", root / "hub", root)):
        snapshots = directory / f"{organisation}--{name}" / "snapshots"
        found = [directory / organisation / name, directory / organisation / name.replace(".", "___")]
        found += [snapshots / "master", snapshots / "main", *_newest_first(snapshots)]
        yield from (each for each in dict.fromkeys(found) if each.is_dir() and each != path / repository)


def _in_hugging_face_cache(cache: Path, repository: str) -> Iterator[Path]:
    """The snapshot that ``refs/main`` names, then others, which were fetched by revision."""
    directory = cache / f"models--{repository.replace('/', '--')}"
    main = directory / "refs" / "main"
    snapshots = directory / "snapshots"
    named = [snapshots / main.read_text(encoding="utf-8").strip()] if main.is_file() else []
    yield from dict.fromkeys((*named, *_newest_first(snapshots)))
    if not snapshots.is_dir():
        yield snapshots


def _newest_first(snapshots: Path) -> list[Path]:
    found = snapshots.iterdir() if snapshots.is_dir() else ()
    return sorted(found, key=lambda snapshot: (snapshot.stat().st_mtime, snapshot.name), reverse=True)


def _lacking(directory: Path, part_name: str) -> list[str]:
    """Names of files that the directory needs and doesn't have; empty for a whole model."""
    if part_name == "language_model":
        needed = ["TLG.fst"]
    elif (directory / "config.yaml").is_file():
        needed = [checkpoint_name(directory)]
    elif (directory / "config.json").is_file():
        index = directory / "model.safetensors.index.json"
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values() if index.is_file() else ()
        needed = sorted(set(shards)) or ["model.safetensors"]
    else:
        needed = ["config.yaml", "config.json"]
    # What a client leaves where it was stopped: up to 1.37 in a directory of its own.
    needed += [path.stem for path in directory.glob("*.incomplete")]
    needed += [path.name for path in (directory / "._____temp").glob("*")]
    rest = ["a part"] if (directory / _UNFINISHED).exists() else []
    return [name for name in needed if not (directory / name).is_file()] + rest


def checkpoint_name(directory: Path) -> str:
    """Names a FunASR model's weights as ``configuration.json`` calls them (the hub's CAM++ isn't ``model.pt``)."""
    description = directory / "configuration.json"
    described = json.loads(description.read_text(encoding="utf-8")) if description.is_file() else {}
    return str(described.get("file_path_metas", {}).get("init_param") or described.get("model_file") or "model.pt")


@functools.cache
def bento_models() -> dict[str, str]:
    """Returns the tags of the models of the Bento whose code this is, by name; empty outside a Bento."""
    description = PROJECT_ROOT.parent / "bento.yaml"
    if PROJECT_ROOT.name != "src" or not description.is_file():
        return {}
    models = yaml.safe_load(description.read_text(encoding="utf-8"))["models"]
    return {tag.partition(":")[0]: tag for tag in (model["tag"] for model in models)}


def bento_model_directory(tag: str) -> Path | None:
    """Finds where a model of this Bento lies: in the Bento itself (containers), else in the machine's model store."""
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
        target.mkdir(parents=True, exist_ok=True)
        with FileLock(target / ".lock"):  # several models and processes want the same parts
            if _lacking(target, part_name):
                (target / _UNFINISHED).touch()
                # The client's own locks lie in its cache, and the home directory may be read-only.
                snapshot_download(repository, cache_dir=str(settings.modelscope_path), local_dir=str(target))
                (target / _UNFINISHED).unlink()
        if lacking := _lacking(target, part_name):
            raise ValueError(f"{repository} has no {lacking[0]}")
    except Exception as error:  # the client's own errors are of no common kind
        raise _missing(model, part_name, looked_at, f"the download failed: {error}") from error
    return target


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
