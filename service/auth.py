"""Decides whether a caller may come in, by an API key or a token, whatever protocol carries it.

A token is as good as a key until it expires. It is made of its end and a signature with the AccessKey pair, so every
process that has the pair knows it, also after a restart, and none outlives the pair.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from service.errors import InvalidKey

TOKEN_LIFE_S = 24 * 3600
# How far the time of a signed call may be from ours; so long before it, and so long after, the call could be repeated.
SIGNATURE_SKEW_S = 15 * 60
_EXPIRY_DIGITS = 8


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Holds the pair with which Alibaba Cloud's SDKs sign calls.

    Attributes:
        id: Names it, openly.
        secret: Signs; it never travels.
    """

    id: str
    secret: SecretStr

    @property
    def identity(self) -> str:
        """Returns what its holder is known by where things of theirs are kept."""
        return _known_by(f"AccessKey {self.id}".encode())


@dataclass(frozen=True, slots=True)
class Token:
    """Opens what a key opens, for a while.

    Attributes:
        text: What a client presents: hexadecimal digits.
        expires_at: When that ends, in seconds of the epoch.
    """

    text: str
    expires_at: int

    @classmethod
    def of(cls, access_key: AccessKey, expires_at: int) -> Token:
        """Makes the token of a pair that ends then."""
        expiry = f"{expires_at:0{_EXPIRY_DIGITS}x}"
        signed = f"token\n{access_key.id}\n{expiry}".encode()
        mac = hmac.new(access_key.secret.get_secret_value().encode(), signed, hashlib.sha256)
        return cls(expiry + mac.hexdigest(), expires_at)


def check_key(keys: Sequence[SecretStr], presented: bytes | None, access_key: AccessKey | None = None) -> None:
    """Passes when no keys are configured or ``presented`` is one of them, or a token of ``access_key``.

    Every key is compared, in constant time, so that timing tells nothing about any of them.

    Raises:
        InvalidKey: otherwise; the message does not repeat what was presented.
    """
    if not keys:
        return
    if presented is None:
        raise InvalidKey("An API key is needed: send it as `Authorization: Bearer KEY`.")
    matches = [hmac.compare_digest(key.get_secret_value().encode(), presented) for key in keys]
    token = _genuine_token(access_key, presented) if access_key is not None else None
    if any(matches):
        return
    if token is None:
        raise InvalidKey("The API key is not valid.")
    if token.expires_at <= time.time():
        raise InvalidKey("The token has expired.")


def _genuine_token(access_key: AccessKey, presented: bytes) -> Token | None:
    try:
        expires_at = int(presented[:_EXPIRY_DIGITS], 16)
    except ValueError:
        return None
    token = Token.of(access_key, expires_at)
    return token if hmac.compare_digest(token.text.encode(), presented) else None


def identity(keys: Sequence[SecretStr], presented: bytes | None, access_key: AccessKey | None = None) -> str:
    """Returns what a key's holder is known by where things of theirs are kept; "" where no key is asked for.

    All tokens of a pair are known by the pair.
    """
    if not keys or not presented:
        return ""
    if access_key is not None and _genuine_token(access_key, presented) is not None:
        return access_key.identity
    return _known_by(presented)


def _known_by(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()[:32]


def caller(connection: HTTPConnection) -> str:
    """Returns the identity of whoever makes a request, which the edge has let in."""
    found: str = connection.scope.get("caller", "")
    return found


def presented_key(connection: HTTPConnection) -> bytes | None:
    """Returns the key that a caller brings, in the bytes it was sent as; None without one.

    The first of these counts: ``X-NLS-Token`` (Alibaba Cloud's clients), ``Authorization: Bearer KEY``, ``api-key``
    (Azure's), ``x-api-key``, ``?token=``, and a subprotocol ``openai-insecure-api-key.KEY`` (OpenAI's in browsers,
    which can't set headers).
    """
    headers, query = connection.headers, connection.query_params
    for key in (headers.get("x-nls-token"), _bearer_key(headers), headers.get("api-key"), headers.get("x-api-key")):
        if key and key.strip():
            return key.strip().encode("latin-1")  # the bytes as they were sent: headers are read as latin-1
    if query.get("token"):
        return query["token"].encode()
    prefix = "openai-insecure-api-key."
    offered: list[str] = connection.scope.get("subprotocols", [])
    keys = [name.removeprefix(prefix) for name in offered if name.startswith(prefix)]
    return keys[0].encode() if keys else None


def _bearer_key(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else None


class Nonces:
    """Remembers which signed calls were made, as long as they could be repeated; past ``most`` the oldest is forgotten.

    There is one per process, for one event loop.
    """

    def __init__(self, most: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._until: dict[bytes, float] = {}  # by digest, in order

    def take(self, nonce: str) -> bool:
        """Says whether a nonce is new; from then on it is not."""
        now = self._clock()
        while self._until and next(iter(self._until.values())) <= now:
            self._forget_oldest()
        digest = hashlib.sha256(nonce.encode()).digest()
        if digest in self._until:
            return False
        if len(self._until) >= self._most:
            self._forget_oldest()
        self._until[digest] = now + 2 * SIGNATURE_SKEW_S
        return True

    def _forget_oldest(self) -> None:
        del self._until[next(iter(self._until))]
