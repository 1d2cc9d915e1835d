"""What an ``audio_address`` may and may not do, against servers on this machine."""

from __future__ import annotations

import asyncio
import gzip
import io
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import RawTestServer

from service.errors import AddressRefused, AudioTooLarge
from service.intake import disk, fetch
from service.intake.fetch import fetch_audio, is_public

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
AUDIO = bytes(range(256)) * 4000


class Resolver(AbstractResolver):
    """Answers every name with the next of the given addresses (the last one for ever)."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        address = self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        pass


def fetch_from(
    handler: Handler,
    url: str = "http://127.0.0.1:{port}/a.wav",
    *,
    max_bytes: int = 10_000_000,
    allow_private: bool = True,
    timeout_s: float = 20,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """Serves ``handler`` on 127.0.0.1, fetches the URL, returns what was written."""

    async def run() -> bytes:
        into = io.BytesIO()
        server = RawTestServer(handler, scheme="http" if tls is None else "https")
        await server.start_server(ssl=tls)
        try:
            size = await fetch_audio(
                url.format(port=server.port),
                into,
                max_bytes=max_bytes,
                allow_private=allow_private,
                timeout_s=timeout_s,
                resolver=resolver,
            )
        finally:
            await server.close()
        assert size == into.tell()
        return into.getvalue()

    return asyncio.run(run())


def fetch_refused(url: str, *, allow_private: bool = False, resolver: AbstractResolver | None = None) -> str:
    """The message of the refusal of an address that no server needs to answer."""
    with pytest.raises(AddressRefused) as refusal:
        asyncio.run(
            fetch_audio(url, io.BytesIO(), max_bytes=1000, allow_private=allow_private, timeout_s=20, resolver=resolver)
        )
    assert refusal.value.param == "audio_address"
    return refusal.value.message


async def audio(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=AUDIO)


async def never(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=500, text="the server was reached")


def redirect(location: str) -> Handler:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/end":
            return web.Response(body=AUDIO)
        port = request.url.port
        return web.Response(status=302, headers={"Location": location.format(port=port)})

    return handler


def test_the_body_is_written_whole() -> None:
    assert fetch_from(audio) == AUDIO


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "0.0.0.0",
    ],
)
def test_no_spelling_of_this_machine_is_fetched(host: str) -> None:
    with pytest.raises(AddressRefused, match=r"not public|not a valid URL|can't be reached"):
        fetch_from(never, f"http://{host}:{{port}}/", allow_private=False)


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "127.8.8.8", "0.0.0.0"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1", "192.0.2.1"),
        *(
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
        ),
        *("::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1", "2001:0:a00:1::1"),
        *("127.1", "2130706433", "localhost"),
    ],
)
def test_an_inward_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_an_internet_address_is_public(address: str) -> None:
    assert is_public(address)


def test_a_name_that_resolves_inward_is_refused_without_a_connection() -> None:
    resolver = Resolver("127.0.0.1")
    with pytest.raises(AddressRefused, match="not public"):
        fetch_from(never, "http://audio.example.com:{port}/", allow_private=False, resolver=resolver)
    assert resolver.asked == ["audio.example.com"]


def test_the_address_that_is_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers a public address first and an inward one later gets no second question."""
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.1")
    resolver = Resolver("127.0.0.1", "127.0.0.2")
    url = "http://audio.example.com:{port}/"
    assert fetch_from(audio, url, allow_private=False, resolver=resolver) == AUDIO
    assert resolver.asked == ["audio.example.com"]


def test_a_redirect_of_a_name_that_has_turned_inward_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.1")
    resolver = Resolver("127.0.0.1", "127.0.0.2")
    with pytest.raises(AddressRefused, match="not public"):
        fetch_from(redirect("/end"), "http://audio.example.com:{port}/", allow_private=False, resolver=resolver)
    assert len(resolver.asked) == 2


@pytest.mark.parametrize("location", ["http://127.0.0.2:{port}/end", "//127.0.0.2:{port}/end"])
def test_a_redirect_inward_is_refused(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(AddressRefused, match="not public"):
        fetch_from(redirect(location), allow_private=False)


@pytest.mark.parametrize("location", ["/end", "http://localhost:{port}/end"])
def test_a_redirect_is_followed(location: str) -> None:
    assert fetch_from(redirect(location)) == AUDIO


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://example.com/a", "gopher://127.0.0.1/", "http://", "http://a:b@127.0.0.1:{port}/end"],
)
def test_a_redirect_to_anything_but_a_plain_web_address_is_refused(location: str) -> None:
    with pytest.raises(AddressRefused):
        fetch_from(redirect(location))


def test_endless_redirects_are_refused() -> None:
    with pytest.raises(AddressRefused, match="more than 5"):
        fetch_from(redirect("/again"))


@pytest.mark.parametrize(
    "url",
    [
        "http://a..b/",
        "http://xn--zzzzzzzzzzz/",
        f"http://{'a' * 300}/",
        "file:///etc/passwd",
        "ftp://example.com/a.wav",
        "/etc/passwd",
        "",
        "example.com/a.wav",
        "http://",
        "http://[",
        "data:audio/wav;base64,AA",
        "http://example.com:99999/",
        "http://exa\x00mple.com/",
    ],
)
def test_what_is_no_web_address_is_refused_even_where_private_ones_are_allowed(url: str) -> None:
    fetch_refused(url, allow_private=True)


