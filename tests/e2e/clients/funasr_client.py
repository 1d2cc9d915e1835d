"""A client as FunASR's own funasr_wss_client.py behaves: the same messages in the same order, one recording after
the other on one connection, each waited for. Also a program: ``funasr_client.py URL MODE FILE...``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

_CHUNK_SIZE = [5, 10, 5]
_CHUNK_INTERVAL = 10


@dataclass
class Heard:
    """What the client has of one recording; ``screen`` is what it would have printed last."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    screen: str = ""

    @property
    def result(self) -> dict[str, Any]:
        """The last message but the acknowledgement."""
        return self.messages[-2]


async def recognise(url: str, mode: str, *paths: Path, hotwords: str = "", pace: float = 0) -> list[Heard]:
    """``pace`` 1 is real time, 0 as fast as it goes. RuntimeError when the server says that it failed."""
    async with connect(url, subprotocols=["binary"], ping_interval=None) as socket:  # type: ignore[list-item]
        return [await _recognise_one(socket, mode, path, hotwords, pace) for path in paths]


async def _recognise_one(socket: ClientConnection, mode: str, path: Path, hotwords: str, pace: float) -> Heard:
    rate_hz, audio, wav_format = _read(path)
    receiving = asyncio.create_task(_receive(socket))
    await socket.send(
        json.dumps(
            {
                "mode": mode,
                "chunk_size": _CHUNK_SIZE,
                "chunk_interval": _CHUNK_INTERVAL,
                "encoder_chunk_look_back": 4,
                "decoder_chunk_look_back": 0,
                "audio_fs": rate_hz,
                "wav_name": path.stem,
                "wav_format": wav_format,
                "is_speaking": True,
                "hotwords": hotwords,
                "itn": True,
            },
            ensure_ascii=False,
        )
    )
    chunk_s = 0.06 * _CHUNK_SIZE[1] / _CHUNK_INTERVAL
    stride = int(chunk_s * rate_hz * 2)
    for start in range(0, len(audio), stride):
        await socket.send(audio[start : start + stride])
        await asyncio.sleep(chunk_s * pace)
    await socket.send(json.dumps({"is_speaking": False, "is_end": True}, ensure_ascii=False))
    heard = await asyncio.wait_for(receiving, 300)
    if not heard.messages[-1].get("is_final", False):
        raise RuntimeError(heard.messages[-1].get("error") or "server did not finalize input")
    return heard


def _read(path: Path) -> tuple[int, bytes, str]:
    """(rate, bytes, what they are): a wav file's samples, anything else as it is."""
    if path.suffix == ".wav":
        with wave.open(str(path), "rb") as file:
            return file.getframerate(), file.readframes(file.getnframes()), "pcm"
    return 16_000, path.read_bytes(), "pcm" if path.suffix == ".pcm" else "others"


async def _receive(socket: ClientConnection) -> Heard:
    heard = Heard()
    settled = online = ""
    while not heard.messages or not heard.messages[-1].get("is_end"):
        message = json.loads(await socket.recv())
        heard.messages.append(message)
        if message["mode"] in ("online", "2pass-online"):
            online += message["text"]
        else:
            settled, online = settled + message["text"], "" if message["mode"] != "online" else online
        heard.screen = settled + online
    return heard


if __name__ == "__main__":
    for heard in asyncio.run(recognise(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:]), pace=1)):
        sys.stdout.write(f"{heard.screen}\n")
