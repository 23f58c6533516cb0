"""What a tenant used today, what it stores, and what it may."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.gateway.limits.ledger import Ledger
from services.gateway.limits.limits import LimitsOf
from services.gateway.limits.quota import Stock

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Meter:
    """One figure and its limit, None for none."""

    used: float
    limit: float | None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What `GetUsageResponse` says."""

    tenant: str
    day_started_s: int
    """Midnight UTC, in seconds since 1970."""
    requests_today: Meter
    requests_per_minute: Meter
    """Calls that are not paid off yet: the limit less these may come right now, if a burst may be as large."""
    streams: Meter
    tokens_today: Meter
    cost_usd_today: Meter
    documents: Meter
    stored_bytes: Meter


class Usage:
    """Reports usage.

    Args:
        limits: What each tenant may.
        ledger: What each did and spent.
        stock: What the tenant of the current call stores.
        clock: Seconds since 1970.
    """

    def __init__(self, limits: LimitsOf, ledger: Ledger, stock: Stock, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._ledger = ledger
        self._stock = stock
        self._clock = clock

    async def of(self, tenant: str) -> UsageReport:
        """Return the report of the tenant of the current call.

        Raises:
            RagError: when what is stored cannot be told.
        """
        stored, totals, limits = await self._stock.stored(), await self._ledger.totals(tenant), self._limits.of(tenant)
        running = math.ceil(totals.backlog_us / limits.period_us) if limits.period_us else 0
        return UsageReport(
            tenant,
            int(self._clock() // _DAY_S) * _DAY_S,
            Meter(totals.requests, None),
            Meter(running, limits.requests_per_minute),
            Meter(totals.streams, limits.streams),
            Meter(totals.spent.tokens, limits.tokens_per_day),
            Meter(totals.spent.micros / 1_000_000, limits.cost_usd_per_day),
            Meter(stored.documents, limits.documents),
            Meter(stored.bytes, limits.stored_bytes),
        )
