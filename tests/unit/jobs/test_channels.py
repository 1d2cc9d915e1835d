"""A recording's channels in one transcript."""

from __future__ import annotations

from service.domain import Segment, Transcript
from service.jobs.channels import together


def transcript(channel: int, *starts_s: float, warnings: tuple[str, ...] = ()) -> Transcript:
    segments = tuple(
        Segment(index, start, start + 1, f"{channel}{index}", channel=channel) for index, start in enumerate(starts_s)
    )
    return Transcript(10.0 + channel, "zh", "a-model", segments, warnings)


def test_segments_are_told_in_the_order_of_their_times_and_counted_anew() -> None:
    merged = together([transcript(0, 1.0, 4.0), transcript(1, 0.5, 2.0, 4.0)])
    assert [(s.index, s.start_s, s.channel, s.text) for s in merged.segments] == [
        (0, 0.5, 1, "10"),
        (1, 1.0, 0, "00"),
        (2, 2.0, 1, "11"),
        (3, 4.0, 0, "01"),
        (4, 4.0, 1, "12"),
    ]
    assert merged.duration_s == 11.0


def test_what_is_noticed_of_the_file_is_told_once() -> None:
    merged = together([transcript(0, warnings=("cut off", "one")), transcript(1, warnings=("cut off", "two"))])
    assert merged.warnings == ("cut off", "one", "two")
