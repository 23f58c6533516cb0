"""Takes calls on within the limits of their tenants."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.gateway.limits import headers
from services.gateway.limits.ledger import NOTHING, Ask, Books, Refusal, Spent
from services.gateway.limits.limits import Limits, LimitsOf
from services.gateway.limits.quota import Quota, Room
from services.gateway.limits.rates import state_of, wait_us
from services.gateway.limits.refusals import refusal

NO_QUOTA = Room()


@dataclass(frozen=True, slots=True)
class Kind:
    """What a method takes of the limits."""

    is_stream: bool = False
    """Its answer is a stream."""
    is_answer: bool = False
    """A language model may be asked."""
    is_upload: bool = False
    """A document is taken in."""
    is_fetched: bool = False
    """The document does not come with the call."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that was taken on."""

    tenant: str
    slot: str
    limits: Limits
    room: Room = NO_QUOTA
    """How much an upload may add to what is stored."""
    replaces: Callable[[str], Awaitable[bool]] | None = None
    """Tells whether an upload under an id makes no new document; set when it must not."""


class Limiter:
    """The limits of all tenants.

    Args:
        limits: What each may.
        ledger: What each did, holds and spent.
        quota: What each stores.
        reserve: What one answer may take of a day's tokens and cost; when answers took more today, that counts.
    """

    def __init__(self, limits: LimitsOf, ledger: Books, quota: Quota, reserve: Spent) -> None:
        self._limits = limits
        self._ledger = ledger
        self._quota = quota
        self._reserve = reserve
        self._dearest = reserve.micros / reserve.tokens if reserve.tokens else 0.0

    async def take(self, tenant: str, kind: Kind) -> Admitted:
        """Take a call on.

        Raises:
            Overloaded: with one of the reasons of Refusal.
        """
        limits = self._limits.of(tenant)
        is_counted = kind.is_upload and limits.has_quota
        ask = Ask(limits, kind.is_stream, self._reserve if kind.is_answer else NOTHING, is_counted)
        verdict = await self._ledger.take(tenant, ask)
        headers.tell(state_of(limits, verdict.backlog_us))
        if verdict.refusal:
            raise refusal(verdict.refusal, limits, verdict.wait_us)
        if not is_counted:
            return Admitted(tenant, verdict.slot, limits)
        try:
            room = await self._quota.room(limits, verdict.uploads)
        except BaseException:
            await self._ledger.give_back(tenant, verdict.slot, NOTHING)
            raise
        return Admitted(tenant, verdict.slot, limits, room, self._quota.replaces if room.is_full else None)

    def refuse_hasty(self, tenant: str) -> None:
        """Refuse a call whose tenant is known to be over its rate: nothing of it is read, and nobody is asked.

        Raises:
            Overloaded: RATE_LIMITED.
        """
        limits = self._limits.of(tenant)
        backlog_us = self._ledger.known_backlog_us(tenant) if limits.period_us else 0
        # No call waits longer than one takes to be paid off, unless the clock was set back: the books know better then.
        if 0 < (wait := wait_us(limits, backlog_us)) <= limits.period_us:
            headers.tell(state_of(limits, backlog_us))
            raise refusal(Refusal.RATE_LIMITED, limits, wait)

    async def end(self, admitted: Admitted, spent: Spent) -> None:
        """Book what a call took that has ended, and free what it held."""
        if spent.tokens and spent.micros:
            self._dearest = max(self._dearest, spent.micros / spent.tokens)
        await self._ledger.give_back(admitted.tenant, admitted.slot, spent)

    def guessed(self, tokens: int) -> Spent:
        """Return tokens with what they cost at most: each as much as in what is reserved, or as in the dearest answer so far."""
        return Spent(tokens, math.ceil(tokens * self._dearest))
