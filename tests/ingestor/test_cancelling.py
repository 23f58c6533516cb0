"""Jobs that are called off, at every stage and with others away."""

from __future__ import annotations

import asyncio

import grpc
import psutil
import pytest

from rag.v1 import ingestor_pb2 as pb
from services.ingestor.adapters.redis_leftovers import LEFTOVERS
from services.ingestor.adapters.redis_records import GROUP, QUEUE, UNFINISHED
from tests.ingestor.pdfs import partly_shared_stream_bomb, pdf
from tests.ingestor.refusals import refusal
from tests.process_table import arguments
from tests.waiting import until

TEXT = b"The pump in hall one is checked every week."
FAST_LEASE = {"lease_ms": 1_000, "heartbeat_ms": 100}
SOON_S = 5.0
"""Far less than a call to a neighbour that hangs may take, far more than calling off takes."""


async def nothing_is_left(mesh, redis) -> None:
    await until(lambda: mesh.files == [])
    assert mesh.retriever.versions == []
    assert await redis.xlen(QUEUE) == 0
    assert (await redis.xpending(QUEUE, GROUP))["pending"] == 0
    assert await redis.zcard(UNFINISHED) == 0
    assert await redis.keys("rag:*:turn*") == []
    await until(lambda: no_leftovers(redis))


async def no_leftovers(redis) -> bool:
    return not await redis.exists(LEFTOVERS)


async def held_at(stage: str, mesh, client) -> pb.Job:
    """A job that got to a stage and no further."""
    content, name = (pdf(pages=300), "long.pdf") if stage == "reading" else (TEXT, "a.txt")
    if stage in {"reading", "embedding"}:
        mesh.embedder.open.clear()
    elif stage == "indexing":
        mesh.retriever.open.clear()
    else:
        mesh.retriever.committing.clear()
    job = await client.submit(content, name, document_id="doc")
    reached = {"indexing": lambda: mesh.retriever.streams, "committing": lambda: mesh.retriever.commits}
    await until(lambda: reached.get(stage, lambda: mesh.embedder.calls)() >= 1)
    return job


@pytest.fixture
async def hasty(mesh):
    """An ingestor that waits shortly for workers that died."""
    async with mesh.ingestor(**FAST_LEASE) as client:
        yield client


@pytest.mark.parametrize("stage", ["reading", "embedding", "indexing", "committing"])
async def test_a_running_job_is_stopped_and_leaves_nothing(mesh, hasty, empty_queue, stage):
    client = hasty
    job = await held_at(stage, mesh, client)
    watching = asyncio.create_task(client.watch(job.id))
    ended = await client.cancel(job.id)
    assert ended.state == pb.JOB_STATE_CANCELLED
    assert ended.finished_at.seconds
    assert (await watching)[-1].job == ended
    assert await client.cancel(job.id) == ended
    assert {document for document, _ in mesh.retriever.revoked} == {"doc"}
    await until(lambda: "doc" in mesh.embedder.forgotten)
    for held in (mesh.embedder.open, mesh.retriever.open, mesh.retriever.committing):
        held.set()
    await nothing_is_left(mesh, empty_queue)
    assert (await client.get(job.id)).state == pb.JOB_STATE_CANCELLED
    assert (await client.index(TEXT, "a.txt", document_id="doc")).state == pb.JOB_STATE_READY


async def test_a_job_that_waits_is_cancelled_without_its_neighbours(mesh, empty_queue):
    mesh.retriever.away = True
    async with mesh.ingestor(concurrency=1, spare=0) as client:
        first = await client.submit(TEXT, "a.txt")
        await until(lambda: mesh.running(first, client))
        job = await client.submit(b"Another text.", "b.txt")
        assert (await client.cancel(job.id)).state == pb.JOB_STATE_CANCELLED
        assert [path.name for path in mesh.files] == [first.id]
        assert mesh.embedder.forgotten == []


