"""Resumable uploads: a recording in parts, which go on where they broke off (pip install tuspy httpx)."""

import httpx
from tusclient.client import TusClient

headers = {"Authorization": "Bearer unused"}
recording, metadata = "tests/fixtures/speech/date.flac", {"filename": "date.flac"}
uploads = TusClient("http://localhost:8000/v1/audio/uploads", headers)

uploader = uploads.uploader(recording, chunk_size=20_000, metadata=metadata)
uploader.upload(stop_at=20_000)
print(uploader.offset, "bytes, then the connection is lost")

uploader = uploads.uploader(recording, chunk_size=20_000, url=uploader.url)  # asks how far the upload has come
print("goes on at", uploader.offset)
uploader.upload()

form = {"upload": (None, uploader.url.rpartition("/")[2])}
job = httpx.post("http://localhost:8000/v1/audio/jobs", headers=headers, files=form).raise_for_status().json()
print(job["file_name"], job["duration"])
