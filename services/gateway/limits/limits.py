"""The limits of tenants: defaults for all, and other ones for some."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from rag.ids import check_tenant
from rag.runtime.errors import FailedPrecondition, Unauthenticated

_MINUTE_US = 60_000_000
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tenant may; None is no limit."""

    requests_per_minute: int | None = None
    burst_requests: int | None = None
    """How many of them may come at once; as many as a minute brings when not set."""
    streams: int | None = None
    """Streams that are open at the same time."""
    tokens_per_day: int | None = None
    """Tokens of language models, in and out together."""
    cost_usd_per_day: float | None = None
    documents: int | None = None
    """Documents stored."""
    stored_bytes: int | None = None
    """Bytes of the uploads that these were made from."""
    upload_bytes: int | None = None
    """Bytes of one upload."""

    @property
    def period_us(self) -> int:
        """The microseconds that each request takes of its minute; 0 without a limit."""
        return -(-_MINUTE_US // self.requests_per_minute) if self.requests_per_minute else 0

    @property
    def burst(self) -> int:
        """How many requests may come at once; 0 without a limit."""
        most = self.requests_per_minute or 0
        return min(self.burst_requests or most, most)

    @property
    def cost_micros_per_day(self) -> int | None:
        """The cost in millionths of a US dollar."""
        return None if self.cost_usd_per_day is None else micros(self.cost_usd_per_day)

    @property
    def has_quota(self) -> bool:
        """Whether what is stored is limited."""
        return self.documents is not None or self.stored_bytes is not None


class LimitsOf(Protocol):
    """Knows every tenant's limits."""

    def of(self, tenant: str) -> Limits:
        """Return the limits of a tenant."""
        ...


def limits_from(settings: Mapping[str, Any]) -> Limits:
    """Return the limits that settings say, by the names of the fields behind `limit_`; 0 is no limit."""
    return Limits(**{field.name: settings[f"limit_{field.name}"] or None for field in fields(Limits)})


def micros(usd: float) -> int:
    """Return US dollars in millionths, rounded up: a cost is never nothing."""
    return -int(-usd * _MICROS // 1)


def overridden(text: str, defaults: Limits, source: str) -> Mapping[str, Limits]:
    """Return the limits of the tenants that a JSON object names: `{"acme": {"requests_per_minute": 60}}`.

    A field that a tenant leaves out is the default's; 0 and null are no limit.

    Raises:
        FailedPrecondition: LIMITS_FILE, naming the source and the tenant.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad(source, "it is no JSON") from None
    if not isinstance(given, dict):
        raise _bad(source, "it is no JSON object of tenants")
    return {tenant: _of(source, tenant, values, defaults) for tenant, values in given.items()}


def _of(source: str, tenant: str, values: Any, defaults: Limits) -> Limits:
    try:
        check_tenant(tenant)
    except Unauthenticated:
        raise _bad(source, f"{tenant[:80]!r} is no name of a tenant") from None
    if not isinstance(values, dict):
        raise _bad(source, f"the limits of {tenant} are no JSON object")
    known = {field.name for field in fields(Limits)}
    for name, value in values.items():
        if name not in known:
            raise _bad(source, f"{tenant} has a limit {name[:80]!r}, and there is none of that name")
        if not _is_limit(name, value):
            raise _bad(source, f"{name} of {tenant} is no number of 0 or more")
    return replace(defaults, **{name: value or None for name, value in values.items()})


def _is_limit(name: str, value: Any) -> bool:
    if value is None:
        return True
    kinds = (int, float) if name == "cost_usd_per_day" else (int,)
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < 2**53


def _bad(source: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(f"The limits in {source} cannot be used: {why}.", "LIMITS_FILE")
