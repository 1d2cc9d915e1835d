"""Writes every process's log records, each a text line or a JSON object with a request id."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# What the records of the running code are about; several, separated by commas, where a batch has several.
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")

_ROOTS = ("service", "runners")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


@contextmanager
def for_requests(ids: Iterable[str]) -> Iterator[None]:
    """Names the requests that the block works for in its records."""
    token = request_id.set(",".join(dict.fromkeys(ids)))
    try:
        yield
    finally:
        request_id.reset(token)


def configure(level: str, form: str) -> None:
    """Sends the project's loggers to standard error; other loggers are left to their owners."""
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
    handler.setFormatter(_JsonFormatter() if form == "json" else logging.Formatter(text))

    def add_request_id(record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True

    handler.addFilter(add_request_id)
    for name in _ROOTS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
