"""The jobs of one document run one after another, in the order in which they were accepted; and leases that get lost."""

from __future__ import annotations

import asyncio

import pytest

from rag.ids import new_id
from rag.v1 import ingestor_pb2 as pb
from services.ingestor.adapters.redis_control import RedisControl
from services.ingestor.adapters.redis_jobs import RedisJobs
from services.ingestor.adapters.redis_queue import RedisQueue
from services.ingestor.adapters.redis_records import GROUP, QUEUE, UNFINISHED
from services.ingestor.jobs import Job, JobError, JobState, LeaseLostError, Upload
from tests.ingestor.pdfs import pdf
from tests.waiting import until


@pytest.fixture
def control(empty_queue, rules):
    return RedisControl(empty_queue, rules.lease_ms)


async def added(jobs: RedisJobs, tenant: str, document_id: str = "doc") -> str:
    upload = Upload(tenant, new_id("job"), document_id, "a.txt", "", "text/plain", "hash", 3)
    await jobs.add(upload, Job(upload.job_id, document_id, "a.txt", 3, 1.5, 1.5), None)
    return upload.job_id


async def taken(queue: RedisQueue):
    while (lease := await queue.take()) is None:
        pass
    return lease


async def test_jobs_of_a_document_are_taken_one_after_another(jobs, queues, tenant, empty_queue):
    ids = [await added(jobs, tenant) for _ in range(3)]
    other = await added(jobs, tenant, "other")
    first = await taken(queues[0])
    aside = await taken(queues[0])
    assert (first.upload.job_id, aside.upload.job_id) == (ids[0], other)
    assert await queues[0].take() is None
    await queues[0].renew(first)
    await queues[0].write(first, first.job.failed(JobError("WHY", "Why."), 2.0))
    second = await taken(queues[0])
    assert second.upload.job_id == ids[1]
    assert second.upload.accepted_us > first.upload.accepted_us
    await queues[0].release(second, second.job)
    again = await taken(queues[0])
    assert again.upload.job_id == ids[1]
    await queues[0].write(again, again.job.ready(1, 2.0))
    third = await taken(queues[0])
    assert third.upload.job_id == ids[2]
    await queues[0].write(third, third.job.ready(2, 2.0))
    assert await empty_queue.zcard(UNFINISHED) == 1
    left = {f"rag:{tenant}:turn:other".encode(), f"rag:{tenant}:turns:other".encode()}
    assert set(await empty_queue.keys("rag:*:turn*")) == left


async def test_a_worker_that_dies_between_entry_and_lease_strands_nothing(jobs, queues, tenant, empty_queue):
    assert await queues[0].take() is None
    assert await queues[0].take() is None  # the group exists by now
    job_id = await added(jobs, tenant)
    await empty_queue.xreadgroup(GROUP, "dead", {QUEUE: ">"})
    lease = await taken(queues[1])
    assert (lease.upload.job_id, lease.attempts) == (job_id, 1)


async def test_a_worker_that_slept_between_entry_and_lease_does_not_take_the_job_back(jobs, queues, tenant):
    await added(jobs, tenant)
    lease = await taken(queues[0])
    later = await taken(queues[1])
    entry, tenant_, job_id = (part.encode() for part in (lease.entry, tenant, lease.upload.job_id))
    assert await queues[0]._lease(entry, tenant_, job_id) is None
    await queues[1].renew(later)


async def test_a_job_taken_over_is_its_callers_alone_until_its_lease_is_over(jobs, queues, control, tenant):
    job_id = await added(jobs, tenant)
    lease = await taken(queues[0])
    await queues[0].write(lease, lease.job.running(1, 2.0))
    over = await control.take_over(tenant, job_id)
    assert over.begun
    with pytest.raises(LeaseLostError):
        await queues[0].renew(lease)
    following = await taken(queues[1])
    assert (following.cancelling, following.attempts, following.exhausted) == (True, 1, False)
    with pytest.raises(LeaseLostError):
        await queues[0].write(over, over.job.cancelled(3.0))
    await queues[1].write(following, following.job.cancelled(3.0))
    assert (await control.take_over(tenant, job_id)).job.state == JobState.CANCELLED


