"""What is left of a tenant's requests, told with every HTTP answer."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from services.gateway.limits.rates import RateState


@dataclass(slots=True)
class Told:
    """Holds what the gate said to the last call of one HTTP request."""

    state: RateState | None = None


_told: ContextVar[Told | None] = ContextVar("rag_rate_told", default=None)


def begin() -> Told:
    """Return the holder of the HTTP request that this task serves, a new one; tasks that it starts fill it too."""
    told = Told()
    _told.set(told)
    return told


def tell(state: RateState | None) -> None:
    """Put the state where the HTTP request finds it, if there is one."""
    told = _told.get()
    if told is not None and state is not None:
        told.state = state


def headers_of(state: RateState | None) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell a state; none without a limit."""
    if state is None:
        return []
    values = {"ratelimit-limit": state.limit, "ratelimit-remaining": state.remaining, "ratelimit-reset": state.reset_s}
    return [(name.encode(), str(value).encode()) for name, value in values.items()]
