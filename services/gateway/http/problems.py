"""Errors as HTTP: one table of statuses, one shape of body (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import grpc
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from rag.runtime import context
from rag.runtime.errors import Overloaded, RagError, TooLarge, Unauthenticated, Unavailable
from rag.runtime.status import code_of
from services.gateway.http.openai import errors as openai_errors

MEDIA_TYPE = "application/problem+json"
CLIENT_CLOSED_REQUEST = 499
_UNAVAILABLE_RETRY_S = 1.0

# The comments of google/rpc/code.proto; TooLarge shares its code with Overloaded and has a status of its own.
_STATUS: Mapping[grpc.StatusCode | type[RagError], int] = {
    TooLarge: 413,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}
_REASONS = {
    400: "BAD_REQUEST",
    404: "ROUTE_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "BODY_TIMEOUT",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
_DETAILS = {404: "There is no such path.", 405: "This path does not take this method."}


class ClientGone(Exception):
    """The client closed its connection before the answer."""


def status_of(error: RagError) -> int:
    """Return the HTTP status of an error."""
    return _STATUS.get(type(error)) or _STATUS[code_of(error)]


def is_retryable(error: RagError) -> bool:
    """Tell whether the same request, sent again later, may succeed."""
    return isinstance(error, Overloaded) or code_of(error) in _RETRYABLE


def retry_after_s(error: RagError) -> float | None:
    """Return when to come back, in seconds; None when that will not help."""
    if isinstance(error, Overloaded):
        return error.retry_after_s
    return _UNAVAILABLE_RETRY_S if isinstance(error, Unavailable) else None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, before it is a response or a part of one."""

    status: int
    detail: str
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    """Members of its own."""

    def body(self, instance: str) -> dict[str, Any]:
        """Return the members of RFC 9457 and our own."""
        closed = self.status == CLIENT_CLOSED_REQUEST
        return {
            "type": "about:blank",  # RFC 9457: the status says the type; `reason` is the part for programs
            "title": "Client Closed Request" if closed else HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "reason": self.reason,
            "request_id": context.current().request_id,
            **self.more,
        }

    def response(self, instance: str, **more: Any) -> Response:
        """Return the problem as a response, in the shape of the path; `more` are members that this response alone has."""
        if openai_errors.speaks_at(instance):
            return Response(
                orjson.dumps(openai_errors.body_of(self)),
                self.status,
                dict(self.headers),
                media_type="application/json",
            )
        return Response(
            orjson.dumps({**self.body(instance), **more}), self.status, dict(self.headers), media_type=MEDIA_TYPE
        )


def problem_of(error: RagError | RequestValidationError) -> Problem:
    """Return an error as a problem."""
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    wait = retry_after_s(error)
    headers = {} if wait is None else {"retry-after": str(max(1, math.ceil(wait)))}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    more: dict[str, Any] = {"metadata": dict(error.metadata)} if error.metadata else {}
    if wait is not None:
        more["retry_after"] = wait
    return Problem(status_of(error), error.message, error.reason, headers, more)


def install(app: FastAPI) -> None:
    """Make an app answer all its errors as problems."""
    app.add_exception_handler(RagError, _told)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _told)
    app.add_exception_handler(ClientGone, _client_gone)


def _told(request: Request, error: Exception) -> Response:
    if not isinstance(error, RagError | RequestValidationError):
        raise error
    return problem_of(error).response(request.url.path)


def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    detail = _DETAILS.get(status, str(error.detail))
    reason = _REASONS.get(status, HTTPStatus(status).name)
    return Problem(status, detail, reason, error.headers or {}).response(request.url.path)


def _invalid(error: RequestValidationError) -> Problem:
    fields = field_errors(error.errors())
    named = "; ".join(f"{e['field']}: {e['message']}" if e["field"] else e["message"] for e in fields)
    return Problem(400, f"The request is not valid. {named}"[:1_000], "INVALID", more={"errors": fields})


def field_errors(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Return pydantic's errors as `{field, message}`, without the values that were sent."""
    return [_field_error(error) for error in errors[:20]]


def _field_error(error: Any) -> dict[str, str]:
    if error["type"] == "json_invalid":
        return {"field": "body", "message": f"not valid JSON: {error.get('ctx', {}).get('error', 'cannot be parsed')}"}
    place = [str(part) for part in error["loc"]]
    where = place[1:] if place and place[0] in {"body", "query", "path", "header"} else place
    return {
        "field": ".".join(where) or (place[0] if place else ""),
        "message": error["msg"].removeprefix("Value error, "),
    }


def _client_gone(request: Request, _error: Exception) -> Response:
    # Nobody reads it; metrics and logs count it under this status.
    return Problem(CLIENT_CLOSED_REQUEST, "The client left.", "CLIENT_CLOSED_REQUEST").response(request.url.path)
