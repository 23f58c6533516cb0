"""Deleting: gone at once, then erased everywhere, however often a step fails."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from services.retriever.adapters.redis_append_log import RedisAppendLog
from services.retriever.upkeep.deletion import Deletion
from services.retriever.upkeep.deletion_worker import DeletionWorker
from services.retriever.upkeep.scrubbing import Scrubbing
from tests.redis_server import running_redis
from tests.retriever.room import (
    AnswerForgetter,
    JobEraser,
    Retriever,
    batch,
    commit,
    document,
    embedder,
    fresh_database,
    generator,
    header,
    ingestor,
    of,
    reason,
    retriever,
    value,
    vector,
)
from tests.waiting import until


@pytest.fixture
def erasers() -> JobEraser:
    return JobEraser()


@pytest.fixture
async def alone(redis_url: str, tmp_path: Path, erasers: JobEraser) -> AsyncIterator[Retriever]:
    async with embedder() as port, retriever(tmp_path, await fresh_database(redis_url), port, erasers) as running:
        await until(running.room.is_ready)
        yield running


async def refusal(room: Retriever, tenant: str, document_id: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.delete(tenant, document_id)
    return caught.value.code(), reason(caught.value)


async def reason_of(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return reason(error)
    return ""


async def test_the_jobs_of_a_deleted_document_are_erased_too(alone: Retriever, tenant: str, erasers: JobEraser) -> None:
    made = await alone.index(tenant, "d1", ["water"])
    assert await alone.delete(tenant, "d1") == made.version
    await alone.swept()
    assert {(who, what) for who, what, _ in erasers.asked} == {(tenant, "d1")}
    assert await alone.row_count(tenant) == 0


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_document_that_exists_only_as_jobs_can_be_deleted(
    alone: Retriever, tenant: str, erasers: JobEraser, is_open: bool
) -> None:
    if is_open:
        call = alone.stub.Index(metadata=of(tenant), timeout=30)
        await call.write(header("d1"))
        await call.write(batch(["early water"]))
        await call.read()
    erasers.jobs[tenant, "d1"] = 2
    assert await alone.delete(tenant, "d1") == 0
    [(_, _, until_us), *_] = erasers.asked
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await alone.send(tenant, document("d1", ["water"], accepted_us=until_us))
    assert reason(caught.value) == "VERSION_SUPERSEDED"
    await alone.index(tenant, "d1", ["water"], accepted_us=until_us + 1)
    await alone.swept()
    assert await alone.found(tenant, "water") == ["water"]


async def test_an_unknown_document_is_not_found_and_leaves_nothing_to_do(
    alone: Retriever, tenant: str, erasers: JobEraser
) -> None:
    assert await refusal(alone, tenant, "d1") == (grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND")
    async with open_redis(alone.redis_url) as redis:
        assert not await redis.zcard("rag:deletions")
    assert [(who, what) for who, what, _ in erasers.asked if what == "d1"]


async def test_without_the_ingestor_a_known_document_is_deleted_and_an_unknown_one_is_not_decided(
    redis_url: str, tmp_path: Path, tenant: str
) -> None:
    database = await fresh_database(redis_url)
    async with ingestor() as address:
        pass
    async with embedder() as port, retriever(tmp_path, database, port, ingestor_address=address) as room:
        await until(room.room.is_ready)
        made = await room.index(tenant, "d1", ["water"])
        assert await room.delete(tenant, "d1") == made.version
        assert await room.found(tenant, "water") == []
        assert (await refusal(room, tenant, "d2"))[0] is grpc.StatusCode.UNAVAILABLE
        await room.erased()
        assert await room.row_count(tenant) == 0
        erasers = JobEraser()
        async with ingestor(erasers, int(address.rpartition(":")[2])):
            await room.swept()
        assert (tenant, "d1") in {(who, what) for who, what, _ in erasers.asked}


async def test_a_deletion_is_not_done_before_the_generator_forgot_the_answers(
    redis_url: str, tmp_path: Path, tenant: str
) -> None:
    database = await fresh_database(redis_url)
    async with generator() as address:
        pass
    async with (
        embedder() as port,
        retriever(tmp_path, database, port, generator_address=address) as room,
        open_redis(database) as redis,
    ):
        await until(room.room.is_ready)
        await room.index(tenant, "d1", ["water"])
        await room.delete(tenant, "d1")
        assert await room.found(tenant, "water") == []
        await room.erased()
        assert await redis.zcard("rag:deletions") == 1
        forgetter = AnswerForgetter()
        async with generator(forgetter, int(address.rpartition(":")[2])):
            await room.swept()
        assert set(forgetter.asked) == {(tenant, "d1")}


async def test_a_writer_that_a_deletion_overtook_leaves_nothing(alone: Retriever, tenant: str) -> None:
    await alone.index(tenant, "d1", ["old water"])
    for act in ("commit", "leave"):
        call = alone.stub.Index(metadata=of(tenant), timeout=30)
        await call.write(header("d1"))
        await call.write(batch(["new water"]))
        await call.read()
        if act == "commit":
            await alone.delete(tenant, "d1")
            await call.write(commit(1))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert reason(caught.value) == "VERSION_SUPERSEDED"
        else:
            await refusal(alone, tenant, "d1")
            call.cancel()
    await alone.erased()
    await alone.swept()
    assert await alone.row_count(tenant) == 0


async def test_deletions_race_with_streams_and_only_whole_later_versions_are_left(
    alone: Retriever, tenant: str
) -> None:
    async def write(name: str) -> None:
        for turn in range(6):
            texts = [f"{name} water {turn} {n}" for n in range(30)]
            assert await reason_of(alone.index(tenant, name, texts)) in {"", "VERSION_SUPERSEDED"}

    async def remove(name: str) -> None:
        for _ in range(10):
            assert await reason_of(alone.delete(tenant, name)) in {"", "DOCUMENT_NOT_FOUND"}
            await asyncio.sleep(0.03)

    await asyncio.gather(*(work(name) for name in ("a", "b") for work in (write, remove)))
    await alone.erased()
    live = len(await alone.found(tenant, "water", top_k=100))
    assert live % 30 == 0
    assert await alone.row_count(tenant) == live


CANARIES = ("quokkatext", "quokkahead", "quokkameta", "quokkaname", "quokkatitle")


def files_with(folder: Path, *needles: str) -> set[str]:
    """Files below a folder that hold one of the needles. Another process looks: ours would lose its locks on them."""
    patterns = [part for needle in needles for part in ("-e", needle)]
    found = subprocess.run(["grep", "-rlaF", *patterns, str(folder)], capture_output=True, text=True, check=False)
    assert not found.stderr
    return set(found.stdout.split())


def bytes_in(folder: Path, needle: bytes) -> bool:
    pattern = "".join(f"\\x{byte:02x}" for byte in needle)
    return subprocess.run(["grep", "-rqaP", pattern, str(folder)], check=False, env={"LC_ALL": "C"}).returncode == 0


async def test_no_byte_of_a_deleted_document_stays_in_any_file(tmp_path: Path, tenant: str) -> None:
    data, stored = tmp_path / "data", tmp_path / "r"
    texts = [f"quokkatext {n} " + "lorem ipsum " * (n % 300) for n in range(300)]
    with running_redis(stored) as url:
        async with embedder() as port, retriever(data, url, port) as room:
            await until(room.room.is_ready)
            await room.index(tenant, "before", [f"other water {n}" for n in range(100)])
            parts = document("d1", texts, title="quokkatitle", name="quokkaname", metadata={"k": value("quokkameta")})
            for passage in parts[1].passages.passages:
                passage.heading = "quokkahead"
            await room.send(tenant, parts)
            await room.index(tenant, "after", [f"other water {n}" for n in range(100)])
            assert files_with(data, *CANARIES)
            assert files_with(stored, *CANARIES)
            needle = vector(texts[7]).tobytes()[:64]
            assert bytes_in(data, needle)
            await room.delete(tenant, "d1")
            await room.swept()
            await until(lambda: not files_with(stored, *CANARIES))
            assert not files_with(tmp_path, *CANARIES)
            assert not bytes_in(data, needle)
            assert len(await room.hits(tenant, "water", top_k=100)) == 100
            room.engine().kill()
            await until(room.room.is_ready)
            assert await room.row_count(tenant) == 200
            assert len(await room.hits(tenant, "water", top_k=100)) == 100


async def test_the_text_of_a_replaced_version_goes_with_the_next_deletion_at_the_latest(
    alone: Retriever, tenant: str, tmp_path: Path
) -> None:
    await alone.index(tenant, "d1", [f"quokkatext {n}" for n in range(50)])
    await alone.index(tenant, "d1", ["water"])
    await alone.erased()
    assert files_with(tmp_path, "quokkatext")
    await alone.delete(tenant, "d1")
    await alone.swept()
    assert not files_with(tmp_path, "quokkatext")


class Files:
    """Counts, and fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.scrubs = self.rewrites = self.notes = 0
        self.failures = failures

    def note(self) -> None:
        self.notes += 1

    async def scrub(self) -> None:
        self.scrubs += 1
        if self.failures:
            self.failures -= 1
            raise Unavailable("away", "SCRUB_FAILED")

    async def rewrite(self) -> None:
        self.rewrites += 1


