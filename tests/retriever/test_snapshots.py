"""Copies of the index's file, the pause of removals, the list of tenants."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing

import grpc
import pytest

from rag.backup.pause import paused
from rag.ids import new_id
from rag.runtime.errors import FailedPrecondition, InvalidInput
from rag.runtime.redis import open_redis
from rag.v1 import retriever_pb2 as pb
from services.retriever.snapshots import Snapshots
from services.retriever.tenants import Tenants
from services.retriever.upkeep.deletion import Deleted, Deleting, Deletion
from services.retriever.upkeep.erasure import EraseWorker, Erasure
from tests.retriever.room import Retriever, of, reason
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def snapshot(room: Retriever, name: str) -> pb.SnapshotIndexResponse:
    return await room.stub.SnapshotIndex(pb.SnapshotIndexRequest(name=name), metadata=of("operator"), timeout=60)


async def test_a_snapshot_under_writes_is_a_whole_database(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "first", ["a lighthouse", "a ship"])
    writing = asyncio.create_task(room.index(tenant, "second", [f"wave {n}" for n in range(300)]))
    made = await snapshot(room, "one")
    await writing
    path = room.folder / made.path
    assert made.path == "snapshots/one"
    assert made.size_bytes == path.stat().st_size
    assert made.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert b"a lighthouse" in path.read_bytes()
    again = await snapshot(room, "one")
    assert again.path == made.path


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a" * 65, "x.db"])
async def test_a_snapshot_has_a_plain_name(room: Retriever, name: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await snapshot(room, name)
    assert reason(refused.value) == "BAD_ID"


async def test_a_server_has_snapshots_of_its_own(tmp_path) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await Snapshots(None, tmp_path).make("one")
    assert refused.value.reason == "INDEX_ON_SERVER"


async def test_nothing_is_erased_during_the_pause(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "updated", ["old one", "old two"])
    await room.index(tenant, "deleted", ["gone one"])
    await room.erased()
    async with open_redis(room.redis_url) as client:
        async with paused(client):
            await room.index(tenant, "updated", ["new one"])
            await room.delete(tenant, "deleted")
            # Once more after it: a round that began before the pause has ended by then.
            await room.index(tenant, "updated", ["newer one"])
            with pytest.raises(grpc.aio.AioRpcError):
                await room.get(tenant, "deleted")
            assert await client.zcard("rag:erasures")
            assert await client.zcard("rag:deletions")
            assert await room.row_count(tenant) == 5
    await room.erased()
    await room.swept()
    assert await room.row_count(tenant) == 1


class Queue:
    """An erasure queue; the pause begins right after it was read."""

    def __init__(self) -> None:
        self.reads = 0
        self.erased: list[Erasure] = []

    async def due(self, limit: int) -> list[Erasure]:
        self.reads += 1
        return [Erasure("t", "d", 1, 1)]

    async def done(self, erasure: Erasure) -> None:
        self.erased.append(erasure)

    async def pending(self) -> int:
        return 0

    async def erase(self, tenant: str, document_id: str, first: int, last: int) -> int:
        return 0

    def note(self) -> None:
        return


async def test_the_pause_is_asked_for_after_the_queue_was_read() -> None:
    queue = Queue()
    asked: list[int] = []

    async def is_on() -> bool:
        asked.append(queue.reads)
        return len(asked) < 3

    worker = EraseWorker(queue, queue, queue, idle_s=0.01, paused=is_on)
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(queue.erased))
    running.cancel()
    assert asked[:3] == [1, 2, 3]
    assert queue.reads >= 3


class JobsInUse:
    """The ingestor while a backup is taken: the job of a document is ended, but stays."""

    def __init__(self) -> None:
        self.hastened: list[str] = []

    async def delete(self, tenant: str, document_id: str) -> Deleted:
        return Deleted(version=0, until_us=5, due_us=9)

    async def erase(self, tenant: str, document_id: str, until_us: int) -> int:
        raise FailedPrecondition("A backup is being taken; uploads are removed after it.", "REMOVALS_PAUSED")

    async def hasten(self, tenant: str, document_id: str) -> None:
        self.hastened.append(document_id)

    async def pending(self, limit: int) -> list[Deletion]:
        return []

    async def done(self, tenant: str, document_id: str, due_us: int) -> None:
        raise AssertionError("its upload is still there")


async def test_a_deletion_of_what_exists_only_as_jobs_is_finished_after_the_pause() -> None:
    jobs = JobsInUse()
    assert await Deleting(jobs, jobs).delete("tenant", "waiting") == 0
    assert jobs.hastened == ["waiting"]


async def test_versions_are_numbered_above_the_floor(room: Retriever, tenant: str) -> None:
    before = await room.index(tenant, "doc", ["one"])
    async with open_redis(room.redis_url) as client:
        await client.set("rag:version_floor", before.version + 1_000)
        try:
            after = await room.index(tenant, "doc", ["two"])
            fresh = await room.index(tenant, "fresh", ["three"])
            later = await room.index(tenant, "doc", ["four"])
        finally:
            await client.delete("rag:version_floor")
    assert after.version == fresh.version == before.version + 1_001
    assert later.version == after.version + 1
    assert await room.found(tenant, "one two three four") != []


async def test_tenants_are_listed_page_by_page(room: Retriever) -> None:
    wanted = sorted(new_id("listed") for _ in range(5))
    for name in wanted:
        await room.index(name, "doc", ["a text"])
    found, request = [], pb.ListTenantsRequest(page_size=2)
    while True:
        page = await room.stub.ListTenants(request, metadata=of("operator"))
        assert len(page.tenants) <= 2
        found += page.tenants
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == sorted(found)
    assert [name for name in found if name.startswith("listed")] == wanted


class Names:
    async def tenants(self) -> list[str]:
        return ["a", "b", "c"]


async def test_a_page_of_tenants_goes_on_behind_one_that_is_gone() -> None:
    tenants = Tenants(Names())
    page = await tenants.list(2, "")
    assert list(page.tenants) == ["a", "b"]
    assert list((await tenants.list(2, page.next_page_token)).tenants) == ["c"]
    with pytest.raises(InvalidInput):
        await tenants.list(2, "nonsense")
