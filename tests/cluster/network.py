"""Hosts made of network namespaces on this machine: each with its own address, to be killed or cut off."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_NETWORK = "198.18.77"  # set aside for tests of networks
SERVICE_ADDRESS = f"{_NETWORK}.100"
PORT = 8000


def why_not() -> str:
    """Why this machine cannot have such hosts; "" where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root here"
    for tool in ("ip", "iptables"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: iproute2, iptables)"
    name = f"asr-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "this machine lets us make no network namespace"
    probed = subprocess.run(
        ["ip", "netns", "exec", name, "iptables", "-t", "nat", "-L"], capture_output=True, check=False
    )
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return "iptables has no NAT here" if probed.returncode else ""


@dataclass(frozen=True)
class Host:
    name: str
    address: str

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def run(self, *command: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.name, *command], check=True)

    def enter(self) -> None:
        """Moves the calling thread to this host: the sockets that it makes from now on are the host's."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", self.name).open("rb") as namespace:
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.name}")

    def crash(self) -> None:
        """Kills every process of the host at once."""
        found = subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True)
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def cut_off(self) -> None:
        """Loses every packet to and from the host, without a word to anybody."""
        for chain in ("INPUT", "OUTPUT"):
            self.run("iptables", "-I", chain, "!", "-i" if chain == "INPUT" else "-o", "lo", "-j", "DROP")

    def reconnect(self) -> None:
        self.run("iptables", "-F")


@contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """Hosts on one switch; with everything on them removed at the end."""
    mark = os.getpid()
    switch = Host(f"asr-switch-{mark}", "")
    made: list[Host] = []
    try:
        subprocess.run(["ip", "netns", "add", switch.name], check=True)
        switch.run("ip", "link", "add", "bridge", "type", "bridge")
        switch.run("ip", "link", "set", "bridge", "up")
        for number, name in enumerate(names, 1):
            host = Host(f"asr-{name}-{mark}", f"{_NETWORK}.{number}")
            subprocess.run(["ip", "netns", "add", host.name], check=True)
            made.append(host)
            switch.run("ip", "link", "add", f"port{number}", "type", "veth", "peer", "eth0", "netns", host.name)
            switch.run("ip", "link", "set", f"port{number}", "master", "bridge", "up")
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "link", "set", "eth0", "up")
            host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        yield made
    finally:
        for host in made:
            host.crash()
            subprocess.run(["ip", "netns", "delete", host.name], check=False)
        subprocess.run(["ip", "netns", "delete", switch.name], check=False)


def balance(client: Host, backends: Sequence[Host]) -> None:
    """Sends each new connection of a host to SERVICE_ADDRESS to one of ``backends``, by chance, as Kubernetes does."""
    client.run("iptables", "-t", "nat", "-F", "OUTPUT")
    for number, backend in enumerate(backends):
        share = 1 / (len(backends) - number)
        chance = ["-m", "statistic", "--mode", "random", "--probability", f"{share:.4f}"] if share < 1 else []
        to = f"{backend.address}:{PORT}"
        rule = ["-d", SERVICE_ADDRESS, "-p", "tcp", "--dport", str(PORT), *chance, "-j", "DNAT", "--to-destination", to]
        client.run("iptables", "-t", "nat", "-A", "OUTPUT", *rule)
