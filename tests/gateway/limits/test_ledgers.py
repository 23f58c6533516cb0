"""One contract for the books of this process and those in Redis."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from rag.ids import new_id
from rag.runtime.redis import open_redis
from services.gateway.adapters.redis_limits import RedisLimits
from services.gateway.limits.ledger import Ask, Ledger, Refusal, Spent
from services.gateway.limits.limits import Limits
from services.gateway.limits.memory_ledger import MemoryLedger
from tests.gateway.limits.books import ANSWER, taken
from tests.waiting import until


@pytest.fixture(params=["memory", "redis"])
async def ledger(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    async with open_redis(redis_url) as client:
        yield RedisLimits(client)


def answering(**limits: object) -> Ask:
    return Ask(Limits(**limits), is_stream=True, reserve=ANSWER)


async def test_a_burst_is_taken_on_and_then_one_call_per_period(ledger: Ledger, tenant: str) -> None:
    ask = Ask(Limits(requests_per_minute=6, burst_requests=3))
    assert await taken(ledger, tenant, ask, 5) == [None, None, None, Refusal.RATE_LIMITED, Refusal.RATE_LIMITED]
    refused = await ledger.take(tenant, ask)
    assert 0 < refused.wait_us <= 10_000_000
    assert 20_000_000 <= refused.backlog_us <= 30_000_000
    assert await taken(ledger, f"{tenant}-b", ask) == [None]


async def test_who_waits_as_long_as_told_is_taken_on(ledger: Ledger, tenant: str) -> None:
    ask = Ask(Limits(requests_per_minute=600, burst_requests=1))
    assert await taken(ledger, tenant, ask) == [None]
    waited: list[Refusal | None] = []

    async def is_taken() -> bool:
        verdict = await ledger.take(tenant, ask)
        waited.append(verdict.refusal)
        return verdict.refusal is None

    await until(is_taken)
    assert set(waited) <= {None, Refusal.RATE_LIMITED}


async def test_refused_calls_do_not_count_as_calls_of_today(ledger: Ledger, tenant: str) -> None:
    await taken(ledger, tenant, Ask(Limits(requests_per_minute=2)), 5)
    assert (await ledger.totals(tenant)).requests == 2


async def test_no_more_streams_than_may_be_open_at_once(ledger: Ledger, tenant: str) -> None:
    ask = Ask(Limits(streams=2), is_stream=True)
    first = await ledger.take(tenant, ask)
    assert await taken(ledger, tenant, ask, 2) == [None, Refusal.TOO_MANY_STREAMS]
    assert (await ledger.totals(tenant)).streams == 2
    assert await taken(ledger, tenant, Ask(Limits(streams=2))) == [None]  # no stream, no slot
    await ledger.give_back(tenant, first.slot, Spent())
    await ledger.give_back(tenant, first.slot, Spent())
    assert await taken(ledger, tenant, ask, 2) == [None, Refusal.TOO_MANY_STREAMS]


async def test_uploads_are_told_of_each_other(ledger: Ledger, tenant: str) -> None:
    ask = Ask(Limits(), is_upload=True)
    verdicts = [await ledger.take(tenant, ask) for _ in range(3)]
    assert [verdict.uploads for verdict in verdicts] == [0, 1, 2]
    await ledger.give_back(tenant, verdicts[0].slot, Spent())
    assert (await ledger.take(tenant, ask)).uploads == 2


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        ({"tokens_per_day": 10_000}, Refusal.TOKENS_SPENT),
        ({"cost_usd_per_day": 0.05}, Refusal.COST_SPENT),
    ],
)
async def test_of_50_calls_at_99_percent_of_a_budget_one_is_taken_on(
    ledger: Ledger, tenant: str, limits: dict[str, float], refusal: Refusal
) -> None:
    ask = answering(**limits)
    first = await ledger.take(tenant, ask)
    await ledger.give_back(tenant, first.slot, Spent(9_900, 49_500))
    verdicts = await asyncio.gather(*(ledger.take(tenant, ask) for _ in range(50)))
    assert Counter(verdict.refusal for verdict in verdicts) == {None: 1, refusal: 49}
    slot = next(verdict.slot for verdict in verdicts if verdict.slot)
    assert max(verdict.wait_us for verdict in verdicts) == 1_000_000  # the rest is only held
    await ledger.give_back(tenant, slot, Spent(1_000, 5_000))
    spent = await ledger.take(tenant, ask)
    assert spent.refusal is refusal
    midnight_s = 86_400 - time.time() % 86_400
    assert abs(spent.wait_us / 1_000_000 - midnight_s) < 60
    assert (await ledger.totals(tenant)).spent == Spent(10_900, 54_500)


async def test_what_an_answer_took_today_is_held_for_the_next_ones(ledger: Ledger, tenant: str) -> None:
    ask = answering(tokens_per_day=20_000)
    first = await ledger.take(tenant, ask)
    await ledger.give_back(tenant, first.slot, Spent(9_000, 1))
    assert await taken(ledger, tenant, ask, 3) == [None, None, Refusal.TOKENS_SPENT]  # 9,000 spent, 9,000 held each


async def test_a_call_without_usage_gives_back_what_it_held(ledger: Ledger, tenant: str) -> None:
    ask = answering(tokens_per_day=1_000)
    for _ in range(3):
        verdict = await ledger.take(tenant, ask)
        assert await taken(ledger, tenant, ask) == [Refusal.TOKENS_SPENT]
        await ledger.give_back(tenant, verdict.slot, Spent())
    assert (await ledger.totals(tenant)).spent == Spent()


async def test_searches_go_on_when_the_tokens_are_spent(ledger: Ledger, tenant: str) -> None:
    ask = answering(tokens_per_day=1_000)
    await ledger.give_back(tenant, (await ledger.take(tenant, ask)).slot, Spent(1_000, 0))
    assert await taken(ledger, tenant, ask) == [Refusal.TOKENS_SPENT]
    assert await taken(ledger, tenant, Ask(ask.limits, is_stream=True)) == [None]


async def test_slots_of_a_gateway_that_died_free_themselves(redis: redis.asyncio.Redis, tenant: str) -> None:
    died = RedisLimits(redis, lease_s=0.05)
    ask = Ask(Limits(streams=1, tokens_per_day=1), is_stream=True, reserve=ANSWER)
    assert await taken(died, tenant, ask) == [None]
    other = RedisLimits(redis)

    async def is_free() -> bool:
        return (await other.take(tenant, ask)).refusal is None

    await until(is_free)


async def test_slots_that_are_renewed_last(redis: redis.asyncio.Redis, tenant: str) -> None:
    ledger = RedisLimits(redis, lease_s=60)
    verdict = await ledger.take(tenant, Ask(Limits(streams=1), is_stream=True))
    [(_, before)] = await redis.zrange(f"rag:{tenant}:limits:slots", 0, -1, withscores=True)
    await ledger.renew()
    [(_, after)] = await redis.zrange(f"rag:{tenant}:limits:slots", 0, -1, withscores=True)
    assert after > before
    await ledger.give_back(tenant, verdict.slot, Spent())
    await ledger.renew()
    assert not await redis.exists(f"rag:{tenant}:limits:slots")


async def test_all_keys_are_the_tenants_and_expire(redis: redis.asyncio.Redis, tenant: str) -> None:
    ledger = RedisLimits(redis)
    ask = answering(requests_per_minute=60, streams=5, tokens_per_day=10_000)
    await ledger.give_back(tenant, (await ledger.take(tenant, ask)).slot, Spent(1, 1))
    await ledger.take(tenant, ask)
    keys = [key async for key in redis.scan_iter(f"*{tenant}*")]
    assert sorted(keys) == [f"rag:{tenant}:limits:{name}".encode() for name in ("day", "rate", "slots")]
    assert all([await redis.ttl(key) > 0 for key in keys])


async def test_yesterday_does_not_count(redis: redis.asyncio.Redis, tenant: str) -> None:
    ledger = RedisLimits(redis)
    ask = answering(tokens_per_day=10)
    await redis.hset(f"rag:{tenant}:limits:day", mapping={"day": "1", "tokens": 99, "requests": 7, "most_tokens": 99})
    assert (await ledger.totals(tenant)).requests == 0
    assert await taken(ledger, tenant, ask) == [None]
    assert (await ledger.totals(tenant)).requests == 1


async def test_a_new_day_begins_at_midnight_utc_in_this_process_too(tenant: str) -> None:
    now = [86_399.0]
    ledger = MemoryLedger(clock=lambda: now[0])
    ask = answering(tokens_per_day=10)
    await ledger.give_back(tenant, (await ledger.take(tenant, ask)).slot, Spent(10, 0))
    refused = await ledger.take(tenant, ask)
    assert (refused.refusal, refused.wait_us) == (Refusal.TOKENS_SPENT, 1_000_000)
    now[0] += 1
    assert await taken(ledger, tenant, ask) == [None]


async def test_the_books_of_this_process_know_so_many_tenants() -> None:
    ledger = MemoryLedger(tenants=3)
    ask = Ask(Limits(requests_per_minute=1))
    tenants = [new_id("tenant") for _ in range(4)]
    for tenant in tenants:
        assert await taken(ledger, tenant, ask) == [None]
    assert await taken(ledger, tenants[3], ask) == [Refusal.RATE_LIMITED]
    assert await taken(ledger, tenants[0], ask) == [None]  # forgotten
    assert len(ledger._books) == 3


async def test_answers_that_began_before_a_dearer_one_hold_as_much_as_that(ledger: Ledger, tenant: str) -> None:
    """An answer takes what is reserved for it at most, until one shows that it may be more."""
    ask = answering(tokens_per_day=20_000)
    first, _second = await ledger.take(tenant, ask), await ledger.take(tenant, ask)
    await ledger.give_back(tenant, first.slot, Spent(12_000, 0))
    # 12,000 are spent, and the one that goes on may take as much.
    assert await taken(ledger, tenant, ask) == [Refusal.TOKENS_SPENT]
