"""Serves the API documentation and the live test page; their assets come from service/web (no network needed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from service.serving import serving_of

WEB = Path(__file__).resolve().parents[1] / "web"
# Nothing is loaded from elsewhere, whatever a bundle asks for: Redoc's page footer wants a picture.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:"
)
_LIVE_PAGE = (WEB / "live" / "index.html").read_text(encoding="utf-8")
_LIVE_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"


class _Assets(StaticFiles):
    """Asks browsers to check for a newer version each time: modules of two versions must not meet in one page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


router = APIRouter(include_in_schema=False)
static_files = _Assets(directory=WEB)


@router.get("/")
async def index() -> RedirectResponse:
    """Leads to the documentation, also below a proxy's prefix."""
    return RedirectResponse("docs")


@router.get("/docs")
async def swagger_ui() -> HTMLResponse:
    """Shows the OpenAPI document in Swagger UI, from where requests can be tried."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="API documentation",
        swagger_js_url="static/docs/swagger-ui-bundle.js",
        swagger_css_url="static/docs/swagger-ui.css",
        swagger_favicon_url="static/docs/favicon-32x32.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
    return _shielded(page)


@router.get("/redoc")
async def redoc() -> HTMLResponse:
    """Shows the OpenAPI document in Redoc, for reading."""
    page = get_redoc_html(
        openapi_url="openapi.json",
        title="API documentation",
        redoc_js_url="static/docs/redoc.standalone.js",
        redoc_favicon_url="static/docs/favicon-32x32.png",
        with_google_fonts=False,
    )
    return _shielded(page)


@router.get("/ws/v1/asr/test")
async def live_page(request: Request) -> HTMLResponse:
    """Shows the page to try live recognition on, which is told the near-field filter's threshold (0: it is off)."""
    settings = serving_of(request).settings
    threshold = settings.asr_nearfield_rms_threshold if settings.asr_enable_nearfield_filter else 0
    page = _LIVE_PAGE.replace("{near_field_rms}", str(threshold))
    return HTMLResponse(page, headers={"Content-Security-Policy": _LIVE_POLICY, "Cache-Control": "no-cache"})


def _shielded(page: HTMLResponse) -> HTMLResponse:
    page.headers["Content-Security-Policy"] = _POLICY
    return page
