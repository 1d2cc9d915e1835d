"""Alibaba Cloud's SDK as its users have it: tokens, the speech APIs that they open, and file transcription."""

from __future__ import annotations

import functools
import http.server
import json
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
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
from tests.e2e.server import Served, served
from tests.speech import FOLDER, RECORDINGS

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


class Files:
    """A web server on this machine that has the shipped recordings, and takes callbacks."""

    def __init__(self) -> None:
        self.called_back: queue.Queue[Any] = queue.Queue()
        handler = functools.partial(self._Handler, self.called_back, directory=str(FOLDER))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    class _Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, called_back: queue.Queue[Any], *args: Any, **options: Any) -> None:
            self._called_back = called_back
            super().__init__(*args, **options)

        def do_POST(self) -> None:
            self._called_back.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def files() -> Iterator[Files]:
    running = Files()
    yield running
    running.server.shutdown()
    running.server.server_close()


class FileTranscription:
    """Calls as the cloud's own example for Python does."""

    def __init__(self, server: Served, secret: str) -> None:
        self._domain = urlsplit(server.url).netloc
        self._client = AcsClient(PAIR["ALIYUN_ACCESS_KEY_ID"], secret, "cn-shanghai")

    def submit(self, **task: Any) -> Any:
        request = self._request("SubmitTask", "POST")
        request.add_body_params("Task", json.dumps({"appkey": "any", "version": "4.0", **task}))
        return json.loads(self._client.do_action_with_exception(request))

    def ended(self, task_id: str) -> Any:
        request = self._request("GetTaskResult", "GET")
        request.add_query_param("TaskId", task_id)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            body = json.loads(self._client.do_action_with_exception(request))
            if body["StatusText"] not in ("RUNNING", "QUEUEING"):
                return body
            time.sleep(0.1)
        raise AssertionError(body)

    def _request(self, action: str, method: str) -> CommonRequest:
        request = CommonRequest()
        request.set_domain(self._domain)
        request.set_version("2018-08-17")
        request.set_product("nls-filetrans")
        request.set_action_name(action)
        request.set_method(method)
        return request


def transcribe_and_be_called_back(service: FileTranscription, files: Files) -> str:
    told_to = {"enable_callback": True, "callback_url": f"{files.url}/told"}
    accepted = service.submit(file_link=f"{files.url}/weather.flac", enable_words=True, **told_to)
    assert (accepted["StatusText"], accepted["StatusCode"]) == ("SUCCESS", 21050000), accepted
    body = service.ended(accepted["TaskId"])
    assert [sentence["Text"] for sentence in body["Result"]["Sentences"]] == [WEATHER.text]
    assert "".join(word["Word"] for word in body["Result"]["Words"]) == WEATHER.text.rstrip("？")
    told = files.called_back.get(timeout=60)
    assert told.pop("RequestTime") <= told["SolveTime"]
    assert {**told, "RequestId": ""} == {**body, "RequestId": ""}
    missing = service.submit(file_link=f"{files.url}/nothing.flac")["TaskId"]
    assert service.ended(missing)["StatusText"] == "FILE_404_NOT_FOUND"
    return str(accepted["TaskId"])


def test_a_recording_is_transcribed_as_a_task_and_its_end_told(server: Served, files: Files) -> None:
    task = transcribe_and_be_called_back(FileTranscription(server, PAIR["ALIYUN_ACCESS_KEY_SECRET"]), files)
    for key, status in ((call(server)["Token"]["Id"], 200), ("another", 404)):
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{server.url}/v1/audio/jobs/{task}", headers=headers, timeout=30).status_code == status
    with pytest.raises(ServerException):
        FileTranscription(server, "wrong").submit(file_link=f"{files.url}/weather.flac")


def test_without_a_pair_and_keys_any_signature_does(tmp_path: Path, files: Files) -> None:
    with served(tmp_path / "log", ALLOW_PRIVATE_AUDIO_URLS="true") as server:
        transcribe_and_be_called_back(FileTranscription(server, "any"), files)
