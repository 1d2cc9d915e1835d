"""Pages for people: the API documentation, whose assets come from service/web (no network needed)."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).resolve().parents[1] / "web"
# Nothing is loaded from elsewhere, whatever a bundle asks for: Redoc's page footer wants a picture.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:"
)

router = APIRouter(include_in_schema=False)
static_files = StaticFiles(directory=WEB)


@router.get("/")
async def index() -> RedirectResponse:
    return RedirectResponse("docs")


@router.get("/docs")
async def swagger_ui() -> HTMLResponse:
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
    page = get_redoc_html(
        openapi_url="openapi.json",
        title="API documentation",
        redoc_js_url="static/docs/redoc.standalone.js",
        redoc_favicon_url="static/docs/favicon-32x32.png",
        with_google_fonts=False,
    )
    return _shielded(page)


def _shielded(page: HTMLResponse) -> HTMLResponse:
    page.headers["Content-Security-Policy"] = _POLICY
    return page
