"""A real ingestor process that is killed in the middle of a job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rag.runtime.settings import child_environment
from rag.v1 import ingestor_pb2 as pb
from tests.ingestor.pdfs import pdf
from tests.waiting import until

FAST_LEASE = {"lease_ms": 1_000, "heartbeat_ms": 200}


@contextmanager
def ingestor_process(mesh) -> Iterator[subprocess.Popen]:
    environment = child_environment(
        RAG_DATA_DIR=str(mesh.data_dir),
        REDIS_URL=mesh.redis_url,
        EMBEDDER_ADDRESS=mesh.embedder_address,
        RETRIEVER_ADDRESS=mesh.retriever_address,
        INGESTOR_PORT="0",
        INGESTOR_METRICS_PORT="0",
        **{f"INGESTOR_{name}".upper(): str(value) for name, value in FAST_LEASE.items()},
    )
    process = subprocess.Popen([sys.executable, "-m", "services.ingestor"], env=environment, stderr=subprocess.DEVNULL)
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
        await until(lambda: mesh.embedder.calls == 1)
        job = await client.submit(pdf(pages=2), "second.pdf")
        with ingestor_process(mesh):
            await until(lambda: mesh.embedder.calls == 2)
        mesh.embedder.open.set()
        ended = (await client.watch(job.id))[-1].job
        first = (await client.watch(blocker.id))[-1].job
    assert (ended.state, ended.attempts) == (pb.JOB_STATE_READY, 2)
    assert (first.state, first.attempts) == (pb.JOB_STATE_READY, 1)
    names = sorted(version.header.name for version in mesh.retriever.versions)
    assert names == ["first.txt", "second.pdf"]
