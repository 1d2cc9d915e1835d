"""Reads the headers of tus, in which a client says what it uploads."""

from __future__ import annotations

import base64
import binascii
import re

from starlette.datastructures import Headers

from service.errors import InvalidRequest

_LONGEST_METADATA = 4096
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")


def byte_count(headers: Headers, name: str) -> int:
    """Reads a header that must be a number of bytes.

    Raises:
        InvalidRequest: it is missing, or is none.
    """
    value = headers.get(name, "")
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise InvalidRequest(f"`{name}` must be a number of bytes.", param=name)
    return int(value)


def read_metadata(header: str) -> dict[str, str]:
    """Reads ``Upload-Metadata``: names, each with a text in base64 or with none.

    Raises:
        InvalidRequest: it can't be read, or is longer than 4,096 bytes.
    """
    if len(header) > _LONGEST_METADATA:
        raise InvalidRequest(f"`Upload-Metadata` is longer than {_LONGEST_METADATA} bytes.", param="Upload-Metadata")
    read = {}
    for pair in header.split(",") if header.strip() else []:
        name, _, value = pair.strip().partition(" ")
        try:
            text = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            text = None
        if text is None or not _KEY.fullmatch(name):
            raise InvalidRequest("`Upload-Metadata` must have names and base64, as tus says.", param="Upload-Metadata")
        read[name] = text
    return read


def file_name(metadata: dict[str, str]) -> str:
    """Returns what the client calls the file; "" where it doesn't say."""
    return (metadata.get("filename") or metadata.get("name") or "").replace("\0", "")
