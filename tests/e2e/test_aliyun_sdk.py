"""Alibaba Cloud's SDK as its users have it: a token by signed calls, with which the speech APIs open."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest, RpcRequest
from websockets.sync.client import connect

from tests.aliyun_directives import directive
from tests.e2e.conftest import PAIR
from tests.e2e.server import Served
from tests.speech import RECORDINGS

WEATHER = RECORDINGS["weather"]


def call(server: Served, method: str = "POST", action: str = "CreateToken") -> Any:
    client = AcsClient(PAIR["ALIYUN_ACCESS_KEY_ID"], PAIR["ALIYUN_ACCESS_KEY_SECRET"], "cn-shanghai")
    request = CommonRequest(domain=urlsplit(server.url).netloc, version="2019-02-28", action_name=action)
    request.set_method(method)
    return json.loads(client.do_action_with_exception(request))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_token_opens_flash_recognition_and_live_recognition(server: Served, method: str) -> None:
    token = call(server, method)["Token"]["Id"]
    response = httpx.post(
        f"{server.url}/stream/v1/FlashRecognizer",
        params={"appkey": "any", "token": token},
        content=WEATHER.path.read_bytes(),
        timeout=60,
    )
    assert [s["text"] for s in response.json()["flash_result"]["sentences"]] == [WEATHER.text]
    with connect(f"ws://{urlsplit(server.url).netloc}/ws/v1/asr", additional_headers={"X-NLS-Token": token}) as socket:
        socket.send(directive("StartTranscription"))
        assert json.loads(socket.recv(timeout=30))["header"]["name"] == "TranscriptionStarted"


def test_what_goes_wrong_is_the_sdks_exception(server: Served) -> None:
    with pytest.raises(ServerException) as raised:
        call(server, action="DescribeRegions")
    assert (raised.value.error_code, raised.value.http_status) == ("InvalidAction.NotFound", 404)
    assert raised.value.request_id
    request = RpcRequest("nls-cloud-meta", "2019-02-28", "CreateToken")
    request.set_endpoint(urlsplit(server.url).netloc)
    with pytest.raises(ServerException) as raised:
        AcsClient(PAIR["ALIYUN_ACCESS_KEY_ID"], "wrong", "cn-shanghai").do_action_with_exception(request)
    assert raised.value.error_code == "InvalidAccessKeySecret"  # the SDK has found that the signed texts are alike


def test_the_fields_of_a_form_are_signed(server: Served) -> None:
    client = AcsClient(PAIR["ALIYUN_ACCESS_KEY_ID"], PAIR["ALIYUN_ACCESS_KEY_SECRET"], "cn-shanghai")
    request = CommonRequest(domain=urlsplit(server.url).netloc, version="2019-02-28", action_name="CreateToken")
    request.set_method("POST")
    request.add_body_params("Task", '{"file_link": "http://a/空 格+*~&=%20"}')
    request.add_query_param("Odd", "空 格+*~&=%20")
    assert json.loads(client.do_action_with_exception(request))["Token"]["Id"]
