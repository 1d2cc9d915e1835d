"""Keeps the tests apart from the machine they run on: its environment, `.env`, and BentoML's stores."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from runners.settings import RunnerSettings
from service.settings import Settings

# Before any test module is imported: BentoML reads its home, and runners their settings, on import.
for _name in (*Settings.model_fields, "modelscope_cache"):
    os.environ.pop(_name.upper(), None)
for _settings in (RunnerSettings, Settings):
    _settings.model_config["env_file"] = None
_home = tempfile.mkdtemp(prefix="bentoml-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["OMP_NUM_THREADS"] = "1"  # tests share the cores with servers; more threads only wait for each other
os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(_home, "inductor")  # torch makes it where it is imported
os.environ.update(BENTOML_HOME=_home, BENTOML_DO_NOT_TRACK="True", ENABLED_MODELS="demo")
