"""Groups items of one adaptive batch so that short recordings don't pad to long ones."""

from __future__ import annotations

from collections.abc import Sequence


def length_buckets(lengths: Sequence[int], max_items: int, max_padding: float = 0.25) -> list[list[int]]:
    """Groups positions by similar length; every position appears once.

    A group has at most ``max_items``, each at least ``1 - max_padding`` times as long as the group's longest.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    groups: list[list[int]] = []
    for position in order:
        group = groups[-1] if groups else None
        if group is None or len(group) == max_items or lengths[position] < (1 - max_padding) * lengths[group[0]]:
            groups.append([position])
        else:
            group.append(position)
    return groups