class Stores:
    """Deletions, jobs, answers and rows; each document's erasure fails once, and so does forgetting its answers."""

    def __init__(self, *deletions: Deletion) -> None:
        self.deletions = list(deletions)
        self.tried: dict[str, int] = {}
        self.forgotten: dict[str, int] = {}

    async def pending(self, limit):
        return self.deletions[:limit]

    async def done(self, tenant, document_id, due_us):
        self.deletions = [d for d in self.deletions if (d.document_id, d.due_us) != (document_id, due_us)]

    async def erase(self, tenant, document_id, *_):
        self.tried[document_id] = self.tried.get(document_id, 0) + 1
        if self.tried[document_id] == 1:
            raise Unavailable("away", "AWAY")
        return 0

    async def forget(self, tenant, document_id):
        self.forgotten[document_id] = self.forgotten.get(document_id, 0) + 1
        if self.forgotten[document_id] == 1:
            raise Unavailable("away", "AWAY")
        return 0


@asynccontextmanager
async def working(worker: DeletionWorker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_step_is_repeated_until_all_succeeded_and_deletions_share_a_sweep() -> None:
    stores, files = Stores(*(Deletion("t", f"d{n}", 1, 5, 5) for n in range(5))), Files(failures=1)
    worker = DeletionWorker(
        stores, stores, stores, stores, files, catalogue_log=files, idle_s=0.01, most_backoff_s=0.02, sweep_pause_s=0.05
    )
    async with working(worker):
        await until(lambda: not stores.deletions)
    assert files.notes == 5
    assert files.scrubs <= 4
    assert files.rewrites == files.scrubs - 1
    assert stores.forgotten == dict.fromkeys(stores.tried, 2)


async def test_a_deletion_asked_for_again_is_done_again() -> None:
    stores, files = Stores(Deletion("t", "d", 1, 5, 5)), Files()
    worker = DeletionWorker(stores, stores, stores, stores, files, catalogue_log=files, idle_s=0.01, sweep_pause_s=0.01)
    async with working(worker):
        await until(lambda: not stores.deletions)
        before = dict(stores.tried)
        stores.deletions.append(Deletion("t", "d", 1, 5, 6))
        await until(lambda: not stores.deletions)
    assert stores.tried["d"] == before["d"] + 2
    assert stores.forgotten["d"] == 3


async def test_what_never_had_a_version_was_never_answered_from() -> None:
    stores, files = Stores(Deletion("t", "d", 0, 5, 5)), Files()
    worker = DeletionWorker(stores, stores, stores, stores, files, catalogue_log=files, idle_s=0.01, sweep_pause_s=0.01)
    async with working(worker):
        await until(lambda: not stores.deletions)
    assert not stores.forgotten


async def test_scrubbing_waits_for_its_time_and_a_deletion_does_not() -> None:
    now, files = [0.0], Files(failures=1)
    scrubbing = Scrubbing(files, lazy_s=100, clock=lambda: now[0])
    with pytest.raises(Unavailable):
        await scrubbing.scrub()
    for expected in (2, 2):  # what failed is tried again, what was done is not
        await scrubbing.scrub()
        assert files.scrubs == expected
    scrubbing.note()
    now[0] = 101.0
    running = asyncio.create_task(scrubbing.run())
    await until(lambda: files.scrubs == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("options", "outcome"),
    [((), "done"), (("--appendonly", "no"), "none"), (("--rename-command", "BGREWRITEAOF", ""), "refused")],
)
async def test_the_log_of_redis_is_rewritten_where_it_can_be(
    tmp_path: Path, options: tuple[str, ...], outcome: str, logged: Callable[[str], int]
) -> None:
    with running_redis(tmp_path / "r", *options) as url:
        async with open_redis(url) as redis:
            await redis.set("k", "quokkatext")
            await redis.delete("k")
            log = RedisAppendLog(redis)
            await asyncio.gather(log.rewrite(), log.rewrite())
            await log.rewrite()
            if outcome == "done":
                await until(lambda: not files_with(tmp_path / "r", "quokkatext"))
    assert logged("append_only_file_not_rewritten") == (outcome != "done")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    import structlog

    with structlog.testing.capture_logs() as entries:
        yield lambda event: sum(entry["event"] == event for entry in entries)
