"""The web page at `/` and its assets: files by name, and headers under which no text of a document can become code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SOURCES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "font-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    # A sink that would take text for HTML or code throws instead, whatever a script does by mistake.
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
HEADERS: Mapping[str, str] = {
    "cache-control": "no-cache",  # asked for each time, answered with 304 while it is the same
    "content-security-policy": "; ".join(f"{what} {where}" for what, where in _SOURCES.items()),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page, as it is sent."""

    content: bytes
    media_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """Return the file, or 304 when the client has it."""
        headers = {**HEADERS, "etag": self.etag}
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if self.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers={**headers, "content-type": self.media_type})


class Page:
    """The routes of the page. The files are read once: no name that a client sends ever touches the disk.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._assets = {path.name: _asset(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES}
        self._index = self._assets.pop("index.html")

    async def index(self, request: Request) -> Response:
        """Return the page."""
        return self._index.answer(request)

    async def asset(self, request: Request, name: str) -> Response:
        """Return a script, a style or an image of the page."""
        found = self._assets.get(name)
        if found is None:
            raise HTTPException(404, "The page has no such file.")
        return found.answer(request)


def routes() -> APIRouter:
    """Return the routes of the page; they need no credential, and are no part of the API."""
    page = Page()
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", page.index, methods=["GET", "HEAD"])
    router.add_api_route("/assets/{name}", page.asset, methods=["GET", "HEAD"])
    return router


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, _TYPES[path.suffix], f'"{sha256(content).hexdigest()[:32]}"')
