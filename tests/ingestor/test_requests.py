"""Uploads with a request id, sent again and again; uploads that find the queue full."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import passage_pb2
from services.ingestor.adapters.fsspec_blobs import FsspecBlobs
from services.ingestor.adapters.redis_jobs import RedisJobs
from services.ingestor.adapters.redis_records import QUEUE
from services.ingestor.submission import Header, Submissions
from tests.ingestor.refusals import refusal
from tests.waiting import until

TEXT = b"The pump in hall one is checked every week."


async def test_fifty_uploads_at_once_with_one_request_id_are_one_job(mesh, empty_queue):
    mesh.embedder.open.clear()
    async with mesh.ingestor(max_concurrent_calls=100) as client:
        sent = (client.submit(TEXT, "a.txt", request_id="import 7/1") for _ in range(50))
        ids = {job.id for job in await asyncio.gather(*sent)}
        assert len(ids) == 1
        assert [job.id for job in await client.jobs()] == list(ids)
        assert await empty_queue.xlen(QUEUE) == 1
        assert [path.name for path in mesh.files] == list(ids)
        mesh.embedder.open.set()
        assert (await client.watch(ids.pop()))[-1].job.state == pb.JOB_STATE_READY
    assert len(mesh.retriever.versions) == 1


async def test_a_request_keeps_its_meaning_when_the_job_is_at_its_end(client, empty_queue):
    job = await client.index(TEXT, "a.txt", request_id="r")
    again = await client.submit(TEXT, "a.txt", request_id="r")
    assert (again.id, again.state) == (job.id, pb.JOB_STATE_READY)
    key = (await empty_queue.keys("rag:*:request:*"))[0]
    assert await empty_queue.ttl(key) >= 24 * 3600 - 60


async def test_a_request_outlives_a_short_memory_for_jobs(mesh, empty_queue):
    async with mesh.ingestor(job_keep_s=60) as client:
        kept = await client.index(TEXT, "a.txt", request_id="r")
        passing = await client.index(b"Another text.", "b.txt")
    lives = [await empty_queue.ttl(f"rag:{mesh.tenant}:job:{job.id}") for job in (kept, passing)]
    assert lives[0] >= 24 * 3600 - 60
    assert lives[1] <= 60


@pytest.mark.parametrize(
    ("content", "name", "header"),
    [
        (b"Other content.", "a.txt", {}),
        (TEXT, "b.txt", {}),
        (TEXT, "a.txt", {"title": "T"}),
        (TEXT, "a.txt", {"document_id": "doc"}),
        (TEXT, "a.txt", {"password": "p"}),
        (TEXT, "a.txt", {"metadata": {"year": passage_pb2.MetadataValue(number=2024)}}),
    ],
)
async def test_a_request_id_with_anything_else_is_refused(mesh, client, content, name, header):
    job = await client.index(TEXT, "a.txt", request_id="r")
    assert await refusal(client.submit(content, name, request_id="r", **header)) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert [listed.id for listed in await client.jobs()] == [job.id]
    await until(lambda: mesh.files == [])


async def test_request_ids_of_tenants_are_apart(mesh, client):
    first = await client.submit(TEXT, "a.txt", request_id="r")
    client.tenant = "another"
    assert (await client.submit(TEXT, "a.txt", request_id="r")).id != first.id


@pytest.mark.parametrize("request_id", ["a\nb", "x" * 256])
async def test_an_odd_request_id_is_refused(client, request_id):
    code, reason = await refusal(client.submit(TEXT, "a.txt", request_id=request_id))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST_ID")


async def test_a_full_queue_refuses_what_is_new_and_knows_what_it_took(mesh):
    mesh.embedder.open.clear()
    async with mesh.ingestor(max_queued=2) as client:
        first = await client.submit(TEXT, "a.txt", request_id="r")
        await client.submit(b"Another text.", "b.txt")
        full = await refusal(client.submit(b"A third text.", "c.txt"))
        assert full == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert (await client.submit(TEXT, "a.txt", request_id="r")).id == first.id
        assert len(mesh.files) == 2
        mesh.embedder.open.set()
        await client.watch(first.id)
        assert (await client.index(b"A third text.", "c.txt")).state == pb.JOB_STATE_READY


async def test_an_upload_stays_when_nobody_knows_whether_it_was_accepted(redis_url, empty_queue, tenant, tmp_path):
    class Lost(RedisJobs):
        async def add(self, upload, job, request):
            await super().add(upload, job, request)
            raise Unavailable("The answer was lost.", "QUEUE_UNAVAILABLE")

    async def chunks():
        yield TEXT

    async with open_redis(redis_url) as redis:
        blobs = FsspecBlobs(str(tmp_path), tmp_path)
        with pytest.raises(Unavailable):
            await Submissions(blobs, Lost(redis, require_aof=True), 1000).submit(tenant, Header("", "a.txt"), chunks())
        jobs, _ = await RedisJobs(redis, require_aof=True).page(tenant, 10, "")
    assert await blobs.exists(f"{tenant}/{jobs[0].id}")


async def test_a_password_is_kept_with_the_job_only_and_only_while_it_is_of_use(mesh, empty_queue):
    mesh.embedder.open.clear()
    async with mesh.ingestor() as client:
        job = await client.submit(TEXT, "a.txt", password="open sesame", request_id="r")
        key = f"rag:{mesh.tenant}:job:{job.id}"
        assert await empty_queue.hget(key, "password") == b"open sesame"
        mesh.embedder.open.set()
        await client.watch(job.id)
        assert not await empty_queue.hexists(key, "password")
    for name in await empty_queue.keys("*"):
        assert b"sesame" not in await empty_queue.dump(name)
