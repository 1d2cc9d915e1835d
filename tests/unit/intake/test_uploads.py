"""Forms as they arrive in pieces: what is kept, where, and what is refused how early."""

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from service.errors import AudioTooLarge, InvalidRequest, ModelNotFound, UploadStalled
from service.intake import uploads
from service.intake.uploads import (
    FORM_OVERHEAD_BYTES,
    MAX_FIELD_BYTES,
    MAX_PREAMBLE_BYTES,
    FieldLimit,
    Fields,
    Form,
    receive_body,
    receive_form,
    refuse_body,
)

LIMIT = 1000
BOUNDARY = b"xyz"


def part(name: str | bytes, value: bytes, file_name: str | None = None) -> bytes:
    name = name if isinstance(name, bytes) else name.encode()
    disposition = b'form-data; name="' + name + b'"'
    if file_name is not None:
        disposition += b'; filename="' + file_name.encode() + b'"'
    return b"--" + BOUNDARY + b"\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + value + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


class Arriving:
    """A request whose body comes in the given chunks; knows how many were asked for."""

    def __init__(self, *chunks: bytes, headers: dict[str, str] | None = None, breaks_off: bool = False) -> None:
        self.taken = 0
        self._chunks = chunks
        self._breaks_off = breaks_off
        sent = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}", **(headers or {})}
        raw = [(name.encode(), value.encode()) for name, value in sent.items()]
        self.request = Request({"type": "http", "method": "POST", "headers": raw}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        if self.taken >= len(self._chunks):
            return {"type": "http.disconnect"}
        self.taken += 1
        more = self._breaks_off or self.taken < len(self._chunks)
        return {"type": "http.request", "body": self._chunks[self.taken - 1], "more_body": more}


def receive(
    arriving: Arriving, into: io.BytesIO | None = None, on_file: Callable[[Fields], None] = lambda fields: None
) -> Form:
    return asyncio.run(
        receive_form(
            arriving.request,
            into if into is not None else io.BytesIO(),
            max_file_bytes=LIMIT,
            known_fields={"prompt"},
            field_limits={"large": FieldLimit(2 * MAX_FIELD_BYTES, 4)},
            on_file=on_file,
        )
    )


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 10_000])
def test_however_the_body_is_cut_the_same_arrives(chunk_bytes: int) -> None:
    audio = b"\r\n--xy\0\xff" * 50
    body = whole(part("model", b"m"), part("file", audio, "录音.wav"), part("k[]", "甲".encode()), part("k[]", b""))
    chunks = [body[i : i + chunk_bytes] for i in range(0, len(body), chunk_bytes)]
    into = io.BytesIO()
    form = receive(Arriving(*chunks), into)
    assert into.getvalue() == audio
    assert form == Form({"model": ["m"], "k[]": ["甲", ""]}, "录音.wav", len(audio))


def test_an_announced_excess_is_refused_unread() -> None:
    arriving = Arriving(b"", headers={"content-length": str(LIMIT + FORM_OVERHEAD_BYTES + 1)})
    with pytest.raises(AudioTooLarge) as raised:
        receive(arriving)
    assert raised.value.param == "file"
    assert arriving.taken == 0


def test_an_unannounced_excess_is_refused_where_it_begins() -> None:
    head = part("file", b"", "a").removesuffix(b"\r\n")
    arriving = Arriving(head, b"0" * LIMIT, b"1", b"never", b"read")
    with pytest.raises(AudioTooLarge):
        receive(arriving)
    assert arriving.taken == 3


def test_a_file_of_exactly_the_limit_is_taken() -> None:
    assert receive(Arriving(whole(part("file", b"0" * LIMIT, "a")))).file_bytes == LIMIT


def test_what_surrounds_the_parts_is_bounded_too() -> None:
    with pytest.raises(AudioTooLarge):
        receive(Arriving(whole(part("a", b"")), *[b" " * 2**17] * 9))


def test_fields_before_the_file_can_refuse_it_unread() -> None:
    def refuse(fields: Fields) -> None:
        assert fields == {"model": ["m"]}
        raise ModelNotFound("no")

    arriving = Arriving(part("model", b"m"), part("file", b"", "a"), b"never read")
    with pytest.raises(ModelNotFound):
        receive(arriving, on_file=refuse)
    assert arriving.taken == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (whole(part("prompt", b"a\0b")), "prompt"),
        (whole(part("prompt", b"\xff")), "prompt"),
        (whole(part("keywords[]", b"\0")), "keywords"),
        (whole(part("prompt", b"a" * (MAX_FIELD_BYTES + 1))), "prompt"),
        (whole(part("large", b"a" * (2 * MAX_FIELD_BYTES + 1))), "large"),
        (whole(part("file", b"", "a"), part("file", b"", "b")), "file"),
        (whole(*[part("a", b"")] * 1200), None),
        (whole(part(b"\xff", b"")), None),
        (whole(b"--" + BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\n\r\n"), None),
        (part("prompt", b"cut off"), None),
        (b"", None),
        (b"no form at all", None),
        (whole(*[part("large[]", b"")] * 5), "large"),
        (whole(part("audio", b"RIFF", "a.wav")), "file"),
        (whole(part("audio_file", b"\xff\0", "a.wav")), "file"),
        (b"--" + BOUNDARY + b"\r\n" + b"x" * 100_000 + b": y\r\n", None),
    ],
)
def test_a_bad_form_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as raised:
        receive(Arriving(body))
    assert raised.value.param == param


def test_a_field_may_be_allowed_more() -> None:
    form = receive(Arriving(whole(part("large", b"a" * (2 * MAX_FIELD_BYTES)))))
    assert len(form.fields["large"][0]) == 2 * MAX_FIELD_BYTES


