"""Alibaba Cloud's SDK: a recording at an address, transcribed as a task (aliyun-python-sdk-core)."""

import functools
import http.server
import json
import threading
import time

from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

client = AcsClient("unused", "unused", "cn-shanghai")  # ALIYUN_ACCESS_KEY_ID, ALIYUN_ACCESS_KEY_SECRET


def new_request(method, action):
    request = CommonRequest(domain="localhost:8000", version="2018-08-17", action_name=action)
    request.set_product("nls-filetrans")
    request.set_method(method)
    return request


# The recording is served from here, so the service needs ALLOW_PRIVATE_AUDIO_URLS=true.
folder = functools.partial(http.server.SimpleHTTPRequestHandler, directory="tests/fixtures/speech")
files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), folder)
threading.Thread(target=files.serve_forever, daemon=True).start()

submit = new_request("POST", "SubmitTask")
link = f"http://127.0.0.1:{files.server_port}/speakers.flac"
submit.add_body_params("Task", json.dumps({"appkey": "any", "file_link": link, "version": "4.0", "auto_split": True}))
task = json.loads(client.do_action_with_exception(submit))

look = new_request("GET", "GetTaskResult")
look.add_query_param("TaskId", task["TaskId"])
while (result := json.loads(client.do_action_with_exception(look)))["StatusText"] in ("QUEUEING", "RUNNING"):
    time.sleep(1)
for sentence in result["Result"]["Sentences"][:3]:
    print(sentence["BeginTime"], sentence["EndTime"], sentence["SpeakerId"], sentence["Text"])
