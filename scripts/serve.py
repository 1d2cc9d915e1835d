"""Launches the service for `make serve`: checks the settings, starts BentoML, shows progress, stops everything.

BentoML restarts a process that dies, for ever and also while starting, and a killed BentoML leaves its
processes behind. So a process that dies before the service was ready ends the start with its message,
and whatever is left of the server at the end is killed.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ipaddress
import itertools
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import aiohttp
import psutil
from pydantic import Field, IPvAnyAddress, ValidationError

from runners import catalog, store
from service.settings import Settings, describe_problems

PROJECT_ROOT = Path(__file__).resolve().parents[1]
_DRAIN_S = 60
_STOP_S = _DRAIN_S + 15  # past it, what is left is killed
_MARK = "ASR_SERVER_ID"
_WORKER_MODULE = "_bentoml_impl.worker.service"
_KEPT_LINES = 200
_INITIALIZED = re.compile(r"\bService (\w+) initialized")  # said by BentoML when a worker has loaded
_RECORD = re.compile(r"\d{4}-\d\d-\d\d[T ]")


class LaunchSettings(Settings):
    """Says where the service listens, on top of the service's settings."""

    host: IPvAnyAddress = Field(
        default=ipaddress.IPv4Address("0.0.0.0"), description="Address to listen on; 127.0.0.1: this machine only."
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")


class StartFailed(RuntimeError):
    """The server cannot start; the message says why."""


class Server:
    """Runs `bentoml serve` and every process it starts, recognised by a mark in their environment."""

    def __init__(self, target: str, settings: LaunchSettings) -> None:
        self._settings = settings
        self._mark = uuid.uuid4().hex
        self._last_lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._workers: dict[int, str] = {}
        self._loaded: set[str] = set()
        host, port = str(settings.host), settings.port
        environment = {
            "BENTOML_DO_NOT_TRACK": "True",
            "PYTHONUNBUFFERED": "1",
            **os.environ,
            "ENABLED_MODELS": ",".join(settings.enabled_models),
            _MARK: self._mark,
        }
        command = [sys.executable, "-m", "bentoml", "serve", target, "--host", host, "--port", str(port)]
        self._process = subprocess.Popen(
            [*command, "--timeout-graceful-shutdown", str(_DRAIN_S)],
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the launcher only, which stops the server in order
        )
        self._output = threading.Thread(target=self._copy_output, name="output", daemon=True)
        self._output.start()

    def _copy_output(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._last_lines.append(line)
            self._loaded.update(_INITIALIZED.findall(line))
            write(line)

    async def exited(self) -> int:
        """Returns the exit code, once the server has ended."""
        return await asyncio.to_thread(self._process.wait)

    async def ready(self) -> None:
        """Returns once `/readyz` answers 200.

        Raises:
            StartFailed: one of the server's processes dies before.
        """
        host = "127.0.0.1" if self._settings.host.is_unspecified else str(self._settings.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{self._settings.port}/readyz"
        started = shown = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as client:
            while True:
                self._check_workers()
                with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError):
                    async with client.get(url) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.5)
                if time.monotonic() - shown >= 5:
                    shown = time.monotonic()
                    waiting = sorted(set(self._workers.values()) - self._loaded)
                    say(f"  still loading, {shown - started:.0f} s: {', '.join(waiting) or 'almost there'}")

    def _check_workers(self) -> None:
        alive = {}
        for child in psutil.Process(self._process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                command = child.cmdline()
                if _WORKER_MODULE in command:
                    alive[child.pid] = command[command.index("--service-name") + 1]
        for pid, name in self._workers.items():
            if pid not in alive:
                raise StartFailed(f"{name} ended while it was starting{self._last_error()}")
        self._workers = alive

    def _last_error(self) -> str:
        """Finds the last exception's message in the output: what follows the frames of its traceback."""
        lines = list(self._last_lines)
        for start in range(len(lines) - 1, -1, -1):
            if "Traceback (most recent call last)" in lines[start]:
                after = itertools.dropwhile(lambda line: line.startswith("  "), lines[start + 1 :])
                message = itertools.takewhile(lambda line: line.strip() and not _RECORD.match(line), after)
                return ":\n" + "".join(message).rstrip()
        return "; its last lines are above"

    def terminate(self) -> None:
        """Asks the server to end; its processes may still be there afterwards."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def sweep(self) -> int:
        """Kills what is left of the server; returns how many processes that were."""
        left = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await self.exited()
        self._output.join(timeout=5)
        return len(left)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(_MARK) == self._mark
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            return False


def say(text: str) -> None:
    """Writes a line to standard output."""
    write(text + "\n")


def write(text: str) -> None:
    """Writes to standard output. Once nobody reads it any more (``| head``, a closed terminal), to nowhere."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_settings() -> LaunchSettings:
    """Reads settings of the environment and `.env`; unlike the service alone, the demo pack is the default here.

    Raises:
        SystemExit: a value is wrong; each is named on standard error.
    """
    try:
        settings = LaunchSettings()
        if "enabled_models" not in settings.model_fields_set:
            settings = LaunchSettings(enabled_models="demo")  # type: ignore[arg-type]
        else:  # once more, aloud: what `auto` takes, and why
            said = logging.getLogger("runners.settings")
            said.addHandler(logging.StreamHandler(sys.stdout))
            said.setLevel(logging.INFO)
            settings = LaunchSettings()
    except ValidationError as error:
        for problem in describe_problems(error).splitlines():
            sys.stderr.write(f"wrong setting: {problem}\n")
        raise SystemExit(2) from None
    return settings


def check_port(settings: LaunchSettings) -> None:
    """Ends the process with a line when the address cannot be listened on."""
    with socket.socket(socket.AF_INET6 if settings.host.version == 6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(settings.host), settings.port))
        except OSError as error:
            sys.exit(
                f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose another with PORT=…"
            )


def check_models(settings: LaunchSettings) -> None:
    """Says where each model part is.

    Raises:
        SystemExit: parts are missing, and nothing may be fetched; the message names all of them.
    """
    offline = settings.model_copy(update={"allow_model_download": False})
    missing: list[store.ModelFilesMissingError] = []
    to_fetch_mb = 0
    for model in (catalog.models()[name] for name in settings.enabled_models):
        for name, part in model.parts.items():
            try:
                say(f"  {model.id} {name}: {store.find_part(model, name, offline)}")
            except store.ModelFilesMissingError as error:
                if name in catalog.OPTIONAL_PARTS:
                    say(f"  {model.id} {name}: none, goes without")
                    continue
                missing.append(error)
                to_fetch_mb += part.size_mb
                say(f"  {model.id} {name}: to be fetched, {part.size_mb} MB")
    if missing and not settings.allow_model_download:
        sys.exit("\n".join(["The service cannot start.", *map(str, missing)]))
    if missing:
        say(f"  fetching {to_fetch_mb} MB from ModelScope to {settings.modelscope_path} first …")


def welcome(settings: LaunchSettings, seconds: float) -> str:
    """Writes what a person reads once the service is ready."""
    base = f"http://{'localhost' if settings.host.is_unspecified else settings.host}:{settings.port}"
    key = '-H "Authorization: Bearer $API_KEY" ' if settings.api_key else ""
    lines = [
        "",
        f"Ready after {seconds:.0f} s: {base}",
        f"  API documentation  {base}/docs",
        f"  Try it             curl {base}/v1/audio/transcriptions {key}-F file=@speech.wav",
        f"  Try it live        {base}/ws/v1/asr/test",
        f"  Models             {', '.join(settings.enabled_models)}",
    ]
    if all(catalog.models()[name].demo for name in settings.enabled_models):
        large = catalog.models()["paraformer-large"]
        size_gb = sum(part.size_mb for part in large.parts.values()) / 1000
        lines += [
            "This is the demo pack: tiny models that know a closed vocabulary of synthetic Mandarin and nothing else.",
            f"For real speech: ENABLED_MODELS={large.id} make serve   "
            f"(fetches {size_gb:.1f} GB once; auto chooses for you)",
        ]
    return "\n".join([*lines, "Stop with Ctrl-C.", ""])


async def first_of(*waits: asyncio.Task[object]) -> None:
    """Waits until one of the tasks is done."""
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)


