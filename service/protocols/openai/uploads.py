"""Speaks tus 1.0, resumable uploads: /v1/audio/uploads receives a recording in parts, and a job takes it from there.

The routes are the project's own. tuspyserver (4.4.3) was read for it, and writes and waits for locks in the event loop,
where live sessions would wait, too; a process that is killed in the middle of a part leaves a file longer than the
offset that it tells, and the next part then goes to the wrong place; a full disk it answers with 204.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.exceptions import HTTPException

from service.auth import caller
from service.errors import InvalidRequest, ServiceError
from service.jobs.store import Upload
from service.jobs.uploads import Uploads
from service.protocols.openai.transcriptions_response import ErrorBody, error_response
from service.protocols.openai.uploads_request import byte_count, file_name, read_metadata
from service.serving import counted, serving_of

LABEL = "openai_uploads"
_VERSION = "1.0.0"
_EXTENSIONS = "creation,creation-with-upload,expiration,termination"
_PART = "application/offset+octet-stream"


class WrongVersion(ServiceError):
    """The client speaks another version of tus, or doesn't say."""

    status = 412
    code = "wrong_tus_version"


class NoPart(InvalidRequest):
    """A body is not declared to be a part of an upload."""

    status = 415
    code = "wrong_content_type"


def failure_response(failure: ServiceError) -> Response:
    """Tells a failure as everywhere, with what tus says of every answer."""
    response = error_response(failure)
    response.status_code = failure.status
    response.headers.update({"Tus-Resumable": _VERSION, "Tus-Version": _VERSION})
    return response


def _check_version(request: Request) -> None:
    if request.method != "OPTIONS" and request.headers.get("tus-resumable") != _VERSION:
        raise WrongVersion(f"Send `Tus-Resumable: {_VERSION}`: this is tus, for resumable uploads.")


def _uploads(request: Request) -> Uploads:
    return serving_of(request).jobs.uploads


_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in {
        400: "A header is missing or wrong; the message names it.",
        401: "The API key is missing or wrong.",
        404: "There is no such upload of yours, or no longer.",
        408: "Nothing of the part has come for too long.",
        409: "The part does not begin where the upload has come to.",
        412: "`Tus-Resumable` is not 1.0.0.",
        413: "The audio is too large, or the part longer than what is left.",
        415: f"The body is not declared as `{_PART}`.",
        423: "Another request goes on with the upload.",
        429: "There are too many uploads, or too many jobs wait.",
        503: "Uploads can't be taken yet; `Retry-After` says when to try again.",
        507: "There is no room for another recording.",
    }.items()
}
router = APIRouter(
    prefix="/v1/audio/uploads", tags=["Uploads"], dependencies=[Depends(_check_version)], responses=_FAILURES
)
_Uploads = Annotated[Uploads, Depends(_uploads)]
_Caller = Annotated[str, Depends(caller)]
# Documented, not checked: what is no id is no upload.
_Id = Annotated[str, Path(json_schema_extra={"pattern": "^upload_[0-9a-f]{32}$"})]


def _documented(*names: str) -> dict[str, Any]:
    """Names the headers that a route reads, for the OpenAPI document."""
    kinds = {name: {"type": "string"} for name in ("Tus-Resumable", *names)}
    kinds["Tus-Resumable"]["const"] = _VERSION
    required = {"Tus-Resumable", "Upload-Length", "Upload-Offset"}
    headers = [
        {"name": name, "in": "header", "required": name in required, "schema": kind} for name, kind in kinds.items()
    ]
    return {"parameters": headers}


def _told(upload: Upload, status: int, **headers: str) -> Response:
    told = {
        "Tus-Resumable": _VERSION,
        "Upload-Offset": str(upload.received_bytes),
        "Upload-Expires": formatdate(upload.expires_at, usegmt=True),
    }
    return Response(None, status, {**told, **headers})


@router.options("", status_code=204, include_in_schema=False)
@router.options("/{upload_id}", status_code=204, include_in_schema=False)
async def tell_protocol(uploads: _Uploads) -> Response:
    """Says what of tus is spoken here."""
    headers = {"Tus-Resumable": _VERSION, "Tus-Version": _VERSION, "Tus-Extension": _EXTENSIONS}
    return Response(None, 204, {**headers, "Tus-Max-Size": str(uploads.most_bytes)})


