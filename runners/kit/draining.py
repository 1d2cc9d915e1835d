"""Keeps a runner serving while the API service finishes its requests.

BentoML stops all its processes at once, so a request in work would lose its runner. A runner therefore
takes SIGTERM to mean: end when the API service of the same server has ended.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

import psutil

_POLL_S = 0.2


def outlive_service(name: str = "ASRService") -> None:
    """Delays this process's SIGTERM until the sibling process that serves ``name`` is gone.

    Call it where the server's own signal handlers are in place: in the constructor of a service. Does
    nothing outside a server's main thread (in-process tests), and waits for nothing where the runner
    is deployed alone.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    inherited = signal.getsignal(signal.SIGTERM)
    if not callable(inherited):
        return
    alone = threading.Event()

    def wait() -> None:
        while _serves_beside_us(name):
            time.sleep(_POLL_S)
        alone.set()
        os.kill(os.getpid(), signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        if alone.is_set():
            inherited(number, frame)
        elif not any(thread.name == "draining" for thread in threading.enumerate()):
            threading.Thread(target=wait, name="draining", daemon=True).start()

    signal.signal(signal.SIGTERM, handle)


def _serves_beside_us(name: str) -> bool:
    try:
        siblings = psutil.Process(os.getppid()).children()
    except psutil.NoSuchProcess:
        return False
    for sibling in siblings:
        try:
            command = sibling.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if "--service-name" in command and command[command.index("--service-name") + 1] == name:
            return True
    return False
