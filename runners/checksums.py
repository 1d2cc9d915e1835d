"""Computes the SHA-256 of a model's files, and finds which of them no longer match."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

_BLOCK_BYTES = 2**20


def files_of(directory: Path) -> Iterator[Path]:
    """Yields every file below a directory in a fixed order, hidden ones (a downloader's own) left out."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts):
            yield path


def sha256(path: Path) -> str:
    """Returns the hexadecimal digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def of_directory(directory: Path) -> dict[str, str]:
    """Returns the digest of every file, by its path relative to ``directory``."""
    return {path.relative_to(directory).as_posix(): sha256(path) for path in files_of(directory)}


def wrong_files(directory: Path, expected: Mapping[str, str]) -> list[str]:
    """Lists what is missing or differs from ``expected``, a line for each file."""
    problems = []
    for name, digest in sorted(expected.items()):
        path = directory / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif sha256(path) != digest:
            problems.append(f"{name} differs")
    return problems
