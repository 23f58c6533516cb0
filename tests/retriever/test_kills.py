"""A retriever that is killed at named points, by itself as a crash would; the next one finishes what it began."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import psutil
import pytest

from rag.runtime.early_status import with_early_status
from rag.v1 import retriever_pb2 as pb
from tests.process_table import is_alive
from tests.redis_server import running_redis
from tests.retriever.process import started
from tests.retriever.room import JobEraser, Retriever, document, embedder, ingestor, of, retriever
from tests.retriever.test_deletion import files_with
from tests.waiting import until
from tests.warm import WarmProcess


class Killed:
    """What a killed retriever leaves, and how the next one starts from it."""

    def __init__(self, folder: Path, redis_url: str, port: int, erasers: JobEraser, address: str) -> None:
        self.folder, self.redis_url, self.port = folder, redis_url, port
        self.erasers, self.address = erasers, address

    async def run(self, stack: AsyncExitStack, failpoint: str):
        environment = {"RAG_FAILPOINT": failpoint, "INGESTOR_ADDRESS": self.address}
        return await started(self.folder, self.redis_url, self.port, stack, **environment)

    def next(self):
        return retriever(self.folder, self.redis_url, self.port, ingestor_address=self.address)


@pytest.fixture
async def killed(tmp_path: Path):
    erasers = JobEraser()
    (tmp_path / "data").mkdir()
    with running_redis(tmp_path / "r") as url:
        async with embedder() as port, ingestor(erasers) as address:
            yield Killed(tmp_path / "data", url, port, erasers, address)


async def died(process: WarmProcess, engine: psutil.Process) -> None:
    assert await process.ended() == -signal.SIGKILL
    await until(lambda: not is_alive(engine))


async def sent(stub, tenant: str, parts: list[pb.IndexRequest]) -> pb.Document | None:
    """Send a document; None when the answer did not come."""
    try:
        call = stub.Index(iter(parts), metadata=of(tenant), timeout=30)
        return [event async for event in with_early_status(call)][-1].document
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return None


async def deleted(stub, tenant: str, document_id: str) -> grpc.StatusCode:
    try:
        await stub.DeleteDocument(pb.DeleteDocumentRequest(document_id=document_id), metadata=of(tenant), timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def settled(room: Retriever) -> None:
    await until(room.room.is_ready)
    await room.erased()
    await room.swept()


@pytest.mark.parametrize("failpoint", ["document_deleted:1", "rows_erased:1", "rows_erased:2"])
async def test_a_deletion_survives_a_kill(killed: Killed, tmp_path: Path, tenant: str, failpoint: str) -> None:
    async with AsyncExitStack() as stack:
        process, engine, stub = await killed.run(stack, failpoint)
        for name in ("d1", "d2"):
            texts = [f"quokkatext {name} {n}" for n in range(50)]
            assert await sent(stub, tenant, document(name, texts, title="quokkatitle"))
        for name in ("d1", "d2"):
            assert await deleted(stub, tenant, name) in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        await died(process, engine)
    async with killed.next() as room:
        await until(room.room.is_ready)
        assert not [text for text in await room.found(tenant, "quokkatext d1", top_k=100) if " d1 " in text]
        for name in ("d1", "d2"):
            assert await deleted(room.stub, tenant, name) in {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND}
        await settled(room)
        assert await room.row_count(tenant) == 0
        await until(lambda: not files_with(tmp_path / "r", "quokkatext", "quokkatitle"))
        assert not files_with(killed.folder, "quokkatext", "quokkatitle")
    assert {what for _, what, _ in killed.erasers.asked} == {"d1", "d2"}


@pytest.mark.parametrize(("failpoint", "is_live"), [("version_opened:1", False), ("version_live:1", True)])
async def test_a_version_is_whole_or_not_there_after_a_kill(
    killed: Killed, tenant: str, failpoint: str, is_live: bool
) -> None:
    texts = [f"water {n}" for n in range(40)]
    parts = document("d1", texts, accepted_us=1_800_000_000_000_000, fence=1, fingerprint="same")
    async with AsyncExitStack() as stack:
        process, engine, stub = await killed.run(stack, failpoint)
        assert await sent(stub, tenant, parts) is None
        await died(process, engine)
    async with killed.next() as room:
        await settled(room)
        assert len(await room.found(tenant, "water", top_k=100)) == 40 * is_live
        assert await room.row_count(tenant) == 40 * is_live
        if is_live:
            assert (await room.get(tenant, "d1")).fingerprint == "same"
        assert await room.revoke(tenant, "d1", 1_800_000_000_000_000) == int(is_live)
        if not is_live:
            return
        await room.send(tenant, parts)
        await settled(room)
        assert await room.row_count(tenant) == 40
