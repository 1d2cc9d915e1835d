"""Downloads the recording behind an ``audio_address`` without letting it reach into the private network.

Every address is judged at the moment its socket is made, so what was checked is what is connected to:
a name that resolves differently the second time, odd spellings of an address and redirects gain nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.errors import AddressRefused, AudioTooLarge
from service.intake import disk

MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0  # the longest silence, not the whole body
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 1 << 18
# Of their own: a name server that does not answer holds one up for as long as the system asks it again.
_RESOLVERS = ThreadPoolExecutor(32, thread_name_prefix="resolve")

# Public by their number (to some Python versions), yet they lead inside: Azure's host agent, protocol
# assignments (Oracle's metadata), and the old tunnels from IPv6 to IPv4.
_INWARD = [
    ipaddress.ip_network(net)
    for net in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2002::/16", "2001::/32")
]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")


async def fetch_audio(
    url: str,
    into: IO[bytes],
    *,
    max_bytes: int,
    allow_private: bool,
    timeout_s: float,
    resolver: AbstractResolver | None = None,
) -> int:
    """Writes what the address holds into an open file and returns the number of bytes.

    ``timeout_s`` spans redirects and the whole body. After an error the file may hold a part; it is the
    caller's to delete. ``resolver`` replaces the system's; its answers are judged all the same.

    Raises:
        AddressRefused: not http(s), not public, or it did not answer 200 with a whole body in time.
        AudioTooLarge: the body is, or says that it is, larger than ``max_bytes``.
    """

    async with _session(resolver, allow_private=allow_private) as session:
        try:
            return await asyncio.wait_for(_follow(session, url, into, max_bytes), timeout_s)
        except asyncio.TimeoutError as error:
            raise _refused(f"did not deliver the audio within {timeout_s:g} s") from error


async def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> None:
    """Sends a body to an address, under the same rules; redirects are not followed.

    Raises:
        AddressRefused: not http(s), not public, or it did not answer 2xx in time.
    """
    async with _session(None, allow_private=allow_private) as session:
        with _told_as_refused():
            posting = session.post(checked_url(url), data=body, headers=headers, allow_redirects=False)
            try:
                response = await asyncio.wait_for(posting, READ_TIMEOUT_S)
            except asyncio.TimeoutError as error:
                raise _refused("did not answer in time") from error
            response.release()
            if not 200 <= response.status < 300:
                raise _refused(f"answered with HTTP status {response.status}", response.status)


class SystemResolver(AbstractResolver):
    """Asks the system for addresses, in threads that hold up nothing but other fetches."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses of a name.

        Raises:
            OSError: there is none, or no answer in time.
        """
        asking = asyncio.get_running_loop().run_in_executor(_RESOLVERS, _addresses, host, port, family)
        try:
            return await asyncio.wait_for(asking, CONNECT_TIMEOUT_S)
        except UnicodeError:  # a label that is empty or too long
            raise OSError("not the name of a host") from None
        except asyncio.TimeoutError:
            raise OSError(f"no answer of a name server in {CONNECT_TIMEOUT_S:g} s") from None

    async def close(self) -> None:
        """Has nothing to close."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        # by getnameinfo, for the scope of a link-local address
        ResolveResult(
            hostname=host,
            host=socket.getnameinfo(endpoint, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0],
            port=port,
            family=found,
            proto=protocol,
            flags=numeric,
        )
        for found, _, protocol, _, endpoint in socket.getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    ]


def _session(resolver: AbstractResolver | None, *, allow_private: bool) -> aiohttp.ClientSession:
    """Makes a session that judges each address as its socket is made."""

    def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, endpoint = info
        if not allow_private and not is_public(endpoint[0]):
            raise _refused("leads to an address that is not public")
        return socket.socket(family=family, type=kind, proto=protocol)

    connector = aiohttp.TCPConnector(
        resolver=resolver or SystemResolver(),
        use_dns_cache=False,
        happy_eyeballs_delay=None,
        socket_factory=guarded_socket,
        force_close=True,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
    )


def is_public(address: str) -> bool:
    """Says whether an IP address (as a socket names it) belongs to the open internet."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)))
        if ip not in _GLOBAL_IPV6:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _INWARD if net.version == ip.version)


async def _follow(session: aiohttp.ClientSession, url: str, into: IO[bytes], max_bytes: int) -> int:
    target = checked_url(url)
    for _ in range(MAX_REDIRECTS + 1):
        with _told_as_refused():
            async with session.get(target, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await _save(response, into, max_bytes)
                location = response.headers.get("Location", "")
        target = checked_url(location, base=target)
    raise _refused(f"redirects more than {MAX_REDIRECTS} times")


@contextmanager
def _told_as_refused() -> Iterator[None]:
    """Makes of aiohttp's errors what a client is told."""
    try:
        yield
    except aiohttp.ServerTimeoutError as error:
        raise _refused("did not answer in time") from error
    except aiohttp.ClientSSLError as error:
        raise _refused("has no valid TLS certificate") from error
    except aiohttp.ClientConnectorError as error:
        raise _refused("can't be reached") from error
    except aiohttp.InvalidURL as error:
        raise _refused("is not a valid URL") from error
    except aiohttp.ClientPayloadError as error:
        raise _refused("broke off, or sent what it had not announced") from error
    except aiohttp.ClientError as error:
        raise _refused("did not answer with valid HTTP") from error


async def _save(response: aiohttp.ClientResponse, into: IO[bytes], max_bytes: int) -> int:
    if response.status != 200:
        raise _refused(f"answered with HTTP status {response.status}", response.status)
    if response.content_length is not None and response.content_length > max_bytes:
        raise _too_large(max_bytes)
    size = 0
    # aiohttp undoes a content-encoding piece by piece, so the bytes counted are those written.
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        await disk.write(into, chunk)
    return size


def checked_url(text: str, base: URL | None = None) -> URL:
    """Reads an address, which may be relative to ``base``; whether it is public shows when it is connected to.

    Raises:
        AddressRefused: it is none of http(s), or has a password in it.
    """
    try:
        url = URL(text) if base is None else base.join(URL(text))
        port, _ = url.port, url.host  # a host that no name can be made of fails as it is decoded
    except ValueError as error:
        raise _refused("is not a valid URL") from error
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise _refused("is not an http or https URL" if base is None else "redirects to what is no http or https URL")
    if url.user is not None or url.password is not None:
        raise _refused("must not carry a user name or password")
    return url


def _refused(what: str, answered: int | None = None) -> AddressRefused:
    return AddressRefused(f"The audio address {what}.", param="audio_address", answered=answered)


def _too_large(max_bytes: int) -> AudioTooLarge:
    return AudioTooLarge(f"The audio behind the address is larger than the limit of {max_bytes} bytes.")