async def test_without_the_index_the_job_stops_and_is_cancelled_when_it_is_back(mesh, empty_queue):
    async with mesh.ingestor(**FAST_LEASE) as client:
        job = await held_at("embedding", mesh, client)
        mesh.retriever.away = True
        assert await refusal(client.cancel(job.id)) == (grpc.StatusCode.UNAVAILABLE, "CANCEL_PENDING")
        mesh.embedder.open.set()
        mesh.retriever.away = False
        assert (await client.watch(job.id))[-1].job.state == pb.JOB_STATE_CANCELLED
        await nothing_is_left(mesh, empty_queue)


async def test_a_job_whose_version_is_live_is_ready_and_not_cancelled(mesh, empty_queue):
    async with mesh.ingestor(heartbeat_ms=5_000) as client:
        job = await held_at("committing", mesh, client)
        # The version becomes live, and the worker dies before it can say so.
        lost = asyncio.Event()
        mesh.retriever.answering = lost
        mesh.retriever.committing.set()
        await until(lambda: len(mesh.retriever.versions) == 1)
        assert await refusal(client.cancel(job.id)) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_FINISHED")
        lost.set()
        ended = (await client.watch(job.id))[-1].job
        assert (ended.state, ended.document_version) == (pb.JOB_STATE_READY, 1)
        await until(lambda: mesh.files == [])


async def test_jobs_at_their_end_and_unknown_ones_cannot_be_cancelled(client):
    job = await client.index(TEXT, "a.txt")
    assert await refusal(client.cancel(job.id)) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_FINISHED")
    assert await refusal(client.cancel("job_unknown")) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


async def test_many_cancels_at_once_all_say_the_same(mesh, hasty, empty_queue):
    client = hasty
    job = await held_at("embedding", mesh, client)
    ended = await asyncio.gather(*(client.cancel(job.id) for _ in range(8)))
    assert {answer.state for answer in ended} == {pb.JOB_STATE_CANCELLED}
    events = await client.watch(job.id)
    assert [event.job.state for event in events].count(pb.JOB_STATE_CANCELLED) == 1
    mesh.embedder.open.set()
    await nothing_is_left(mesh, empty_queue)


async def test_a_cancelled_upload_lets_the_next_one_of_its_document_go(mesh, client):
    job = await held_at("embedding", mesh, client)
    following = await client.submit(b"A second text.", "b.txt", document_id="doc")
    await client.cancel(job.id)
    mesh.embedder.open.set()
    assert (await client.watch(following.id))[-1].job.state == pb.JOB_STATE_READY


async def test_the_vectors_of_a_document_that_is_live_are_kept(mesh, client):
    await client.index(TEXT, "a.txt", document_id="doc")
    mesh.embedder.open.clear()
    job = await client.submit(b"A second text.", "b.txt", document_id="doc")
    await until(lambda: mesh.embedder.calls == 2)
    assert (await client.cancel(job.id)).state == pb.JOB_STATE_CANCELLED
    assert mesh.embedder.forgotten == []


async def test_a_job_is_cancelled_while_its_parser_is_held_inside_a_page(mesh, hasty, empty_queue):
    slow = partly_shared_stream_bomb(words=200_000, pages=2)
    job = await hasty.submit(slow, "slow.pdf", document_id="doc")
    await until(lambda: parsers() == 1)
    watching = asyncio.create_task(hasty.watch(job.id))
    async with asyncio.timeout(SOON_S):
        assert (await hasty.cancel(job.id)).state == pb.JOB_STATE_CANCELLED
        assert (await watching)[-1].job.state == pb.JOB_STATE_CANCELLED
        await until(lambda: parsers() == 0)
    assert mesh.embedder.calls == 0
    await nothing_is_left(mesh, empty_queue)


def parsers() -> int:
    """How many children read documents now."""
    servers = [child for child in psutil.Process().children() if "services.ingestor.readers" in arguments(child)]
    return sum(len(server.children()) for server in servers)


