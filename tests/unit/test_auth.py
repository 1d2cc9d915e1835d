"""Who comes in."""

import time

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from service.auth import SIGNATURE_SKEW_S, TOKEN_LIFE_S, AccessKey, Nonces, Token, check_key, identity, presented_key
from service.errors import InvalidKey


def asking(headers: Headers, query: str = "") -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": headers.raw, "query_string": query.encode()})


KEYS = (SecretStr("k"), SecretStr("a-longer-key"), SecretStr("密钥"))


@pytest.mark.parametrize("key", ["k", "a-longer-key", "密钥"])
def test_each_configured_key_opens(key: str) -> None:
    check_key(KEYS, key.encode())


@pytest.mark.parametrize("key", [None, b"", b"K", b"a-longer-ke", b"a-longer-key2", b"k,a-longer-key", b"\xff"])
def test_anything_else_does_not(key: bytes | None) -> None:
    with pytest.raises(InvalidKey) as raised:
        check_key(KEYS, key)
    assert raised.value.status == 401
    assert not key or key.decode("latin-1") not in raised.value.message.split()


def test_without_configured_keys_everybody_comes_in() -> None:
    check_key((), None)
    check_key((), b"whatever")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(scheme: str) -> None:
    assert presented_key(asking(Headers({"Authorization": f"{scheme} k"}))) == b"k"


@pytest.mark.parametrize("header", ["", "k", "Basic k", "Bearer", "Bearer "])
def test_what_is_no_bearer_header_has_no_key(header: str) -> None:
    assert presented_key(asking(Headers({"Authorization": header}))) is None


def test_a_key_in_utf8_arrives_as_it_was_sent() -> None:
    headers = Headers(raw=[(b"authorization", "Bearer 密钥".encode())])
    assert presented_key(asking(headers)) == "密钥".encode()


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ({"X-NLS-Token": "k"}, "", b"k"),
        ({"Authorization": "Bearer k"}, "", b"k"),
        ({}, "token=k", b"k"),
        ({}, "token=%E5%AF%86%E9%92%A5", "密钥".encode()),
        ({"X-NLS-Token": "k", "Authorization": "Bearer other"}, "token=third", b"k"),
        ({"X-NLS-Token": "", "Authorization": "Bearer k"}, "token=third", b"k"),
        ({"api-key": "k"}, "", b"k"),
        ({"X-API-Key": " k "}, "", b"k"),
        ({"Authorization": "Basic x", "api-key": "k"}, "token=third", b"k"),
        ({}, "token=", None),
        ({}, "", None),
    ],
)
def test_clients_bring_the_key_in_many_places(headers: dict[str, str], query: str, key: bytes | None) -> None:
    assert presented_key(asking(Headers(headers), query)) == key


def test_browsers_bring_the_key_as_a_subprotocol() -> None:
    scope = {
        "type": "websocket",
        "headers": [],
        "query_string": b"",
        "subprotocols": ["realtime", "openai-insecure-api-key.k"],
    }
    assert presented_key(HTTPConnection(scope)) == b"k"


PAIR = AccessKey("id", SecretStr("secret"))


def token(pair: AccessKey = PAIR, in_s: int = TOKEN_LIFE_S) -> bytes:
    return Token.of(pair, int(time.time()) + in_s).text.encode()


def test_a_token_of_the_pair_opens_until_it_expires() -> None:
    check_key(KEYS, token(), PAIR)
    check_key(KEYS, token(AccessKey("id", SecretStr("secret"))), PAIR)  # of another process with the same pair
    with pytest.raises(InvalidKey, match="expired"):
        check_key(KEYS, token(in_s=-1), PAIR)


def test_keys_open_beside_tokens() -> None:
    check_key(KEYS, b"k", PAIR)


@pytest.mark.parametrize(
    "presented",
    [
        None,
        b"",
        b"secret",
        token(AccessKey("id", SecretStr("other"))),
        token(AccessKey("other", SecretStr("secret"))),
        token()[:-1],
        token() + b"0",
        b"7fffffff" + token(in_s=-1)[8:],  # its life made longer
        b"\xff" * 72,
        token().upper(),
    ],
)
def test_what_is_no_token_of_the_pair_does_not_open(presented: bytes | None) -> None:
    with pytest.raises(InvalidKey):
        check_key(KEYS, presented, PAIR)


def test_without_a_pair_there_are_no_tokens() -> None:
    with pytest.raises(InvalidKey):
        check_key(KEYS, token())


def test_a_secret_is_in_no_representation_of_its_pair() -> None:
    assert "secret" not in repr(PAIR).replace("secret=", "")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_nonce_is_new_once_for_as_long_as_its_call_could_be_repeated() -> None:
    clock = Clock()
    nonces = Nonces(clock=clock)
    assert nonces.take("a")
    clock.now_s = 2 * SIGNATURE_SKEW_S - 1
    assert not nonces.take("a")
    assert nonces.take("b")
    clock.now_s += 2
    assert nonces.take("a")
    assert not nonces.take("b")


def test_of_too_many_nonces_the_oldest_is_forgotten() -> None:
    nonces = Nonces(most=3)
    assert all(nonces.take(nonce) for nonce in "abcd")
    assert [nonces.take(nonce) for nonce in "dcb"] == [False, False, False]
    assert nonces.take("a")


def test_all_tokens_of_a_pair_are_one_callers_and_no_keys() -> None:
    known = identity(KEYS, token(), PAIR)
    assert known == identity(KEYS, token(in_s=60), PAIR) == PAIR.identity
    assert known not in ("", identity(KEYS, b"k", PAIR), identity([SecretStr("id")], b"id", PAIR))
    assert identity(KEYS, b"k", PAIR) == identity(KEYS, b"k") != identity(KEYS, b"a-longer-key")
    assert identity((), token(), PAIR) == ""
