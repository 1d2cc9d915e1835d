"""Live streams: the same samples as the same recording on disk, whatever pieces it comes in, and as it comes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.audio.decode import decode
from service.audio.decoders import decoders
from service.audio.stream import AudioStream
from service.domain import AudioSource, Pcm, RawPcm
from service.errors import AudioTooLarge, InvalidRequest, UndecodableAudio, UnsupportedSampleRate
from tests.audio_files import Encoding, chirp, encode, pcm16, wav16, write
from tests.hostile_audio import constant_frames, distant_packets, endless_index
from tests.processes import decoder_processes

COMPRESSED = {
    "opus": encode(chirp(4, 48_000), Encoding("ogg", "libopus", 48_000, options={"page_duration": "200000"})),
    "webm": encode(chirp(4, 48_000), Encoding("webm", "libopus", 48_000)),
    "mp3": encode(chirp(4, 16_000), Encoding("mp3", "libmp3lame", 16_000)),
    "aac": encode(chirp(4, 16_000), Encoding("adts", "aac", 16_000)),
    "amr": encode(chirp(4, 8_000), Encoding("amr", "libopencore_amrnb", 8_000, bit_rate=12_200)),
}
FORMAT_OF = {"webm": "opus"}


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    assert len(decoder_processes()) == decoders.idle


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


async def heard(pcm: AsyncIterator[Pcm]) -> Pcm:
    return np.concatenate([np.zeros(0, np.int16), *[piece async for piece in pcm]])


def streamed(format: str, rate_hz: int, data: list[bytes]) -> list[Pcm]:
    """What each piece gave, and the end."""

    async def run() -> list[Pcm]:
        stream = AudioStream(format, rate_hz)
        try:
            return [await heard(pcm) for pcm in [*map(stream.feed, data), stream.finish()]]
        finally:
            await stream.close()

    return asyncio.run(asyncio.wait_for(run(), 20))


def whole(tmp_path: Path, data: bytes, raw: RawPcm | None = None) -> Pcm:
    """The same as a recording."""
    return np.concatenate(list(decode(AudioSource(write(tmp_path / "recording", data), raw))))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("size", [1, 321, 3200, 1 << 20])
def test_pcm_in_pieces_of_any_length_is_the_recording(tmp_path: Path, rate_hz: int, size: int) -> None:
    data = pcm16(chirp(0.5 if size == 1 else 3, rate_hz))
    pcm = np.concatenate(streamed("pcm", rate_hz, pieces(data, size)))
    np.testing.assert_array_equal(pcm, whole(tmp_path, data, RawPcm(rate_hz)))


@pytest.mark.parametrize("size", [1, 7, 44, 333, 1 << 20])
@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (44_100, 2)])
def test_a_wav_header_counts_once_however_it_is_split(tmp_path: Path, size: int, rate_hz: int, channels: int) -> None:
    signal = np.stack([chirp(0.4, rate_hz)] * channels, axis=1) if channels > 1 else chirp(0.4, rate_hz)
    data = wav16(signal, rate_hz)
    pcm = np.concatenate(streamed("wav", 8_000, pieces(data, size)))
    np.testing.assert_array_equal(pcm, whole(tmp_path, data))


@pytest.mark.parametrize("size", [0, 100, 0xFFFFFFFF])
def test_a_length_in_a_live_wav_header_is_not_believed(size: int) -> None:
    data = bytearray(wav16(chirp(1, 16_000)))
    struct.pack_into("<I", data, 40, size)
    struct.pack_into("<I", data, 4, size)
    assert sum(map(len, streamed("wav", 16_000, pieces(bytes(data), 999)))) == 16_000


def test_other_chunks_may_come_before_the_samples() -> None:
    data = wav16(chirp(1, 16_000))
    listed = data[:36] + b"LIST" + struct.pack("<I", 5) + b"INFOx\0" + data[36:]
    np.testing.assert_array_equal(np.concatenate(streamed("wav", 0, pieces(listed, 50))), pcm_of(data[44:]))


def pcm_of(data: bytes) -> Pcm:
    return np.frombuffer(data, np.int16)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_wav_header_is_believed_where_pcm_was_announced(tmp_path: Path, size: int) -> None:
    data = wav16(chirp(0.5, 8_000), 8_000)
    np.testing.assert_array_equal(np.concatenate(streamed("pcm", 16_000, pieces(data, size))), whole(tmp_path, data))


@pytest.mark.parametrize("data", [b"RI", b"RIFF", b"RIFF" + bytes(6), b"RIFFabcdWAVX" + bytes(90)])
def test_pcm_that_begins_like_a_wav_is_pcm(data: bytes) -> None:
    np.testing.assert_array_equal(np.concatenate(streamed("pcm", 16_000, pieces(data, 3))), pcm_of(data))


@pytest.mark.parametrize("size", [97, 1000, 1 << 20])
@pytest.mark.parametrize("name", list(COMPRESSED))
def test_a_compressed_stream_is_the_recording(tmp_path: Path, name: str, size: int) -> None:
    data = COMPRESSED[name]
    pcm = np.concatenate(streamed(FORMAT_OF.get(name, name), 16_000, pieces(data, size)))
    recording = whole(tmp_path, data)
    if name == "mp3":  # how much of the last frame is padding only a file's header tells
        assert len(recording) <= len(pcm) <= len(recording) + 1152
        pcm = pcm[: len(recording)]
    np.testing.assert_array_equal(pcm, recording)


@pytest.mark.parametrize("name", list(COMPRESSED))
def test_compressed_audio_comes_out_before_the_end(name: str) -> None:
    data = COMPRESSED[name]
    parts = pieces(data, len(data) // 40 + 1)  # a tenth of a second each
    samples = np.cumsum([len(pcm) for pcm in streamed(FORMAT_OF.get(name, name), 16_000, parts)])
    for done in range(10, len(parts)):
        heard_s = 4 * (done + 1) / len(parts)
        assert samples[done] / 16_000 > heard_s - 0.8, f"{samples[done] / 16_000:.2f} s of {heard_s:.2f} s"


def test_the_same_bytes_give_the_same_pieces_every_time() -> None:
    parts = pieces(COMPRESSED["opus"], 500)
    first, second = ([len(pcm) for pcm in streamed("opus", 0, parts)] for _ in range(2))
    assert first == second


GARBAGE = np.random.default_rng(3).bytes(200_000)


@pytest.mark.parametrize("format", ["wav", "opus", "speex", "amr", "mp3", "aac", "any"])
@pytest.mark.parametrize(
    "data", [GARBAGE, b'{"header":{}}' * 1000, b"x", b"RIFF\0\0\0\0WAVE" + bytes(100_000), b"OggS" + GARBAGE]
)
def test_garbage_is_never_audio(format: str, data: bytes) -> None:
    with pytest.raises(UndecodableAudio):
        streamed(format, 16_000, pieces(data, 4000))


def test_a_recording_of_another_format_is_refused() -> None:
    for format in ("wav", "opus", "amr", "aac"):
        with pytest.raises(UndecodableAudio):
            streamed(format, 16_000, [COMPRESSED["mp3"]])


@pytest.mark.parametrize(
    "codec", ["pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"]
)
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_a_wav_of_other_samples_is_the_recording(tmp_path: Path, codec: str, size: int) -> None:
    data = encode(chirp(1, 16_000), Encoding("wav", codec, 16_000, 2))
    pcm = np.concatenate(streamed("wav", 16_000, pieces(data, size)))
    np.testing.assert_array_equal(pcm, whole(tmp_path, data))
    assert np.corrcoef(pcm.astype(float), chirp(1, 16_000))[0, 1] > 0.99


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "adpcm_ms"])
def test_a_wav_of_what_are_no_plain_samples_is_refused(codec: str) -> None:
    with pytest.raises(UndecodableAudio, match="A-law"):
        streamed("wav", 16_000, [encode(chirp(1, 16_000), Encoding("wav", codec, 16_000))])


@pytest.mark.parametrize("format", ["pcm", "wav", "opus", "mp3"])
def test_nothing_is_no_failure(format: str) -> None:
    assert [len(pcm) for pcm in streamed(format, 16_000, [b""])] == [0, 0]


@pytest.mark.parametrize("name", ["opus", "mp3", "amr"])
def test_a_stream_closed_in_the_middle_leaves_no_process(name: str) -> None:
    async def run() -> None:
        stream = AudioStream(name, 16_000)
        await heard(stream.feed(COMPRESSED[name][:3000]))
        await stream.close()
        await stream.close()

    asyncio.run(asyncio.wait_for(run(), 10))  # the fixture looks for processes


def test_a_stream_closed_while_it_decodes_leaves_no_process() -> None:
    async def run() -> None:
        stream = AudioStream("opus", 16_000)
        feeding = asyncio.ensure_future(heard(stream.feed(COMPRESSED["opus"])))
        await asyncio.sleep(0.001)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await stream.close()

    asyncio.run(asyncio.wait_for(run(), 10))


# Hostile streams


def test_an_index_that_the_stream_did_not_pay_for_is_not_held() -> None:
    before_mb = psutil.Process().memory_info().rss / 2**20
    with pytest.raises(UndecodableAudio):
        streamed("any", 16_000, pieces(endless_index(40_000_000), 100))
    assert psutil.Process().memory_info().rss / 2**20 - before_mb < 5


def test_hours_between_two_packets_are_no_hours_of_silence() -> None:
    pcm = np.concatenate(streamed("opus", 16_000, [distant_packets(6, 3600)]))
    assert 1000 < len(pcm) < 16_000


def test_frames_of_nothing_are_not_minutes() -> None:
    with pytest.raises(AudioTooLarge, match="bytes can hold"):
        streamed("any", 16_000, pieces(constant_frames(40), 200))


def test_what_little_becomes_much_comes_some_seconds_at_a_time() -> None:
    silence = encode(np.zeros(1200 * 8000), Encoding("flac", "flac", 8000))

    async def run() -> list[int]:
        stream = AudioStream("any", 16_000)
        try:
            return [len(piece) async for piece in stream.feed(silence)]
        finally:
            await stream.close()

    lengths = asyncio.run(asyncio.wait_for(run(), 20))
    assert sum(lengths) > 1000 * 16_000
    assert max(lengths) <= 32_000


def test_a_decoder_that_dies_takes_one_stream_with_it() -> None:
    parts = pieces(COMPRESSED["opus"], len(COMPRESSED["opus"]) // 2 + 1)

    async def run() -> Pcm:
        victim, neighbour = AudioStream("opus", 16_000), AudioStream("opus", 16_000)
        try:
            first = await heard(neighbour.feed(parts[0]))
            others = {process.pid for process in decoder_processes()}
            await heard(victim.feed(parts[0]))
            for process in decoder_processes():
                if process.pid not in others:
                    process.kill()
            for _ in range(2):
                with pytest.raises(UndecodableAudio, match="failed over it"):
                    await heard(victim.feed(parts[1]))
            return np.concatenate([first, await heard(neighbour.feed(parts[1])), await heard(neighbour.finish())])
        finally:
            await victim.close()
            await neighbour.close()

    while decoders.idle:  # so that each stream gets a process of which nobody knew
        decoders._end(decoders._idle.pop())
    pcm = asyncio.run(asyncio.wait_for(run(), 20))
    np.testing.assert_array_equal(pcm, np.concatenate(streamed("opus", 16_000, parts)))


def test_what_can_never_be_decoded_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        AudioStream("tiff", 16_000)
    assert caught.value.param == "format"
    with pytest.raises(UnsupportedSampleRate):
        AudioStream("pcm", 300)