@router.post(
    "",
    status_code=201,
    summary="Begin a resumable upload",
    response_class=Response,
    openapi_extra=_documented("Upload-Length", "Upload-Metadata"),
)
async def create_upload(request: Request, uploads: _Uploads, key: _Caller) -> Response:
    """Begins an upload of `Upload-Length` bytes, whose address `Location` has; a body is its first part.

    `Upload-Metadata` may have `filename` or `name`. This is tus 1.0, with creation, creation-with-upload, expiration
    and termination: any client of it will do. The id goes into `POST /v1/audio/jobs` as `upload`.
    """
    with counted(LABEL):
        total_bytes = byte_count(request.headers, "Upload-Length")
        metadata = request.headers.get("upload-metadata", "")
        name = file_name(read_metadata(metadata))
        has_part = request.headers.get("content-type") == _PART
        if not has_part and request.headers.get("content-length", "0") != "0":
            raise NoPart(f"A body must be a part of the upload, with `Content-Type: {_PART}`.", param="Content-Type")
        upload = await uploads.create(key, total_bytes, name, metadata)
        if has_part:
            upload = await _receive(request, uploads, upload.id, 0)
    # Relative to the request's own address, which proxies may have changed.
    is_folder = request.scope.get("raw_path", b"").endswith(b"/")
    return _told(upload, 201, Location=upload.id if is_folder else f"uploads/{upload.id}")


@router.get(
    "/{upload_id}",
    summary="Look up how far an upload has come",
    response_class=Response,
    openapi_extra=_documented(),
)
async def look_up_upload(uploads: _Uploads, key: _Caller, upload_id: _Id) -> Response:
    """Tells it in headers, as HEAD does: `Upload-Offset`, `Upload-Length`, `Upload-Metadata`, `Upload-Expires`."""
    upload = await uploads.find(key, upload_id)
    metadata = {"Upload-Metadata": upload.metadata} if upload.metadata else {}
    headers = {"Upload-Length": str(upload.total_bytes), "Cache-Control": "no-store", **metadata}
    return _told(upload, 200, **headers)


@router.patch(
    "/{upload_id}",
    status_code=204,
    summary="Go on with an upload",
    openapi_extra={
        **_documented("Upload-Offset"),
        "requestBody": {"required": True, "content": {_PART: {"schema": {"type": "string", "format": "binary"}}}},
    },
)
async def append_to_upload(request: Request, uploads: _Uploads, upload_id: _Id) -> Response:
    """Adds a part, which begins at `Upload-Offset`; of one that is cut off, all that has come is kept."""
    with counted(LABEL):
        if request.headers.get("content-type") != _PART:
            raise NoPart(f"A part must have `Content-Type: {_PART}`.", param="Content-Type")
        offset = byte_count(request.headers, "Upload-Offset")
        upload = await _receive(request, uploads, upload_id, offset)
    return _told(upload, 204)


@router.delete("/{upload_id}", status_code=204, summary="Delete an upload", openapi_extra=_documented())
async def delete_upload(uploads: _Uploads, key: _Caller, upload_id: _Id) -> Response:
    """Deletes what has come of it."""
    await uploads.forget(key, upload_id)
    return Response(None, 204, {"Tus-Resumable": _VERSION})


@router.post("/{upload_id}", include_in_schema=False)
async def override_method(request: Request, uploads: _Uploads, key: _Caller, upload_id: str) -> Response:
    """Does what ``X-HTTP-Method-Override`` says, for clients that know no other methods."""
    method = request.headers.get("x-http-method-override", "").upper()
    if method == "PATCH":
        return await append_to_upload(request, uploads, upload_id)
    if method == "DELETE":
        return await delete_upload(uploads, key, upload_id)
    if method == "HEAD":
        return await look_up_upload(uploads, key, upload_id)
    raise HTTPException(405, "An upload goes on with PATCH.")


async def _receive(request: Request, uploads: Uploads, upload_id: str, offset: int) -> Upload:
    announced_bytes = int(request.headers.get("content-length", 0))
    with serving_of(request).uploads.admit():
        return await uploads.append(caller(request), upload_id, offset, request.stream(), announced_bytes)