async def serve(target: str, settings: LaunchSettings) -> int:
    """Runs the server until a signal or its end; returns the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves SIGHUP
            loop.add_signal_handler(number, stop.set)
    say(f"Loading {', '.join(settings.enabled_models)} …")
    check_models(settings)
    began = time.monotonic()
    server = Server(target, settings)
    exited: asyncio.Task[object] = asyncio.create_task(server.exited())
    ready: asyncio.Task[object] = asyncio.create_task(server.ready())
    stopping: asyncio.Task[object] = asyncio.create_task(stop.wait())
    try:
        await first_of(exited, ready, stopping)
        if ready.done() and not exited.done():
            await ready
            say(welcome(settings, time.monotonic() - began))
            await first_of(exited, stopping)
        if exited.done():
            say(f"The server ended by itself (exit code {exited.result()}).")
            return 1
        say(f"Stopping: requests in work have {_DRAIN_S} s; a second signal stops at once.")
        stop.clear()
        server.terminate()
        again: asyncio.Task[object] = asyncio.create_task(stop.wait())
        await asyncio.wait((exited, again), timeout=_STOP_S, return_when=asyncio.FIRST_COMPLETED)
        return 0 if exited.done() else 1
    except StartFailed as error:
        say(f"\nThe service did not start: {error}")
        return 1
    finally:
        ready.cancel()
        if await server.sweep():
            say("Processes that were left have been killed.")


def main() -> None:
    """Serves until the end, and exits with the server's code."""
    settings = read_settings()
    check_port(settings)
    raise SystemExit(asyncio.run(serve(sys.argv[1] if len(sys.argv) > 1 else "service:ASRService", settings)))


if __name__ == "__main__":
    main()