async def test_a_job_that_waits_for_its_turn_is_called_off_by_a_worker_when_its_caller_dies(
    jobs, queues, control, tenant
):
    first, second, third = [await added(jobs, tenant) for _ in range(3)]
    lease = await taken(queues[0])
    over = await control.take_over(tenant, second)
    assert not over.begun

    async def renewed() -> None:
        while True:
            await queues[0].renew(lease)
            await asyncio.sleep(0.05)

    holding = asyncio.create_task(renewed())
    following = await taken(queues[1])
    assert (following.upload.job_id, following.cancelling, following.begun) == (second, True, False)
    await queues[1].write(following, following.job.cancelled(3.0))
    holding.cancel()
    await queues[0].write(lease, lease.job.ready(1, 3.0))
    assert (await taken(queues[0])).upload.job_id == third
    assert first == lease.upload.job_id


async def test_versions_of_a_document_become_live_in_the_order_of_their_uploads(mesh):
    async with mesh.ingestor(concurrency=2) as one, mesh.ingestor(concurrency=2) as two:
        sent = []
        for number in range(6):
            content = pdf(pages=12 - 2 * number) if number < 5 else b"The last text."
            sent.append(await (one, two)[number % 2].submit(content, f"{number}", document_id="doc"))
        ended = [(await one.watch(job.id))[-1].job for job in sent]
    assert [job.state for job in ended] == [pb.JOB_STATE_READY] * 6
    assert [job.document_version for job in ended] == [1, 2, 3, 4, 5, 6]
    assert [version.header.name for version in mesh.retriever.versions] == [f"{number}" for number in range(6)]


async def test_a_worker_that_lost_its_lease_while_its_pipeline_was_held_commits_nothing(mesh, empty_queue):
    mesh.retriever.committing.clear()
    # The first one's heartbeat comes too late: to the others it looks like a process that was stopped for a while.
    async with mesh.ingestor(lease_ms=1_000, heartbeat_ms=500, concurrency=1, spare=0) as slow:
        job = await slow.submit(b"The pump is checked every week.", "a.txt", document_id="doc")
        await until(lambda: mesh.retriever.commits == 1)
        key = f"rag:{mesh.tenant}:job:{job.id}"
        fence = int(await empty_queue.hget(key, "fence"))
        # Another worker has taken the job up, and has opened a version of its own.
        await empty_queue.hincrby(key, "fence", 1)
        mesh.retriever.fences["doc", mesh.retriever.opened[0].accepted_us] = fence + 1
        mesh.retriever.committing.set()
        await until(lambda: mesh.retriever.refused == ["STALE_WRITER"])
        ended = (await slow.watch(job.id))[-1].job
    assert (ended.state, ended.attempts) == (pb.JOB_STATE_READY, 2)
    assert [version.header.fence for version in mesh.retriever.versions] == [fence + 2]


async def test_the_same_content_again_changes_nothing(mesh, client):
    first = await client.index(b"The pump.", "a.txt", document_id="doc")
    again = await client.index(b"The pump.", "a.txt", document_id="doc")
    assert (first.unchanged, again.unchanged) == (False, True)
    assert again.document_version == first.document_version
    assert len(mesh.retriever.versions) == mesh.retriever.streams == mesh.embedder.calls == 1
    renamed = await client.index(b"The pump.", "b.txt", document_id="doc")
    assert (renamed.unchanged, renamed.document_version) == (False, 2)


async def test_the_dead_letter_says_what_the_last_trouble_was(jobs, queues, tenant, mesh, empty_queue):
    job_id = await added(jobs, mesh.tenant)
    lease = await taken(queues[0])
    running = lease.job.running(1, 2.0).troubled(JobError("INDEX_AWAY", "The index is away."), 2.0)
    await queues[0].write(lease, running)
    await taken(queues[1])
    await taken(queues[0])
    async with mesh.ingestor(lease_ms=300, heartbeat_ms=100) as client:
        ended = (await client.watch(job_id))[-1].job
    assert (ended.state, ended.attempts, ended.error.reason) == (pb.JOB_STATE_DEAD, 3, "ATTEMPTS_EXHAUSTED")
    assert "INDEX_AWAY, The index is away." in ended.error.message
