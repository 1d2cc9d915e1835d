"""Signed calls: what aliyun-python-sdk-core signs is let in, once and while it is fresh; nothing else is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

import pytest
from aliyunsdkcore.auth.composer import rpc_signature_composer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.auth import SIGNATURE_SKEW_S, AccessKey, Nonces
from service.errors import ServiceError
from service.protocols.aliyun.signature import check_signature, string_to_sign

PAIR = AccessKey("LTAI-id", SecretStr("a secret: 密 & more"))
TOKEN_CALL = {"Action": "CreateToken", "Version": "2019-02-28", "RegionId": "cn-shanghai"}
ODD = "空 格+a*b~c%20/?&=#\"'\n，。😀\\|é"


def sdk_signed(
    method: str = "GET",
    query: Mapping[str, str] = TOKEN_CALL,
    form: Mapping[str, str] | None = None,
    pair: AccessKey = PAIR,
) -> tuple[dict[str, str], str]:
    """What a server reads of a call that the SDK has signed, and the text that the SDK has signed."""
    form = form or {}
    secret = pair.secret.get_secret_value()
    url, text = rpc_signature_composer.get_signed_url(dict(query), pair.id, secret, "JSON", method, dict(form))
    read = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    return {**read, **form}, text


def check(method: str, parameters: Mapping[str, str], nonces: Nonces | None = None) -> None:
    check_signature(method, parameters, PAIR, nonces or Nonces())


def refused(method: str, parameters: Mapping[str, str], nonces: Nonces | None = None) -> tuple[int, str]:
    with pytest.raises(ServiceError) as raised:
        check(method, parameters, nonces)
    return raised.value.status, raised.value.code


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_the_sdk_signs_is_let_in(method: str) -> None:
    parameters, text = sdk_signed(method)
    check(method, parameters)
    assert string_to_sign(method, parameters) == text


def test_the_fields_of_a_form_are_signed_too() -> None:
    form = {"Task": '{"appkey": "any", "file_link": "http://a/b?c=d&e=空 格+*~"}', "Empty": ""}
    parameters, _ = sdk_signed("POST", form=form)
    check("POST", parameters)
    assert refused("POST", {**parameters, "Task": "{}"}) == (400, "SignatureDoesNotMatch")


def test_odd_characters_are_encoded_as_the_sdk_does() -> None:
    parameters, text = sdk_signed("POST", {**TOKEN_CALL, "Odd": ODD, "空": "+", "~a*": ""}, {"Form": ODD[::-1]})
    assert parameters["Odd"] == ODD
    check("POST", parameters)
    assert string_to_sign("POST", parameters) == text


# "Signature" is the one that is not signed.
NAMES = st.text(min_size=1).filter(lambda name: name != "Signature")


@given(st.dictionaries(NAMES, st.text()), st.dictionaries(NAMES, st.text()))
def test_any_text_is_signed_as_the_sdk_does(query: dict[str, str], form: dict[str, str]) -> None:
    form = {name: value for name, value in form.items() if name not in query}
    parameters, text = sdk_signed("POST", query, form)
    assert string_to_sign("POST", parameters) == text


def with_other(name: str, value: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda parameters: {**parameters, name: value}


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (with_other("Version", "2020-01-01"), (400, "SignatureDoesNotMatch")),
        (with_other("Extra", ""), (400, "SignatureDoesNotMatch")),
        (with_other("Signature", "AAAA"), (400, "SignatureDoesNotMatch")),
        (with_other("Signature", "密"), (400, "SignatureDoesNotMatch")),
        (with_other("AccessKeyId", "another"), (404, "InvalidAccessKeyId.NotFound")),
        (with_other("SignatureMethod", "HMAC-SHA256"), (400, "InvalidSignatureMethod")),
        (with_other("SignatureVersion", "2.0"), (400, "InvalidSignatureVersion")),
    ],
)
def test_a_call_that_was_changed_on_its_way_is_refused(
    change: Callable[[dict[str, str]], dict[str, str]], refusal: tuple[int, str]
) -> None:
    parameters, _ = sdk_signed()
    assert refused("GET", change(parameters)) == refusal
    assert refused("POST", parameters) == (400, "SignatureDoesNotMatch")


@pytest.mark.parametrize("name", ["AccessKeyId", "Signature", "SignatureNonce", "SignatureMethod", "Timestamp"])
def test_what_is_missing_is_named(name: str) -> None:
    parameters, _ = sdk_signed()
    del parameters[name]
    assert refused("GET", parameters) == (400, f"Missing{name}")


def test_another_secret_is_refused_without_a_word_of_ours() -> None:
    parameters, text = sdk_signed(pair=AccessKey(PAIR.id, SecretStr("wrong")))
    with pytest.raises(ServiceError) as raised:
        check("GET", parameters)
    assert raised.value.message.split(":")[1] == text  # by which the SDK knows that it is the secret
    assert "secret:" not in raised.value.message


@pytest.mark.parametrize("offset_s", [-SIGNATURE_SKEW_S - 5, SIGNATURE_SKEW_S + 5])
def test_a_call_of_another_time_is_refused(monkeypatch: pytest.MonkeyPatch, offset_s: int) -> None:
    monkeypatch.setattr(
        "aliyunsdkcore.utils.parameter_helper.get_iso_8061_date",
        lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset_s)),
    )
    assert refused("GET", sdk_signed()[0]) == (400, "InvalidTimeStamp.Expired")


def test_a_time_in_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliyunsdkcore.utils.parameter_helper.get_iso_8061_date", lambda: "now")
    assert refused("GET", sdk_signed()[0]) == (400, "InvalidTimeStamp.Format")


def test_a_call_is_let_in_once_and_a_forged_one_uses_nothing_up() -> None:
    nonces = Nonces()
    parameters, _ = sdk_signed()
    assert refused("GET", {**parameters, "Signature": "AAAA"}, nonces) == (400, "SignatureDoesNotMatch")
    check("GET", parameters, nonces)
    assert refused("GET", parameters, nonces) == (400, "SignatureNonceUsed")
    check("GET", sdk_signed()[0], nonces)
