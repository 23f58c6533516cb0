"""What the tests of limits share."""

from __future__ import annotations

from services.gateway.limits.ledger import Ask, Ledger, Refusal, Spent
from services.gateway.limits.limits import Limits

ANSWER = Spent(1_000, 5_000)


class Same:
    """The same limits for all tenants."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def of(self, tenant: str) -> Limits:
        return self.limits


async def taken(ledger: Ledger, tenant: str, ask: Ask, times: int = 1) -> list[Refusal | None]:
    return [(await ledger.take(tenant, ask)).refusal for _ in range(times)]
