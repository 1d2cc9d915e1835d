"""One served API for all tests that only talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.server import Served, served

KEY = "a-key"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    with served(folder / "log", API_KEY=f"{KEY},another", TMPDIR=str(folder)) as running:
        yield running
