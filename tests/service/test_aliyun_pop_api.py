"""Signed calls to /: who may make them, CreateToken, and that the page for people is still there."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import pytest
from aliyunsdkcore.auth.composer import rpc_signature_composer
from pydantic import SecretStr
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from service.auth import AccessKey, caller, identity
from service.protocols.aliyun.pop import ACTIONS, create_token
from service.protocols.aliyun.pop_request import Call
from service.protocols.aliyun.pop_response import TokenBody
from tests.service.conftest import Serve

ID, SECRET = "an-id", "its secret"
PAIR = {"aliyun_access_key_id": ID, "aliyun_access_key_secret": SECRET}
TOKEN_CALL = {"Action": "CreateToken", "Version": "2019-02-28"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def call(
    client: TestClient, method: str = "GET", *, secret: str = SECRET, form: dict[str, str] | None = None, **query: str
) -> Any:
    """Calls as the SDK does."""
    form = form or {}
    url, _ = rpc_signature_composer.get_signed_url({**TOKEN_CALL, **query}, ID, secret, "JSON", method, dict(form))
    return client.request(method, url, content=urlencode(form), headers=FORM if form else {})


def assert_failure(response: Any, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"Code", "Message", "RequestId"}
    assert body["Code"] == code, body
    assert body["RequestId"] == response.headers["x-request-id"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_opens_every_door_that_a_key_opens(serve: Serve, method: str) -> None:
    client = serve(api_key="one", **PAIR)
    response = call(client, method)
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == {"Token", "RequestId"}
    token = body["Token"]
    assert token["UserId"] == ID
    assert token["ExpireTime"] == pytest.approx(time.time() + 24 * 3600, abs=60)
    for opened in (
        client.get("/stream/v1/asr/models", params={"token": token["Id"]}),
        client.get("/stream/v1/asr/models", headers={"X-NLS-Token": token["Id"]}),
        client.get("/v1/models", headers={"Authorization": f"Bearer {token['Id']}"}),
        serve(api_key="two", **PAIR).get("/stream/v1/asr/models", params={"token": token["Id"]}),  # of another pod
    ):
        assert opened.status_code == 200, opened.text
    with client.websocket_connect(f"/ws/v1/asr?token={token['Id']}"):
        pass
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws/v1/asr?token=none"):
        pass
    for other in ({**PAIR, "aliyun_access_key_secret": "changed"}, {}):
        refused = serve(api_key="one", **other).get("/stream/v1/asr/models", params={"token": token["Id"]})
        assert refused.status_code == 401


def test_an_action_may_be_a_field_of_the_form(serve: Serve) -> None:
    client = serve(api_key="one", **PAIR)
    url, _ = rpc_signature_composer.get_signed_url({}, ID, SECRET, "JSON", "POST", TOKEN_CALL)
    assert client.post(url, content=urlencode(TOKEN_CALL), headers=FORM).json()["Token"]["Id"]


def test_with_a_pair_every_call_must_be_signed_with_it(serve: Serve) -> None:
    for client in (serve(api_key="one", **PAIR), serve(**PAIR)):
        assert_failure(client.get("/", params=TOKEN_CALL), 400, "MissingAccessKeyId")
        assert_failure(call(client, secret="wrong"), 400, "SignatureDoesNotMatch")
        given = {"Authorization": "Bearer one"}  # a key is no signature
        assert_failure(client.get("/", params=TOKEN_CALL, headers=given), 400, "MissingAccessKeyId")
        url, _ = rpc_signature_composer.get_signed_url(dict(TOKEN_CALL), ID, SECRET, "JSON", "GET", {})
        assert client.get(url).status_code == 200
        assert_failure(client.get(url), 400, "SignatureNonceUsed")


def test_a_field_of_the_form_is_signed(serve: Serve) -> None:
    client = serve(**PAIR)
    form = {"Task": '{"file_link": "http://a/空 格+*~&="}', "Empty": ""}
    assert call(client, "POST", form=form).status_code == 200
    url, _ = rpc_signature_composer.get_signed_url(dict(TOKEN_CALL), ID, SECRET, "JSON", "POST", form)
    assert_failure(client.post(url, content=urlencode({"Task": "{}"}), headers=FORM), 400, "SignatureDoesNotMatch")


def test_with_keys_and_no_pair_a_call_is_told_what_to_set(serve: Serve) -> None:
    response = call(serve(api_key="one"))
    assert_failure(response, 404, "InvalidAccessKeyId.NotFound")
    assert "ALIYUN_ACCESS_KEY_ID and ALIYUN_ACCESS_KEY_SECRET" in response.json()["Message"]


def test_with_neither_anything_is_let_in(client: TestClient) -> None:
    for response in (call(client), call(client, secret="any"), client.get("/", params=TOKEN_CALL)):
        token = response.json()["Token"]["Id"]
        assert client.get("/stream/v1/asr/models", params={"token": token}).status_code == 200


def test_a_signed_call_and_a_token_are_the_same_callers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def tell(made: Call) -> TokenBody:
        seen.append(caller(made.request))
        return await create_token(made)

    monkeypatch.setitem(ACTIONS, "CreateToken", tell)
    client = serve(api_key="one", **PAIR)
    token = call(client).json()["Token"]["Id"]
    assert seen == [identity([SecretStr("one")], token.encode(), AccessKey(ID, SecretStr(SECRET)))]
    call(serve(**PAIR))
    assert seen[1] == ""  # as everybody's where no key is asked for


def test_an_unknown_action_is_told_so(serve: Serve) -> None:
    client = serve(**PAIR)
    assert_failure(call(client, Action="DescribeRegions"), 404, "InvalidAction.NotFound")
    assert_failure(serve().post("/"), 400, "MissingAction")
    assert_failure(client.put("/"), 405, "UnsupportedHTTPMethod")


@pytest.mark.parametrize(
    "body", [b"x=%ff", "空=1".encode(), b"a=1&a=2", b"Action=CreateToken", b"&".join([b"a=1"] * 2000), bytes(2**21)]
)
def test_a_form_that_can_not_be_read_is_refused(client: TestClient, body: bytes) -> None:
    assert_failure(client.post("/", params=TOKEN_CALL, content=body, headers=FORM), 400, "InvalidParameter")


def test_the_page_for_people_is_where_it_was(serve: Serve) -> None:
    for client in (serve(), serve(api_key="one", **PAIR)):
        response = client.get("/", follow_redirects=False)
        assert (response.status_code, response.headers["location"]) == (307, "docs")
        assert client.head("/", follow_redirects=False).status_code == 307


def test_the_openapi_document_describes_the_calls(serve: Serve) -> None:
    operation = serve(api_key="one").get("/openapi.json").json()["paths"]["/"]
    assert set(operation) == {"post"}
    assert {"Action", "AccessKeyId"} <= {p["name"] for p in operation["post"]["parameters"]}
    assert "security" not in operation["post"]
