"""A WebSocket client on a plain socket, for what well-behaved clients can't do: doubled headers, no reading, no end."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from collections.abc import Sequence

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def expected_accept(key: str) -> str:
    """The Sec-WebSocket-Accept that belongs to a key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


class RawClient:
    """One connection; close it. ``status`` and ``headers`` (lower case) are those of the handshake's answer."""

    def __init__(self, host: str, port: int, path: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Sends exactly ``headers`` beside Host, Upgrade and Connection."""
        self.socket = socket.create_connection((host, port), timeout=10)
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def body(self) -> bytes:
        """Of a refusal."""
        return self._file.read(int(self.headers["content-length"]))

    def send(self, opcode: int, data: bytes, *, announced: int | None = None) -> None:
        """One frame; with ``announced`` its header lies about its length."""
        size = len(data) if announced is None else announced
        mask = os.urandom(4)
        if size < 126:
            header = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 1 << 16:
            header = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            header = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
        self.socket.sendall(header + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))

    def receive(self) -> tuple[int, bytes]:
        """The next frame; EOFError at the end of the connection."""
        head = self._file.read(2)
        if len(head) < 2:
            raise EOFError
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._file.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._file.read(8))
        return head[0] & 0x0F, self._file.read(size)

    def close(self) -> None:
        """Without a word, as a client that vanishes."""
        self._file.close()
        self.socket.close()


def handshake(key: str = "dGhlIHNhbXBsZSBub25jZQ==", *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The headers of an ordinary client."""
    return [("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13"), *more]
