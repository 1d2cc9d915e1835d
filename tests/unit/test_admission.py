"""How much audio is let in, and when to come back."""

import io
from pathlib import Path

import pytest

from service.admission import AdmissionQueue, estimate_audio_s
from service.domain import AudioSource
from service.errors import QueueFull, UndecodableAudio
from tests.audio_files import Encoding, encode, tone


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_audio_is_counted_while_it_is_in_work_only() -> None:
    queue = AdmissionQueue(100)
    with queue.admit(60), queue.admit(40):
        assert (queue.audio_s, queue.requests) == (100, 2)
    assert (queue.audio_s, queue.requests) == (0, 0)


def test_what_does_not_fit_is_refused_and_the_rest_stays() -> None:
    queue = AdmissionQueue(100)
    with queue.admit(60):
        with pytest.raises(QueueFull), queue.admit(41):
            pass
        assert (queue.audio_s, queue.requests) == (60, 1)


def test_a_place_is_given_back_after_a_failure() -> None:
    queue = AdmissionQueue(100)
    with pytest.raises(RuntimeError), queue.admit(100):
        raise RuntimeError
    assert (queue.audio_s, queue.requests) == (0, 0)


def test_a_recording_longer_than_the_queue_is_let_in_alone() -> None:
    queue = AdmissionQueue(100)
    with queue.admit(1000), pytest.raises(QueueFull), queue.admit(1):
        pass
    with queue.admit(1), pytest.raises(QueueFull), queue.admit(1000):
        pass


def test_the_number_of_tiny_requests_is_bounded_too() -> None:
    queue = AdmissionQueue(2)
    with queue.admit(0.01), queue.admit(0.0), pytest.raises(QueueFull):
        queue.check()


def test_retry_after_follows_the_recent_rate_of_work() -> None:
    clock = Clock()
    queue = AdmissionQueue(100, clock)
    with queue.admit(100):
        clock.now_s = 50  # twice real time
    with queue.admit(100), pytest.raises(QueueFull) as raised, queue.admit(40):
        pass
    assert raised.value.retry_after_s == 20


def test_a_failed_request_does_not_count_as_work() -> None:
    clock = Clock()
    queue = AdmissionQueue(100, clock)
    with queue.admit(100):
        clock.now_s = 50
    for _ in range(3):
        with pytest.raises(RuntimeError), queue.admit(100):
            raise RuntimeError
    with queue.admit(100), pytest.raises(QueueFull) as raised, queue.admit(40):
        pass
    assert raised.value.retry_after_s == 20


def test_old_work_fades() -> None:
    clock = Clock()
    queue = AdmissionQueue(100, clock)
    with queue.admit(100):
        clock.now_s = 1  # very fast, long ago
    with queue.admit(100):
        clock.now_s = 2001  # then slow: 20 s per audio second
    with queue.admit(100), pytest.raises(QueueFull) as raised, queue.admit(10):
        pass
    assert raised.value.retry_after_s is not None
    assert raised.value.retry_after_s >= 8


@pytest.mark.parametrize(("took_s", "expected"), [(0.01, 1), (1_000_000, 600)])
def test_retry_after_is_bounded(took_s: float, expected: int) -> None:
    clock = Clock()
    queue = AdmissionQueue(1000, clock)
    with queue.admit(1000):
        clock.now_s = took_s
    with queue.admit(1000), pytest.raises(QueueFull) as raised, queue.admit(1000):
        pass
    assert raised.value.retry_after_s == expected


def test_the_headers_duration_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encode(tone(3, 16_000), Encoding("flac", "flac", 16_000)))
    assert estimate_audio_s(AudioSource(str(path))) == pytest.approx(3, abs=0.1)


def test_without_a_duration_the_size_decides(tmp_path: Path) -> None:
    data = encode(tone(30, 16_000), Encoding("matroska", "libopus", 48_000))
    path = tmp_path / "a.webm"
    path.write_bytes(_without_duration(data))
    assert estimate_audio_s(AudioSource(str(path))) == pytest.approx(len(data) / 2000, rel=0.01)


def test_what_is_not_audio_is_found_out_here(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"no audio" * 100)
    with pytest.raises(UndecodableAudio):
        estimate_audio_s(AudioSource(str(path)))


def _without_duration(matroska: bytes) -> bytes:
    """The Duration element (id 0x4489) renamed to Void, as a live recorder leaves it out."""
    at = matroska.index(b"\x44\x89\x88")
    return io.BytesIO(matroska[:at] + b"\xec\x89" + b"\0" * 9 + matroska[at + 11 :]).getvalue()
