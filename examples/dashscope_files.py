"""DashScope's SDK: a recording at an address, transcribed as a task with a hotword list (pip install dashscope)."""

import functools
import http.server
import threading

import dashscope
import requests
from dashscope.audio.asr import Transcription, VocabularyService

dashscope.base_http_api_url = "http://localhost:8000/api/v1"  # or DASHSCOPE_HTTP_BASE_URL
dashscope.api_key = "unused"

# The recording is served from here, so the service needs ALLOW_PRIVATE_AUDIO_URLS=true.
folder = functools.partial(http.server.SimpleHTTPRequestHandler, directory="tests/fixtures/speech")
files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), folder)
threading.Thread(target=files.serve_forever, daemon=True).start()

words = [{"text": "客厅", "weight": 5}, {"text": "陈书文", "weight": 5}]
lists = VocabularyService()
vocabulary_id = lists.create_vocabulary(target_model="paraformer-v2", prefix="names", vocabulary=words)

url = f"http://127.0.0.1:{files.server_port}/hotword.flac"
task = Transcription.async_call(model="paraformer-v2", file_urls=[url], vocabulary_id=vocabulary_id)
result = Transcription.wait(task)
for file in result.output["results"]:
    for channel in requests.get(file["transcription_url"]).json()["transcripts"]:
        for sentence in channel["sentences"]:
            print(channel["channel_id"], sentence["begin_time"], sentence["end_time"], sentence["text"])
lists.delete_vocabulary(vocabulary_id)
