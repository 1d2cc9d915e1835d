"""Compares a Bento's models with what it was built with: `python -m runners.verify` in its `src`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from runners import checksums, store


def problems(tag: str) -> Iterator[str]:
    """Yields what is wrong with a model of this Bento, a line for each finding."""
    directory = store.bento_model_directory(tag)
    if directory is None:
        yield f"{tag} is not in the model store; import the Bento's archive again: bentoml import FILE"
        return
    for problem in checksums.wrong_files(directory, expected(directory)):
        yield f"{tag}: {problem} (in {directory})"


def expected(model: Path) -> dict[str, str]:
    """Returns the digests, by path, that `make bento` wrote into a BentoML model's metadata."""
    description = yaml.safe_load((model / "model.yaml").read_text(encoding="utf-8"))
    digests: dict[str, str] = description["metadata"]["sha256"]
    return digests


def main() -> None:
    """Prints what is wrong; exits with 1 where anything is, or where there is nothing to compare."""
    tags = store.bento_models().values()
    if not tags:
        sys.exit("This is not a Bento's `src` directory: there is nothing that its models could be compared with.")
    found = [problem for tag in tags for problem in problems(tag)]
    for line in found:
        print(line)
    if found:
        sys.exit(1)
    print(f"{', '.join(tags)}: every file is as it was when the Bento was built")


if __name__ == "__main__":
    main()
