"""Alibaba Cloud's SpeechTranscriber: live speech, sentence by sentence (pip install websockets soundfile)."""

import json
import uuid

import soundfile
from websockets.sync.client import connect

task = uuid.uuid4().hex


def directive(name, **payload):
    header = {"message_id": uuid.uuid4().hex, "task_id": task, "namespace": "SpeechTranscriber", "name": name}
    return json.dumps({"header": {**header, "appkey": "any"}, "payload": payload})


samples, _ = soundfile.read("tests/fixtures/speech/weather.flac", dtype="int16")
pcm = samples.tobytes()
with connect("ws://localhost:8000/ws/v1/asr?token=unused") as socket:
    socket.send(directive("StartTranscription", format="pcm", sample_rate=16000, enable_punctuation_prediction=True))
    for start in range(0, len(pcm), 3200):  # 100 ms
        socket.send(pcm[start : start + 3200])
    socket.send(directive("StopTranscription"))
    for message in map(json.loads, socket):
        if message["header"]["name"] == "SentenceEnd":
            print(message["payload"]["result"])
        if message["header"]["name"] in ("TranscriptionCompleted", "TaskFailed"):
            break
