"""The books: what tenants did, hold and spent. One act before a call, one after it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.gateway.limits.limits import Limits

RETRY_US = 1_000_000
"""How long to wait for what running calls hold, in microseconds."""


class Refusal(StrEnum):
    """Why a call is not taken on; the reason that its caller reads."""

    RATE_LIMITED = "RATE_LIMITED"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    TOKENS_SPENT = "TOKENS_SPENT"
    COST_SPENT = "COST_SPENT"
    QUOTA_DOCUMENTS = "QUOTA_DOCUMENTS"
    QUOTA_BYTES = "QUOTA_BYTES"


@dataclass(frozen=True, slots=True)
class Spent:
    """What an answer took."""

    tokens: int = 0
    micros: int = 0
    """Millionths of a US dollar."""

    def __add__(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(self.tokens + other.tokens, self.micros + other.micros)


NOTHING = Spent()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call needs."""

    limits: Limits
    is_stream: bool = False
    reserve: Spent = NOTHING
    """The most that it may take of the day's tokens and cost."""
    is_upload: bool = False

    @property
    def holds(self) -> bool:
        """Whether it holds something until it ends."""
        return self.is_stream or self.is_upload or self.reserve != NOTHING


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the books say to a call."""

    refusal: Refusal | None
    wait_us: int
    """When to come back."""
    backlog_us: int
    """The time of the calls that are not paid off yet; see `rates`."""
    slot: str = ""
    """What the call holds; empty for nothing."""
    uploads: int = 0
    """The other uploads of the tenant that go on."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A tenant's books right now."""

    requests: int = 0
    """Calls taken on today."""
    spent: Spent = NOTHING
    """Today."""
    streams: int = 0
    backlog_us: int = 0


class Ledger(Protocol):
    """Keeps the books of all tenants. A day is one of UTC.

    Budgets are checked against what was spent and what running calls hold, so that of many calls at once near the end of a budget
    one goes over it at most.
    """

    async def take(self, tenant: str, ask: Ask) -> Verdict:
        """Take a call on and hold what it needs, or refuse it; in one step."""
        ...

    async def give_back(self, tenant: str, slot: str, spent: Spent) -> None:
        """End what a call holds, and book what it took. A slot that nobody ends frees itself after a while."""
        ...

    async def totals(self, tenant: str) -> Totals:
        """Return a tenant's books."""
        ...


class Books(Ledger, Protocol):
    """A ledger that also remembers in this process what it said last."""

    def known_backlog_us(self, tenant: str) -> int:
        """Return the time of the calls that are not paid off yet as far as this process knows, without a look anywhere."""
        ...