def test_a_user_name_in_the_address_is_refused() -> None:
    assert "user name" in fetch_refused("http://me:secret@example.com/a.wav")


def test_a_name_that_does_not_exist_is_refused() -> None:
    class Nowhere(Resolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise OSError("no such name")

    assert "can't be reached" in fetch_refused("http://nowhere.example.com/a.wav", resolver=Nowhere(""))


def test_a_closed_port_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "can't be reached" in fetch_refused(f"http://127.0.0.1:{unused.getsockname()[1]}/", allow_private=True)


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
def test_any_status_but_200_is_refused_by_number_and_says_nothing_of_the_body(status: int) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=None if status in (204, 304) else "internal secret")

    with pytest.raises(AddressRefused, match=str(status)) as refusal:
        fetch_from(handler)
    assert "secret" not in refusal.value.message
    assert refusal.value.answered == status


def test_an_announced_size_over_the_limit_is_refused_before_the_body_comes() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "3000000000"})
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    with pytest.raises(AudioTooLarge):
        fetch_from(handler)


def test_an_unannounced_body_is_cut_off_at_the_limit() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(100_000))

    with pytest.raises(AudioTooLarge):
        fetch_from(handler, max_bytes=1_000_000)


def test_a_body_of_exactly_the_limit_is_fetched() -> None:
    assert fetch_from(audio, max_bytes=len(AUDIO)) == AUDIO


def test_the_limit_counts_what_a_compressed_body_unpacks_to() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    assert len(bomb) < 100_000
    with pytest.raises(AudioTooLarge):
        fetch_from(handler, max_bytes=1_000_000)


def test_a_body_that_breaks_off_is_refused() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    with pytest.raises(AddressRefused, match="broke off"):
        fetch_from(handler)


def test_a_server_that_never_answers_runs_into_the_time_limit() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(AddressRefused, match=r"within 0\.2 s"):
        fetch_from(handler, timeout_s=0.2)


def test_a_long_silence_inside_the_body_runs_into_the_read_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "READ_TIMEOUT_S", 0.2)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.Event().wait()
        return response

    with pytest.raises(AddressRefused, match="in time"):
        fetch_from(handler)


def test_what_is_not_http_is_refused() -> None:
    async def run() -> None:
        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 secret mail server\r\n")
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1")
        async with server:
            port = server.sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}/"
            await fetch_audio(url, io.BytesIO(), max_bytes=1000, allow_private=True, timeout_s=20)

    with pytest.raises(AddressRefused, match="valid HTTP") as refusal:
        asyncio.run(run())
    assert "secret" not in refusal.value.message


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    assert fetch_from(audio) == AUDIO


def test_the_host_header_is_the_name_asked_for() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.host.partition(":")[0])

    url = "http://audio.example.com:{port}/"
    assert fetch_from(handler, url, resolver=Resolver("127.0.0.1")) == b"audio.example.com"


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Names below silent.example.com are asked for in vain, until this is set."""
    asked, given_up = socket.getaddrinfo, threading.Event()

    def ask(host: str, *args: Any, **options: Any) -> Any:
        if host.endswith("silent.example.com"):
            given_up.wait(30)
            raise socket.gaierror("no answer")
        return asked(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    yield given_up
    given_up.set()


@pytest.mark.usefixtures("given_up")
def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "CONNECT_TIMEOUT_S", 0.1)
    assert "can't be reached" in fetch_refused("http://a.silent.example.com/a.wav")


def test_a_name_server_that_does_not_answer_holds_up_nothing_but_its_fetch(
    tmp_path: Path, given_up: threading.Event
) -> None:
    async def run() -> None:
        server = RawTestServer(audio)
        await server.start_server()
        waiting = [asyncio.create_task(get(f"http://{i}.silent.example.com/", io.BytesIO())) for i in range(16)]
        await asyncio.sleep(0)
        try:
            with disk.temporary_audio_file(tmp_path) as file:
                await asyncio.wait_for(get(f"http://localhost:{server.port}/", file), 5)
                assert await asyncio.wait_for(asyncio.to_thread(str, 1), 5) == "1"
            assert not any(task.done() for task in waiting)
        finally:
            given_up.set()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await server.close()

    async def get(url: str, into: IO[bytes]) -> int:
        return await fetch_audio(url, into, max_bytes=10_000_000, allow_private=True, timeout_s=20)

    asyncio.run(run())


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddressRefused, match="TLS"):
        fetch_from(never, "https://127.0.0.1:{port}/", tls=_tls(tmp_path, "audio.example.com")[0])


def test_tls_asks_for_and_verifies_the_name_and_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, certificate = _tls(tmp_path, "audio.example.com")
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=certificate))
    names: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    resolver = Resolver("127.0.0.1")
    assert fetch_from(audio, "https://audio.example.com:{port}/", tls=tls, resolver=resolver) == AUDIO
    assert names == ["audio.example.com"]
    with pytest.raises(AddressRefused, match="TLS"):
        fetch_from(audio, "https://other.example.com:{port}/", tls=tls, resolver=resolver)


def _tls(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server's TLS with a self-signed certificate for ``name``, and the certificate's path."""
    import datetime

    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(encoding))
    (folder / "key.pem").write_bytes(private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context, str(folder / "certificate.pem")
