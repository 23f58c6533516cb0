"""The share of thumbs up, as a metric: each gateway tells the same, whichever of them took the opinions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.gateway import metrics
from services.gateway.feedback.feedback import Totals

log = get_logger(__name__)

_PAUSE_S = 15.0


class Counted(Protocol):
    """Where opinions are counted."""

    async def totals(self) -> Totals:
        """Count the opinions of all tenants. Raises Unavailable."""


async def follow(counted: Counted, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Keep the metric up to date until cancelled."""
    while True:
        try:
            totals = await counted.totals()
            metrics.rate_thumbs(totals.up, totals.down)
        except RagError as error:
            log.warning("thumbs_not_counted", reason=error.reason)
        await sleep(_PAUSE_S)
