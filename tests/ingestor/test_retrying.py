"""Jobs that failed and come back."""

from __future__ import annotations

import grpc
import pytest

from rag.runtime.errors import Internal
from rag.v1 import ingestor_pb2 as pb
from tests.ingestor.pdfs import pdf
from tests.ingestor.refusals import refusal
from tests.waiting import until

TEXT = b"The pump in hall one is checked every week."


@pytest.fixture
async def dead(mesh, client) -> pb.Job:
    """A job that was given up."""
    mesh.retriever.failures += [Internal("The index broke.", "INDEX_BROKEN")] * 3
    job = await client.index(TEXT, "a.txt", document_id="doc")
    assert (job.state, job.error.reason) == (pb.JOB_STATE_DEAD, "INDEX_BROKEN")
    return job


async def test_a_dead_job_keeps_its_upload_and_comes_back(mesh, client, dead):
    assert [path.name for path in mesh.files] == [dead.id]
    seen = await client.watch(dead.id)
    queued = await client.retry(dead.id)
    assert (queued.id, queued.state, queued.attempts) == (dead.id, pb.JOB_STATE_QUEUED, 0)
    assert queued.error == dead.error
    assert not queued.HasField("finished_at")
    events = await client.watch(dead.id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[: len(seen)] == seen
    assert await client.watch(dead.id, seen[-1].sequence) == events[len(seen) :]
    done = events[-1].job
    assert (done.state, done.attempts, done.error.reason) == (pb.JOB_STATE_READY, 1, "")
    pages = [event.job.progress.passages for event in events]
    assert pages == sorted(pages)
    await until(lambda: mesh.files == [])
    assert mesh.retriever.versions[0].header.accepted_us < 2**53


async def test_a_password_opens_what_was_locked(mesh, client):
    job = await client.index(pdf(password="secret"), "locked.pdf")
    assert (job.state, job.error.reason) == (pb.JOB_STATE_FAILED, "PDF_ENCRYPTED")
    await client.retry(job.id, "secret")
    assert (await client.watch(job.id))[-1].job.state == pb.JOB_STATE_READY


async def test_only_failed_jobs_are_retried(mesh, client):
    done = await client.index(TEXT, "a.txt")
    mesh.embedder.open.clear()
    waiting = await client.submit(b"Another text.", "b.txt")
    for job in (done, waiting):
        assert await refusal(client.retry(job.id)) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_RETRYABLE")
    assert await refusal(client.retry("job_unknown")) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    mesh.embedder.open.set()


async def test_without_its_upload_a_job_cannot_be_retried(mesh, client, dead):
    mesh.files[0].unlink()
    assert await refusal(client.retry(dead.id)) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_MISSING")
    assert (await client.get(dead.id)).state == pb.JOB_STATE_DEAD


async def test_a_retried_job_does_not_undo_what_was_uploaded_after_it(mesh, client, dead):
    newer = await client.index(b"The newer text.", "a.txt", document_id="doc")
    assert newer.state == pb.JOB_STATE_READY
    await client.retry(dead.id)
    ended = (await client.watch(dead.id, 0))[-1].job
    assert (ended.state, ended.error.reason) == (pb.JOB_STATE_FAILED, "VERSION_SUPERSEDED")
    assert len(mesh.retriever.versions) == 1


async def test_jobs_are_listed_by_state(mesh, client, dead):
    ready = await client.index(b"Another text.", "b.txt")
    mesh.embedder.open.clear()
    running = await client.submit(b"A third text.", "c.txt")
    await until(lambda: mesh.running(running, client))
    by_state = {
        pb.JOB_STATE_DEAD: [dead.id],
        pb.JOB_STATE_READY: [ready.id],
        pb.JOB_STATE_RUNNING: [running.id],
        pb.JOB_STATE_QUEUED: [],
        pb.JOB_STATE_FAILED: [],
        pb.JOB_STATE_UNSPECIFIED: [running.id, ready.id, dead.id],
    }
    for state, ids in by_state.items():
        assert [job.id for job in await client.jobs(state=state)] == ids
    await client.cancel(running.id)
    assert [job.id for job in await client.jobs(state=pb.JOB_STATE_CANCELLED)] == [running.id]
    assert await client.jobs(state=pb.JOB_STATE_RUNNING) == []
    mesh.embedder.open.set()
    await client.retry(dead.id)
    await client.watch(dead.id)
    assert [job.id for job in await client.jobs(state=pb.JOB_STATE_READY)] == [ready.id, dead.id]
    assert await client.jobs(state=pb.JOB_STATE_DEAD) == []
    assert await refusal(client.jobs(state=77)) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_STATE")
