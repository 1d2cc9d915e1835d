"""Reads uploads as a stream: a form, its fields bounded in memory, or a raw body; the audio straight to disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.errors import AudioTooLarge, InvalidRequest, UploadStalled
from service.intake import disk

# What a form may weigh beyond its file: fields, boundaries, headers. Fields without a limit of their own are held in
# memory, and may weigh as much together.
FORM_OVERHEAD_BYTES = 2**20
MAX_FIELD_BYTES = 64 * 2**10
MAX_FIELDS = 1100  # each hotword of `keywords[]` is one
MAX_PREAMBLE_BYTES = 2**13
_WRITE_BYTES = 2**20
_MOST_IDLE_S = 60.0

Fields = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class FieldLimit:
    """Bounds a field that may be longer than MAX_FIELD_BYTES.

    Attributes:
        value_bytes: How long a value may be.
        values: How many there may be.
    """

    value_bytes: int
    values: int


@dataclass(frozen=True, slots=True)
class Form:
    """Holds a form as it was sent, but for the content of its file.

    Attributes:
        fields: The values of each field, by its name as it was sent, brackets included.
        file_name: What the client calls the file; None when there was no file.
        file_bytes: How large the file is.
    """

    fields: Fields = field(default_factory=dict)
    file_name: str | None = None
    file_bytes: int = 0


async def receive_form(
    request: Request,
    into: IO[bytes],
    *,
    max_file_bytes: int,
    known_fields: Collection[str],
    field_limits: Mapping[str, FieldLimit],
    on_file: Callable[[Fields], None],
) -> Form:
    """Reads the form of a request; the part named ``file`` goes to ``into``.

    ``known_fields``: any other name with a file behind it is taken for a wrong spelling of ``file``.
    ``field_limits``: of fields that may be longer than MAX_FIELD_BYTES, by name without brackets.
    ``on_file`` gets the fields that came before the file, and may raise to refuse it unread.

    Raises:
        InvalidRequest: not a form, broken, or out of bounds; names the field where there is one.
        AudioTooLarge: at once when Content-Length says so, else as soon as a limit is passed.
        UploadStalled: nothing has come for too long.
    """
    max_body_bytes = max_file_bytes + FORM_OVERHEAD_BYTES
    if int(request.headers.get("content-length", 0)) > max_body_bytes:
        raise _too_large(max_file_bytes, "file")
    parts = _Parts(max_file_bytes, known_fields, field_limits, on_file)
    parser = _parser(request.headers.get("content-type", ""), parts)
    body_bytes = 0
    async for chunk in _chunks(request):
        body_bytes += len(chunk)
        if body_bytes > max_body_bytes:
            raise _too_large(max_file_bytes, "file")
        try:
            parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The form can't be read: {error}") from error
        if len(parts.unwritten) >= _WRITE_BYTES:
            await disk.write(into, parts.take_unwritten())
    if not parts.complete:
        raise InvalidRequest("The form ends before its closing boundary: the upload was cut off.")
    await disk.write(into, parts.take_unwritten(), is_last=True)
    return Form(parts.fields, parts.file_name, parts.file_bytes)


async def receive_body(request: Request, into: IO[bytes], *, max_bytes: int) -> int:
    """Puts the raw body of a request into ``into`` and returns the number of bytes.

    Raises:
        AudioTooLarge: at once when Content-Length says so, else as soon as the limit is passed.
        UploadStalled: nothing has come for too long.
    """
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(max_bytes)
    body_bytes = 0
    unwritten = bytearray()
    async for chunk in _chunks(request):
        body_bytes += len(chunk)
        if body_bytes > max_bytes:
            raise _too_large(max_bytes)
        unwritten += chunk
        if len(unwritten) >= _WRITE_BYTES:
            await disk.write(into, unwritten)
            unwritten = bytearray()
    await disk.write(into, unwritten, is_last=True)
    return body_bytes


async def receive_fields(request: Request) -> list[tuple[str, str]]:
    """Reads a form without files (application/x-www-form-urlencoded), of at most FORM_OVERHEAD_BYTES; no form is empty.

    Raises:
        InvalidRequest: broken, or out of bounds.
        UploadStalled: nothing has come for too long.
    """
    body = await receive_small_body(request)
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return []
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidRequest(f"The form is not of at most {MAX_FIELDS} fields in UTF-8.") from None


async def receive_small_body(request: Request) -> bytes:
    """Reads a body without a recording in it, of at most FORM_OVERHEAD_BYTES.

    Raises:
        InvalidRequest: it is longer.
        UploadStalled: nothing has come for too long.
    """
    body = bytearray()
    async for chunk in _chunks(request):
        body += chunk
        if len(body) > FORM_OVERHEAD_BYTES:
            raise InvalidRequest(f"The body is longer than {FORM_OVERHEAD_BYTES} bytes.")
    return bytes(body)


async def refuse_body(request: Request, message: str) -> None:
    """Reads a request whose body must be empty to its end.

    Raises:
        InvalidRequest: with ``message``, at the body's first byte.
        UploadStalled: nothing has come for too long.
    """
    if int(request.headers.get("content-length", 0)):
        raise InvalidRequest(message)
    async for chunk in _chunks(request):
        if chunk:
            raise InvalidRequest(message)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yields the body as it arrives; UploadStalled when nothing comes for a while: a vanished client holds no place."""
    stream = request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), _MOST_IDLE_S)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise UploadStalled(f"Nothing of the upload has come for {_MOST_IDLE_S:g} s.") from None
        yield chunk


