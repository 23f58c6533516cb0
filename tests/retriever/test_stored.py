"""What a tenant stores is counted once and kept count of after that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.ids import new_id
from rag.runtime.errors import Conflict
from rag.runtime.redis import open_redis
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters import redis_catalogue
from services.retriever.adapters.redis_catalogue import RedisCatalogue
from services.retriever.adapters.redis_deletions import RedisDeletions
from services.retriever.adapters.redis_inventory import RedisInventory
from services.retriever.adapters.redis_keys import document_key, documents_key, stored_key
from services.retriever.adapters.redis_versions import RedisVersions
from services.retriever.catalogue import Stored
from services.retriever.parts import Commit, Header, Model
from tests.retriever.room import HASH, Retriever, fresh_database, of

NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), NAMES, st.sampled_from([0, 1, 10**9])),
        st.tuples(st.just("commit twice"), NAMES, st.integers(0, 1_000)),
        st.tuples(st.just("delete"), NAMES, st.just(0)),
        st.tuples(st.just("abandon"), NAMES, st.just(0)),
        st.tuples(st.just("lose"), NAMES, st.just(0)),
        st.tuples(st.just("unlist"), NAMES, st.just(0)),
        st.tuples(st.just("repair"), st.just(""), st.just(0)),
        st.tuples(st.just("count a page"), st.just(""), st.just(0)),
        st.tuples(st.just("ask"), st.just(""), st.just(0)),
        st.tuples(st.just("forget the count"), st.just(""), st.just(0)),
    ),
    max_size=25,
)


class Books:
    """A tenant's catalogue, without an index."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self.redis = redis
        self.tenant = new_id("tenant")
        self.versions = RedisVersions(redis, lease_s=60)
        self.deletions = RedisDeletions(redis)
        self.catalogue = RedisCatalogue(redis)
        self.inventory = RedisInventory(redis)

    async def commit(self, document_id: str, size: int, times: int = 1) -> None:
        header = Header(document_id, "n", "text/plain", HASH, size, {}, Model("m", "1", 2))
        writing = await self.versions.open(self.tenant, header, "")
        for _ in range(times):
            await self.versions.commit(self.tenant, header, writing, Commit(0, 0, ""))

    async def count(self) -> Stored:
        """Count all documents, past the counters."""
        sizes = []
        for member in await self.redis.zrange(documents_key(self.tenant), 0, -1):
            size = await self.redis.hget(document_key(self.tenant, member.decode()), "size_bytes")
            sizes += [int(size)] if size is not None else []
        return Stored(len(sizes), sum(sizes))

    async def do(self, act: str, name: str, size: int) -> None:
        match act:
            case "commit":
                await self.commit(name, size)
            case "commit twice":
                await self.commit(name, size, 2)
            case "delete":
                await self.deletions.delete(self.tenant, name)
            case "abandon":
                header = Header(name, "n", "text/plain", HASH, 7, {}, Model("m", "1", 2))
                writing = await self.versions.open(self.tenant, header, "")
                await self.versions.abandon(self.tenant, name, writing.version)
            case "lose":
                await self.redis.delete(document_key(self.tenant, name))
                await self.inventory.repair()
            case "unlist":
                await self.redis.zrem(documents_key(self.tenant), name)
                await self.inventory.repair()
            case "repair":
                await self.inventory.repair()
            case "count a page":
                keys = [documents_key(self.tenant), stored_key(self.tenant), document_key(self.tenant, "")]
                await self.catalogue._stored(keys=keys, args=[1, 60])
            case "ask":
                assert await self.catalogue.stored(self.tenant) == await self.count()
            case "forget the count":
                await self.redis.delete(stored_key(self.tenant))


@pytest.fixture
async def books(redis_url: str) -> AsyncIterator[Books]:
    async with open_redis(await fresh_database(redis_url)) as client:
        yield Books(client)


@pytest.fixture(scope="module")
def database(redis_url: str) -> str:
    return asyncio.run(fresh_database(redis_url))


@settings(max_examples=60)
@given(steps=STEPS)
def test_whatever_happens_the_counters_equal_a_count(database: str, steps: list[tuple[str, str, int]]) -> None:
    async def play() -> None:
        async with open_redis(database) as client:
            books = Books(client)
            for act, name, size in steps:
                await books.do(act, name, size)
            assert await books.catalogue.stored(books.tenant) == await books.count()

    asyncio.run(play())


async def test_documents_from_before_the_counters_are_counted_once_page_by_page(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        await books.commit(f"d{number}", 10**number)
    monkeypatch.setattr(redis_catalogue, "_COUNTED_AT_ONCE", 2)
    await books.redis.delete(stored_key(books.tenant))
    assert await books.catalogue.stored(books.tenant) == Stored(7, 1_111_111)
    await books.commit("d0", 5)
    await books.deletions.delete(books.tenant, "d6")
    assert await books.redis.hget(stored_key(books.tenant), "through") == b"all"
    assert await books.catalogue.stored(books.tenant) == Stored(6, 111_115)


async def test_an_empty_document_can_be_replaced_and_deleted(books: Books) -> None:
    await books.commit("d", 0)
    assert await books.catalogue.stored(books.tenant) == Stored(1, 0)
    await books.commit("d", 0)
    await books.deletions.delete(books.tenant, "d")
    assert await books.catalogue.stored(books.tenant) == Stored(0, 0)


async def test_a_refused_version_counts_for_nothing(books: Books) -> None:
    await books.commit("d", 10)
    assert await books.catalogue.stored(books.tenant) == Stored(1, 10)
    header = Header("d", "n", "text/plain", HASH, 99, {}, Model("m", "1", 2))
    writing = await books.versions.open(books.tenant, header, "")
    await books.deletions.delete(books.tenant, "d")
    with pytest.raises(Conflict):
        await books.versions.commit(books.tenant, header, writing, Commit(0, 0, ""))
    assert await books.catalogue.stored(books.tenant) == Stored(0, 0)


async def test_many_writers_and_deleters_at_once_leave_the_right_count(books: Books) -> None:
    async def work(number: int) -> None:
        for round_ in range(5):
            await books.commit(f"d{number % 4}{round_ % 2}", number * 100 + round_)
            if number % 3 == 0:
                await books.deletions.delete(books.tenant, f"d{number % 4}0")
            await books.catalogue.stored(books.tenant)

    results = await asyncio.gather(*(work(number) for number in range(8)), return_exceptions=True)
    unexpected = [str(one.__cause__) for one in results if one is not None and not isinstance(one, Conflict)]
    assert not unexpected
    assert await books.catalogue.stored(books.tenant) == await books.count()


async def test_who_stores_nothing_leaves_no_key(books: Books) -> None:
    assert await books.catalogue.stored(books.tenant) == Stored(0, 0)
    assert not await books.redis.exists(stored_key(books.tenant))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_service_tells_each_tenant_its_own(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["x"])
    await room.index(tenant, "d2", ["y"])
    size = (await room.get(tenant, "d1")).size_bytes + (await room.get(tenant, "d2")).size_bytes
    stored = await room.stub.GetStored(pb.GetStoredRequest(), metadata=of(tenant))
    assert (stored.documents, stored.bytes) == (2, size)
    await room.delete(tenant, "d1")
    assert (await room.stub.GetStored(pb.GetStoredRequest(), metadata=of(tenant))).documents == 1
    other = await room.stub.GetStored(pb.GetStoredRequest(), metadata=of(f"{tenant}-b"))
    assert (other.documents, other.bytes) == (0, 0)
