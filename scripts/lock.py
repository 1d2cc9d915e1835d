"""Writes a lock file from a resolver's output: `lock.py FILE COMMAND…`; run by `make constraints`.

What PyTorch's CUDA build pulls in is left out: it pins those packages itself, and its CPU build has none.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

_CUDA = re.compile(r"(nvidia-(?!ml-py)|cuda-|triton==)")
_HEADER = {
    "constraints.txt": "# Every version, tools included, for each supported Python. Made by `make constraints`.\n",
    "requirements.txt": "# What runs the service (the runtime part of constraints.txt); also what a Bento\n"
    "# installs. Made by `make constraints`.\n",
    "requirements-gpu.txt": "# What runs the service on Linux with an NVIDIA GPU: Qwen3-ASR on vLLM.\n"
    "# Made by `make constraints`.\n",
}


def main() -> None:
    """Runs the resolver, from the versions that the file has, and writes what it found."""
    target, command = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / target.name
        if target.exists():  # the resolver keeps the versions it finds there
            output.write_text(target.read_text(encoding="utf-8"), encoding="utf-8")
        subprocess.run([*command, "pyproject.toml", "-o", str(output)], check=True)
        lines = output.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("#", " ")) and not _CUDA.match(line)]
    target.write_text(_HEADER[target.name] + "\n".join(kept) + "\n", encoding="utf-8")
    print(f"{target}: {len(kept)} packages")


if __name__ == "__main__":
    main()
