"""Behind `make bento`: puts models into BentoML's model store and builds a versioned Bento that carries them.

A BentoML model holds one catalog model with its parts in sub-directories (`asr`, `vad`, `punctuation`); its
version is a hash of its files, so an unchanged model is stored once. The Bento's version is the project's.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import bentoml
import yaml
from bentoml.exceptions import NotFound
from pydantic import ValidationError

from runners import catalog, store
from runners.catalog import PROJECT_ROOT, Model
from service.settings import Settings, describe_problems


def store_model(model: Model, settings: Settings) -> str:
    """Copies a model's files into the model store unless they are there; returns the tag."""
    parts = {name: store.find_part(model, name, settings) for name in model.parts}
    tag = f"{model.id}:{content_hash(parts)}"
    with contextlib.suppress(NotFound):
        bentoml.models.get(tag)
        print(f"{tag} is in the model store")
        return tag
    with bentoml.models.create(tag, labels={"catalog-id": model.id}) as created:
        for name, directory in parts.items():
            shutil.copytree(directory, created.path_of(name), ignore=shutil.ignore_patterns(".*"))
    print(f"{tag} stored ({', '.join(parts)})")
    return tag


def content_hash(parts: dict[str, Path]) -> str:
    """Twelve hexadecimal digits that change with any file's name or bytes."""
    digest = hashlib.sha256()
    for name, directory in sorted(parts.items()):
        for path in sorted(p for p in directory.rglob("*") if p.is_file() and not p.name.startswith(".")):
            digest.update(f"{name}/{path.relative_to(directory)}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
    return digest.hexdigest()[:12]


def project_version() -> str:
    line = next(x for x in (PROJECT_ROOT / "pyproject.toml").read_text().splitlines() if x.startswith("version = "))
    return line.split('"')[1]


def build(tags: list[str]) -> bentoml.Bento:
    """Builds the Bento from a copy of what bentofile.yaml includes, so that the models it names can be these."""
    config = yaml.safe_load((PROJECT_ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    config["models"] = tags
    version = project_version()
    with tempfile.TemporaryDirectory(prefix="asr-bento-") as scratch:
        context = Path(scratch)
        for name in config["include"]:
            source = PROJECT_ROOT / name
            if source.is_dir():
                shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            elif source.is_file():
                shutil.copy(source, context / name)
        names = ",".join(tag.partition(":")[0] for tag in tags)
        (context / "bento.env").write_text(f"ENABLED_MODELS={names}\nALLOW_MODEL_DOWNLOAD=false\n", encoding="utf-8")
        (context / "bentofile.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        with contextlib.suppress(NotFound):
            bentoml.delete(f"{config['name']}:{version}")
            print(f"{config['name']}:{version} is built again")
        return bentoml.bentos.build_bentofile(str(context / "bentofile.yaml"), version=version, build_ctx=scratch)


def main() -> None:
    names = tuple(name for argument in sys.argv[1:] or ["demo"] for name in argument.split(","))
    try:
        settings = Settings(enabled_models=names)
        tags = [store_model(catalog.models()[name], settings) for name in settings.enabled_models]
    except ValidationError as error:
        sys.exit(f"wrong setting: {describe_problems(error)}")
    except store.ModelFilesMissingError as error:
        sys.exit(str(error))
    bento = build(tags)
    print(f"""
Built {bento.tag} with {", ".join(tags)}.
  Serve it            .venv/bin/bentoml serve {bento.tag}
  Take it elsewhere   .venv/bin/bentoml export {bento.tag} {bento.tag.name}-{bento.tag.version}.bento
                      bentoml import {bento.tag.name}-{bento.tag.version}.bento   (models included)
  As a container      .venv/bin/bentoml containerize {bento.tag}""")


if __name__ == "__main__":
    main()
