"""What crashes leave behind is found and repaired: uploads without jobs, drafts, jobs that nothing leads to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rag.v1 import ingestor_pb2 as pb
from services.ingestor.adapters.fsspec_blobs import FsspecBlobs
from services.ingestor.adapters.redis_ledger import RedisLedger
from services.ingestor.adapters.redis_records import QUEUE
from services.ingestor.reconciling import Found, Reconciler
from tests.waiting import until

OLD_S = 100_000


def reconciler(mesh, redis) -> Reconciler:
    return Reconciler(
        FsspecBlobs(str(mesh.data_dir / "blobs"), mesh.data_dir / "drafts"), RedisLedger(redis), 60, 3_600
    )


def put(path: Path, age_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left over")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


async def test_an_old_upload_without_a_job_is_removed_and_a_young_one_is_not(mesh, redis):
    old = put(mesh.data_dir / "blobs" / mesh.tenant / "job_old", OLD_S)
    young = put(mesh.data_dir / "blobs" / mesh.tenant / "job_young", 0)
    assert await reconciler(mesh, redis).sweep() == Found(uploads_without_job=1)
    assert (old.exists(), young.exists()) == (False, True)


async def test_the_upload_of_a_finished_job_is_removed_and_that_of_a_failed_one_is_kept(mesh, redis):
    async with mesh.ingestor() as client:
        ready = await client.index(b"A text that becomes searchable.", "good.txt")
        failed = await client.index(b"  \n ", "blank.txt")
    left = put(mesh.data_dir / "blobs" / mesh.tenant / ready.id, 0)
    kept = mesh.data_dir / "blobs" / mesh.tenant / failed.id
    assert await reconciler(mesh, redis).sweep() == Found(uploads_of_ended_jobs=1)
    assert (left.exists(), kept.exists()) == (False, True)


async def test_the_draft_of_an_upload_that_broke_off_long_ago_is_removed(mesh, redis):
    stale = put(mesh.data_dir / "blobs" / ".drafts" / "tmp1", OLD_S)
    fresh = put(mesh.data_dir / "blobs" / ".drafts" / "tmp2", 0)
    assert await reconciler(mesh, redis).sweep() == Found(stale_drafts=1)
    assert (stale.exists(), fresh.exists()) == (False, True)


async def test_jobs_whose_queue_was_lost_are_queued_again_and_finished_in_order(mesh, redis):
    mesh.embedder.open.clear()
    async with mesh.ingestor(concurrency=1, lease_ms=1_000, heartbeat_ms=200) as client:
        await client.submit(b"This one holds the only worker.", "holder.txt")
        await until(lambda: mesh.embedder.calls)
        jobs = [await client.submit(f"Version {n} of a text.".encode(), "v.txt", document_id="doc") for n in range(2)]
    await redis.delete(QUEUE)
    found = await reconciler(mesh, redis).sweep()
    assert found.jobs_without_entry == 2  # the one that works, and the first of the document; the second waits its turn
    assert await reconciler(mesh, redis).sweep() == Found()
    mesh.embedder.open.set()
    async with mesh.ingestor() as client:
        ended = [(await client.watch(job.id))[-1].job for job in jobs]
    assert [job.state for job in ended] == [pb.JOB_STATE_READY] * 2
    assert mesh.retriever.versions[-1].passages[0].text == "Version 1 of a text."


async def test_a_service_sweeps_when_it_starts(mesh):
    old = put(mesh.data_dir / "blobs" / mesh.tenant / "job_old", OLD_S)
    async with mesh.ingestor():
        await until(lambda: not old.exists())


@pytest.mark.parametrize("name", ["not-a-job", "a/b/c"])
async def test_other_files_in_the_store_are_left_alone(mesh, redis, name):
    other = put(mesh.data_dir / "blobs" / name, OLD_S)
    assert await reconciler(mesh, redis).sweep() == Found()
    assert other.exists()
