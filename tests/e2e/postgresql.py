"""A real PostgreSQL for a test, in a folder of its own, which can be stopped and started."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDERS = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
INITDB = shutil.which("initdb") or (f"{_FOLDERS[-1]}/initdb" if _FOLDERS else None)
MISSING = "PostgreSQL's initdb is not installed"


class PostgreSQL:
    """A database server on this machine.

    Attributes:
        url: Of a database.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is empty, and others may look into those above it: the server doesn't run as root."""
        assert INITDB is not None
        self._folder = folder
        self._pg_ctl = str(Path(INITDB).with_name("pg_ctl"))
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        if self._as_user:
            shutil.chown(self._folder, "postgres")
        self._run(INITDB, "--auth=trust", "--username=asr", "--no-sync", "-D", str(self._folder / "data"))
        self.url = f"postgresql://asr:secret@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        )
        log = str(self._folder / "log")
        self._run(self._pg_ctl, "-D", str(self._folder / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        self._run(self._pg_ctl, "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def _run(self, *command: str) -> None:
        subprocess.run([*self._as_user, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A server that runs to the end of the block."""
    with tempfile.TemporaryDirectory(prefix="asr-postgresql-", ignore_cleanup_errors=True) as folder:
        server = PostgreSQL(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
