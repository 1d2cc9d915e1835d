"""Makes addresses of this service, as the client that asks sees it."""

from __future__ import annotations

from fastapi import Request


def public_url(request: Request, path: str) -> str:
    """Returns the absolute URL of a path; what proxies say of the client's own request (X-Forwarded-…) counts."""
    scheme = _first(request, "x-forwarded-proto")
    host = _first(request, "x-forwarded-host") or request.headers.get("host") or request.url.netloc
    prefix = _first(request, "x-forwarded-prefix") or request.scope.get("root_path", "")
    if scheme not in ("http", "https"):
        scheme = request.url.scheme
    return f"{scheme}://{host}{prefix.rstrip('/')}{path}"


def _first(request: Request, header: str) -> str:
    return request.headers.get(header, "").partition(",")[0].strip()
