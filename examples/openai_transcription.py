"""OpenAI's Audio API: the text of a recording, and its words with their times (pip install openai)."""

from openai import OpenAI

client = OpenAI(base_url="http://localhost:8000/v1", api_key="unused")
with open("tests/fixtures/speech/meeting.flac", "rb") as file:
    result = client.audio.transcriptions.create(
        model="whisper-1",
        file=file,
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
print(result.text)
for word in result.words[:4]:
    print(f"{word.start:.2f}-{word.end:.2f} {word.word}")
