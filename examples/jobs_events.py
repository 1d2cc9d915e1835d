"""Jobs: follow one as it is recognised, also when the connection breaks (pip install httpx)."""

import json
import time

import httpx

client = httpx.Client(base_url="http://localhost:8000/v1/audio", headers={"Authorization": "Bearer unused"}, timeout=60)
with open("tests/fixtures/speech/long-pause.flac", "rb") as file:
    job = client.post("/jobs", files={"file": file}).raise_for_status().json()
last, event = "0", ""
while event != "done":
    try:
        with client.stream("GET", f"/jobs/{job['id']}/events", headers={"Last-Event-ID": last}) as answer:
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event in ("segment", "done"):
                    data = json.loads(value)
                    print(data["text"] if event == "segment" else data["status"])
                if name == "id":
                    last = value
    except httpx.TransportError:
        time.sleep(1)
