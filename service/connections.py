"""Makes calls to runners on other machines notice one that is gone, and spread over all that are there.

BentoML's client waits an hour for an answer, as it must where an answer may take long, and so also for one from
a machine that has vanished. TCP itself tells the two apart, whatever the answer takes.
"""

from __future__ import annotations

import functools
import socket
from typing import Any

import aiohttp

_CONNECT_S = 5
# A silent machine is asked whether it is there after 5 s, and given up after three answers are missing.
_PROBE_AFTER_S = 5
_PROBES = 3
_GIVEN_UP_MS = 20_000  # the same for what was sent and is not acknowledged


def watch(proxy: Any) -> None:
    """Changes how a BentoML proxy connects, where it does so over a network; others are left as they are.

    Every call gets a connection of its own: a balancer of connections, as Kubernetes has, then balances calls, and
    a runner that comes back gets its share at once.
    """
    sessions = getattr(proxy, "_session_manager", None)  # none in one process
    if sessions is not None and sessions._app is None and sessions._parsed_url.scheme in ("http", "https"):
        sessions._make_client = functools.partial(_client, sessions)


def _client(sessions: Any) -> aiohttp.ClientSession:
    # As BentoML makes it, but for the connector and the limit on connecting.
    return aiohttp.ClientSession(
        base_url=sessions._parsed_url.geturl(),
        headers=sessions._headers,
        timeout=aiohttp.ClientTimeout(total=sessions._timeout.total, sock_connect=_CONNECT_S),
        connector=aiohttp.TCPConnector(force_close=True, socket_factory=_watched_socket),
    )


def _watched_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_AFTER_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GIVEN_UP_MS)
    return made
