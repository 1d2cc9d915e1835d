"""Downloads the recording behind an ``audio_address`` without letting it reach into the private network.

Every address is judged at the moment its socket is made, so what was checked is what is connected to:
a name that resolves differently the second time, odd spellings of an address and redirects gain nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, BinaryIO

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from service.errors import AddressRefused, AudioTooLarge

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 1 << 18

# Public by their number, yet they lead inside: Azure's host agent, and the old IPv6 tunnels.
_INWARD = [ipaddress.ip_network(net) for net in ("168.63.129.16/32", "2002::/16", "2001::/32")]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """``read_timeout_s`` is the longest silence, ``total_timeout_s`` spans redirects and the whole body."""

    max_bytes: int
    allow_private: bool = False
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    total_timeout_s: float = 600.0


async def fetch_audio(
    url: str, into: BinaryIO, limits: FetchLimits, *, resolver: AbstractResolver | None = None
) -> int:
    """Writes what the address holds into an open file and returns the number of bytes.

    After an error the file may hold a part; it is the caller's to delete. ``resolver`` replaces the
    system's; its answers are judged all the same.

    Raises:
        AddressRefused: not http(s), not public, or it did not answer 200 with a whole body in time.
        AudioTooLarge: the body is, or says that it is, larger than ``limits.max_bytes``.
    """
    try:
        return await asyncio.wait_for(_fetch(url, into, limits, resolver), limits.total_timeout_s)
    except asyncio.TimeoutError as error:
        raise _refused(f"did not deliver within {limits.total_timeout_s:g} s") from error


def is_public(address: str) -> bool:
    """Whether an IP address (as a socket names it) belongs to the open internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)))
        if ip not in _GLOBAL_IPV6:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _INWARD if net.version == ip.version)


async def _fetch(url: str, into: BinaryIO, limits: FetchLimits, resolver: AbstractResolver | None) -> int:
    def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, endpoint = info
        if not limits.allow_private and not is_public(endpoint[0]):
            raise _refused("leads to an address that is not public")
        return socket.socket(family=family, type=kind, proto=protocol)

    connector = aiohttp.TCPConnector(
        resolver=resolver or aiohttp.ThreadedResolver(),
        use_dns_cache=False,
        happy_eyeballs_delay=None,
        socket_factory=guarded_socket,
        force_close=True,
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_timeout_s, sock_read=limits.read_timeout_s)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
    ) as session:
        target = _checked_url(url)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with session.get(target, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await _save(response, into, limits.max_bytes)
                    location = response.headers.get("Location", "")
            except asyncio.TimeoutError as error:
                raise _refused("did not answer in time") from error
            except aiohttp.ClientConnectorCertificateError as error:
                raise _refused("has no valid TLS certificate") from error
            except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError) as error:
                raise _refused("can't be reached") from error
            except aiohttp.InvalidURL as error:
                raise _refused("is not a valid URL") from error
            except aiohttp.ClientPayloadError as error:
                raise _refused("broke off before the end of the file") from error
            except aiohttp.ClientError as error:
                raise _refused("did not answer with valid HTTP") from error
            target = _checked_url(location, base=target)
    raise _refused(f"redirects more than {MAX_REDIRECTS} times")


async def _save(response: aiohttp.ClientResponse, into: BinaryIO, max_bytes: int) -> int:
    if response.status != 200:
        raise _refused(f"answered with HTTP status {response.status}")
    if response.content_length is not None and response.content_length > max_bytes:
        raise _too_large(max_bytes)
    size = 0
    # aiohttp undoes a content-encoding piece by piece, so the bytes counted are those written.
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        await asyncio.to_thread(into.write, chunk)
    return size


def _checked_url(text: str, base: URL | None = None) -> URL:
    try:
        url = URL(text) if base is None else base.join(URL(text))
        port = url.port
    except ValueError as error:
        raise _refused("is not a valid URL") from error
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise _refused("is not an http or https URL" if base is None else "redirects to what is no http or https URL")
    if url.user is not None or url.password is not None:
        raise _refused("must not carry a user name or password")
    return url


def _refused(what: str) -> AddressRefused:
    return AddressRefused(f"The audio address {what}.", param="audio_address")


def _too_large(max_bytes: int) -> AudioTooLarge:
    return AudioTooLarge(f"The audio behind the address is larger than the limit of {max_bytes} bytes.")
