"""Run in a network namespace of its own: imports an exported Bento into an empty home, checks, serves, transcribes.

Prints one JSON object. A program, because the process itself must be where there is no network.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from runners.catalog import PROJECT_ROOT
from tests.e2e.bentos import command_line, served

RECORDING = PROJECT_ROOT / "tests" / "fixtures" / "speech" / "date.flac"


def main() -> None:
    archive, tag, empty = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ["HOME"] = str(empty)
    command_line("bentoml", "import", archive, home=empty, cwd=empty)
    source = empty / "bentos" / tag.replace(":", "/") / "src"
    verified = command_line("runners.verify", home=empty, cwd=source)
    with served(tag, home=empty, cwd=empty) as base, RECORDING.open("rb") as file:
        answer = httpx.post(
            f"{base}/v1/audio/transcriptions", files={"file": file}, data={"response_format": "text"}, timeout=60
        )
    print(json.dumps({"network": reachable(), "verified": verified, "status": answer.status_code, "text": answer.text}))


def reachable() -> str:
    """What a connection to an address elsewhere comes to."""
    with socket.socket() as probe:
        probe.settimeout(5)
        try:
            probe.connect(("192.0.2.1", 80))  # reserved for documentation: nobody's
        except OSError as error:
            return str(error)
    return "connected"


if __name__ == "__main__":
    main()
