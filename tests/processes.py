"""The processes that decode for this one."""

from __future__ import annotations

import psutil


def decoder_processes() -> list[psutil.Process]:
    """Those that are alive: what the zygote among our children has forked."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.ppid() != psutil.Process().pid and child.status() != "zombie"]
