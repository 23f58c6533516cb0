"""How often: the generic cell rate algorithm, which needs one number per tenant.

That number is the moment at which all calls taken on so far are paid off, one period each. A call is taken on while it is not more
than the burst ahead of now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.gateway.limits.limits import Limits

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class RateState:
    """What is left of a tenant's requests, as the RateLimit headers say it."""

    limit: int
    """How many may come at once."""
    remaining: int
    reset_s: int
    """When all of them may come again, in seconds."""


def state_of(limits: Limits, backlog_us: int) -> RateState | None:
    """Return what is left when calls of this many microseconds are not paid off; None without a limit."""
    if not limits.period_us:
        return None
    remaining = max(0, limits.burst - math.ceil(backlog_us / limits.period_us))
    return RateState(limits.burst, remaining, math.ceil(backlog_us / _SECOND_US))


def wait_us(limits: Limits, backlog_us: int) -> int:
    """Return how long the next call has to wait, in microseconds; 0 when it may come now, and without a limit."""
    return max(0, backlog_us + limits.period_us - limits.burst * limits.period_us) if limits.period_us else 0
