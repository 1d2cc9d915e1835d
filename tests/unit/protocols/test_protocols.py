"""The list of protocols that the app serves."""

from __future__ import annotations

import itertools
import random

from service.admission import Bound
from service.edge import Edge
from service.protocols import PROTOCOLS

RULES = [rules for protocol in PROTOCOLS for rules in protocol.rules]


def test_no_path_has_two_masters() -> None:
    for one, other in itertools.combinations(RULES, 2):
        assert (one.prefix, one.live) != (other.prefix, other.live)


def test_the_order_of_the_rules_means_nothing() -> None:
    def found(rules: list, kind: str, path: str) -> object:  # type: ignore[type-arg]
        return Edge(None, [], rules, Bound(1, ""))._rules_of({"type": kind, "path": path})  # type: ignore[arg-type]

    http = [rules for rules in RULES if not rules.live] + [type(RULES[0])("", RULES[0].error_response)]
    everything = http + [rules for rules in RULES if rules.live]
    paths = ["/", "/docs", "/v1/models", "/stream/v1/asr", "/stream/v1/asr/health", "/ws/v1/asr", "/ws/v1/asr/qwen"]
    expected = {(kind, path): found(everything, kind, path) for kind in ("http", "websocket") for path in paths}
    for seed in range(10):
        shuffled = random.Random(seed).sample(everything, len(everything))
        assert {(kind, path): found(shuffled, kind, path) for kind, path in expected} == expected
