"""What every route does around its call: a deadline, and an eye on the client's connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response

from rag.runtime import context
from rag.runtime.tasks import cancel_all
from services.gateway.http.problems import ClientGone

T = TypeVar("T")


def allow(seconds: float) -> None:
    """Give the current request this long, from now."""
    context.use(replace(context.current(), deadline=time.monotonic() + seconds))


async def while_connected(request: Request, work: Coroutine[Any, Any, T], body_read: asyncio.Event | None = None) -> T:
    """Return what `work` returns; cancel it when the client leaves first.

    Args:
        request: Whose connection to watch.
        work: What to wait for.
        body_read: When `work` itself reads the body: set when it has, since only one may read at a time.

    Raises:
        ClientGone: when the client left.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_gone(request, body_read))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        await cancel_all([working, watching])


async def _gone(request: Request, body_read: asyncio.Event | None) -> None:
    if body_read:
        await body_read.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON as a response."""
    return Response(orjson.dumps(content), status, headers, "application/json")
