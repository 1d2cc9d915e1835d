"""OpenAI's Realtime API: live speech in turns (pip install 'openai[realtime]' soundfile soxr)."""

import asyncio
import base64

import soundfile
import soxr
from openai import AsyncOpenAI


async def main():
    samples, rate = soundfile.read("tests/fixtures/speech/weather.flac", dtype="int16")
    pcm = soxr.resample(samples, rate, 24000).tobytes()
    client = AsyncOpenAI(base_url="http://localhost:8000/v1", api_key="unused")
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        audio = {"transcription": {"model": "gpt-4o-transcribe", "language": "zh"}, "turn_detection": None}
        await connection.session.update(session={"type": "transcription", "audio": {"input": audio}})
        for start in range(0, len(pcm), 4800):  # 100 ms
            await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[start : start + 4800]).decode())
        await connection.input_audio_buffer.commit()
        async for event in connection:
            if event.type == "conversation.item.input_audio_transcription.completed":
                print(event.transcript)
                break


asyncio.run(main())
