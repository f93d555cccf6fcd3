"""The page at `/` for people: plain HTML, CSS and JavaScript from this folder, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

_FOLDER = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def router() -> APIRouter:
    """The routes of the page and its two files."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def page() -> FileResponse:
        return FileResponse(_FOLDER / "page.html", headers=_HEADERS, media_type="text/html")

    @routes.get("/page.js")
    async def script() -> FileResponse:
        return FileResponse(_FOLDER / "page.js", headers=_HEADERS, media_type="text/javascript")

    @routes.get("/page.css")
    async def style() -> FileResponse:
        return FileResponse(_FOLDER / "page.css", headers=_HEADERS, media_type="text/css")

    return routes
