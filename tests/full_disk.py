"""A disk without room, for tests: files are made on it, and what is written to them finds no place."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every temporary file with a name lead to /dev/full."""
    make = tempfile.NamedTemporaryFile

    def made(*args: Any, **options: Any) -> Any:
        file = make(*args, **options)
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, file.fileno())
        os.close(full)
        return file

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", made)
