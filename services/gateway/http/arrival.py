"""The body of an upload while it arrives: within its size, within its time, and split from the client's leaving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from starlette.requests import ClientDisconnect

from rag.runtime import context
from rag.runtime.errors import DeadlineExceeded, RagError
from services.gateway.http.bodies import declared_length
from services.gateway.http.problems import ClientGone

_ANY_TIME_S = 3_600.0
"""Without a deadline, which `calls.allow` sets."""


class Arrival:
    """The body of one request.

    Args:
        request: Whose body.
        max_bytes: The largest body.
        too_large: Raised for a larger one.
    """

    def __init__(self, request: Request, max_bytes: int, too_large: RagError) -> None:
        self.over = asyncio.Event()
        """Set when the body will be read no further: then, and only then, may others watch the connection."""
        self._request = request
        self._max_bytes = max_bytes
        self._too_large = too_large

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Read the body.

        Raises:
            RagError: `too_large`; DeadlineExceeded when the time ran out.
            ClientGone: when the client left in the middle.
        """
        try:
            if declared_length(self._request) > self._max_bytes:
                raise self._too_large
            seen = 0
            async with aclosing(self._timed()) as chunks:
                async for chunk in chunks:
                    seen += len(chunk)
                    if seen > self._max_bytes:
                        raise self._too_large
                    yield chunk
        finally:
            self.over.set()

    async def whole(self) -> bytes:
        """Read the body to its end. Raises as `chunks`."""
        async with aclosing(self.chunks()) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def _timed(self) -> AsyncGenerator[bytes, None]:
        stream = aiter(self._request.stream())
        while True:
            try:
                async with asyncio.timeout(context.remaining_s(_ANY_TIME_S)):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise DeadlineExceeded("The upload did not arrive in time.", "DEADLINE_EXCEEDED") from error
            except ClientDisconnect as error:
                raise ClientGone from error
            yield chunk
