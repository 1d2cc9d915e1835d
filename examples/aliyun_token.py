"""Alibaba Cloud's SDK: a token by a signed call, with which a recording is recognised (aliyun-python-sdk-core)."""

import json
import urllib.request

from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

client = AcsClient("unused", "unused", "cn-shanghai")  # ALIYUN_ACCESS_KEY_ID, ALIYUN_ACCESS_KEY_SECRET
request = CommonRequest(domain="localhost:8000", version="2019-02-28", action_name="CreateToken")
token = json.loads(client.do_action_with_exception(request))["Token"]["Id"]

with open("tests/fixtures/speech/weather.flac", "rb") as file:
    address = f"http://localhost:8000/stream/v1/FlashRecognizer?appkey=any&token={token}"
    with urllib.request.urlopen(urllib.request.Request(address, file.read(), method="POST")) as answer:
        result = json.load(answer)["flash_result"]
print(result["sentences"][0]["text"])
