"""Tells a client's address that a job has ended, signed as Standard Webhooks has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

# Before each attempt: about a day in all.
PAUSES_S = (0.0, 5.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 28_800.0, 28_800.0)


def signed_headers(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """Returns the headers of a delivery; without a secret it is not signed."""
    sent_at = str(int(time.time()))
    headers = {"content-type": "application/json", "webhook-id": message_id, "webhook-timestamp": sent_at}
    if secret:
        signed = hmac.new(_key(secret), f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return headers


def _key(secret: str) -> bytes:
    """Reads a secret: base64 behind ``whsec_``, else as it is."""
    encoded = secret.removeprefix("whsec_")
    return base64.b64decode(encoded) if encoded != secret else secret.encode()
