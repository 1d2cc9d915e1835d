"""Lists the protocols that clients speak, a folder for each vendor; the app serves what is listed here.

In a folder ``X.py`` is a route or a conversation, ``X_request.py`` what a client may say there, ``X_response.py``
what it is told.
"""

from __future__ import annotations

from service.protocols import aliyun, dashscope, first_message, openai, qwen
from service.protocols.shared.protocol import Protocol

PROTOCOLS: tuple[Protocol, ...] = (
    *openai.PROTOCOLS,
    *aliyun.PROTOCOLS,
    *dashscope.PROTOCOLS,
    *qwen.PROTOCOLS,
    first_message.PROTOCOL,
)
