"""The embedded engine outlives its retriever for a short time, so that the next one finds all rows loaded."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil
import pytest

from rag.backup.restoring import _taken
from rag.runtime.errors import FailedPrecondition
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters.milvus_lite_child import MilvusLiteChild
from tests.process_table import arguments, stop
from tests.retriever.process import Started, engine_of, started
from tests.retriever.room import batch, document, embedder, fresh_database, header, of
from tests.waiting import until
from tests.warm import WarmProcess

LONG = "60"


class Restarts:
    """Retrievers over one folder, one after the other."""

    def __init__(self, folder: Path, redis_url: str, port: int, stack: AsyncExitStack) -> None:
        self.folder, self._redis_url, self._port, self._stack = folder, redis_url, port, stack

    async def start(self, linger_s: str = LONG, **environment: str) -> Started:
        environment = {"RETRIEVER_ENGINE_LINGER_S": linger_s, **environment}
        return await started(self.folder, self._redis_url, self._port, self._stack, **environment)

    def members(self) -> list[psutil.Process]:
        """The keeper and the engine."""
        return [one for one in psutil.process_iter() if str(self.folder) in " ".join(arguments(one))]

    def is_gone(self) -> bool:
        """Kill what is there, what a retriever began to start when it was killed too; tell whether nothing was."""
        found = self.members()
        for one in found:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        return not found

    def keeper(self) -> psutil.Process:
        return next(one for one in self.members() if any("milvus_lite_keeper" in part for part in arguments(one)))

    def sockets(self) -> Path:
        address = next(part for part in engine_of(self.folder).cmdline() if part.startswith("unix:"))
        return Path(address.removeprefix("unix:")).parent


@pytest.fixture
async def restarts(redis_url: str, tmp_path: Path):
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(embedder())
        running = Restarts(tmp_path, await fresh_database(redis_url), port, stack)
        yield running
        await until(running.is_gone)


async def index(stub, tenant: str, name: str) -> None:
    async for _ in stub.Index(iter(document(name, [f"water {name}"])), metadata=of(tenant), timeout=60):
        pass


async def found(stub, tenant: str) -> list[str]:
    call = stub.Retrieve(pb.RetrieveRequest(query="water", use_cache=False), metadata=of(tenant), timeout=60)
    return sorted([event.hit.passage.text async for event in call if event.HasField("hit")])


async def end(process: WarmProcess, number: signal.Signals) -> None:
    process.send_signal(number)
    await process.ended()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_next_retriever_finds_the_engine_and_what_was_acknowledged(
    restarts: Restarts, tenant: str, number: signal.Signals
) -> None:
    process, engine, stub = await restarts.start()
    await index(stub, tenant, "d0")
    for turn in range(1, 3):
        await end(process, number)
        process, same, stub = await restarts.start()
        assert same == engine
        await index(stub, tenant, f"d{turn}")
        assert await found(stub, tenant) == [f"water d{n}" for n in range(turn + 1)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_after_the_time(restarts: Restarts, number: signal.Signals) -> None:
    process, engine, _ = await restarts.start("0.5")
    sockets = restarts.sockets()
    await end(process, number)
    await until(lambda: not restarts.members())
    assert not engine.is_running()
    assert not sockets.exists()


async def test_without_a_time_all_are_gone_before_the_retriever_is(restarts: Restarts) -> None:
    process, _, _ = await restarts.start()
    await end(process, signal.SIGTERM)
    process, _, _ = await restarts.start("0")
    sockets = restarts.sockets()
    await end(process, signal.SIGTERM)
    assert not restarts.members()
    assert not sockets.exists()


async def test_a_killed_engine_or_keeper_is_replaced(restarts: Restarts, tenant: str) -> None:
    _, _, stub = await restarts.start()
    names = []
    for kill in (lambda: engine_of(restarts.folder).kill(), lambda: restarts.keeper().kill()):
        await index(stub, tenant, f"d{len(names)}")
        names.append(f"water d{len(names)}")
        before, keeper = engine_of(restarts.folder), restarts.keeper()
        kill()
        assert await found(stub, tenant) == names
        assert engine_of(restarts.folder) != before
        await until(lambda before=before, keeper=keeper: not before.is_running() and not keeper.is_running())


@pytest.mark.parametrize("whose", ["keeper", "engine"])
async def test_a_leftover_that_was_killed_is_replaced_at_the_next_start(
    restarts: Restarts, tenant: str, whose: str
) -> None:
    process, engine, stub = await restarts.start()
    await index(stub, tenant, "d0")
    sockets = restarts.sockets()
    await end(process, signal.SIGKILL)
    (restarts.keeper() if whose == "keeper" else engine).kill()
    _, other, stub = await restarts.start()
    assert other != engine
    assert await found(stub, tenant) == ["water d0"]
    assert not sockets.exists()


async def test_an_engine_that_does_not_answer_is_replaced(restarts: Restarts, tenant: str) -> None:
    process, engine, stub = await restarts.start()
    await index(stub, tenant, "d0")
    await end(process, signal.SIGTERM)
    stop(engine.pid)
    _, other, stub = await restarts.start()
    assert other != engine
    assert await found(stub, tenant) == ["water d0"]


async def test_an_engine_over_another_file_is_not_taken_over(restarts: Restarts, tenant: str) -> None:
    process, engine, stub = await restarts.start()
    await index(stub, tenant, "d0")
    await end(process, signal.SIGTERM)
    file = restarts.folder / "milvus" / "ragmesh.db"
    copy = file.with_suffix(".copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)
    _, other, stub = await restarts.start()
    assert other != engine
    assert await found(stub, tenant) == ["water d0"]


async def test_an_engine_in_the_midst_of_a_write_does_not_outlive_its_retriever(
    restarts: Restarts, tenant: str
) -> None:
    process, engine, stub = await restarts.start()
    call = stub.Index(metadata=of(tenant), timeout=30)
    await call.write(header("d1"))
    stop(engine.pid)
    await call.write(batch(["lost water"] * 100))
    with pytest.raises(TimeoutError):  # the engine has it, and does not answer
        async with asyncio.timeout(0.5):
            await call.read()
    process.kill()
    await process.ended()
    await until(lambda: not engine.is_running())
    process, _, stub = await restarts.start()
    assert await found(stub, tenant) == []


async def test_a_second_retriever_and_a_restore_are_refused(restarts: Restarts) -> None:
    process, _, _ = await restarts.start()
    with pytest.raises(FailedPrecondition) as caught:
        await MilvusLiteChild(restarts.folder / "milvus").open()
    assert caught.value.reason == "INDEX_IN_USE"
    await end(process, signal.SIGTERM)
    with pytest.raises(FailedPrecondition, match="RETRIEVER_ENGINE_LINGER_S") as caught, _taken(restarts.folder):
        pass
    assert caught.value.reason == "DATA_IN_USE"


async def test_a_caller_who_leaves_leaves_no_engine_behind(tmp_path: Path) -> None:
    child = MilvusLiteChild(tmp_path, linger_s=60)
    await child.open()
    try:
        for _ in range(3):
            starting = asyncio.ensure_future(child.address())
            await until((tmp_path / "engine.log").exists)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            (tmp_path / "engine.log").unlink()
        assert await child.address()
        assert child.pid is not None
    finally:
        psutil.Process(child.pid).kill()
        await until(lambda: child.pid is None)
        await child.close()
