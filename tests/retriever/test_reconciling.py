"""Catalogue and index side by side: what a crash, a bug or a hand may have left between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymilvus import AsyncMilvusClient

from rag.runtime.redis import open_redis
from services.retriever.adapters.redis_inventory import RedisInventory
from services.retriever.upkeep.reconciling import Entry, Findings, Key, Reconciler
from tests.retriever.room import Retriever, batch, commit, embedder, fresh_database, header, of, retriever
from tests.waiting import until


class ListedRows:
    """The rows of an index, from a real engine past the retriever; counts the pages that were asked for."""

    def __init__(self, room: Retriever) -> None:
        self.address = next(part for part in room.engine().cmdline() if part.startswith("unix:"))
        self.pages = 0

    async def act(self, act):
        client = AsyncMilvusClient(self.address, dedicated=True, timeout=5)
        try:
            [name] = await client.list_collections(timeout=5)
            return await act(client, name)
        finally:
            await client.close()

    async def count(self, tenant="", document_id="", version=0):
        where = (
            f'id >= "{tenant}/{document_id}/{version}/" and id < "{tenant}/{document_id}/{version}0"' if tenant else ""
        )
        rows = await self.act(
            lambda client, name: client.query(name, filter=where, output_fields=["count(*)"], timeout=5)
        )
        return int(rows[0]["count(*)"])

    async def row_ids(self, after, limit):
        self.pages += 1
        rows = await self.act(
            lambda client, name: client.query(name, filter=f'id > "{after}"', output_fields=["id"], limit=7, timeout=5)
        )
        return [row["id"] for row in rows]

    async def remove(self, where: str) -> None:
        await self.act(lambda client, name: client.delete(name, filter=where, timeout=5))


class Waker:
    def __init__(self) -> None:
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1


@pytest.fixture
async def alone(redis_url: str, tmp_path: Path):
    async with embedder() as port, retriever(tmp_path, await fresh_database(redis_url), port) as running:
        await until(running.room.is_ready)
        yield running


async def test_nothing_is_looked_at_closer_while_the_totals_agree(alone: Retriever, tenant: str) -> None:
    for number in range(3):
        await alone.index(tenant, f"d{number}", ["water"] * 10)
    await alone.index(f"{tenant}-b", "d0", ["water"] * 5)
    await alone.delete(tenant, "d2")
    await alone.erased()
    rows, waker = ListedRows(alone), Waker()
    async with open_redis(alone.redis_url) as redis:
        found = await Reconciler(RedisInventory(redis), lambda: rows, waker, 1).reconcile()
    assert found == Findings(documents=3, rows=25)
    assert (rows.pages, waker.wakes) == (0, 0)


async def test_rows_that_nobody_needs_are_erased_and_missing_ones_are_told(alone: Retriever, tenant: str) -> None:
    for number in range(4):
        await alone.index(tenant, f"d{number}", [f"water {n}" for n in range(10)])
    writing = alone.stub.Index(metadata=of(tenant), timeout=30)
    await writing.write(header("d1"))
    await writing.write(batch(["new water"]))
    await writing.read()
    rows, waker = ListedRows(alone), Waker()
    await rows.remove(f'id in ["{tenant}/d3/1/8", "{tenant}/d3/1/9"]')
    async with open_redis(alone.redis_url) as redis:
        await redis.delete(f"rag:{tenant}:document:d2")
        found = await Reconciler(RedisInventory(redis), lambda: rows, waker, 1).reconcile()
        assert found == Findings(documents=3, rows=39, orphans=1, damaged=1, repaired=1)
        assert waker.wakes == 1
        await alone.erased_versions()
        again = await Reconciler(RedisInventory(redis), lambda: rows, waker, 1).reconcile()
    assert again == Findings(documents=3, rows=29, damaged=1)
    await writing.write(commit(1))
    assert (await writing.read()).document.passage_count == 1


async def test_a_document_that_the_listing_lost_is_listed_again(redis_url: str, tmp_path: Path, tenant: str) -> None:
    database = await fresh_database(redis_url)
    async with embedder() as port, retriever(tmp_path, database, port) as room:
        await until(room.room.is_ready)
        for number in range(3):
            await room.index(tenant, f"d{number}", ["water"])
    async with open_redis(database) as redis:  # nobody else repairs it now
        inventory = RedisInventory(redis)
        await redis.zrem(f"rag:{tenant}:documents", "d1")
        await redis.zadd(f"rag:{tenant}:documents", {"ghost": 99})
        await redis.set(f"rag:{tenant}:job:document:d9", "of another service")
        assert await inventory.repair() == 2
        assert await inventory.repair() == 0
        entries = [entry async for page in inventory.entries() for entry in page]
    assert sorted(entries) == [Entry(Key(tenant, f"d{number}", 1), 1) for number in range(3)]


async def test_it_happens_at_the_start_by_itself(redis_url: str, tmp_path: Path, tenant: str) -> None:
    database = await fresh_database(redis_url)
    async with embedder() as port:
        async with retriever(tmp_path, database, port) as room:
            await until(room.room.is_ready)
            await room.index(tenant, "d1", ["water"] * 5)
            await room.index(tenant, "d2", ["water"] * 5)
        async with open_redis(database) as redis:
            await redis.delete(f"rag:{tenant}:document:d1")
        async with retriever(tmp_path, database, port) as room:
            await until(room.room.is_ready)

            async def only_one_is_left() -> bool:
                return await room.row_count(tenant) == 5

            await until(only_one_is_left)
