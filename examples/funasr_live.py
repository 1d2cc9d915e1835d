"""FunASR's protocol: live speech, in two passes (pip install websockets soundfile)."""

import json

import soundfile
from websockets.sync.client import connect

samples, _ = soundfile.read("tests/fixtures/speech/weather.flac", dtype="int16")
pcm = samples.tobytes()
with connect("ws://localhost:8000/ws/v1/asr/funasr?token=unused", subprotocols=["binary"]) as socket:
    start = {"mode": "2pass", "wav_name": "weather", "wav_format": "pcm", "audio_fs": 16000, "is_speaking": True}
    socket.send(json.dumps({**start, "chunk_size": [5, 10, 5], "chunk_interval": 10}))
    for at in range(0, len(pcm), 1920):  # 60 ms
        socket.send(pcm[at : at + 1920])
    socket.send(json.dumps({"is_speaking": False, "is_end": True}))
    for message in map(json.loads, socket):
        if message.get("mode") == "2pass-offline":
            print(message["text"])
        if message.get("is_end"):
            break
