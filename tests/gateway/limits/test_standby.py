from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio
import structlog

from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from rag.runtime.tasks import cancel_all
from services.gateway.adapters.redis_limits import RedisLimits
from services.gateway.limits.ledger import Ask, Refusal, Spent, Totals, Verdict
from services.gateway.limits.limits import Limits
from services.gateway.limits.memory_ledger import MemoryLedger
from services.gateway.limits.standby import Standby
from tests.gateway.limits.books import ANSWER, taken
from tests.redis_server import running_redis
from tests.waiting import until

PATIENT_S = 20.0


class Silent:
    """Shared books that say nothing, or that they are away."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0

    async def _say(self) -> None:
        self.asked += 1
        if self.error:
            raise self.error
        await asyncio.Event().wait()

    async def take(self, tenant: str, ask: Ask) -> Verdict:
        await self._say()
        return Verdict(None, 0, 0)

    async def give_back(self, tenant: str, slot: str, spent: Spent) -> None:
        await self._say()

    async def totals(self, tenant: str) -> Totals:
        await self._say()
        return Totals()

    async def renew(self) -> None:
        await self._say()

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def let_go(self, slot: str) -> None:
        """Holds nothing."""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        yield Path(folder)


async def test_redis_stopped_in_the_middle_is_replaced_by_this_process_and_taken_back(short: Path, tenant: str) -> None:
    now = [0.0]
    ask = Ask(Limits(requests_per_minute=1, streams=2), is_stream=True)
    with running_redis(short) as url:
        async with open_redis(url) as client:
            standby = Standby(RedisLimits(client), MemoryLedger(), PATIENT_S, lambda: now[0])
            slot = (await standby.take(tenant, ask)).slot
            assert await taken(standby, tenant, ask) == [Refusal.RATE_LIMITED]
            with structlog.testing.capture_logs() as logs:
                await client.shutdown(nosave=True)
                # The own books have followed those that are gone: this is no second burst.
                assert await taken(standby, tenant, ask) == [Refusal.RATE_LIMITED]
                await standby.give_back(tenant, slot, Spent())
                now[0] += 5
                assert await taken(standby, tenant, ask) == [Refusal.RATE_LIMITED]
                assert [line["event"] for line in logs] == ["limits_counted_here"]
                with running_redis(short):
                    now[0] += 5
                    assert (await standby.take(f"{tenant}-b", ask)).refusal is None
                    assert await taken(standby, f"{tenant}-b", ask) == [Refusal.RATE_LIMITED]
                    assert await client.exists(f"rag:{tenant}-b:limits:rate")
            assert [line["event"] for line in logs] == ["limits_counted_here", "limits_shared_again"]


@pytest.mark.parametrize("error", [None, Unavailable("Away.", "LIMITS_UNAVAILABLE")], ids=["hangs", "away"])
async def test_books_that_do_not_answer_are_left_alone_for_a_while(tenant: str, error: Exception | None) -> None:
    now, shared = [0.0], Silent(error)
    standby = Standby(shared, MemoryLedger(), 0.01, lambda: now[0])
    ask = Ask(Limits(requests_per_minute=3))
    assert await taken(standby, tenant, ask, 6) == [None, None, None, *[Refusal.RATE_LIMITED] * 3]
    tries = 1 if error else 3  # a word that comes late once is no reason to stop asking
    assert shared.asked == tries
    now[0] += 2
    assert await taken(standby, tenant, ask, 2) == [Refusal.RATE_LIMITED] * 2
    assert shared.asked == tries + 1
    assert (await standby.totals(tenant)).requests == 3


async def test_slots_of_this_process_are_given_back_to_it(tenant: str) -> None:
    standby = Standby(Silent(Unavailable("Away.", "X")), MemoryLedger(), 1, lambda: 0.0)
    ask = Ask(Limits(streams=1, tokens_per_day=100), is_stream=True, reserve=ANSWER)
    slot = (await standby.take(tenant, ask)).slot
    assert await taken(standby, tenant, ask) == [Refusal.TOO_MANY_STREAMS]
    await standby.give_back(tenant, slot, Spent(100, 0))
    assert await taken(standby, tenant, ask) == [Refusal.TOKENS_SPENT]


async def test_what_was_spent_while_redis_was_away_is_booked_when_it_is_back(short: Path, tenant: str) -> None:
    now = [0.0]
    ask = Ask(Limits(tokens_per_day=5_000), is_stream=True, reserve=ANSWER)
    with running_redis(short) as url:
        async with open_redis(url) as client:
            books = RedisLimits(client, sleep=lambda _seconds: asyncio.sleep(0))
            standby = Standby(books, MemoryLedger(), PATIENT_S, lambda: now[0])
            first, second = (await standby.take(tenant, ask)).slot, (await standby.take(tenant, ask)).slot
            await client.shutdown(nosave=True)
            await standby.give_back(tenant, first, Spent(700, 7))  # finds out that it is away
            await standby.give_back(tenant, second, Spent(20, 2))  # does not even ask
            third = (await standby.take(tenant, ask)).slot
            await standby.give_back(tenant, third, Spent(1, 1))
            with running_redis(short):
                now[0] += 5
                keeping = asyncio.create_task(standby.keep())

                async def is_booked() -> bool:
                    return (await books.totals(tenant)).spent == Spent(721, 10)

                await until(is_booked)
                await cancel_all([keeping])
                assert (await books.totals(tenant)).spent == Spent(721, 10)


async def test_a_slot_that_ends_while_the_books_are_left_alone_is_renewed_no_more(
    redis: redis.asyncio.Redis, tenant: str
) -> None:
    books = RedisLimits(redis)
    standby = Standby(books, MemoryLedger(), PATIENT_S, lambda: 0.0)
    slot = (await standby.take(tenant, Ask(Limits(streams=1), is_stream=True))).slot
    away = Standby(books, MemoryLedger(), PATIENT_S, lambda: 0.0)
    away._lost(Unavailable("Away.", "X"))
    await away.give_back(tenant, slot, Spent())
    before = await redis.zscore(f"rag:{tenant}:limits:slots", slot)
    await books.renew()
    assert await redis.zscore(f"rag:{tenant}:limits:slots", slot) == before


@pytest.mark.parametrize("leaves", [False, True], ids=["slow", "caller leaves"])
async def test_what_the_shared_books_hold_too_late_is_given_back(
    redis: redis.asyncio.Redis, tenant: str, leaves: bool
) -> None:
    """A word that comes late must not hold a stream that nobody has."""
    said = asyncio.Event()

    class Late(RedisLimits):
        async def take(self, tenant: str, ask: Ask) -> Verdict:
            verdict = await super().take(tenant, ask)
            await said.wait()
            return verdict

    books = Late(redis)
    standby = Standby(books, MemoryLedger(), PATIENT_S if leaves else 0.05)
    taking = asyncio.create_task(standby.take(tenant, Ask(Limits(streams=1), is_stream=True)))

    async def streams() -> int:
        return (await books.totals(tenant)).streams

    async def holds() -> bool:
        return await streams() == 1

    await until(holds)
    if leaves:
        await cancel_all([taking])
    else:
        assert (await taking).slot.startswith("here:")
    said.set()
    await standby.close()
    assert await streams() == 0