def test_a_fifth_long_value_is_refused_before_it_is_read() -> None:
    value = part("large[]", b"a" * MAX_FIELD_BYTES)
    arriving = Arriving(*[value] * 4, part("large[]", b"").removesuffix(b"\r\n"), b"never read")
    with pytest.raises(InvalidRequest) as raised:
        receive(arriving)
    assert raised.value.param == "large"
    assert arriving.taken == 5


def test_fields_are_bounded_together() -> None:
    count = FORM_OVERHEAD_BYTES // MAX_FIELD_BYTES
    body = whole(*[part(f"a{i}", b"a" * MAX_FIELD_BYTES) for i in range(count)])
    request = Arriving(body, headers={"content-length": "0"}).request
    with pytest.raises(InvalidRequest, match="together"):
        asyncio.run(
            receive_form(
                request,
                io.BytesIO(),
                max_file_bytes=2**22,
                known_fields=(),
                field_limits={},
                on_file=lambda fields: None,
            )
        )


@pytest.mark.parametrize("chunk_bytes", [1, 7, 10_000])
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is a multi-part message.\r\n--\r\n", b"--xy\r\n"])
def test_text_before_the_first_boundary_means_nothing(preamble: bytes, chunk_bytes: int) -> None:
    body = preamble + (b"" if preamble.endswith(b"\n") or not preamble else b"\r\n") + whole(part("model", b"m"))
    form = receive(Arriving(*[body[i : i + chunk_bytes] for i in range(0, len(body), chunk_bytes)]))
    assert form.fields == {"model": ["m"]}


def test_a_preamble_without_an_end_is_given_up() -> None:
    arriving = Arriving(*[b"x" * 1024] * (MAX_PREAMBLE_BYTES // 1024 + 5))
    with pytest.raises(InvalidRequest, match="boundary"):
        receive(arriving)
    assert arriving.taken <= MAX_PREAMBLE_BYTES // 1024 + 1


@pytest.mark.parametrize("name", ["file", "file[]", "file[0]"])
def test_the_file_may_be_called_a_list(name: str) -> None:
    into = io.BytesIO()
    assert receive(Arriving(whole(part(name, b"abc", "a.wav"))), into).file_name == "a.wav"
    assert into.getvalue() == b"abc"


def test_a_wrong_name_of_the_file_is_answered_with_the_right_one() -> None:
    with pytest.raises(InvalidRequest, match="as `file`, not as `audio`"):
        receive(Arriving(whole(part("audio", b"RIFF", "a.wav"))))
    assert receive(Arriving(whole(part("prompt", b"text", "prompt.txt")))).fields == {"prompt": ["text"]}


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "b" * 300, "multipart/mixed"],
)
def test_what_is_no_form_is_refused_unread(content_type: str) -> None:
    arriving = Arriving(b"{}", headers={"content-type": content_type})
    with pytest.raises(InvalidRequest):
        receive(arriving)
    assert arriving.taken == 0


def test_a_client_that_goes_away_ends_the_upload() -> None:
    with pytest.raises(ClientDisconnect):
        receive(Arriving(part("file", b"some", "a"), breaks_off=True))


# A raw body


def receive_raw(arriving: Arriving, into: io.BytesIO) -> int:
    return asyncio.run(receive_body(arriving.request, into, max_bytes=LIMIT))


def test_a_raw_body_arrives_whole_up_to_the_limit() -> None:
    into = io.BytesIO()
    assert receive_raw(Arriving(b"\xff\0", b"", b"0" * (LIMIT - 2)), into) == LIMIT
    assert into.getvalue() == b"\xff\0" + b"0" * (LIMIT - 2)


def test_a_large_raw_body_goes_to_disk_in_its_order() -> None:
    into = io.BytesIO()
    chunks = [bytes([i]) * 400_000 for i in range(7)]
    size = asyncio.run(receive_body(Arriving(*chunks).request, into, max_bytes=10**7))
    assert into.getvalue() == b"".join(chunks)
    assert size == 2_800_000


def test_an_announced_excess_of_a_raw_body_is_refused_unread() -> None:
    arriving = Arriving(b"", headers={"content-length": str(LIMIT + 1)})
    with pytest.raises(AudioTooLarge):
        receive_raw(arriving, io.BytesIO())
    assert arriving.taken == 0


def test_an_unannounced_excess_of_a_raw_body_is_refused_where_it_begins() -> None:
    arriving = Arriving(b"0" * LIMIT, b"1", b"never", b"read")
    with pytest.raises(AudioTooLarge):
        receive_raw(arriving, io.BytesIO())
    assert arriving.taken == 2


def test_a_raw_body_that_breaks_off_is_no_recording() -> None:
    with pytest.raises(ClientDisconnect):
        receive_raw(Arriving(b"some", breaks_off=True), io.BytesIO())


def test_a_body_where_none_belongs_is_refused_at_its_first_byte() -> None:
    asyncio.run(refuse_body(Arriving(b"", b"").request, "no"))
    arriving = Arriving(b"", b"1", b"never read")
    with pytest.raises(InvalidRequest):
        asyncio.run(refuse_body(arriving.request, "no"))
    assert arriving.taken == 2
    announced = Arriving(b"1", headers={"content-length": "1"})
    with pytest.raises(InvalidRequest):
        asyncio.run(refuse_body(announced.request, "no"))
    assert announced.taken == 0


def test_an_upload_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_MOST_IDLE_S", 0.01)

    async def receive() -> dict[str, Any]:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(UploadStalled):
        asyncio.run(receive_body(request, io.BytesIO(), max_bytes=LIMIT))
