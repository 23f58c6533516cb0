"""What every HTTP request passes first: an id, a trace, a tenant, a log line, metrics, and no traceback to the outside."""

from __future__ import annotations

import time

from opentelemetry.trace import Span
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.runtime import context, tracing
from rag.runtime.calls import REQUEST_ID, valid_request_id
from rag.runtime.context import CallContext
from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.gateway.access.access import Access
from services.gateway.http.problems import CLIENT_CLOSED_REQUEST, Problem, problem_of
from services.gateway.limits.headers import begin, headers_of
from services.gateway.metrics import REQUESTS, SECONDS

log = get_logger(__name__)

_QUIET = {"/healthz", "/readyz", "/metrics"}
_GUARDED = "/v1/"
_METHODS = {"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"}


class Entrance:
    """ASGI middleware around all routes.

    Args:
        app: What comes next.
        access: Tells who calls.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        span = tracing.continue_trace(list(headers.items()), scope["method"])
        request_id = valid_request_id(headers.get(REQUEST_ID, ""))
        context.use(CallContext(request_id, ""))
        visit = _Visit(scope, send, request_id, span)
        try:
            if scope["path"].startswith(_GUARDED):
                # Given twice it is neither of the two: a header that nobody can have meant.
                who = await self._access.identify(", ".join(headers.getlist("authorization")), _address(scope))
                context.use(CallContext(request_id, who.tenant, None, who.scopes, who.subject))
            await self._app(scope, receive, visit.send)
        except RagError as error:
            await problem_of(error).response(scope["path"])(scope, receive, visit.send)
        except Exception as error:
            log.error("unexpected_error", path=scope["path"], exc_info=error)
            if visit.status:
                raise  # the server cuts the connection: half an answer must not look whole
            broken = Problem(500, "Internal error.", "INTERNAL").response(scope["path"])
            await broken(scope, receive, visit.send)
        finally:
            visit.end()


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


class _Visit:
    def __init__(self, scope: Scope, send: Send, request_id: str, span: Span) -> None:
        self.status = 0
        self._scope = scope
        self._send = send
        self._id_header = (REQUEST_ID.encode(), request_id.encode())
        self._span = span
        self._began = time.perf_counter()
        self._told = begin()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._id_header, *headers_of(self._told.state)]
        await self._send(message)

    def end(self) -> None:
        seconds = time.perf_counter() - self._began
        status = self.status or CLIENT_CLOSED_REQUEST
        # Paths and methods are the client's to choose: unknown ones share a label.
        route = getattr(self._scope.get("route"), "path", "unknown")
        method = self._scope["method"] if self._scope["method"] in _METHODS else "OTHER"
        REQUESTS.labels(method, route, str(status)).inc()
        SECONDS.labels(method, route).observe(seconds)
        self._span.update_name(f"{method} {route}")
        self._span.set_attribute("http.response.status_code", status)
        self._span.end()
        if route not in _QUIET:
            log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1))
