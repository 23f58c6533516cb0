"""The requests of a stream as they come in: parsed, counted, and heard out when the call is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

_HEAR_OUT_S = 1.0


class Incoming:
    """An async iterator over the requests of one call. A reader that is cancelled loses nothing for the next."""

    def __init__(self, raws: AsyncIterator[bytes], parse: Callable[[bytes], Any]) -> None:
        self._raws = aiter(raws)
        self._parse = parse
        self._next: asyncio.Future[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return self._parse(await self._raw())

    async def hear_out(self) -> None:
        """Read on for a moment what the caller still sends: many clients lose the status of a stream that is cut short."""
        with suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(_HEAR_OUT_S):
                while True:
                    await self._raw()

    def close(self) -> None:
        """Stop reading."""
        if self._next is not None:
            self._next.cancel()

    async def _raw(self) -> bytes:
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._raws))
            self._next.add_done_callback(_heard)
        raw = await asyncio.shield(self._next)
        self._next = None
        return raw


def _heard(last: asyncio.Future[bytes]) -> None:
    # A call may end while nobody waits for its next request: how that went is then of no interest, and no error to report.
    if not last.cancelled():
        last.exception()
