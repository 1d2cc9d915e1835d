"""Signatures of callbacks, against the example of Standard Webhooks' own libraries."""

from __future__ import annotations

import runpy
import time

import pytest

from runners.catalog import PROJECT_ROOT
from service.jobs import webhooks


def test_a_callback_is_signed_as_standard_webhooks_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks.time, "time", lambda: 1614265330.5)
    secret, message = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    headers = webhooks.signed_headers(secret, message, b'{"test": 2432232314}')
    assert headers["webhook-id"] == message
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_it_is_not_signed() -> None:
    assert "webhook-signature" not in webhooks.signed_headers("", "id", b"")


def test_attempts_go_on_for_about_a_day() -> None:
    assert 20 < sum(webhooks.PAUSES_S) / 3600 < 28
    assert list(webhooks.PAUSES_S) == sorted(webhooks.PAUSES_S)


def test_the_example_takes_what_the_service_signs_and_nothing_else() -> None:
    example = runpy.run_path(str(PROJECT_ROOT / "examples" / "jobs_webhook.py"))
    is_genuine, secret, now = example["is_genuine"], example["secret"], time.time()
    headers = webhooks.signed_headers(secret, "job_1", b"{}")
    assert is_genuine(headers, b"{}", secret, now)
    assert not is_genuine(headers, b"{ }", secret, now)
    assert not is_genuine({**headers, "webhook-id": "job_2"}, b"{}", secret, now)
    assert not is_genuine(headers, b"{}", secret, now + 301)
