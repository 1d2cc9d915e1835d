"""Building an image without a registry, and running it as a container runtime does: by `buildah` and a chroot.

The base is Debian's own packages instead of Docker Hub's python:3.11-slim. What a runtime would give, the run here
has too: the image's user and environment, a read-only root, a volume at /tmp, process 1 of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from runners.catalog import PROJECT_ROOT

BASE = "localhost/asr-test-base"
_PACKAGES = "python3-minimal,libpython3-stdlib,ca-certificates"
# How packages are found here may be this machine's own business; an image of a base for tests may know it.
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def why_not() -> str:
    """Why this machine cannot build an image; "" where it can."""
    if os.geteuid() != 0:
        return "a root file system is made as root here"
    missing = [tool for tool in ("buildah", "mmdebstrap", "unshare") if shutil.which(tool) is None]
    if missing:
        return f"not installed (Debian packages): {', '.join(missing)}"
    return "" if sys.version_info[:2] == (3, 11) else "the base has Python 3.11, this is another"


def run(*command: str, cwd: Path = PROJECT_ROOT, **environment: str) -> str:
    result = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-6000:]}"
    return result.stdout


def make_base(folder: Path) -> None:
    """Imports Debian 12 with Python and uv as the image BASE."""
    rootfs = folder / "rootfs.tar"
    sources = next(iter(sorted(Path("/etc/apt/sources.list.d").glob("debian.sources"))), Path("/etc/apt/sources.list"))
    run("mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(rootfs), str(sources))
    container = run("buildah", "from", "scratch").split()[-1]
    try:
        run("buildah", "add", container, str(rootfs), "/")
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert uv, "uv is not installed"
        run("buildah", "copy", container, uv, "/usr/local/bin/uv")
        if _CERTIFICATES.is_file():
            run("buildah", "copy", container, str(_CERTIFICATES), str(_CERTIFICATES))
            run("buildah", "config", "--env", f"SSL_CERT_FILE={_CERTIFICATES}", container)
        run("buildah", "commit", container, BASE)
    finally:
        run("buildah", "rm", container)
        rootfs.unlink()


def containerize(tag: str, image: str, home: Path) -> None:
    """`bentoml containerize`, with the packages that lie on this machine where pip is told of some."""
    wheels = [Path(place) for place in os.environ.get("PIP_FIND_LINKS", "").split() if Path(place).is_dir()]
    options = ["isolation=chroot", f"build-arg=BASE_IMAGE={BASE}"]
    if wheels:
        options += [f"volume={place}:{place}:ro" for place in wheels]
        options += [f"build-arg=UV_FIND_LINKS={','.join(map(str, wheels))}"]
    arguments = [argument for option in options for argument in ("--opt", option)]
    command = [sys.executable, "-m", "bentoml", "containerize", tag, "--backend", "buildah", "--image-tag", image]
    # Docker's format has a HEALTHCHECK, the OCI's has not.
    settings = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "BUILDAH_FORMAT": "docker"}
    run(*command, *arguments, cwd=Path("/"), **settings)


def inspect(image: str) -> dict[str, Any]:
    """An image's configuration, as Docker has it."""
    described: dict[str, Any] = json.loads(run("buildah", "inspect", "--type", "image", image))
    return described["Docker"]["config"]  # type: ignore[no-any-return]


def size_mb(image: str) -> int:
    listed = json.loads(run("buildah", "images", "--json", image))[0]["size"]
    number, unit = listed.split()
    return round(float(number) * {"KB": 1e-3, "MB": 1, "GB": 1e3}[unit])


@dataclass(frozen=True)
class Container:
    root: Path
    runtime: subprocess.Popen[bytes]
    log: Path
    environment: dict[str, str]
    uid: int

    @property
    def first(self) -> psutil.Process:
        """Its process 1."""
        return psutil.Process(self.runtime.pid).children()[0]

    @property
    def processes(self) -> list[psutil.Process]:
        return [self.first, *self.first.children(recursive=True)]

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as `docker exec`."""
        enter = ["nsenter", "--target", str(self.first.pid), "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(
            [*enter, f"--setuid={self.uid}", f"--setgid={self.uid}", "env", "-i", *self._assignments, *command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def _assignments(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.environment.items()]

    def inside_network(self, url: str) -> str:
        """The status that a GET answers where the container's network is; what went wrong otherwise."""
        get = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=5).status)"
        if not psutil.Process(self.runtime.pid).children():
            return "not started"
        enter = ["nsenter", "--target", str(self.first.pid), "--net"]
        result = subprocess.run(
            [*enter, sys.executable, "-c", get], capture_output=True, text=True, timeout=60, check=False
        )
        return result.stdout + result.stderr

    def stop(self) -> int:
        """SIGTERM to process 1; returns its exit code."""
        self.first.send_signal(signal.SIGTERM)
        return self.runtime.wait(timeout=90)


@contextmanager
def running(image: str, folder: Path, *command: str, network: bool = True, **environment: str) -> Iterator[Container]:
    """A container of an image; with ``network`` false its only one is its own loopback."""
    settings = inspect(image)
    name = run("buildah", "from", image).split()[-1]
    root = Path(run("buildah", "mount", name).strip())
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")  # as a runtime does
    user = settings["User"]
    uid = next(
        int(line.split(":")[2]) for line in (root / "etc/passwd").read_text().splitlines() if line.split(":")[0] == user
    )
    variables = {**dict(entry.split("=", 1) for entry in settings["Env"]), "HOME": f"/home/{user}", **environment}
    temporary = folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    script = f"""
        set -e
        {"" if network else "ip link set lo up"}
        mount --bind {root} {root}
        mount --bind {temporary} {root}/tmp
        mount --rbind /dev {root}/dev
        mount -t proc proc {root}/proc
        mount -o remount,ro,bind {root}
        cd {root}
        exec chroot --userspec={uid}:{uid} {root} env -i "$@"
    """
    log = folder / "container.log"
    with log.open("wb") as output:
        runtime = subprocess.Popen(
            [
                *["unshare", "--mount", "--pid", "--fork", *([] if network else ["--net"])],
                *["bash", "-c", script, "container", *[f"{key}={value}" for key, value in variables.items()]],
                *["sh", "-c", f'cd {settings["WorkingDir"]} && exec "$@"', "sh", *settings["Entrypoint"], *command],
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Container(root, runtime, log, variables, uid)
    finally:
        for process in psutil.Process(runtime.pid).children() if runtime.poll() is None else []:
            process.kill()  # process 1: the others end with it
        runtime.wait()
        time.sleep(0.5)  # its mounts go with its last process
        run("buildah", "umount", name)
        run("buildah", "rm", name)


def remove(*images: str) -> None:
    for image in images:
        subprocess.run(["buildah", "rmi", "--force", image], capture_output=True, check=False)
