"""Qwen3-ASR's streaming protocol: live speech (pip install websockets soundfile)."""

import json

import soundfile
from websockets.sync.client import connect

samples, _ = soundfile.read("tests/fixtures/speech/weather.flac", dtype="int16")
pcm = samples.tobytes()
with connect("ws://localhost:8000/ws/v1/asr/qwen?token=unused") as socket:
    socket.send(
        json.dumps({"type": "start", "payload": {"format": "pcm", "sample_rate": 16000, "chunk_size_sec": 1.0}})
    )
    for start in range(0, len(pcm), 3200):  # 100 ms
        socket.send(pcm[start : start + 3200])
    socket.send(json.dumps({"type": "stop"}))
    for message in map(json.loads, socket):
        if message["type"] == "final":
            print(message["result"]["text"])
        if message["type"] in ("final", "error"):
            break
