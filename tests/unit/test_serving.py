"""What the routes work with, before there are runners."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import NotReady
from service.serving import Serving
from service.settings import Settings


def test_before_the_runners_are_bound_a_client_is_asked_to_wait() -> None:
    serving = Serving(Settings(enabled_models="demo"))  # type: ignore[arg-type]
    for ask in (lambda: serving.transcriber, lambda: asyncio.run(serving.check_ready())):
        with pytest.raises(NotReady) as caught:
            ask()
        assert caught.value.retry_after_s
