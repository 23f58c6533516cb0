"""Browsers: which pages may call, which headers keep answers harmless, and what is refused while nobody is asked for a key."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_address

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.runtime.errors import PermissionDenied

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_OTHER_SITE = {"cross-site"}
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_METHODS = ("GET", "POST", "DELETE")
_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Document-Password", "X-Request-Id")
_EXPOSED = (
    *("X-Request-Id", "Retry-After", "Location"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)
_PREFLIGHT_S = 600


def guard_browsers(app: FastAPI, origins: Sequence[str]) -> None:
    """Put around an app what browsers need: call it last, so that errors of all that is inside can be read by allowed pages.

    Args:
        app: The application.
        origins: The pages that may call, such as `https://chat.example.org`. They send a key and no cookies.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_SENT,
            expose_headers=_EXPOSED,
            allow_credentials=False,
            max_age=_PREFLIGHT_S,
        )
    app.add_middleware(SafeHeaders)


class SafeHeaders:
    """ASGI middleware: headers that keep a browser from taking an answer for something else. A route's own headers win."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                names = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(pair for pair in _HEADERS if pair[0] not in names)]
            await send(message)

        await self._app(scope, receive, add)


class OwnMachineOnly:
    """ASGI middleware for a gateway that asks nobody for a key: a page of another site, opened here, must not use it.

    What it refuses it raises: it stands inside the entrance, which tells callers.

    Args:
        app: What comes next.
        origins: The pages that may call.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            check_host(headers.get("host", ""))
            if scope["method"] not in _SAFE_METHODS:
                check_site(headers, self._origins)
        await self._app(scope, receive, send)


def check_host(host: str) -> None:
    """Let a request pass that was sent to a name of this machine: another name that leads here was made up by somebody.

    Raises:
        PermissionDenied: HOST_NOT_LOCAL.
    """
    if not _is_local(_name_of(host)):
        message = "Without authentication only requests to localhost are answered; set GATEWAY_AUTH=on for other names."
        raise PermissionDenied(message, "HOST_NOT_LOCAL")


def check_site(headers: Headers, origins: Collection[str]) -> None:
    """Let a changing request pass that no page of another site sends.

    Raises:
        PermissionDenied: CROSS_SITE.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is None:
        is_own = headers.get("sec-fetch-site", "none") not in _OTHER_SITE
    else:
        is_own = origin in origins or origin in {f"http://{host}", f"https://{host}"}
    if not is_own:
        message = "Without authentication pages of other sites may not change anything; GATEWAY_CORS_ORIGINS names those that may."
        raise PermissionDenied(message, "CROSS_SITE")


def _name_of(host: str) -> str:
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return "" if port and not port.startswith(":") else name
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_local(name: str) -> bool:
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
