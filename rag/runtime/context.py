"""Who is asking, under which id, and until when: set at the edge of a service, read anywhere inside."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from rag.ids import new_id
from rag.runtime.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a call carries from hop to hop."""

    request_id: str
    tenant: str
    deadline: float | None = None
    """When the caller stops waiting, on the clock of `time.monotonic`, in seconds."""
    scopes: frozenset[str] = frozenset()
    """What the caller may do; see `rag.runtime.access`."""
    subject: str = ""
    """Who the caller is within the tenant."""


_current: ContextVar[CallContext] = ContextVar("rag_call")


def current() -> CallContext:
    """Return the context of the call that this task serves.

    Raises:
        LookupError: outside of any call.
    """
    return _current.get()


def new_call(tenant: str, seconds: float) -> CallContext:
    """Return the context of a call that begins here, with an id of its own; it may take so many seconds."""
    return CallContext(new_id("req"), tenant, time.monotonic() + seconds)


def use(call: CallContext) -> None:
    """Make `call` the current context of this task for the rest of its life.

    It is never reset: a generator that is closed by another task may not reset what it set.
    """
    _current.set(call)


@contextmanager
def bound(call: CallContext) -> Iterator[CallContext]:
    """Make `call` the current context inside a block of a worker that acts without a caller."""
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


def until_s(margin_s: float, share: float) -> float | None:
    """Return the seconds left for the current call but for a margin, None when it has no deadline; as `asyncio.timeout` takes it.

    Args:
        margin_s: How long before the deadline to stop, so that the caller can still be told why.
        share: The most that the margin takes of what is left, 0 to 1.

    Raises:
        DeadlineExceeded: when none are left.
    """
    left_s = remaining_s(math.inf)
    return None if left_s == math.inf else left_s - min(margin_s, share * left_s)


def share_s(most_s: float, share: float) -> float:
    """Return the seconds that work on the side may take: a share of those left for the current call, and at most `most_s`.

    Raises:
        DeadlineExceeded: when none are left.
    """
    return min(most_s, share * remaining_s(most_s / share))


def remaining_s(default: float) -> float:
    """Return the seconds left for the current call, `default` when it has no deadline.

    Raises:
        DeadlineExceeded: when none are left: work whose answer nobody waits for must not start.
    """
    call = _current.get(None)
    if call is None or call.deadline is None:
        return default
    left = call.deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("The deadline passed before the work was done.", "DEADLINE_EXCEEDED")
    return left
