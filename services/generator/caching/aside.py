"""Looking into the cache is work on the side: it must not take the time that the answer needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rag.runtime.context import share_s
from rag.runtime.errors import Unavailable

_MOST_S = 1.0
_SHARE = 0.1
"""Of the time that is left: the answer itself needs the rest."""


@asynccontextmanager
async def in_time(late: str, reason: str) -> AsyncIterator[None]:
    """Give the work of a block a second, and at most a tenth of the time that the caller has.

    Raises:
        Unavailable: with this sentence and reason, when it takes longer.
        DeadlineExceeded: when the caller has no time left.
    """
    try:
        async with asyncio.timeout(share_s(_MOST_S, _SHARE)):
            yield
    except TimeoutError as error:
        raise Unavailable(late, reason) from error
