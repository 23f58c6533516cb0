"""The step in which an index goes live, and what happens when somebody writes all the time."""

from __future__ import annotations

import pytest

from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from services.retriever.adapters.redis_index_record import RedisIndexRecord
from services.retriever.adapters.redis_keys import BARRIER, CHANGES
from services.retriever.opening import name_index
from services.retriever.passages import Model
from services.retriever.rebuild.standing import Comparison, Outcome, Progress, Retired, Stage, Wish
from services.retriever.rebuild.switching import Switching
from tests.retriever.room import fresh_database

OLD, NEW = (name_index(Model("m", "r", 2), "plain", generation) for generation in (1, 2))
OUTCOME = Outcome("rebuild_1", "", "done", Comparison(1, 0.5))


@pytest.fixture
async def client(redis_url: str):
    async with open_redis(await fresh_database(redis_url)) as opened:
        yield opened


@pytest.fixture
async def record(client) -> RedisIndexRecord:
    record = RedisIndexRecord(client, "one")
    await record.record(OLD)
    assert await record.begin("rebuild_1", Wish(NEW))
    assert await record.claim("rebuild_1")
    return record


async def test_writers_who_never_pause_wait_for_a_moment(client, record: RedisIndexRecord) -> None:
    looks = []

    async def catch_up() -> None:
        """Somebody commits during each look, as long as nothing holds them up."""
        barred = bool(await client.exists(BARRIER))
        looks.append(barred)
        if not barred:
            await client.incr(CHANGES)

    await Switching(record, keep_s=10).switch(OUTCOME, NEW, OLD, 1, catch_up)
    assert looks == [False, False, False, True]
    standing = await record.standing()
    assert (standing.live, standing.building, standing.outcome) == (NEW, None, OUTCOME)
    assert [kept.index for kept in standing.retired] == [OLD]
    assert not await client.exists(BARRIER)


async def test_a_look_that_fails_behind_the_barrier_takes_it_away(client, record: RedisIndexRecord) -> None:
    async def catch_up() -> None:
        await client.incr(CHANGES)
        if await client.exists(BARRIER):
            raise Unavailable("The index is not reachable.", "INDEX_UNAVAILABLE")

    with pytest.raises(Unavailable):
        await Switching(record, keep_s=10).switch(OUTCOME, NEW, OLD, 1, catch_up)
    assert not await client.exists(BARRIER)
    assert (await record.standing()).live == OLD


async def test_what_was_given_up_is_not_switched_to(client, record: RedisIndexRecord) -> None:
    assert await record.end(Outcome("rebuild_1", "CANCELLED", "given up"), Retired(NEW, 0, 0))
    with pytest.raises(LookupError):
        await record.switch(OUTCOME, NEW, 0, Retired(OLD, 1, 2), 0)
    assert (await record.standing()).live == OLD


async def test_one_process_builds_and_tells_the_others(client, record: RedisIndexRecord) -> None:
    other = RedisIndexRecord(client, "other")
    assert not await other.begin("rebuild_2", Wish(NEW))
    assert not await other.claim("rebuild_1")
    progress = Progress(Stage.COPYING, 1, 2, 3, 4, 0.5)
    assert await record.claim("rebuild_1", progress, "the embedder is away")
    building = (await other.standing()).building
    assert building is not None
    assert (building.progress, building.trouble) == (progress, "the embedder is away")
    await other.release_all()
    assert await other.claim("rebuild_1")
    assert not await record.claim("rebuild_1")
    with pytest.raises(LookupError):
        await record.switch(OUTCOME, NEW, 0, Retired(OLD, 1, 2), 0)
