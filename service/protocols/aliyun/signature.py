"""Checks the signatures of RPC calls as Alibaba Cloud's SDKs make them: HMAC-SHA1 over all of a call's parameters.

https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism describes it; `aliyun-python-sdk-core` is what
it is tested against.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from urllib.parse import quote

from service.auth import SIGNATURE_SKEW_S, AccessKey, Nonces
from service.errors import ServiceError

_MANDATORY = ("AccessKeyId", "Signature", "SignatureMethod", "SignatureNonce", "SignatureVersion", "Timestamp")
_SUPPORTED = {"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0"}


def check_signature(method: str, parameters: Mapping[str, str], access_key: AccessKey, nonces: Nonces) -> None:
    """Passes when the parameters, those of a form included, are signed with the pair, lately and for the first time.

    Id and signature are compared in constant time; a nonce is used up by a good signature alone.

    Raises:
        ServiceError: otherwise, with the cloud's code for what is wrong.
    """
    for name in _MANDATORY:
        if not parameters.get(name):
            raise ServiceError(f"{name} is mandatory for this action.", status=400, code=f"Missing{name}")
    for name, supported in _SUPPORTED.items():
        if parameters[name] != supported:
            raise ServiceError(f"{name} must be {supported} here.", status=400, code=f"Invalid{name}")
    text = string_to_sign(method, parameters)
    signature = _signature(text, access_key)
    is_known = hmac.compare_digest(access_key.id.encode(), parameters["AccessKeyId"].encode())
    is_signed = hmac.compare_digest(signature.encode(), parameters["Signature"].encode())
    if not is_known:
        raise ServiceError("The AccessKeyId is not known here.", status=404, code="InvalidAccessKeyId.NotFound")
    if not is_signed:
        # The SDK compares what follows the colon with its own, to find out which of text and secret differs.
        raise ServiceError(
            f"The signature does not match; the server's string to sign is:{text}",
            status=400,
            code="SignatureDoesNotMatch",
        )
    _check_time(parameters["Timestamp"])
    if not nonces.take(parameters["SignatureNonce"]):
        raise ServiceError("The SignatureNonce was used before.", status=400, code="SignatureNonceUsed")


def string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """Returns the text that is signed: all parameters but the signature, sorted, percent-encoded twice."""
    signed = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    query = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in signed)
    return f"{method}&{_encoded('/')}&{_encoded(query)}"


def _signature(text: str, access_key: AccessKey) -> str:
    key = f"{access_key.secret.get_secret_value()}&".encode()
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha1).digest()).decode()


def _encoded(text: str) -> str:
    return quote(text, safe="")  # of RFC 3986's marks "~" is left alone, "*" and blanks are not


def _check_time(text: str) -> None:
    try:
        signed_at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise ServiceError(
            "Timestamp must be a time such as 2026-11-28T12:00:00Z.", status=400, code="InvalidTimeStamp.Format"
        ) from None
    if abs(time.time() - signed_at.timestamp()) > SIGNATURE_SKEW_S:
        raise ServiceError(
            f"Timestamp is more than {SIGNATURE_SKEW_S // 60} minutes off the server's clock.",
            status=400,
            code="InvalidTimeStamp.Expired",
        )
