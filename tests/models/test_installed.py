"""What serves needs nothing but what `make serve` installs, though tests are run where more is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from runners.catalog import PROJECT_ROOT

_LOADS_EVERYTHING = """
from runners.qwen3.words import alignment_units
from service.api import ASRService, app

app.routes
for dependency in ASRService.dependencies.values():
    dependency.on.inner()
print(alignment_units("今日は天気がいい", "Japanese"), alignment_units("오늘은 날씨가 좋다", "Korean"))
"""


def site_of(names: set[str], folder: Path) -> Path:
    """A site-packages directory with some of this environment's distributions only."""
    here = Path(sysconfig.get_paths()["purelib"])
    for name in names:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:  # of another platform or Python
            continue
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(here / top)
    return folder


def test_everything_loads_with_what_make_serve_installs(tmp_path: Path) -> None:
    lists = ((PROJECT_ROOT / name).read_text() for name in ("requirements.txt", "requirements-no-deps.txt"))
    names = {match[1] for text in lists for match in re.finditer(r"^([a-z0-9-]+)==", text, re.MULTILINE)}
    path = os.pathsep.join(map(str, (PROJECT_ROOT, site_of(names, tmp_path))))
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", _LOADS_EVERYTHING],
        env={**os.environ, "PYTHONPATH": path, "ENABLED_MODELS": "demo"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert "天気" in loaded.stdout
    assert "날씨" in loaded.stdout
