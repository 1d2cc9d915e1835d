"""Batches are made of similar lengths and lose nobody."""

from hypothesis import given
from hypothesis import strategies as st

from runners.kit.batching import length_buckets


@given(st.lists(st.integers(1, 1000)), st.integers(1, 8))
def test_every_item_is_in_exactly_one_batch(lengths: list[int], most: int) -> None:
    groups = length_buckets(lengths, most)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))


@given(st.lists(st.integers(1, 1000)), st.integers(1, 8))
def test_a_batch_is_small_and_pads_little(lengths: list[int], most: int) -> None:
    for group in length_buckets(lengths, most, max_padding=0.25):
        assert len(group) <= most
        assert min(lengths[i] for i in group) >= 0.75 * max(lengths[i] for i in group)
