"""What is left of a document's jobs when it was deleted: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from rag.runtime.errors import Internal
from rag.v1 import ingestor_pb2 as pb
from tests.ingestor.refusals import refusal
from tests.waiting import until

TEXT = b"The canary in hall one is checked every week."


@asynccontextmanager
async def watched(client, jobs: list[pb.Job]) -> AsyncIterator[list[int]]:
    """Watchers that see each job's first event before the block runs; gives the last states they saw after it."""
    states: list[int] = []
    calls = [aiter(client.follow(job.id)) for job in jobs]
    events = [[await anext(call)] for call in calls]
    yield states
    for call, seen in zip(calls, events, strict=True):
        seen += [event async for event in call]
        states.append(seen[-1].job.state)
        assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))


async def job_in(state: str, mesh, client) -> pb.Job:
    if state in {"queued", "running"}:
        mesh.embedder.open.clear()
    if state == "queued":  # behind another document's job
        await client.submit(b"Keeps the worker busy.", "busy.txt", document_id="busy")
    if state == "dead":
        mesh.retriever.failures += [Internal("The index broke.", "INDEX_BROKEN")] * 3
    content = b" \n " if state == "failed" else TEXT
    job = await client.submit(content, "canary.txt", document_id="doc", request_id="r", password="canary")
    if state == "queued":
        return job
    if state in {"running", "cancelled"}:
        await until(lambda: mesh.running(job, client))
    if state == "cancelled":
        await client.cancel(job.id)
    elif state != "running":
        await client.watch(job.id)
    return job


@pytest.mark.parametrize("state", ["queued", "running", "ready", "failed", "dead", "cancelled"])
async def test_a_job_is_erased_in_every_state(mesh, empty_queue, state):
    async with mesh.ingestor(concurrency=1, spare=0) as client:
        job = await job_in(state, mesh, client)
        assert (await client.get(job.id)).state == pb.JobState.Value(f"JOB_STATE_{state.upper()}")
        async with watched(client, [job]) as last_states:
            assert await client.erase("doc") == 1
        ended = state in {"ready", "failed", "dead"}
        assert last_states == [pb.JobState.Value(f"JOB_STATE_{state.upper()}") if ended else pb.JOB_STATE_CANCELLED]
        assert await refusal(client.get(job.id)) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
        assert job.id not in [listed.id for listed in await client.jobs()]
        assert "doc" in mesh.embedder.forgotten
        assert job.id not in [path.name for path in mesh.files]
        for name in await empty_queue.keys("*"):
            assert job.id.encode() not in name
            assert b"canary" not in await empty_queue.dump(name)
        assert await client.erase("doc") == 0
        mesh.embedder.open.set()
        again = await client.index(TEXT, "canary.txt", document_id="doc", request_id="r")
        assert again.state == pb.JOB_STATE_READY
        assert again.id != job.id


async def test_later_uploads_and_other_documents_stay(mesh, client, empty_queue):
    first = await client.index(TEXT, "a.txt", document_id="doc")
    until_us = int(await empty_queue.zscore(f"rag:{mesh.tenant}:jobs", first.id))
    later = await client.index(b"A later text.", "a.txt", document_id="doc")
    other = await client.index(TEXT, "a.txt", document_id="other")
    assert await client.erase("doc", until_us) == 1
    assert [job.id for job in await client.jobs()] == [other.id, later.id]


async def test_jobs_that_wait_for_their_turn_are_erased_too(mesh, client, empty_queue):
    mesh.embedder.open.clear()
    jobs = [await client.submit(f"Text {n}".encode(), "a.txt", document_id="doc") for n in range(4)]
    async with watched(client, jobs) as last_states:
        assert await client.erase("doc") == 4
    assert last_states == [pb.JOB_STATE_CANCELLED] * 4
    mesh.embedder.open.set()
    assert (await client.index(TEXT, "a.txt", document_id="doc")).state == pb.JOB_STATE_READY
    assert len(mesh.retriever.versions) == 1
    assert await empty_queue.keys("rag:*:turn*") == []


async def test_what_cannot_be_erased_yet_is_erased_the_next_time(mesh, client):
    job = await client.index(TEXT, "a.txt", document_id="doc")
    mesh.embedder.away = True
    code, _ = await refusal(client.erase("doc"))
    assert code == grpc.StatusCode.UNAVAILABLE
    mesh.embedder.away = False
    await client.erase("doc")
    assert mesh.embedder.forgotten == ["doc"]
    assert await refusal(client.get(job.id)) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