def _too_large(max_bytes: int, param: str | None = None) -> AudioTooLarge:
    return AudioTooLarge(f"The audio is larger than the limit of {max_bytes / 2**20:g} MB.", param=param)


class _AfterPreamble:
    """Feeds a parser with what begins at the first boundary: before it a form may have text that means nothing."""

    def __init__(self, parser: MultipartParser, boundary: bytes) -> None:
        self._parser = parser
        self._first = b"\r\n--" + boundary
        self._held: bytearray | None = bytearray(b"\r\n")

    def write(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            InvalidRequest: the preamble does not end.
            FormParserError: as the parser.
        """
        if self._held is None:
            self._parser.write(data)
            return
        searched = max(0, len(self._held) - len(self._first))
        self._held += data
        at = self._held.find(self._first, searched)
        if at >= 0:
            begun, self._held = bytes(self._held[at + 2 :]), None
            self._parser.write(begun)
        elif len(self._held) > MAX_PREAMBLE_BYTES:
            raise InvalidRequest("The form can't be read: its boundary is not in it.")


def _parser(content_type: str, parts: _Parts) -> _AfterPreamble:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequest("The body must be multipart/form-data with a boundary (with curl: -F name=value).")
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": parts.on_part_begin,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_headers_finished": parts.on_headers_finished,
                "on_part_data": parts.on_part_data,
                "on_part_end": parts.on_part_end,
                "on_end": parts.on_end,
            },
        )
    except FormParserError as error:
        raise InvalidRequest(f"The form can't be read: {error}") from error
    return _AfterPreamble(parser, options[b"boundary"])


class _Parts:
    """Sorts what the parser calls back with into fields and the file, and keeps to the limits."""

    def __init__(
        self,
        max_file_bytes: int,
        known_fields: Collection[str],
        field_limits: Mapping[str, FieldLimit],
        on_file: Callable[[Fields], None],
    ) -> None:
        self.fields: Fields = {}
        self.file_name: str | None = None
        self.file_bytes = 0
        self.unwritten = bytearray()
        self.complete = False
        self._max_file_bytes = max_file_bytes
        self._known_fields = known_fields
        self._field_limits = field_limits
        self._on_file = on_file
        self._count = 0
        self._fields_bytes = 0
        self._values: Counter[str] = Counter()
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._name = self._param = ""
        self._in_file = False
        self._value = bytearray()

    def take_unwritten(self) -> bytearray:
        taken, self.unwritten = self.unwritten, bytearray()
        return taken

    def on_part_begin(self) -> None:
        self._count += 1
        if self._count > MAX_FIELDS + 1:
            raise InvalidRequest(f"The form has more than {MAX_FIELDS} fields.")
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise InvalidRequest("A part of the form has no name.")
        self._name = _text(options[b"name"], "a field's name", None)
        self._param = self._name.partition("[")[0]
        self._in_file = self._param == "file"
        self._value = bytearray()
        if self._in_file:
            if self.file_name is not None:
                raise InvalidRequest("`file` was given more than once.", param="file")
            self.file_name = options.get(b"filename", b"").decode("utf-8", "replace")
            self._on_file(self.fields)
            return
        if b"filename" in options and self._param not in self._known_fields:
            raise InvalidRequest(f"The audio must be sent as `file`, not as `{self._param[:50]}`.", param="file")
        self._values[self._param] += 1
        limit = self._field_limits.get(self._param)
        if limit and self._values[self._param] > limit.values:
            raise InvalidRequest(f"`{self._param}` has more than {limit.values} values.", param=self._param)
        self._add_bytes(0 if limit else len(self._name))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.file_bytes += end - start
            if self.file_bytes > self._max_file_bytes:
                raise _too_large(self._max_file_bytes, "file")
            self.unwritten += data[start:end]
            return
        self._value += data[start:end]
        limit = self._field_limits.get(self._param)
        self._add_bytes(0 if limit else end - start)
        limit_bytes = limit.value_bytes if limit else MAX_FIELD_BYTES
        if len(self._value) > limit_bytes:
            raise InvalidRequest(f"`{self._param}` is longer than {limit_bytes} bytes.", param=self._param)

    def on_part_end(self) -> None:
        if not self._in_file:
            text = _text(bytes(self._value), f"`{self._param}`", self._param)
            self.fields.setdefault(self._name, []).append(text)

    def on_end(self) -> None:
        self.complete = True

    def _add_bytes(self, count: int) -> None:
        self._fields_bytes += count
        if self._fields_bytes > FORM_OVERHEAD_BYTES:
            raise InvalidRequest(f"The form's fields are longer than {FORM_OVERHEAD_BYTES} bytes together.")


def _text(data: bytes, what: str, param: str | None) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"The text of {what} is not UTF-8.", param=param) from None
    if "\0" in text:
        raise InvalidRequest(f"The text of {what} has a NUL byte.", param=param)
    return text
