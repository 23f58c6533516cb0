"""A real ingestor process that is killed in the middle of a job."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import grpc
import pytest

from rag.cli.own_services import free_ports
from rag.runtime.settings import child_environment
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from services.ingestor.adapters.redis_control import RedisControl
from tests.ingestor.conftest import Client
from tests.ingestor.pdfs import pdf
from tests.ingestor.refusals import refusal
from tests.waiting import until
from tests.warm import WarmProcess

TEXT = b"The pump in hall one is checked every week."
FAST_LEASE = {"lease_ms": 1_000, "heartbeat_ms": 200}


@contextmanager
def ingestor_process(mesh, port: int = 0, failpoint: str = "") -> Iterator[WarmProcess]:
    environment = child_environment(
        RAG_DATA_DIR=str(mesh.data_dir),
        REDIS_URL=mesh.redis_url,
        EMBEDDER_ADDRESS=mesh.embedder_address,
        RETRIEVER_ADDRESS=mesh.retriever_address,
        RAG_FAILPOINT=failpoint,
        INGESTOR_PORT=str(port),
        INGESTOR_METRICS_PORT="0",
        **{f"INGESTOR_{name}".upper(): str(value) for name, value in FAST_LEASE.items()},
    )
    process = WarmProcess("ingestor", environment, mesh.data_dir.with_suffix(".log"))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_job_of_a_killed_process_is_finished_by_another(mesh):
    mesh.embedder.open.clear()
    # This one only takes uploads: its worker's slot waits for the embedder with a first document.
    async with mesh.ingestor(concurrency=1, **FAST_LEASE) as client:
        blocker = await client.submit(b"The first document keeps the worker busy.", "first.txt")
        await until(lambda: mesh.embedder.calls >= 1)
        job = await client.submit(pdf(pages=2), "second.pdf")
        with ingestor_process(mesh):
            await until(lambda: mesh.embedder.calls >= 2)
        mesh.embedder.open.set()
        ended = (await client.watch(job.id))[-1].job
        first = (await client.watch(blocker.id))[-1].job
    assert (ended.state, ended.attempts) == (pb.JOB_STATE_READY, 2)
    assert (first.state, first.attempts) == (pb.JOB_STATE_READY, 1)
    names = sorted(version.header.name for version in mesh.retriever.versions)
    assert names == ["first.txt", "second.pdf"]


@asynccontextmanager
async def killed_at(mesh, failpoint: str) -> AsyncIterator[Client]:
    """A client of a process that dies at a failpoint."""
    (port,) = free_ports(1)
    with ingestor_process(mesh, port, f"{failpoint}:1") as process:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.channel_ready()
            yield Client(IngestorServiceStub(channel), mesh.tenant)
            await until(lambda: process.poll() is not None)
    assert process.poll() == -signal.SIGKILL


@pytest.mark.parametrize("failpoint", ["blob_synced", "blob_committed", "job_enqueuing", "job_enqueued"])
async def test_an_upload_whose_server_dies_is_sent_again_and_is_one_job(mesh, failpoint):
    async with killed_at(mesh, failpoint) as client:
        assert (await refusal(client.submit(TEXT, "a.txt", request_id="r")))[0] == grpc.StatusCode.UNAVAILABLE
    async with mesh.ingestor(**FAST_LEASE) as client:
        job = await client.submit(TEXT, "a.txt", request_id="r")
        assert (await client.watch(job.id))[-1].job.state == pb.JOB_STATE_READY
        assert [listed.id for listed in await client.jobs()] == [job.id]
    assert len(mesh.retriever.versions) == 1


@pytest.mark.parametrize("failpoint", ["job_taken", "version_committed", "job_ended"])
async def test_a_job_whose_worker_dies_is_done_once(mesh, failpoint):
    async with killed_at(mesh, failpoint) as client:
        with suppress(grpc.aio.AioRpcError):  # a worker is sometimes faster than the answer
            await client.submit(TEXT, "a.txt", request_id="r")
    async with mesh.ingestor(**FAST_LEASE) as client:
        job = await client.submit(TEXT, "a.txt", request_id="r")
        ended = (await client.watch(job.id))[-1].job
    assert (ended.state, ended.document_version, ended.unchanged) == (pb.JOB_STATE_READY, 1, False)
    assert ended.progress.passages == 1
    assert len(mesh.retriever.versions) == mesh.embedder.calls == 1


async def test_jobs_whose_eraser_dies_are_erased_the_next_time(mesh, empty_queue):
    mesh.embedder.open.clear()
    async with killed_at(mesh, "jobs_erased") as client:
        job = await client.submit(TEXT, "a.txt", document_id="doc")
        assert (await refusal(client.erase("doc")))[0] == grpc.StatusCode.UNAVAILABLE
    async with mesh.ingestor(**FAST_LEASE) as client:
        assert await client.erase("doc") == 0
        assert await client.jobs() == []
    assert mesh.files == []
    assert not [name for name in await empty_queue.keys("*") if job.id.encode() in name]


async def test_a_job_whose_canceller_dies_is_cancelled_by_a_worker(mesh, empty_queue):
    mesh.embedder.open.clear()
    async with mesh.ingestor(**FAST_LEASE) as client:
        job = await client.submit(TEXT, "a.txt", document_id="doc")
        await until(lambda: mesh.embedder.calls == 1)
        # All that a canceller does before it dies.
        await RedisControl(empty_queue, 500).take_over(mesh.tenant, job.id)
        assert (await client.watch(job.id))[-1].job.state == pb.JOB_STATE_CANCELLED
        await until(lambda: mesh.files == [])
    assert mesh.retriever.revoked
    assert mesh.retriever.versions == []
