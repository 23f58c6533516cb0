"""A new index is built beside the live one and takes its place, while documents are written, deleted and searched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from rag.runtime.redis import open_redis
from rag.v1 import retriever_pb2 as pb
from tests.retriever.room import Retriever, embedder, fresh_database, of, reason, retriever
from tests.waiting import until

BUILD, ROLL_BACK, CANCEL = pb.REBUILD_ACTION_BUILD, pb.REBUILD_ACTION_ROLL_BACK, pb.REBUILD_ACTION_CANCEL


@pytest.fixture
async def room(redis_url: str, tmp_path: Path) -> AsyncIterator[Retriever]:
    async with running(redis_url, tmp_path) as started:
        yield started


@asynccontextmanager
async def running(redis_url: str, folder: Path, **settings) -> AsyncIterator[Retriever]:
    database = await fresh_database(redis_url)
    async with embedder() as port, retriever(folder, database, port, **settings) as started:
        await until(started.room.is_ready)
        yield started


async def rebuild(room: Retriever, tenant: str = "t", **fields) -> list[pb.RebuildIndexResponse]:
    call = room.stub.RebuildIndex(pb.RebuildIndexRequest(**fields), metadata=of(tenant), timeout=60)
    return [event async for event in call]


async def result(room: Retriever, tenant: str = "t", **fields) -> pb.RebuildResult:
    return (await rebuild(room, tenant, **fields))[-1].result


async def index_of(room: Retriever, tenant: str = "t") -> pb.GetIndexResponse:
    return await room.stub.GetIndex(pb.GetIndexRequest(), metadata=of(tenant), timeout=20)


async def refused(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason(caught.value)


async def fill(room: Retriever, tenants: int = 2, documents: int = 5, passages: int = 70) -> None:
    for tenant in range(tenants):
        for number in range(documents):
            texts = [f"document {number} of tenant {tenant} has passage {n} about water" for n in range(passages)]
            await room.index(f"t{tenant}", f"d{number}", texts, title=f"Title {number}")


async def test_an_index_is_described(room: Retriever) -> None:
    empty = await index_of(room)
    assert (empty.live.model, empty.live.revision, empty.live.dimension) == ("words", "r1", 32)
    assert empty.live.analyzer == "multilingual"
    assert empty.live.HasField("live_at")
    assert not empty.retired
    assert not empty.HasField("building")
    assert not empty.HasField("problem")
    await fill(room)
    found = await index_of(room, "t1")
    assert (found.live.rows, found.documents, found.passages) == (700, 5, 350)
    assert (await index_of(room, "nobody")).documents == 0


async def test_a_like_index_is_not_built(room: Retriever) -> None:
    ended = await result(room)
    assert (ended.switched, ended.reason) == (False, "NOT_NEEDED")
    assert ended.live.collection == (await index_of(room)).live.collection


async def test_another_analyzer_makes_another_index_of_the_same_passages(room: Retriever) -> None:
    await fill(room)
    before = await index_of(room)
    hits = await room.hits("t1", "passage 3", top_k=20)
    events = await rebuild(room, analyzer="plain")
    ended = events[-1].result
    assert ended.switched, ended
    progress = [event.progress for event in events if event.HasField("progress")]
    assert progress
    assert progress[-1].documents_total == 10
    [compared] = [event.comparison for event in events if event.HasField("comparison")]
    assert compared.queries == 10
    assert compared.overlap_at_5 > 0.3
    after = await index_of(room)
    assert after.live == ended.live
    assert (after.live.analyzer, after.live.rows) == ("plain", 700)
    assert [kept.collection for kept in after.retired] == [before.live.collection]
    assert after.retired[0].drop_at.seconds > after.live.live_at.seconds + 80_000
    assert {hit.passage.id for hit in await room.hits("t1", "passage 3", top_k=20)} & {hit.passage.id for hit in hits}
    await room.index("t1", "new", ["quokka"])
    assert await room.found("t1", "quokka", top_k=1) == ["quokka"]
    assert await room.delete("t1", "d0")
    await room.erased()
    assert (await index_of(room, "t1")).passages == 281


async def test_a_rebuild_that_is_forced_is_done(room: Retriever) -> None:
    await fill(room, 1, 2)
    assert (await result(room, force=True)).switched
    assert (await result(room, force=True)).switched
    found = await index_of(room)
    assert len(found.retired) == 2
    assert len({found.live.collection, *(kept.collection for kept in found.retired)}) == 3


async def test_a_dry_run_leaves_nothing(room: Retriever) -> None:
    await fill(room, 1, 2)
    before = await index_of(room)
    events = await rebuild(room, analyzer="plain", dry_run=True)
    assert (events[-1].result.switched, events[-1].result.reason) == (False, "DRY_RUN")
    assert events[-2].HasField("comparison")
    assert (await index_of(room)).live == before.live

    async def dropped() -> bool:
        return not (await index_of(room)).retired

    await until(dropped)
    assert await room.row_count("t0") == 140  # and there is one collection


async def test_a_switch_that_would_change_too_much_is_refused(room: Retriever) -> None:
    await fill(room, 1, 2)
    labelled = [pb.LabelledQuery(query="water", document_ids=["d0"])]
    ended = await result(room, "t0", analyzer="plain", queries=labelled, max_precision_loss=0, min_overlap=1)
    if not ended.switched:
        assert ended.reason in {"OVERLAP_TOO_LOW", "PRECISION_LOST"}
        assert "%" in ended.message
    compared = (await index_of(room)).comparison
    assert compared.labelled == 1
    assert compared.HasField("precision_at_5_before")


async def test_an_index_can_be_rolled_back(room: Retriever) -> None:
    await fill(room)
    before = await index_of(room)
    await result(room, analyzer="plain")
    await room.index("t0", "later", ["quokka one", "quokka two"])
    await room.index("t0", "d1", ["wombat"])
    await room.delete("t0", "d2")
    ended = await result(room, action=ROLL_BACK)
    assert ended.switched, ended
    await room.erased()
    found = await index_of(room, "t0")
    assert found.live.collection == before.live.collection
    assert found.live.live_at.ToMilliseconds() > before.live.live_at.ToMilliseconds()
    assert found.live.rows == 350 + 3 * 70 + 2 + 1
    assert (found.documents, found.passages) == (5, 3 * 70 + 3)
    assert set(await room.found("t0", "quokka", top_k=2)) == {"quokka one", "quokka two"}
    assert await room.found("t0", "wombat", top_k=1) == ["wombat"]


async def test_there_may_be_nothing_to_go_back_to_and_nothing_to_cancel(room: Retriever) -> None:
    assert await refused(rebuild(room, action=ROLL_BACK)) == (grpc.StatusCode.NOT_FOUND, "NO_RETIRED_INDEX")
    assert await refused(rebuild(room, action=CANCEL)) == (grpc.StatusCode.NOT_FOUND, "NO_REBUILD")
    for fields, why in [
        ({"analyzer": "klingon"}, "BAD_ANALYZER"),
        ({"min_overlap": 2.0}, "BAD_OVERLAP"),
        ({"min_overlap": float("nan")}, "BAD_OVERLAP"),
        ({"max_precision_loss": -1.0}, "BAD_PRECISION_LOSS"),
        ({"queries": [pb.LabelledQuery(query=" ", document_ids=["d"])]}, "BAD_QUERIES"),
        ({"queries": [pb.LabelledQuery(query="q")]}, "BAD_QUERIES"),
        ({"queries": [pb.LabelledQuery(query="q", document_ids=['d" or "'])]}, "BAD_ID"),
        ({"action": 9}, "BAD_ACTION"),
    ]:
        assert await refused(rebuild(room, **fields)) == (grpc.StatusCode.INVALID_ARGUMENT, why)


async def test_a_retired_index_is_dropped_after_a_while(redis_url: str, tmp_path: Path) -> None:
    async with running(redis_url, tmp_path, keep_retired_s=0.1) as room:
        await fill(room, 1, 2)
        assert (await result(room, analyzer="plain")).switched

        async def dropped() -> bool:
            return not (await index_of(room)).retired

        await until(dropped)
        assert await room.row_count("t0") == 140


async def test_one_rebuild_at_a_time_others_follow_it_or_are_refused(room: Retriever) -> None:
    await fill(room, 3, 8)
    first = asyncio.create_task(rebuild(room, analyzer="plain"))

    async def building() -> bool:
        return (await index_of(room)).HasField("building")

    await until(building)
    second = asyncio.create_task(rebuild(room, analyzer="plain"))
    assert await refused(rebuild(room, analyzer="plain", resplit=True)) == (grpc.StatusCode.ABORTED, "REBUILD_RUNNING")
    ended = {(await events)[-1].result.live.collection for events in (first, second)}
    assert ended == {(await index_of(room)).live.collection}


async def test_a_rebuild_can_be_cancelled(room: Retriever) -> None:
    await fill(room, 4, 10)
    before = await index_of(room)
    call = room.stub.RebuildIndex(pb.RebuildIndexRequest(analyzer="plain"), metadata=of("t"), timeout=60)
    events = aiter(call)
    await anext(events)
    assert (await result(room, action=CANCEL)).reason == "CANCELLED"
    ended = [event async for event in events][-1].result
    assert (ended.switched, ended.reason) == (False, "CANCELLED")

    async def dropped() -> bool:
        return not (await index_of(room)).retired

    await until(dropped)
    assert (await index_of(room)).live == before.live
    assert (await result(room, analyzer="plain")).switched


async def test_a_rebuild_goes_on_when_its_caller_leaves(room: Retriever) -> None:
    await fill(room, 4, 10)
    call = room.stub.RebuildIndex(pb.RebuildIndexRequest(analyzer="plain"), metadata=of("t"), timeout=60)
    await call.read()
    call.cancel()

    async def switched() -> bool:
        try:
            return (await index_of(room)).live.analyzer == "plain"
        except grpc.aio.AioRpcError as error:
            # A busy engine may count rows for longer than a call waits.
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False

    await until(switched)
    assert (await index_of(room)).live.rows == 4 * 10 * 70


Act = Callable[[int], Awaitable[None]]


async def test_nobody_notices_a_rebuild(room: Retriever) -> None:
    """Writers, deleters and searchers work on; what is there afterwards is exactly what they left."""
    await fill(room, 2, 6)
    stop = asyncio.Event()
    expected: dict[str, int] = {}
    counts = {"searches": 0, "writes": 0}

    async def write(writer: int) -> None:
        turn = 0
        while not stop.is_set():
            name, size = f"w{writer}-{turn % 4}", 1 + turn % 7
            texts = [f"writer {writer} turn {turn} row {n} zebra" for n in range(size)]
            try:
                await room.index("t0", name, texts)
            except grpc.aio.AioRpcError as error:
                if reason(error) != "INDEX_SWITCHED":
                    raise
                continue  # as the ingestor does
            expected[name] = size
            counts["writes"] += 1
            if turn % 5 == 4:
                await room.delete("t0", name)
                del expected[name]
            turn += 1

    async def search() -> None:
        while not stop.is_set():
            hits = await room.hits("t0", "document 3 passage 5 about water", top_k=10)
            assert len(hits) == 10
            zebras = await room.hits("t0", "zebra", top_k=50)
            versions: dict[str, set[str]] = {}
            for hit in zebras:
                if "zebra" in hit.passage.text:
                    versions.setdefault(hit.passage.document_id, set()).add(hit.passage.text.split(" row ")[0])
            assert all(len(turns) == 1 for turns in versions.values()), versions
            counts["searches"] += 1

    async def build() -> None:
        try:
            for analyzer in ("plain", "multilingual"):
                ended = await result(room, analyzer=analyzer)
                assert ended.switched, ended
            ended = await result(room, action=ROLL_BACK)
            assert ended.switched, ended
        finally:
            stop.set()

    await asyncio.gather(write(0), write(1), search(), build())
    assert counts["searches"] > 5
    assert counts["writes"] > 5
    await room.erased()
    await room.swept()
    found = await index_of(room, "t0")
    assert found.documents == 6 + len(expected)
    assert found.passages == 6 * 70 + sum(expected.values())

    async def exact() -> bool:
        return (await index_of(room)).live.rows == 12 * 70 + sum(expected.values())

    await until(exact)
    for name, size in expected.items():
        assert (await room.get("t0", name)).passage_count == size
        request = pb.ListPassagesRequest(document_id=name, page_size=100)
        assert len((await room.stub.ListPassages(request, metadata=of("t0"))).passages) == size


async def test_an_index_of_another_form_is_not_served(redis_url: str, tmp_path: Path) -> None:
    database = await fresh_database(redis_url)
    async with open_redis(database) as client:
        fields = {"collection": "passages_v1_words_abc", "model": "words", "revision": "r1", "dimension": 32}
        await client.hset("rag:index", mapping={**fields, "analyzer": "plain"})
    async with embedder() as port, retriever(tmp_path, database, port) as room:

        async def told() -> bool:
            status, why = await refused(room.hits("t", "water"))
            return (status, why) == (grpc.StatusCode.FAILED_PRECONDITION, "INDEX_FORMAT")

        await until(told)
        assert not await room.room.is_ready()
