"""The vLLM backend against the vLLM that is pinned, and the oldest that it runs on: unpacked, not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / "build" / "vllm"
PINNED = re.findall(r"^vllm==(\S+)", (ROOT / "requirements-gpu.txt").read_text(), re.MULTILINE)


def wheel(version: str) -> Path:
    """The wheel of a version in build/vllm; in CI it is fetched."""
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(WHEELS), f"vllm=={version}"]
    if not (found := list(WHEELS.glob(f"vllm-{version}-*.whl"))):
        if not os.environ.get("CI"):
            pytest.skip(f"the wheel isn't there (300 MB): pip download --no-deps -d build/vllm vllm=={version}")
        subprocess.run(fetch, check=True)
        found = list(WHEELS.glob(f"vllm-{version}-*.whl"))
    return found[0]


@pytest.mark.parametrize("version", [*PINNED, "0.26.0"])
def test_the_backend_fits_vllm(version: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel(version)) as packed:
        for name in packed.namelist():
            if name.endswith((".py", "METADATA")):
                packed.extract(name, tmp_path)
    command = [sys.executable, "-m", "pytest", "-p", "tests.gpu.vllm_import", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "gpu" / "on_vllm.py")],
        cwd=ROOT,
        env={**os.environ, "VLLM_WHEEL": str(tmp_path), "VLLM_LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
