"""Who comes in."""

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from service.auth import bearer_key, check_key
from service.errors import InvalidKey

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
    assert bearer_key(Headers({"Authorization": f"{scheme} k"})) == b"k"


@pytest.mark.parametrize("header", ["", "k", "Basic k", "Bearer", "Bearer "])
def test_what_is_no_bearer_header_has_no_key(header: str) -> None:
    assert bearer_key(Headers({"Authorization": header})) is None


def test_a_key_in_utf8_arrives_as_it_was_sent() -> None:
    headers = Headers(raw=[(b"authorization", "Bearer 密钥".encode())])
    assert bearer_key(headers) == "密钥".encode()
