"""Runs the processes that decode what comes from outside: a zygote, and the decoders that it forks.

    python -m service.audio.decoder_process FD

The zygote has imported what decoding takes, so a fork costs milliseconds and a few megabytes. It does nothing but fork
and bury, told by the service over the socket FD (see service/audio/decoders.py), and ends when that closes, which it
does however the service ends. A decoder does one job after the other, at most so much memory and computing time each:
where its input takes more, this process dies or fails, and no other.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from service.audio.decode import decode_stream, opened
from service.audio.samples import FULL_BLOCK
from service.audio.wire import HEADER, Kind
from service.domain import Pcm
from service.errors import ServiceError, UndecodableAudio

# Beyond what the zygote has mapped. The index of a container may take several times its size in the file: an MP4 of
# AAC frames, 10 bytes each at the least, has 35 bytes an entry.
_MEMORY_BYTES = 64 << 20
_MEMORY_OF_SIZE = 8
_MOST_MEMORY_BYTES = 1 << 30
# For each message: opening a file, ten seconds of a recording, a piece of a stream. It takes milliseconds.
_CPU_S = 10
# A decoder that has kept more than this from its jobs ends.
_KEPT_BYTES = 64 << 20
_LEAST_SENT_BYTES = 32_000
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves the socket whose number is the only argument.

    A message with a socket asks for a decoder on it, and is answered with its pid, or -1 where there can be none. One
    with a pid asks for its end, and is answered with its wait status.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the service may drain for a while yet; its end is ours
    gc.freeze()
    while True:
        message, sockets, _, _ = socket.recv_fds(control, 32, 1)
        if not message:
            return
        if sockets:
            answer = _fork(control, sockets[0])
        else:
            pid = int(message)
            os.kill(pid, signal.SIGKILL)  # a decoder that has died is a zombie until here, and its status is its own
            answer = os.waitpid(pid, 0)[1]
        control.send(str(answer).encode())


def _fork(control: socket.socket, descriptor: int) -> int:
    zygote = os.getpid()
    try:
        pid = os.fork()
    except OSError:  # no memory, or too many processes
        pid = -1
    if pid:
        os.close(descriptor)
        return pid
    status = 1
    try:
        control.close()
        _die_with(zygote)
        _Decoder(_Channel(socket.socket(fileno=descriptor))).work()
        status = 0
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the service has given the job up, or has ended
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _die_with(zygote: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Where memory ends, a decoder goes before the service does.
        Path("/proc/self/oom_score_adj").write_text("500")
    if os.getppid() != zygote:
        raise EOFError
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has nothing to write


class _Channel:
    """Holds the decoder's end of its socket; raises EOFError or OSError when the other end has closed."""

    def __init__(self, channel: socket.socket) -> None:
        self._socket = channel

    def send(self, kind: Kind, body: bytes | dict[str, Any] = b"") -> None:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self._socket.sendall(HEADER.pack(kind, len(data)) + data)

    def receive(self) -> tuple[Kind, bytes]:
        """Returns the next message; what it asks for may take ``_CPU_S``."""
        kind, size = HEADER.unpack(self._read(HEADER.size))
        body = self._read(size)
        soft = int(time.process_time()) + _CPU_S + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        return Kind(kind), body

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


class _Decoder:
    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._own_bytes = _mapped_bytes()
        self._notes: list[str] = []

    def work(self) -> None:
        """Does one job after the other, until there are none or this process has kept too much of one."""
        is_spent = False
        while not is_spent:
            kind, body = self._channel.receive()
            wanted = json.loads(body)
            failure: ServiceError | None = None
            self._notes = []
            try:
                if kind == Kind.OPEN:
                    self._decode_recording(wanted)
                else:
                    self._decode_live(wanted)
            except ServiceError as error:
                failure = error
            except MemoryError:
                is_spent = True
                failure = UndecodableAudio("Decoding the audio takes more memory than audio of its size can need.")
            is_spent = is_spent or _mapped_bytes() - self._own_bytes > _KEPT_BYTES
            if failure is None:
                self._channel.send(Kind.DONE, {"is_spent": is_spent, "notes": self._notes})
            else:
                told = {"error": type(failure).__name__, "message": failure.message, "param": failure.param}
                self._channel.send(Kind.FAILED, {**told, "is_spent": is_spent})

    def _decode_recording(self, wanted: dict[str, Any]) -> None:
        _limit_memory(os.stat(wanted["path"]).st_size)
        with opened(wanted["path"], wanted["track"]) as decoding:
            self._notes = decoding.notes
            self._channel.send(Kind.OPENED, {"announced_s": decoding.announced_s, "format": asdict(decoding.format)})
            kind, body = self._channel.receive()
            if kind == Kind.CLOSE:
                return
            for block in decoding.blocks(**json.loads(body)):
                self._channel.send(Kind.PCM, block.tobytes())
                if len(block) < FULL_BLOCK:  # it was the last
                    continue
                kind, _ = self._channel.receive()
                if kind == Kind.CLOSE:
                    return

    def _decode_live(self, wanted: dict[str, Any]) -> None:
        _limit_memory(0)
        incoming = _Incoming(self._channel)
        for chunk in decode_stream(incoming.read, wanted["demuxer"], wanted["formats"], self._notes):
            incoming.outgoing.append(chunk)
            if sum(map(len, incoming.outgoing)) >= _LEAST_SENT_BYTES:
                incoming.flush()
        incoming.flush()
        if not incoming.has_ended:
            raise UndecodableAudio("The stream ended before the client ended it, or is corrupt.")


class _Incoming:
    """Asks for a live stream's bytes as they are needed; what was decoded of them goes out before."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._bytes = memoryview(b"")
        self.has_ended = False
        self.outgoing: list[Pcm] = []

    def read(self, size: int) -> bytes:
        while not self._bytes and not self.has_ended:
            self.flush()
            self._channel.send(Kind.HUNGRY)
            kind, body = self._channel.receive()
            self._bytes = memoryview(body)
            self.has_ended = kind == Kind.END
        data, self._bytes = self._bytes[:size], self._bytes[size:]
        return bytes(data)

    def flush(self) -> None:
        pcm = np.concatenate(self.outgoing) if self.outgoing else np.zeros(0, np.int16)
        self.outgoing = []
        for start in range(0, len(pcm), _LEAST_SENT_BYTES):
            self._channel.send(Kind.PCM, pcm[start : start + _LEAST_SENT_BYTES].tobytes())


def _limit_memory(size_bytes: int) -> None:
    """Lets this process map so much more, for input of this size."""
    mapped_bytes = _mapped_bytes()
    if mapped_bytes:
        more_bytes = min(_MEMORY_BYTES + _MEMORY_OF_SIZE * size_bytes, _MOST_MEMORY_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (mapped_bytes + more_bytes, resource.RLIM_INFINITY))


def _mapped_bytes() -> int:
    """Measures the address space of this process; 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    main()
