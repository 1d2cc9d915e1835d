"""Recordings decoded in the pool: the same audio, and hostile input that harms neither the service nor a neighbour."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest

from service.audio import decoders as module
from service.audio.decode import decode
from service.audio.decoders import Decoders, Places
from service.audio.recording import Recording
from service.domain import SAMPLE_RATE_HZ, AudioSource, Pcm, RawPcm
from service.errors import AudioTooLarge, InvalidRequest, NotReady, UndecodableAudio
from tests.audio_files import Encoding, chirp, encode, pcm16, tone, wav16, write
from tests.hostile_audio import constant_frames, distant_packets, endless_index
from tests.processes import decoder_processes

T = TypeVar("T")
MB = 2**20

KINDS = {
    "mp3": encode(chirp(25, 44_100), Encoding("mp3", "libmp3lame", 44_100, 2)),
    "webm": encode(chirp(25, 48_000), Encoding("webm", "libopus", 48_000)),
    "video": encode(chirp(12, 48_000), Encoding("mp4", "aac", 48_000, 2, with_video=True)),
    "ten seconds": encode(chirp(10, 16_000), Encoding("flac", "flac", 16_000)),
    "5.1": encode(chirp(3, 48_000), Encoding("flac", "flac", 48_000, 6)),
    "wav": wav16(chirp(12, 44_100), 44_100),
    "floats": encode(chirp(3, 48_000), Encoding("wav", "pcm_f64le", 48_000, 2)),
}
MP3 = KINDS["mp3"]


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    assert len(decoder_processes()) == module.decoders.idle
    assert module.decoders.recordings.free == module._MOST_RECORDINGS
    assert module.decoders.working.free == module._WORKING


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def recording(folder: Path, data: bytes, raw: RawPcm | None = None) -> Recording:
    return Recording(AudioSource(write(folder / "upload", data), raw))


async def heard(recording: Recording, max_duration_s: float = 3600) -> Pcm:
    return np.concatenate([block async for block in recording.blocks(max_duration_s)])


def read(path: str) -> str:
    return Path(path).read_text()


def status_mb(process: psutil.Process, name: str) -> float:
    """A line of /proc/…/status."""
    lines = read(f"/proc/{process.pid}/status").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


@pytest.mark.parametrize("name", KINDS)
def test_the_pool_changes_nothing(tmp_path: Path, name: str) -> None:
    here = np.concatenate(list(decode(AudioSource(write(tmp_path / "here", KINDS[name])))))
    np.testing.assert_array_equal(run(heard(recording(tmp_path, KINDS[name]))), here)


def test_a_process_is_used_again(tmp_path: Path) -> None:
    async def both() -> tuple[set[int], set[int]]:
        await heard(recording(tmp_path, MP3))
        first = {process.pid for process in decoder_processes()}
        await heard(recording(tmp_path, MP3))
        return first, {process.pid for process in decoder_processes()}

    first, second = run(both())
    assert first == second


def test_plain_samples_take_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.decoders, "take", None)
    run(heard(recording(tmp_path, wav16(tone(1, 44_100), 44_100))))
    run(heard(recording(tmp_path, pcm16(tone(1, 16_000)), RawPcm(16_000))))


def test_a_wrong_description_of_pcm_is_the_requests_fault(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        run(recording(tmp_path, bytes(1000), RawPcm(16_000, 0)).estimate_s())


def test_the_limit_of_a_recording_holds_in_the_pool(tmp_path: Path) -> None:
    with pytest.raises(AudioTooLarge, match="limit of 20 s"):
        run(heard(recording(tmp_path, MP3), 20))


def test_a_recording_is_open_once_from_its_estimate_to_its_end(tmp_path: Path) -> None:
    async def both() -> tuple[float, Pcm]:
        opened = recording(tmp_path, MP3)
        estimate_s = await opened.estimate_s()
        (tmp_path / "upload").unlink()
        return estimate_s, await heard(opened)

    estimate_s, pcm = run(both())
    assert estimate_s == pytest.approx(len(pcm) / SAMPLE_RATE_HZ, abs=0.1)


# How long it is likely to be


def test_the_headers_duration_is_believed(tmp_path: Path) -> None:
    async def estimated(data: bytes) -> float:
        opened = recording(tmp_path, data)
        try:
            return await opened.estimate_s()
        finally:
            await opened.close()

    assert run(estimated(encode(tone(3, 16_000), Encoding("flac", "flac", 16_000)))) == pytest.approx(3, abs=0.1)
    assert run(estimated(wav16(tone(3, 16_000)))) == 3


def test_without_a_duration_the_size_decides(tmp_path: Path) -> None:
    data = encode(tone(30, 16_000), Encoding("matroska", "libopus", 48_000))
    at = data.index(b"\x44\x89\x88")  # the Duration element renamed to Void, as a live recorder leaves it out
    data = data[:at] + b"\xec\x89" + b"\0" * 9 + data[at + 11 :]

    async def estimated() -> float:
        opened = recording(tmp_path, data)
        estimate_s = await opened.estimate_s()
        await opened.close()
        return estimate_s

    assert run(estimated()) == pytest.approx(len(data) / 2000, rel=0.01)


@pytest.mark.parametrize("data", [b"", b"no audio" * 100, b"RIFF\0\0\0\0WAVE" + bytes(100)])
def test_what_is_not_audio_is_found_out_before_it_is_let_in(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UndecodableAudio):
        run(recording(tmp_path, data).estimate_s())


# Hostile input


def test_an_index_that_the_file_did_not_pay_for_is_not_held(tmp_path: Path) -> None:
    async def attempt() -> None:
        await heard(recording(tmp_path, MP3))
        before_mb = psutil.Process().memory_info().rss / MB
        with pytest.raises(UndecodableAudio):
            await heard(recording(tmp_path, endless_index(40_000_000)))
        assert psutil.Process().memory_info().rss / MB - before_mb < 5
        assert all(status_mb(process, "VmHWM") < 150 for process in decoder_processes())
        await heard(recording(tmp_path, MP3))

    run(attempt())


def test_an_index_that_the_file_did_pay_for_is_read(tmp_path: Path) -> None:
    samples = 3_000_000  # 18 h of AAC, 10 bytes a frame: 100 MB of index
    data = endless_index(samples).replace(b"stsz\0\0\0\0\0\0\0\1", b"stsz\0\0\0\0\0\0\0\x0a")

    async def estimated() -> float:
        opened = recording(tmp_path, data)
        with (tmp_path / "upload").open("r+b") as file:
            file.truncate(10 * samples)
        try:
            return await opened.estimate_s()
        finally:
            await opened.close()

    assert run(estimated()) == pytest.approx(samples * 1024 / 16_000)


def test_hours_between_two_packets_are_no_hours_of_silence(tmp_path: Path) -> None:
    assert len(run(heard(recording(tmp_path, distant_packets(6, 3600))))) < SAMPLE_RATE_HZ


def test_a_pause_of_a_recorder_that_was_on_for_long_is_kept(tmp_path: Path) -> None:
    data = distant_packets(3, 20)
    assert len(run(heard(recording(tmp_path, data)))) == pytest.approx(40 * SAMPLE_RATE_HZ, rel=0.01)


@pytest.mark.parametrize("frames", [9, 40, 120])
def test_frames_of_nothing_are_not_minutes(tmp_path: Path, frames: int) -> None:
    with pytest.raises(AudioTooLarge, match="bytes can hold"):
        run(heard(recording(tmp_path, constant_frames(frames))))


def test_real_silence_may_be_small(tmp_path: Path) -> None:
    silence = encode(np.zeros(1200 * 8000), Encoding("flac", "flac", 8000))
    assert len(run(heard(recording(tmp_path, silence)))) == 1200 * SAMPLE_RATE_HZ


def test_a_decoder_that_dies_takes_one_recording_with_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def attempt() -> None:
        victim, neighbour = recording(tmp_path, MP3), Recording(AudioSource(write(tmp_path / "other", MP3)))
        await victim.estimate_s()
        await neighbour.estimate_s()
        assert victim._decoder
        os.kill(victim._decoder.pid or 0, signal.SIGSEGV)
        with pytest.raises(UndecodableAudio, match="failed over it"):
            await heard(victim)
        assert len(await heard(neighbour)) == pytest.approx(25 * SAMPLE_RATE_HZ, rel=0.01)
        assert len(await heard(recording(tmp_path, MP3))) == pytest.approx(25 * SAMPLE_RATE_HZ, rel=0.01)

    run(attempt())
    assert [r.getMessage() for r in caplog.records if "decoder" in r.message] == [
        "a decoder has died over its input: SIGSEGV"
    ]


def test_what_takes_too_much_computing_time_ends(tmp_path: Path) -> None:
    async def attempt() -> None:
        slow = recording(tmp_path, MP3)
        await slow.estimate_s()
        assert slow._decoder
        os.kill(slow._decoder.pid or 0, signal.SIGXCPU)  # as the system does at the limit
        with pytest.raises(UndecodableAudio, match="takes longer"):
            await heard(slow)

    run(attempt())


def test_a_decoder_has_limits(tmp_path: Path) -> None:
    async def limits() -> tuple[str, str]:
        opened = recording(tmp_path, MP3)
        await opened.estimate_s()
        assert opened._decoder
        text = read(f"/proc/{opened._decoder.pid}/limits")
        await opened.close()
        lines = {line[:26].strip(): line[26:].split()[0] for line in text.splitlines()}
        return lines["Max cpu time"], lines["Max address space"]

    cpu_s, memory_bytes = run(limits())
    assert int(cpu_s) < 60
    assert int(memory_bytes) < 600 * MB


# Coming and going


def test_an_abandoned_recording_gives_its_process_back(tmp_path: Path) -> None:
    async def attempt() -> int:
        await heard(recording(tmp_path, MP3))
        idle = module.decoders.idle
        opened = recording(tmp_path, MP3)
        await opened.estimate_s()
        await opened.close()
        blocks = recording(tmp_path, MP3).blocks()
        await anext(blocks)
        await blocks.aclose()
        return idle

    assert run(attempt()) == module.decoders.idle


@pytest.mark.parametrize("pause_s", [0, 0.0005, 0.002, 0.01])
def test_a_client_that_leaves_stops_the_work(tmp_path: Path, pause_s: float) -> None:
    async def attempt() -> None:
        working = asyncio.ensure_future(heard(recording(tmp_path, MP3)))
        await asyncio.sleep(pause_s)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await heard(recording(tmp_path, MP3))

    run(attempt())
    deadline = time.monotonic() + 10  # the process of a cancelled step is killed without waiting for it
    while len(decoder_processes()) > module.decoders.idle and time.monotonic() < deadline:
        time.sleep(0.01)


def test_recordings_beyond_the_places_are_estimated_at_once_and_decoded_in_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.decoders, "recordings", Places(1))

    async def attempt() -> list[int]:
        first, second, third = (Recording(AudioSource(write(tmp_path / name, MP3))) for name in "123")
        assert await first.estimate_s() == await second.estimate_s() == await third.estimate_s()
        order: list[int] = []

        async def decoded(number: int, wanted: Recording) -> None:
            assert len(await heard(wanted)) == pytest.approx(25 * SAMPLE_RATE_HZ, rel=0.01)
            order.append(number)

        waiting = [asyncio.ensure_future(decoded(n, wanted)) for n, wanted in ((2, second), (3, third))]
        await asyncio.sleep(0.05)
        assert not order
        await decoded(1, first)
        await asyncio.gather(*waiting)
        return order

    assert run(attempt()) == [1, 2, 3]
    monkeypatch.undo()


def test_a_place_is_not_lost_with_whoever_waited_for_it() -> None:
    async def attempt() -> None:
        places = Places(1)
        await places.take()
        waiting = [asyncio.ensure_future(places.take()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        places.give_back()
        waiting[1].cancel()  # it has the place already
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not waiting[2].cancelled()
        places.give_back()
        assert places.try_take()
        assert not places.try_take()

    run(attempt())


def test_a_zygote_that_was_killed_is_replaced(tmp_path: Path) -> None:
    async def attempt() -> None:
        await heard(recording(tmp_path, MP3))
        opened = recording(tmp_path, MP3)
        await opened.estimate_s()
        assert module._zygote._process
        module._zygote._process.kill()
        module._zygote._process.wait()
        with pytest.raises(UndecodableAudio):
            await heard(opened)
        assert len(await heard(recording(tmp_path, MP3))) == pytest.approx(25 * SAMPLE_RATE_HZ, rel=0.01)

    run(attempt())


def test_without_processes_the_service_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_zygote", module._Zygote())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotReady):
        run(Decoders().take())


def test_no_process_outlives_the_service() -> None:
    code = (
        "import asyncio, psutil, sys\n"
        "from service.audio.decoders import decoders\n"
        "asyncio.run(decoders.take())\n"
        "print(*[c.pid for c in psutil.Process().children(recursive=True)], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as service:
        assert service.stdout
        pids = [int(pid) for pid in service.stdout.readline().split()]
        assert len(pids) == 2
        service.kill()
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(psutil.pid_exists, pids))


def test_the_service_itself_decodes_nothing() -> None:
    code = (
        "import sys, service.audio.recording, service.audio.stream\nprint({'av', 'soundfile'} & sys.modules.keys())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


# Channels apart


STEREO = np.stack([chirp(12, 16_000), tone(12, 16_000, frequency_hz=880)], axis=1)


@pytest.mark.parametrize(
    "data",
    [
        wav16(STEREO),
        encode(STEREO, Encoding("flac", "flac", 16_000, 2)),
        encode(STEREO, Encoding("wav", "pcm_u8", 16_000, 2)),
    ],
    ids=["plain", "decoded", "unsigned"],
)
def test_each_channel_can_be_heard_alone(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "upload", data)

    async def alone(channel: int) -> tuple[int, Pcm]:
        opened = Recording(AudioSource(path, channel=channel))
        return await opened.channels(), await heard(opened)

    for channel in range(2):
        count, samples = run(alone(channel))
        assert count == 2
        np.testing.assert_allclose(samples, 32768 * STEREO[:, channel], atol=260 if len(data) < 500_000 else 1)


def test_channels_of_raw_pcm_are_known_and_can_be_heard_alone(tmp_path: Path) -> None:
    async def first() -> tuple[int, Pcm]:
        source = AudioSource(write(tmp_path / "upload", pcm16(STEREO)), RawPcm(16_000, 2), channel=0)
        opened = Recording(source)
        return await opened.channels(), await heard(opened)

    count, samples = run(first())
    assert count == 2
    np.testing.assert_array_equal(samples, np.frombuffer(pcm16(STEREO[:, 0]), np.int16))


def test_a_channel_is_silent_where_the_recording_has_it_not(tmp_path: Path) -> None:
    joined = wav16(STEREO) + wav16(chirp(3, 16_000))

    async def second() -> Pcm:
        return await heard(Recording(AudioSource(write(tmp_path / "upload", joined), channel=1)))

    samples = run(second())
    assert len(samples) == 15 * SAMPLE_RATE_HZ
    assert samples[: 12 * SAMPLE_RATE_HZ].any()
    assert not samples[12 * SAMPLE_RATE_HZ :].any()
