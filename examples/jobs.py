"""Jobs: submit a recording, and come back for its transcript (pip install httpx)."""

import time

import httpx

client = httpx.Client(base_url="http://localhost:8000/v1/audio", headers={"Authorization": "Bearer unused"}, timeout=60)
with open("tests/fixtures/speech/meeting.flac", "rb") as file:
    form = {"label": "weekly", "priority": "interactive"}
    job = client.post("/jobs", files={"file": file}, data=form).raise_for_status().json()
while job["status"] in ("queued", "running"):
    time.sleep(0.2)
    job = client.get(f"/jobs/{job['id']}").raise_for_status().json()
print(job["status"], job["label"], job["duration"])
print(client.get(f"/jobs/{job['id']}/transcript", params={"response_format": "text"}).text)
