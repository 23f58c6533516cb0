"""The reader of an event stream: given little at a time, waited for while it takes anything at all, and cut off when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.types import Scope, Send

HIGH_WATER_BYTES = 16 * 1024
"""What the process holds for a connection before it waits for the reader."""
_SLICE_BYTES = 8 * 1024
_LOOKS = 6
"""How often the reader is looked at before it is given up."""
STATE = "connection"
"""Under this name a request's state has its connection."""


class Connection(Protocol):
    """What the server knows of a request's connection."""

    def unread(self) -> int:
        """Return the bytes that were sent and that the other side has not taken yet, in this process and in the kernel."""
        ...

    async def flushed(self) -> None:
        """Return when this process holds nothing any more, or the connection is gone."""
        ...

    def abort(self) -> None:
        """End the connection at once, with what it holds."""
        ...


class Reader:
    """Sends a body to one reader.

    Args:
        scope: The request.
        send: ASGI's.
        patience_s: How long the reader may take nothing.
    """

    def __init__(self, scope: Scope, send: Send, patience_s: float) -> None:
        self._connection: Connection | None = scope.get("state", {}).get(STATE)
        self._send = send
        self._patience_s = patience_s

    async def give(self, chunk: bytes) -> None:
        """Send a part of the body.

        Raises:
            TimeoutError: the reader took nothing for too long.
        """
        for start in range(0, len(chunk), _SLICE_BYTES):
            await self._part(chunk[start : start + _SLICE_BYTES], more=True)

    async def end(self) -> None:
        """End the body and see it off: what is left in this process would stay there for a reader that never comes.

        Raises:
            TimeoutError: the reader took nothing for too long.
        """
        await self._part(b"", more=False)
        if self._connection:
            await self._patiently(self._connection.flushed)

    def cut(self) -> None:
        """End the connection: a plain close would wait for the reader to take what is held."""
        if self._connection:
            self._connection.abort()

    async def _part(self, part: bytes, *, more: bool) -> None:
        async def send() -> None:
            await self._send({"type": "http.response.body", "body": part, "more_body": more})

        # The server waits first and writes then, so an attempt that was given up wrote nothing.
        await self._patiently(send)

    async def _patiently(self, attempt: Callable[[], Awaitable[None]]) -> None:
        unread, looks_in_vain = self._unread(), 0
        while True:
            try:
                async with asyncio.timeout(self._patience_s / _LOOKS):
                    return await attempt()
            except TimeoutError:
                left = self._unread()
                looks_in_vain = 0 if left < unread else looks_in_vain + 1
                unread = left
                if looks_in_vain >= _LOOKS:
                    raise

    def _unread(self) -> int:
        return self._connection.unread() if self._connection else 0
