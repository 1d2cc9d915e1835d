"""Directives of Alibaba Cloud's live protocol, as its clients write them."""

from __future__ import annotations

import json
from typing import Any

TASK_ID = "0123456789abcdef0123456789abcdef"


def directive(
    name: str,
    payload: dict[str, Any] | None = None,
    *,
    namespace: str = "SpeechTranscriber",
    task_id: str = TASK_ID,
    **message: Any,
) -> str:
    """A message with that header; without ``payload`` where there is none. ``message``: what else it says."""
    header = {"message_id": "f" * 32, "task_id": task_id, "namespace": namespace, "name": name, "appkey": "default"}
    if payload is not None:
        message["payload"] = payload
    return json.dumps({"header": header, **message})
