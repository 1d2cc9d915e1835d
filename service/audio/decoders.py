"""Keeps the processes that decode what comes from outside, with limits on what each may take.

Reading a container is where hostile bytes do harm, so it happens in small processes (service/audio/decoder_process.py)
that are used again, and replaced when their input is the end of them. A recording takes a process for as long as it is
being decoded, a live stream takes one for itself. What dies with its process is one recording or one stream.
"""

from __future__ import annotations

import asyncio
import collections
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from service.audio.wire import HEADER, MOST_BODY_BYTES, Kind
from service.errors import AudioTooLarge, InvalidRequest, NotReady, ServiceError, UndecodableAudio

# Recordings that are open in a process, most of them waiting for the recogniser; those past it wait for one that ends.
_MOST_RECORDINGS = 32
# Of them, so many are being decoded at a time; and so many processes without a job are kept.
_WORKING = max(2, os.cpu_count() or 1)
_SOCKET_BYTES = 1 << 19
_KEPT_BYTES = 16 << 20  # by an idle decoder, for its next job
_ZYGOTE_S = 60.0  # what its imports may take on a busy machine
_RETRY_AFTER_S = 10
_ERRORS: dict[str, type[ServiceError]] = {
    kind.__name__: kind for kind in (UndecodableAudio, AudioTooLarge, InvalidRequest)
}
_PROJECT = Path(__file__).resolve().parents[2]

log = logging.getLogger(__name__)


class Decoder:
    """Talks to one process that decodes, one call at a time, in the messages of service/audio/wire.py.

    Attributes:
        pid: Of the process; None once it has ended.
        zygote_pid: Of its zygote, with which it ends.
        has_job: Whether it is in the middle of one, or can't take another.
        is_at_rest: Whether it has answered what it was asked.
    """

    def __init__(self, pid: int, zygote_pid: int, channel: socket.socket) -> None:
        channel.setblocking(False)
        self.pid: int | None = pid
        self.zygote_pid = zygote_pid
        self.has_job = False
        self.is_at_rest = True
        self._channel = channel

    async def ask(self, kind: Kind, body: bytes | dict[str, Any] = b"") -> tuple[Kind, bytes]:
        """Sends a message and returns the first that answers it.

        Raises:
            UndecodableAudio, AudioTooLarge, InvalidRequest: as ``receive``.
        """
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.has_job, self.is_at_rest = True, False
        try:
            await asyncio.get_running_loop().sock_sendall(self._channel, HEADER.pack(kind, len(data)) + data)
        except OSError:
            raise await self._death() from None
        answer = await self.receive()
        self.is_at_rest = True
        return answer

    async def receive(self) -> tuple[Kind, bytes]:
        """Returns the next message; DONE and FAILED end the job.

        Raises:
            UndecodableAudio, AudioTooLarge, InvalidRequest: the job failed, or was the end of the process.
        """
        try:
            kind, size = HEADER.unpack(await self._read(HEADER.size))
            if size > MOST_BODY_BYTES:
                raise EOFError
            body = await self._read(size)
        except (OSError, EOFError):
            raise await self._death() from None
        if kind in (Kind.DONE, Kind.FAILED):
            told = json.loads(body)
            self.has_job = bool(told["is_spent"])
            if kind == Kind.FAILED:
                raise _ERRORS[told["error"]](told["message"], param=told["param"])
        return Kind(kind), body

    def is_alive(self) -> bool:
        """Tells whether a process without a job is still there."""
        try:
            return bool(self._channel.recv(1, socket.MSG_PEEK))
        except OSError as error:
            return isinstance(error, BlockingIOError)

    def hang_up(self) -> None:
        """Closes this end; a decoder that notices it ends."""
        self._channel.close()

    async def _read(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = bytearray(size)
        view, at = memoryview(data), 0
        while at < size:
            count = await loop.sock_recv_into(self._channel, view[at:])
            if not count:
                raise EOFError
            at += count
        return bytes(data)

    async def _death(self) -> UndecodableAudio:
        """Buries the process; returns what its job's client is told."""
        reason = await asyncio.wrap_future(_zygote.end(self))
        log.warning("a decoder has died over its input: %s", reason)
        if reason == "SIGXCPU":
            return UndecodableAudio("Decoding the audio takes longer than audio of its length can need.")
        return UndecodableAudio("The audio can't be decoded: the decoder failed over it.")


class _Zygote:
    """Talks to the process that forks decoders, which it starts when the first is needed.

    The calls run one after the other in a thread of their own: a fork takes milliseconds, and the first waits for the
    zygote's imports.
    """

    def __init__(self) -> None:
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="zygote")
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Returns the zygote's; None while there is none, as far as is known."""
        return self._process.pid if self._process else None

    def start(self) -> Future[Decoder]:
        """Forks a decoder; the result raises NotReady where there can be none."""
        return self._calls.submit(self._start)

    def end(self, decoder: Decoder) -> Future[str]:
        """Ends a decoder, if it has not ended by itself; the result is the signal or the status that it ended with."""
        decoder.hang_up()
        pid, decoder.pid = decoder.pid, None
        return self._calls.submit(self._end, pid)

    def _start(self) -> Decoder:
        ours, its = socket.socketpair()
        with its:
            its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            # A zygote that was killed is replaced; one that can't start will not do so a moment later.
            answer = self._call(b"start", its) or self._call(b"start", its)
        if self._process is None or answer is None or answer <= 0:
            ours.close()
            log.error("no decoder can be started: %s", "no zygote" if answer is None else "it can't fork")
            raise NotReady("No audio can be decoded at the moment; try again shortly.", retry_after_s=_RETRY_AFTER_S)
        return Decoder(answer, self._process.pid, ours)

    def _end(self, pid: int | None) -> str:
        if pid is None or self._control is None:
            return "ended before"
        status = self._call(str(pid).encode())
        if status is None:
            return "its zygote has died"
        if os.WIFSIGNALED(status):
            return signal.Signals(os.WTERMSIG(status)).name
        return f"status {os.waitstatus_to_exitcode(status)}"

    def _call(self, message: bytes, passed: socket.socket | None = None) -> int | None:
        """Returns the zygote's answer; None where it has died."""
        control = self._control or self._spawn()
        try:
            socket.send_fds(control, [message], [passed.fileno()] if passed else [])
            answer = control.recv(32)
        except OSError:
            answer = b""
        if answer:
            return int(answer)
        control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None
        return None

    def _spawn(self) -> socket.socket:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ZYGOTE_S)
        path = os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH")]))
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # what has threads can't fork
        # What one recording has freed the next one takes: got anew, its pages cost a sixth of the time of an mp3.
        memory = {"MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES), "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BYTES)}
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.audio.decoder_process", str(its.fileno())],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **threads, **memory, "PYTHONPATH": path},
            )
        self._control = ours
        return ours


