"""Makes the virtual environment and installs lists of pinned versions, with a few lines of progress.

`setup_venv.py VENV REQUIREMENTS [NO_DEPS]`; what the last list names is installed without what it declares. Run by
`make` with the system's Python, so nothing but the standard library is imported.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

SUPPORTED = ((3, 10), (3, 13))


def main() -> None:
    """Makes the environment that the arguments name, or brings it up to date."""
    venv, requirements, *no_deps = map(Path, sys.argv[1:])
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        sys.exit(
            f"Python 3.10 to 3.13 is needed, this is {sys.version.split()[0]}; choose one: make PYTHON=python3.11 …"
        )
    if not (venv / "bin" / "pip").exists():
        print(f"Making {venv} with Python {sys.version.split()[0]} …", flush=True)
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], capture_output=True, text=True)
        if made.returncode:
            sys.exit(
                f"Python's venv module does not work here; install it (Debian, Ubuntu: apt install python3-venv).\n"
                f"{(made.stdout + made.stderr).strip()}"
            )
    install(venv, requirements)
    for more in no_deps:
        install(venv, more, "--no-deps")


def install(venv: Path, requirements: Path, *options: str) -> None:
    """Installs ``requirements``, showing how far it is; ends the process with pip's last lines on failure."""
    print(f"Installing {requirements} (the first time takes some minutes) …", flush=True)
    started = time.monotonic()
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    with subprocess.Popen(
        [*command, "--progress-bar", "off", *options, "-r", str(requirements)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        assert pip.stdout is not None
        output, fetched = [], 0
        for line in pip.stdout:
            output.append(line.rstrip())
            if line.startswith(("Collecting ", "Processing ")):
                fetched += 1
                if fetched % 25 == 0:
                    print(f"  {fetched} packages fetched, {time.monotonic() - started:.0f} s", flush=True)
            elif line.startswith("Installing collected"):
                print(f"  unpacking {fetched} packages, {time.monotonic() - started:.0f} s", flush=True)
    if pip.returncode:
        sys.exit("\n".join(["The installation failed; pip's last lines:", *output[-15:]]))
    print(f"  done in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
