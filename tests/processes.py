"""The processes that decode for this one."""

from __future__ import annotations

import psutil


def decoder_processes() -> list[psutil.Process]:
    """Those that are alive: what the zygote among our children has forked; a server of another test has its own."""
    zygotes = [child for child in psutil.Process().children() if _is_zygote(child)]
    decoders = [decoder for zygote in zygotes for decoder in zygote.children()]
    return [decoder for decoder in decoders if decoder.status() != "zombie"]


def _is_zygote(process: psutil.Process) -> bool:
    try:
        return "service.audio.decoder_process" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False
