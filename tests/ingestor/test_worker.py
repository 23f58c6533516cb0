"""Jobs when workers die, pause or stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rag.ids import new_id
from rag.v1 import ingestor_pb2 as pb
from services.ingestor.adapters.redis_jobs import RedisJobs
from services.ingestor.adapters.redis_queue import RedisQueue
from services.ingestor.adapters.redis_records import GROUP, QUEUE, events_key
from services.ingestor.jobs import Job, JobError, JobState, LeaseLostError, Progress, Upload
from tests.ingestor.pdfs import pdf
from tests.waiting import until


async def added(jobs: RedisJobs, tenant: str) -> Upload:
    upload = Upload(tenant, new_id("job"), "doc", "a.txt", "", "text/plain", "hash", 3, {"year": 2024.0, "ok": True})
    job = Job(upload.job_id, "doc", "a.txt", 3, 1.5, 1.5)
    await jobs.add(upload, job, None)
    await jobs.add(upload, job, None)
    return upload


async def taken(queue: RedisQueue):
    while True:
        lease = await queue.take()
        if lease is not None:
            return lease


async def test_a_job_is_added_once_and_taken_whole(jobs, queues, tenant, empty_queue):
    upload = await added(jobs, tenant)
    assert await empty_queue.xlen(QUEUE) == 1
    lease = await taken(queues[0])
    assert replace(lease.upload, accepted_us=0) == upload
    assert lease.upload.accepted_us > 0
    assert (lease.attempts, lease.exhausted, lease.cancelling) == (1, False, False)
    assert lease.job.state == JobState.QUEUED
    assert await queues[1].take() is None


async def test_an_ended_job_leaves_the_queue_and_expires(jobs, queues, tenant, empty_queue):
    await added(jobs, tenant)
    lease = await taken(queues[0])
    await queues[0].write(lease, lease.job.running(1, 2.0))
    ended = lease.job.failed(JobError("WHY", "Why."), 3.0)
    await queues[0].write(lease, ended)
    await queues[0].write(lease, ended)
    assert await jobs.get(tenant, lease.job.id) == ended
    assert await empty_queue.xlen(QUEUE) == 0
    assert (await empty_queue.xpending(QUEUE, GROUP))["pending"] == 0
    assert await empty_queue.xlen(events_key(tenant, lease.job.id)) == 3
    assert await empty_queue.ttl(events_key(tenant, lease.job.id)) > 6 * 24 * 3600
    with pytest.raises(LeaseLostError):
        await queues[0].write(lease, ended.running(2, 4.0))


async def test_a_silent_workers_job_goes_to_another_and_the_first_can_no_longer_write(jobs, queues, tenant):
    await added(jobs, tenant)
    first = await taken(queues[0])
    second = await taken(queues[1])
    assert (second.upload, second.attempts) == (first.upload, 2)
    assert second.fence > first.fence
    for write in (
        queues[0].write(first, first.job.ready(1, 2.0)),
        queues[0].renew(first),
        queues[0].release(first, first.job.queued(2.0)),
    ):
        with pytest.raises(LeaseLostError):
            await write
    assert (await jobs.get(tenant, first.job.id)).state == JobState.QUEUED
    await queues[1].write(second, second.job.ready(7, 3.0))
    assert (await jobs.get(tenant, first.job.id)).document_version == 7


async def test_a_renewed_lease_is_kept(jobs, queues, tenant):
    await added(jobs, tenant)
    lease = await taken(queues[0])

    async def renew() -> None:
        while True:
            await queues[0].renew(lease)
            await asyncio.sleep(0.05)

    renewing = asyncio.create_task(renew())
    assert [await queues[1].take() for _ in range(8)] == [None] * 8
    renewing.cancel()
    assert (await taken(queues[1])).attempts == 2


async def test_a_released_job_is_taken_at_once_and_the_try_does_not_count(jobs, queues, tenant):
    await added(jobs, tenant)
    lease = await taken(queues[0])
    running = lease.job.running(lease.attempts, 2.0)
    await queues[0].write(lease, running)
    await queues[0].release(lease, running.queued(3.0))
    again = await queues[1].take()
    assert again is not None
    assert (again.attempts, again.job.state) == (1, JobState.QUEUED)


async def test_the_fourth_taking_up_is_told_to_give_up(jobs, queues, tenant):
    await added(jobs, tenant)
    leases = [await taken(queues[number % 2]) for number in range(4)]
    assert [(lease.attempts, lease.exhausted) for lease in leases] == [(1, False), (2, False), (3, False), (3, True)]


async def test_a_lost_queue_group_comes_back(jobs, queues, tenant, empty_queue):
    await queues[0].take()
    await empty_queue.flushall()
    await added(jobs, tenant)
    assert (await taken(queues[0])).attempts == 1


def test_progress_never_goes_back():
    job = Job("job", "doc", "a", 1, 0, 0).advanced(Progress(5, 10, 7, 3, 1, 6), 1)
    again = job.advanced(Progress(2, 10, 9, 0, 7, 0), 2)
    assert again.progress == Progress(5, 10, 9, 3, 7, 6)
    assert replace(again, state=JobState.RUNNING).queued(3).progress == again.progress


async def test_a_stopped_ingestor_gives_its_job_back_at_once(mesh):
    mesh.embedder.open.clear()
    async with mesh.ingestor() as first:
        job = await first.submit(pdf(pages=2), "a.pdf")
        await until(lambda: mesh.embedder.calls >= 1)
    mesh.embedder.open.set()
    async with mesh.ingestor() as second:
        events = await second.watch(job.id)
    states = [event.job.state for event in events]
    assert states.count(pb.JOB_STATE_QUEUED) == 2
    assert events[-1].job.state == pb.JOB_STATE_READY
    assert events[-1].job.attempts == 1
    assert len(mesh.retriever.versions) == 1
