from __future__ import annotations

import asyncio

from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from services.retriever.adapters.redis_erasures import RedisErasures
from services.retriever.adapters.redis_versions import RedisVersions
from services.retriever.parts import Header
from services.retriever.passages import Model
from services.retriever.upkeep.erasure import EraseWorker, Erasure
from tests.retriever.room import fresh_database
from tests.waiting import until

HEADER = Header("d", "n", "text/plain", "0" * 64, 1, {}, Model("m", "r", 2))


class ListQueue:
    def __init__(self, *erasures: Erasure) -> None:
        self.erasures = list(erasures)

    async def due(self, limit):
        return self.erasures[:limit]

    async def done(self, erasure):
        self.erasures.remove(erasure)

    async def pending(self):
        return len(self.erasures)


class Notes:
    def __init__(self) -> None:
        self.notes = 0

    def note(self) -> None:
        self.notes += 1


class StubbornIndex:
    """Fails, then leaves rows, then obeys."""

    def __init__(self) -> None:
        self.tries = 0

    async def erase(self, tenant, document_id, first, last):
        self.tries += 1
        if self.tries == 1:
            raise Unavailable("away", "INDEX_UNAVAILABLE")
        return 3 if self.tries == 2 else 0


async def test_an_erasure_is_tried_until_no_row_is_left() -> None:
    queue, index = ListQueue(Erasure("t", "d", 1, 2)), StubbornIndex()
    running = asyncio.create_task(EraseWorker(queue, index, Notes(), idle_s=0.01).run())
    await until(lambda: not queue.erasures)
    assert index.tries == 3
    running.cancel()
    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], asyncio.CancelledError)


async def test_waking_does_at_once_what_would_be_done_later() -> None:
    queue, index = ListQueue(), StubbornIndex()
    index.tries = 2
    worker = EraseWorker(queue, index, Notes(), idle_s=3600, most_backoff_s=3600)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    queue.erasures.append(Erasure("t", "d", 1, 1))
    worker.wake()
    await until(lambda: not queue.erasures)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_version_that_stays_open_too_long_is_given_up(redis_url: str) -> None:
    now = [1000.0]
    async with open_redis(await fresh_database(redis_url)) as redis:
        versions = RedisVersions(redis, lease_s=10, clock=lambda: now[0])
        erasures = RedisErasures(redis, clock=lambda: now[0])
        opened = [await versions.open("t", HEADER, "c"), await versions.open("t", HEADER, "c")]
        assert [writing.version for writing in opened] == [1, 2]
        await versions.abandon("t", "d", 2)
        assert await erasures.due(10) == [Erasure("t", "d", 2, 2)]
        now[0] += 11
        assert set(await erasures.due(10)) == {Erasure("t", "d", 1, 1), Erasure("t", "d", 2, 2)}
        for erasure in await erasures.due(10):
            await erasures.done(erasure)
        assert await erasures.pending() == 0
