"""The books of this process alone: what counts while the shared ones cannot be reached."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from services.gateway.limits.ledger import RETRY_US, Ask, Refusal, Spent, Totals, Verdict
from services.gateway.limits.rates import wait_us

PREFIX = "here:"
"""What the slots of these books begin with."""
_DAY_S = 86_400


@dataclass(slots=True)
class _Book:
    paid_at_us: int = 0
    day: int = 0
    requests: int = 0
    spent: Spent = field(default_factory=Spent)
    most: Spent = field(default_factory=Spent)
    held: dict[str, Ask] = field(default_factory=dict)


class MemoryLedger:
    """Forgets the tenant that was away longest when there are too many.

    Args:
        tenants: How many it knows at once.
        clock: Seconds since 1970.
    """

    def __init__(self, tenants: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        self._most = tenants
        self._clock = clock
        self._books: OrderedDict[str, _Book] = OrderedDict()
        self._numbers = count(1)

    async def take(self, tenant: str, ask: Ask) -> Verdict:
        """Take a call on, or refuse it."""
        book, now_us = self._book(tenant), self._now_us()
        backlog = max(0, book.paid_at_us - now_us)
        if wait := wait_us(ask.limits, backlog):
            return Verdict(Refusal.RATE_LIMITED, wait, backlog)
        backlog += ask.limits.period_us
        book.paid_at_us = now_us + backlog
        refused = self._refused(book, ask)
        if refused:
            return Verdict(*refused, backlog)
        book.requests += 1
        if not ask.holds:
            return Verdict(None, 0, backlog)
        uploads = sum(other.is_upload for other in book.held.values())
        slot = f"{PREFIX}{next(self._numbers)}"
        book.held[slot] = ask
        return Verdict(None, 0, backlog, slot, uploads)

    async def give_back(self, tenant: str, slot: str, spent: Spent) -> None:
        """End what a call holds."""
        book = self._book(tenant)
        book.held.pop(slot, None)
        book.spent += spent
        book.most = Spent(max(book.most.tokens, spent.tokens), max(book.most.micros, spent.micros))

    async def totals(self, tenant: str) -> Totals:
        """Return a tenant's books."""
        book = self._book(tenant)
        streams = sum(ask.is_stream for ask in book.held.values())
        return Totals(book.requests, book.spent, streams, max(0, book.paid_at_us - self._now_us()))

    def known_backlog_us(self, tenant: str) -> int:
        """Return the time of the calls that are not paid off yet."""
        book = self._books.get(tenant)
        return max(0, book.paid_at_us - self._now_us()) if book else 0

    def follow(self, tenant: str, backlog_us: int) -> None:
        """Take over how much of a tenant's calls is not paid off, from books that know better."""
        self._book(tenant).paid_at_us = self._now_us() + backlog_us

    def _refused(self, book: _Book, ask: Ask) -> tuple[Refusal, int] | None:
        limits, held = ask.limits, book.held.values()
        if ask.is_stream and limits.streams and sum(other.is_stream for other in held) >= limits.streams:
            return Refusal.TOO_MANY_STREAMS, RETRY_US
        if ask.reserve == Spent():
            return None
        answers = [other.reserve for other in held]
        tokens = sum(max(one.tokens, book.most.tokens) for one in answers if one.tokens)
        micros = sum(max(one.micros, book.most.micros) for one in answers if one.tokens)
        if wait := self._over(limits.tokens_per_day, book.spent.tokens, tokens):
            return Refusal.TOKENS_SPENT, wait
        if wait := self._over(limits.cost_micros_per_day, book.spent.micros, micros):
            return Refusal.COST_SPENT, wait
        return None

    def _over(self, limit: int | None, spent: int, held: int) -> int:
        if limit is None or spent + held < limit:
            return 0
        return RETRY_US if spent < limit else (_DAY_S * 1_000_000 - self._now_us() % (_DAY_S * 1_000_000))

    def _book(self, tenant: str) -> _Book:
        book = self._books.pop(tenant, None) or _Book()
        self._books[tenant] = book
        if len(self._books) > self._most:
            self._books.popitem(last=False)
        today = int(self._clock() // _DAY_S)
        if book.day != today:
            book.day, book.requests, book.spent, book.most = today, 0, Spent(), Spent()
        return book

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)
