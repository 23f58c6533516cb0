"""Calls of a tenant that is known to be over its rate: refused before anything of them is read or asked."""

from __future__ import annotations

import asyncio
import re

import pytest

from rag.runtime.errors import Overloaded
from services.gateway.limits.ledger import NOTHING, Ask, Books
from services.gateway.limits.limiter import Kind, Limiter
from services.gateway.limits.limits import Limits
from services.gateway.limits.memory_ledger import MemoryLedger
from services.gateway.limits.quota import Quota
from tests.gateway.limits.books import Same

TWO_A_SECOND = Limits(requests_per_minute=120, burst_requests=2)


class Nobody:
    """Stores nothing, and is not asked."""


def limiter(ledger: Books, limits: Limits = TWO_A_SECOND) -> Limiter:
    return Limiter(Same(limits), ledger, Quota(Nobody()), NOTHING)


async def test_who_is_over_its_rate_is_refused_until_a_call_is_paid_off(tenant: str) -> None:
    now = [1_000.0]
    hasty = limiter(MemoryLedger(clock=lambda: now[0]))
    hasty.refuse_hasty(tenant)
    for _ in range(2):
        await hasty.take(tenant, Kind())
    with pytest.raises(Overloaded) as caught:
        hasty.refuse_hasty(tenant)
    assert (caught.value.reason, caught.value.retry_after_s) == ("RATE_LIMITED", 0.5)
    hasty.refuse_hasty(f"{tenant}-b")
    now[0] += 0.5
    hasty.refuse_hasty(tenant)
    assert (await hasty.take(tenant, Kind())).tenant == tenant


async def test_a_clock_that_is_set_back_keeps_nobody_out(tenant: str) -> None:
    now = [10_000.0]
    hasty = limiter(MemoryLedger(clock=lambda: now[0]))
    for _ in range(2):
        await hasty.take(tenant, Kind())
    now[0] -= 3_600
    hasty.refuse_hasty(tenant)


async def test_without_a_rate_nobody_is_hasty(tenant: str) -> None:
    free = Limits(requests_per_minute=0, burst_requests=0)
    ledger = MemoryLedger()
    for _ in range(50):
        await ledger.take(tenant, Ask(free))
    limiter(ledger, free).refuse_hasty(tenant)


async def test_the_body_of_a_hasty_call_is_not_waited_for(open_gateway, redis_url: str, tenant: str) -> None:
    one = {"limit_requests_per_minute": 1, "limit_patience_ms": 20_000}
    async with open_gateway(redis_url=redis_url, tenant=tenant, **one) as gateway:
        assert (await gateway.http.get("/v1/documents")).status_code == 200
        url = gateway.http.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"POST /v1/query HTTP/1.1\r\nhost: {url.host}\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
        writer.write(head.encode() + b'{"question":')
        async with asyncio.timeout(20):
            said = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        assert said.startswith("HTTP/1.1 429")
        assert "ratelimit-remaining: 0" in said
        waits = re.search(r"retry-after: (\d+)", said)
        assert waits is not None
        assert 40 <= int(waits[1]) <= 60
        assert gateway.backends.generator.stage.calls == []
