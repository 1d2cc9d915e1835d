"""Puts models into BentoML's model store and builds a versioned Bento that carries them: behind `make bento`.

A BentoML model holds one catalog model with its parts in sub-directories (`asr`, `vad`, `punctuation`); its
version is a hash of its files, so an unchanged model is stored once, and its metadata has every file's
SHA-256 (`runners/verify.py` compares). The Bento's version is the project's.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bentoml
import yaml
from bentoml.exceptions import NotFound
from pydantic import ValidationError

from runners import catalog, checksums, store
from runners.catalog import PROJECT_ROOT, Model
from service.settings import Settings, describe_problems


def store_model(model: Model, settings: Settings) -> str:
    """Copies a model's files into the model store unless they are there; returns the tag."""
    parts = dict(_parts(model, settings))
    digests = {
        f"{part}/{name}": digest
        for part, directory in parts.items()
        for name, digest in checksums.of_directory(directory).items()
    }
    tag = f"{model.id}:{version_of(digests)}"
    with contextlib.suppress(NotFound):
        bentoml.models.get(tag)
        print(f"{tag} is in the model store")
        return tag
    with bentoml.models.create(tag, labels={"catalog-id": model.id}, metadata={"sha256": digests}) as created:
        for name, directory in parts.items():
            shutil.copytree(directory, created.path_of(name), ignore=shutil.ignore_patterns(".*"))
    print(f"{tag} stored ({', '.join(parts)})")
    return tag


def _parts(model: Model, settings: Settings) -> Iterator[tuple[str, Path]]:
    for name in model.parts:
        try:
            yield name, store.find_part(model, name, settings)
        except store.ModelFilesMissingError as error:
            if name not in catalog.OPTIONAL_PARTS:
                raise
            print(f"{model.id} goes without its {name}: {error}")


def version_of(digests: dict[str, str]) -> str:
    """Returns twelve hexadecimal digits that change with any file's name or bytes."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def project_version() -> str:
    """Reads the project's version from pyproject.toml."""
    line = next(x for x in (PROJECT_ROOT / "pyproject.toml").read_text().splitlines() if x.startswith("version = "))
    return line.split('"')[1]


def build(tags: list[str], *, gpu: bool = False) -> bentoml.Bento:
    """Builds the Bento from a copy of what bentofile.yaml includes, so that the models it names can be these.

    With ``gpu`` it installs vLLM, and the C compiler by which vLLM's kernels are made where they run.
    """
    config = yaml.safe_load((PROJECT_ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    config["models"] = tags
    if gpu:
        config["docker"]["system_packages"] = ["gcc", "libc6-dev"]
    version = project_version()
    with tempfile.TemporaryDirectory(prefix="asr-bento-") as scratch:
        context = Path(scratch)
        for name in config["include"]:
            source = PROJECT_ROOT / name
            if source.is_dir():
                shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            elif source.is_file():
                shutil.copy(source, context / name)
        if gpu:
            shutil.copy(PROJECT_ROOT / "requirements-gpu.txt", context / "requirements.txt")
            (context / "requirements-no-deps.txt").write_text("# requirements.txt has everything\n", encoding="utf-8")
        names = ",".join(tag.partition(":")[0] for tag in tags)
        (context / "bento.env").write_text(f"ENABLED_MODELS={names}\nALLOW_MODEL_DOWNLOAD=false\n", encoding="utf-8")
        (context / "bentofile.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        with contextlib.suppress(NotFound):
            bentoml.delete(f"{config['name']}:{version}")
            print(f"{config['name']}:{version} is built again")
        # Every service goes into the Bento, whichever models are enabled where it is served.
        os.environ["ENABLED_MODELS"] = ",".join(catalog.models())
        os.chdir(context)  # BentoML reads no file outside the working directory
        try:
            return bentoml.bentos.build_bentofile(str(context / "bentofile.yaml"), version=version, build_ctx=scratch)
        finally:
            os.chdir(PROJECT_ROOT)


def main() -> None:
    """Stores the models, builds the Bento, and prints what to do with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["demo"], help="as in ENABLED_MODELS")
    parser.add_argument("--gpu", action="store_true", help="with vLLM, for Qwen3-ASR on an NVIDIA GPU")
    arguments = parser.parse_args()
    names = tuple(name for argument in arguments.models for name in argument.split(","))
    try:
        settings = Settings(enabled_models=names)
        tags = [store_model(catalog.models()[name], settings) for name in settings.enabled_models]
    except ValidationError as error:
        sys.exit(f"wrong setting: {describe_problems(error)}")
    except store.ModelFilesMissingError as error:
        sys.exit(str(error))
    bento = build(tags, gpu=arguments.gpu)
    print(f"""
Built {bento.tag} with {", ".join(tags)}.
  Serve it            .venv/bin/bentoml serve {bento.tag}
  Take it elsewhere   .venv/bin/bentoml export {bento.tag} {bento.tag.name}-{bento.tag.version}.bento
                      bentoml import {bento.tag.name}-{bento.tag.version}.bento   (models included)
  As a container      make container""")


if __name__ == "__main__":
    main()
