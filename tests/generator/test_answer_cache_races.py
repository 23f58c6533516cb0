"""The cache of answers while documents come, change and go: never an old answer, never a lost one, no text that was deleted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from rag.ids import new_id
from rag.runtime.redis import open_redis
from services.generator.adapters.redis_answers import RedisAnswers
from services.generator.caching.entries import Stamp
from services.generator.caching.key import look
from tests.generator.answers_made import Library, Room, made, question, source

NAMES = ["d1", "d2", "d3", "d4"]
TEXTS = ["sky", "blue", "sky blue", "green"]
QUESTIONS = ["sky", "blue"]


async def test_an_answer_that_an_update_overtook_does_not_stay(redis: Redis, tenant: str) -> None:
    room = Room(redis, tenant)
    room.library.commit("sky", "sky blue")
    async with room.filling("sky"):
        room.library.commit("sky", "sky grey")
    assert await room.recall("sky") is None
    assert await room.kept_text() == b""


async def test_an_answer_that_found_an_update_after_it_had_read_the_state_stays(redis: Redis, tenant: str) -> None:
    room = Room(redis, tenant)
    room.library.commit("sky", "sky blue")
    async with room.filling("sky", before_search=lambda: room.library.commit("sky", "sky grey")) as entry:
        assert entry.sources[0].passage.text == "sky grey"
    kept = await room.recall("sky")
    assert kept is not None
    assert kept.sources == entry.sources


async def test_an_answer_that_a_deletion_overtook_leaves_no_text(redis: Redis, tenant: str) -> None:
    room = Room(redis, tenant)
    room.library.commit("sky", "sky blue")
    await room.fill("blue")
    async with room.filling("sky"):
        room.library.delete("sky")
        assert await room.cache.forget(tenant, "sky") == 1
    assert await room.kept_text() == b""
    assert await room.cache.forget(tenant, "sky") == 0


async def test_a_document_that_came_back_after_its_deletion_is_answered_from_the_cache(
    redis: Redis, tenant: str
) -> None:
    room = Room(redis, tenant)
    room.library.commit("sky", "sky blue")
    await room.fill("sky")
    room.library.delete("sky")
    await room.cache.forget(tenant, "sky")
    room.library.commit("sky", "sky grey")
    await room.fill("sky")
    assert await room.recall("sky")


async def test_forgetting_ends_all_answers_that_used_the_document_and_no_other(redis: Redis, tenant: str) -> None:
    answers, stamp = RedisAnswers(redis, 60), Stamp("i", "s", 1)
    looked = look(question("q"), (), stamp)
    for number in range(1_100):
        used = source("d1" if number % 10 else "d2", 1, "sky")
        await answers.keep(tenant, f"k{number}", made((used, source("d3", 1, "sea", 2)), looked, "q"), 60)
    # Under this key stands an answer by now that was made from other documents.
    await answers.keep(tenant, "k1", made((source("d2", 1, "sky"),), looked, "q"), 60)
    assert await answers.forget(tenant, "d1", stamp) == 989
    left = [key async for key in redis.scan_iter(f"rag:{tenant}:answer:*", 1_000)]
    assert len(left) == 111
    assert not await redis.exists(f"rag:{tenant}:answers_of:d1")
    assert 60 <= await redis.ttl(f"rag:{tenant}:answers_forgotten:d1") <= 120


async def test_forgetting_all_ends_the_answers_of_one_tenant(redis: Redis, tenant: str) -> None:
    answers, looked = RedisAnswers(redis, 60), look(question("q"), (), Stamp("i", "s", 1))
    for number in range(1_100):
        sources = (source(f"d{number % 10}", 1, "sky"),) if number % 2 else ()
        await answers.keep(tenant, f"k{number}", made(sources, looked, "q"), 60)
    await answers.keep(f"{tenant}-other", "k", made((), looked, "q"), 60)
    await redis.delete(f"rag:{tenant}:answer:k7")  # as when its time is over
    assert await answers.forget_all(tenant) == 1_099
    assert await answers.forget_all(tenant) == 0
    assert [key async for key in redis.scan_iter(f"rag:{tenant}:answer:*", 1_000)] == []
    assert not await redis.exists(f"rag:{tenant}:answers")
    assert (await answers.read(f"{tenant}-other", "k")).kept


async def test_an_answer_in_the_making_is_not_kept_after_forgetting_all(redis: Redis, tenant: str) -> None:
    room = Room(redis, tenant)
    room.library.commit("sky", "sky blue")
    for _ in range(2):
        async with room.filling("sky"):
            await room.cache.forget_all(tenant)
        assert await room.kept_text() == b""
        await room.fill("sky")
        assert await room.recall("sky")


async def test_answers_whose_time_is_over_leave_the_set_of_all(redis: Redis, tenant: str) -> None:
    await redis.zadd(f"rag:{tenant}:answers", {"old": 1})
    entry = made((), look(question("q"), (), Stamp("i", "s", 1)), "q")
    await RedisAnswers(redis, 60).keep(tenant, "k", entry, 60)
    assert await redis.zrange(f"rag:{tenant}:answers", 0, -1) == [b"k"]
    assert 0 < await redis.ttl(f"rag:{tenant}:answers") <= 60


async def test_what_was_looked_up_in_another_run_of_the_store_is_not_kept_after_forgetting(
    redis: Redis, tenant: str
) -> None:
    answers = RedisAnswers(redis, 60)
    await answers.forget(tenant, "d", Stamp("after", "s", 3))
    for index, commits, is_kept in [
        ("after", 3, False),
        ("after", 4, True),
        ("before", 4, False),
        ("before", 2, False),
    ]:
        entry = made((source("d", 1, "sky"),), look(question("q"), (), Stamp(index, "s", commits)), "q")
        assert await answers.keep(tenant, "k", entry, 60) is is_kept


async def test_equal_questions_that_look_again_at_the_same_time_agree(redis: Redis, tenant: str) -> None:
    room = Room(redis, tenant)
    room.library.commit("sky", "sky blue")
    kept = await room.fill("sky")
    room.library.commit("pear", "pear green")
    found = await asyncio.gather(*(room.recall("sky") for _ in range(20)))
    assert {entry.sources for entry in found if entry} == {kept.sources}
    assert all(found)


texts, questions, names = map(st.sampled_from, (TEXTS, QUESTIONS, NAMES))
steps = st.one_of(
    st.tuples(st.just("commit"), names, texts),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("forget"), names),
    st.tuples(st.just("ask"), questions),
    st.tuples(st.just("ask"), questions),
    st.tuples(st.just("begin"), questions, st.booleans()),
    st.tuples(st.just("end")),
)


class Play:
    """Does the steps, and knows what may be answered.

    Args:
        room: Where they are done. Each text that is committed holds a word of its own.
    """

    def __init__(self, room: Room) -> None:
        self.room, self.library = room, room.library
        self.words = (f"w{number}." for number in itertools.count())
        self.deleted: dict[str, set[str]] = {name: set() for name in NAMES}
        self.forgotten: set[str] = set()
        self.kept: dict[str, frozenset[tuple[str, int]]] = {}
        self.fillings: list[Callable[[], Awaitable[None]]] = []

    async def commit(self, name: str, text: str) -> None:
        if name in self.library.live:
            self.deleted[name].add(self.library.live[name][1].split()[-1])
        self.library.commit(name, f"{text} {next(self.words)}")

    async def delete(self, name: str) -> None:
        if name in self.library.live:
            self.deleted[name].add(self.library.live[name][1].split()[-1])
            self.library.delete(name)

    async def forget(self, name: str) -> None:
        if name not in self.library.live:  # as the retriever does: after the deletion
            await self.room.cache.forget(self.room.tenant, name)
            self.forgotten |= self.deleted[name]
            self.kept = {text: used for text, used in self.kept.items() if name not in dict(used)}

    async def ask(self, text: str) -> None:
        now = self.library.found(text)
        entry = await self.room.recall(text)
        used = frozenset((one.passage.document_id, one.passage.version) for one in now)
        if entry is not None:
            assert {one.passage.text for one in entry.sources} == {one.passage.text for one in now}, "an old answer"
        elif used:
            assert self.kept.get(text) != used, "an answer that is still true was lost"
            await self.room.fill(text)
            # Not kept when a document was forgotten and nothing was committed since.
            self.kept.pop(text, None)
            if await self.room.recall(text):
                self.kept[text] = used

    async def begin(self, text: str, is_late: bool) -> None:
        asked = question(text)
        looked = await self.room.begin(asked)
        found = self.library.found(text)

        async def end() -> None:
            sources = self.library.found(text) if is_late else found
            self.kept.pop(text, None)
            if sources:
                await self.room.cache.keep(self.room.tenant, looked, asked, made(sources, looked, text))

        self.fillings.append(end)

    async def end(self) -> None:
        if self.fillings:
            await self.fillings.pop(0)()

    async def run(self, plan) -> None:
        for name, *arguments in plan:
            await getattr(self, name)(*arguments)
            text = (await self.room.kept_text()).decode()
            assert not {word for word in self.forgotten if word in text}, "text of a deleted document"


@settings(max_examples=60)
@given(st.lists(steps, min_size=30, max_size=60))
def test_an_answer_from_the_cache_is_the_answer_of_now(redis_url: str, plan) -> None:
    async def play() -> None:
        async with open_redis(redis_url) as redis:
            await Play(Room(redis, new_id("tenant"), Library())).run(plan)

    asyncio.run(play())