class Places:
    """Gives a number of places in the order in which they are asked for, for one event loop at a time.

    Attributes:
        free: How many nobody has.
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    def try_take(self) -> bool:
        """Takes a place, if one is free."""
        if self.free <= 0:
            return False
        self.free -= 1
        return True

    async def take(self) -> None:
        """Takes a place; waits for one."""
        if self.try_take():
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Gives a place to the next that waits."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.free += 1

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(self, *_: object) -> None:
        self.give_back()


class Decoders:
    """Gives processes to jobs, and takes them back.

    Attributes:
        recordings: The places of recordings that are open in a process.
        working: The turns of those that are being decoded.
    """

    def __init__(self) -> None:
        self.recordings = Places(_MOST_RECORDINGS)
        self.working = Places(_WORKING)
        self._idle: list[Decoder] = []

    @property
    def idle(self) -> int:
        """Counts the processes that have no job."""
        return len(self._idle)

    def warm(self) -> None:
        """Begins to start a process, so that the first request needn't wait for it."""
        _zygote.start().add_done_callback(self._keep_started)

    async def take(self) -> Decoder:
        """Returns a process without a job, a new one where none is idle; give it back with ``release``.

        Raises:
            NotReady: there can be none.
        """
        while self._idle:
            decoder = self._idle.pop()
            if decoder.zygote_pid == _zygote.pid and decoder.is_alive():
                return decoder
            self._end(decoder)
        starting = _zygote.start()
        try:
            return await asyncio.wrap_future(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep_started)
            raise

    def release(self, decoder: Decoder) -> Future[str] | None:
        """Takes a process back, and ends it if it has a job or there are enough idle ones; then it returns its end."""
        if decoder.has_job or len(self._idle) >= _WORKING:
            return self._end(decoder)
        self._idle.append(decoder)
        return None

    def _end(self, decoder: Decoder) -> Future[str] | None:
        return _zygote.end(decoder) if decoder.pid is not None else None

    def _keep_started(self, starting: Future[Decoder]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            self.release(starting.result())


_zygote = _Zygote()
decoders = Decoders()
