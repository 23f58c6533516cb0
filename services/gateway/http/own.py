"""What the routes of the gateway's own service share: they ask its servicer, on the same way as gRPC."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from google.protobuf.message import Message

from services.gateway.http import wire
from services.gateway.http.calls import allow, json_response, while_connected

Req = TypeVar("Req", bound=Message)


class OwnCalls:
    """Calls of the gateway's own service within the time of a call without a stream."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def ask(self, request: Request, method: Callable[[Req], Coroutine[Any, Any, Any]], asked: Req) -> Any:
        """Return the answer's message; ClientGone when the client left before."""
        allow(self._timeout_s)
        return await while_connected(request, method(asked))

    async def answer(
        self, request: Request, method: Callable[[Req], Coroutine[Any, Any, Any]], asked: Req, status: int = 200
    ) -> Response:
        """Return the answer as JSON."""
        return json_response(wire.to_json(await self.ask(request, method, asked)), status)
