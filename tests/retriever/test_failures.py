"""What happens when something the retriever needs dies, is away, or comes late."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import psutil
import pytest
from pymilvus import AsyncMilvusClient

from rag.runtime.errors import FailedPrecondition
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters.milvus_lite_child import MilvusLiteChild
from services.retriever.adapters.milvus_schema import _schema
from services.retriever.opening import name_index
from services.retriever.passages import Model
from tests.process_table import is_alive
from tests.retriever.process import started
from tests.retriever.room import (
    DIMENSION,
    LetterEmbedder,
    Retriever,
    batch,
    document,
    embedder,
    fresh_database,
    header,
    of,
    reason,
    retriever,
)
from tests.waiting import until


@pytest.fixture
async def alone(redis_url: str, tmp_path: Path):
    """A retriever for one test that does it harm."""
    async with embedder() as port, retriever(tmp_path, await fresh_database(redis_url), port) as running:
        await until(running.room.is_ready)
        yield running


async def test_the_engine_comes_back_with_all_it_acknowledged(alone: Retriever, tenant: str) -> None:
    acknowledged = []
    for number in range(3):
        await alone.index(tenant, f"d{number}", [f"water {number} {n}" for n in range(50)])
        acknowledged.append(f"d{number}")
        alone.engine().kill()
        hits = await alone.hits(tenant, "water", top_k=100, mode=pb.RETRIEVAL_MODE_DENSE)
        assert len(hits) == min(50 * len(acknowledged), 100)
    for name in acknowledged:
        request = pb.ListPassagesRequest(document_id=name, page_size=100)
        assert len((await alone.stub.ListPassages(request, metadata=of(tenant))).passages) == 50


async def test_the_engine_may_die_under_readers_and_writers(alone: Retriever, tenant: str) -> None:
    await alone.index(tenant, "first", ["first water"])
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            assert await alone.found(tenant, "water")

    async def write(name: str) -> None:
        for turn in range(6):
            await alone.send(tenant, document(name, [f"{name} water {turn} {n}" for n in range(30)]))

    readers = [asyncio.create_task(read()) for _ in range(3)]
    writers = [asyncio.create_task(write(name)) for name in ("a", "b")]
    for _ in range(3):
        pid = alone.engine().pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: any(child.pid != pid for child in engines(alone)))
    await asyncio.gather(*writers)
    stop.set()
    await asyncio.gather(*readers)
    await alone.erased()
    assert await alone.row_count(tenant) == 61


def engines(room: Retriever) -> list[psutil.Process]:
    try:
        return [process for process in [room.engine()] if is_alive(process)]
    except StopIteration:
        return []


async def test_it_starts_without_the_embedder_and_is_ready_when_it_comes(
    redis_url: str, tmp_path: Path, tenant: str
) -> None:
    async with embedder() as port:
        pass
    async with retriever(tmp_path, await fresh_database(redis_url), port) as room:
        assert not await room.room.is_ready()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await room.send(tenant, [header("d1")])
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(caught.value) == "INDEX_NOT_OPEN"
        async with embedder(port=port):
            await until(room.room.is_ready)
            await room.index(tenant, "d1", ["water"])
            assert await room.found(tenant, "water") == ["water"]
        events = await room.retrieve(tenant, "water", use_cache=False)
        assert [notice.code for notice in events[-1].summary.notices] == ["KEYWORD_ONLY"]


async def test_another_model_at_a_later_start_does_not_hide_the_documents(
    redis_url: str, tmp_path: Path, tenant: str
) -> None:
    database = await fresh_database(redis_url)
    async with embedder() as port, retriever(tmp_path, database, port) as room:
        await until(room.room.is_ready)
        await room.index(tenant, "d1", ["water"])
    async with embedder(LetterEmbedder(revision="r2")) as port, retriever(tmp_path, database, port) as room:
        await until(room.room.is_ready)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await room.hits(tenant, "water", mode=pb.RETRIEVAL_MODE_DENSE)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason(caught.value) == "MODEL_MISMATCH"
        assert await room.found(tenant, "water", mode=pb.RETRIEVAL_MODE_KEYWORD) == ["water"]
        events = await room.retrieve(tenant, "water")
        assert [event.hit.passage.text for event in events if event.HasField("hit")] == ["water"]
        assert [notice.code for notice in events[-1].summary.notices] == ["MODEL_MISMATCH"]


async def test_what_was_committed_survives_a_restart(redis_url: str, tmp_path: Path, tenant: str) -> None:
    database = await fresh_database(redis_url)
    async with embedder() as port:
        for turn in range(3):
            async with retriever(tmp_path, database, port) as room:
                await until(room.room.is_ready)
                await room.index(tenant, f"d{turn}", [f"water of turn {turn}"])
                assert len(await room.hits(tenant, "water")) == turn + 1


async def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    code = f"import fcntl, time; f = open({str(tmp_path / 'owner.lock')!r}, 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    try:
        await other.stdout.readline()
        with pytest.raises(FailedPrecondition) as caught:
            await MilvusLiteChild(tmp_path).open()
        assert caught.value.reason == "INDEX_IN_USE"
    finally:
        other.kill()
        await other.wait()
        other._transport.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_no_engine_outlives_its_retriever(redis_url: str, tmp_path: Path, number: signal.Signals) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(embedder())
        process, engine, _ = await started(tmp_path, await fresh_database(redis_url), port, stack)
        process.send_signal(number)
        code = await process.ended()
        assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        await until(lambda: not is_alive(engine))


async def test_a_version_left_open_by_a_killed_retriever_is_erased_at_the_next_start(
    redis_url: str, tmp_path: Path, tenant: str
) -> None:
    database = await fresh_database(redis_url)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(embedder())
        process, engine, stub = await started(tmp_path, database, port, stack)
        call = stub.Index(metadata=of(tenant), timeout=30)
        await call.write(header("d1"))
        await call.write(batch(["lost water"] * 100))
        assert (await call.read()).progress.passages_written == 100
        process.kill()
        await process.ended()
        await until(lambda: not engine.is_running())
        async with retriever(tmp_path, database, port) as room:
            await until(room.room.is_ready)
            await room.erased()
            assert await room.row_count(tenant) == 0
            await room.index(tenant, "d1", ["new water"])
            assert await room.found(tenant, "water") == ["new water"]


@pytest.mark.parametrize("mode", [pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_KEYWORD, pb.RETRIEVAL_MODE_DENSE])
async def test_an_empty_index_finds_nothing_and_says_nothing_else(
    redis_url: str, tmp_path: Path, tenant: str, mode: pb.RetrievalMode
) -> None:
    database = await fresh_database(redis_url)
    async with embedder() as port, retriever(tmp_path, database, port) as room:
        await until(room.room.is_ready)
        assert await room.found(tenant, "water", mode=mode) == []
        await room.index(tenant, "d1", ["water"])
        assert await room.found(tenant, "water", mode=mode) == ["water"]
        await room.stub.DeleteDocument(pb.DeleteDocumentRequest(document_id="d1"), metadata=of(tenant))
        await room.erased()
        assert await room.found(tenant, "water", mode=mode) == []


async def test_a_collection_whose_making_broke_off_is_finished(redis_url: str, tmp_path: Path, tenant: str) -> None:
    index = name_index(Model("words", "r1", DIMENSION), "multilingual")
    child = MilvusLiteChild(tmp_path / "milvus")
    await child.open()
    client = AsyncMilvusClient(await child.address(), dedicated=True, timeout=5)
    await client.create_collection(index.collection, schema=_schema(index, "whitespace", embedded=True), timeout=5)
    await client.close()
    await child.close()
    async with embedder() as port, retriever(tmp_path, await fresh_database(redis_url), port) as room:
        await until(room.room.is_ready)
        await room.index(tenant, "d1", ["water"])
        assert await room.found(tenant, "water") == ["water"]
