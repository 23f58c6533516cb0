"""Jobs that are called off, at every stage and with others away."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from rag.v1 import ingestor_pb2 as pb
from services.ingestor.adapters.redis_records import GROUP, QUEUE, UNFINISHED
from tests.ingestor.pdfs import pdf
from tests.ingestor.refusals import refusal
from tests.waiting import until

TEXT = b"The pump in hall one is checked every week."
FAST_LEASE = {"lease_ms": 1_000, "heartbeat_ms": 100}


async def nothing_is_left(mesh, redis) -> None:
    await until(lambda: mesh.files == [])
    assert mesh.retriever.versions == []
    assert await redis.xlen(QUEUE) == 0
    assert (await redis.xpending(QUEUE, GROUP))["pending"] == 0
    assert await redis.zcard(UNFINISHED) == 0
    assert await redis.keys("rag:*:turn*") == []


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


@pytest.mark.parametrize("stage", ["reading", "embedding", "indexing", "committing"])
async def test_a_running_job_is_stopped_and_leaves_nothing(mesh, client, empty_queue, stage):
    job = await held_at(stage, mesh, client)
    watching = asyncio.create_task(client.watch(job.id))
    ended = await client.cancel(job.id)
    assert ended.state == pb.JOB_STATE_CANCELLED
    assert ended.finished_at.seconds
    assert (await watching)[-1].job == ended
    assert await client.cancel(job.id) == ended
    assert {document for document, _ in mesh.retriever.revoked} == {"doc"}
    # The worker notices at its next heartbeat and gives its place back; what it still asked for is dropped again.
    await until(lambda: mesh.embedder.forgotten == ["doc", "doc"])
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


async def test_many_cancels_at_once_all_say_the_same(mesh, client, empty_queue):
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
    mesh.embedder.open.set()
    await client.cancel(job.id)
    assert (await client.watch(following.id))[-1].job.state == pb.JOB_STATE_READY


async def test_the_vectors_of_a_document_that_is_live_are_kept(mesh, client):
    await client.index(TEXT, "a.txt", document_id="doc")
    mesh.embedder.open.clear()
    job = await client.submit(b"A second text.", "b.txt", document_id="doc")
    await until(lambda: mesh.embedder.calls == 2)
    assert (await client.cancel(job.id)).state == pb.JOB_STATE_CANCELLED
    assert mesh.embedder.forgotten == []
