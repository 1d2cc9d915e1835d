"""How much audio is let in, and when to come back."""

import pytest

from service.admission import AdmissionQueue
from service.errors import QueueFull


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


def test_a_place_grows_with_what_is_decoded_even_where_there_is_no_room() -> None:
    queue = AdmissionQueue(100)
    with queue.admit(10) as place, queue.admit(80):
        place.grow_to(5)
        assert queue.audio_s == 90
        place.grow_to(200)
        assert (queue.audio_s, queue.requests) == (280, 2)
        with pytest.raises(QueueFull):
            queue.check()
    assert (queue.audio_s, queue.requests) == (0, 0)


def test_what_turns_out_shorter_gives_its_room_back() -> None:
    queue = AdmissionQueue(100)
    with queue.admit(100) as place:
        place.set(20)
        with queue.admit(80):
            assert queue.audio_s == 100
    assert (queue.audio_s, queue.requests) == (0, 0)


def test_the_rate_of_work_is_that_of_what_was_really_there() -> None:
    clock = Clock()
    queue = AdmissionQueue(100, clock)
    with queue.admit(1) as place:
        place.set(100)
        clock.now_s = 50
    with queue.admit(100), pytest.raises(QueueFull) as raised, queue.admit(40):
        pass
    assert raised.value.retry_after_s == 20


def test_a_request_counts_once_for_each_of_its_channels() -> None:
    queue = AdmissionQueue(100)
    with queue.admit(20, 2) as place:
        assert (queue.audio_s, queue.requests) == (40, 1)
        place.grow_to(30)  # of one of them
        assert queue.audio_s == 60
        place.grow_to(10)
        assert queue.audio_s == 60
        place.set(25)
        assert queue.audio_s == 50
        with pytest.raises(QueueFull), queue.admit(26, 2):
            pass
    assert (queue.audio_s, queue.requests) == (0, 0)