async def test_an_embedder_that_hangs_does_not_hold_up_the_end(mesh, hasty, empty_queue):
    job = await held_at("embedding", mesh, hasty)
    mesh.embedder.forgetting.clear()
    watching = asyncio.create_task(hasty.watch(job.id))
    async with asyncio.timeout(SOON_S):
        assert (await hasty.cancel(job.id)).state == pb.JOB_STATE_CANCELLED
        assert (await watching)[-1].job.state == pb.JOB_STATE_CANCELLED
        await until(lambda: mesh.files == [])
    assert not await no_leftovers(empty_queue)
    assert mesh.embedder.forgotten == []
    mesh.embedder.forgetting.set()
    mesh.embedder.open.set()
    await until(lambda: "doc" in mesh.embedder.forgotten)
    await nothing_is_left(mesh, empty_queue)


async def test_vectors_are_forgotten_although_the_process_ends_before(mesh, empty_queue):
    mesh.embedder.forgetting.clear()
    async with mesh.ingestor(**FAST_LEASE) as client:
        job = await held_at("embedding", mesh, client)
        await client.cancel(job.id)
    mesh.embedder.forgetting.set()
    async with mesh.ingestor(**FAST_LEASE):
        await until(lambda: "doc" in mesh.embedder.forgotten)
        await nothing_is_left(mesh, empty_queue)


async def test_with_an_index_that_hangs_the_job_stops_soon_and_is_cancelled_later(mesh, empty_queue):
    async with mesh.ingestor(concurrency=1, spare=0, **FAST_LEASE) as client:
        job = await held_at("embedding", mesh, client)
        mesh.retriever.revoking.clear()
        async with asyncio.timeout(SOON_S):
            assert await refusal(client.cancel(job.id)) == (grpc.StatusCode.UNAVAILABLE, "CANCEL_PENDING")
        calls = mesh.embedder.calls
        mesh.embedder.open.set()
        mesh.retriever.revoking.set()
        assert (await client.watch(job.id))[-1].job.state == pb.JOB_STATE_CANCELLED
        assert mesh.embedder.calls == calls
        await nothing_is_left(mesh, empty_queue)


async def test_a_job_that_no_worker_began_is_cancelled_without_any_neighbour(mesh, empty_queue):
    mesh.embedder.open.clear()
    async with mesh.ingestor(concurrency=1, spare=0) as client:
        await client.submit(TEXT, "a.txt")
        await until(lambda: mesh.embedder.calls)
        mesh.retriever.revoking.clear()
        mesh.embedder.forgetting.clear()
        job = await client.submit(b"Another text.", "b.txt", document_id="doc")
        async with asyncio.timeout(SOON_S):
            assert (await client.cancel(job.id)).state == pb.JOB_STATE_CANCELLED
        assert job.id not in [path.name for path in mesh.files]
        assert await no_leftovers(empty_queue)
        mesh.retriever.revoking.set()


async def test_the_worker_is_free_for_others_although_the_index_and_the_embedder_hang(mesh, empty_queue):
    # The lease runs out while the index is waited for, so the job is always the next in turn unless it is put off.
    async with mesh.ingestor(concurrency=1, spare=0, lease_ms=500, heartbeat_ms=100) as client:
        job = await held_at("committing", mesh, client)
        mesh.retriever.revoking.clear()
        mesh.embedder.forgetting.clear()
        assert await refusal(client.cancel(job.id)) == (grpc.StatusCode.UNAVAILABLE, "CANCEL_PENDING")
        other = await client.submit(TEXT, "b.txt")
        await until(lambda: mesh.running(other, client), SOON_S)
        mesh.retriever.revoking.set()
        mesh.retriever.committing.set()
        mesh.embedder.forgetting.set()
        assert (await client.watch(other.id))[-1].job.state == pb.JOB_STATE_READY
        assert (await client.watch(job.id))[-1].job.state == pb.JOB_STATE_CANCELLED
        assert [version.header.document_id for version in mesh.retriever.versions] == [other.document_id]
