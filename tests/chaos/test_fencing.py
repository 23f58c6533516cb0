"""A worker that sleeps for longer than its lease wakes up too late: another one did its job, and nothing that it does counts."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.ids import new_id
from rag.v1 import ingestor_pb2 as pb
from tests.chaos.client import Client, client_of, persistently, suppress_passing
from tests.chaos.mesh import SMALL_BATCHES, Mesh, embedded_by, running_mesh
from tests.doubles.fixtures import ModelServer
from tests.waiting import until

POINTS = ("job_taken", "batch_embedded", "batch_indexed", "version_committing", "version_committed")
"""Before anything was done, before the first batch, after it, right before the commit and right after it."""
PARAGRAPHS = 24
LEASE_MS = 1_000


@pytest.fixture(scope="module")
def mesh(model_server: ModelServer) -> Iterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        settings = {
            **embedded_by(model_server),
            "INGESTOR_LEASE_MS": str(LEASE_MS),
            **SMALL_BATCHES,
        }
        with running_mesh(Path(folder), **settings) as mesh:
            yield mesh


def paragraphs(nonce: str) -> list[str]:
    return [
        f"Paragraph {number} of {nonce} tells about the lighthouse, its keeper, the number {number * 7919}, and the ships that pass."
        for number in range(PARAGRAPHS)
    ]


async def everything_is_there_once(client: Client, nonce: str) -> None:
    passages = await client.passages("doc")
    assert [ordinal for _, ordinal, _ in passages] == list(range(len(passages)))
    text = "\n".join(text for _, _, text in passages)
    assert [text.count(paragraph) for paragraph in paragraphs(nonce)] == [1] * PARAGRAPHS
    shown = await persistently(lambda: client.search(nonce))
    assert sorted(ordinal for _, _, ordinal, _ in shown) == [ordinal for _, ordinal, _ in passages]


async def is_given_up(mesh: Mesh, job_id: str, worker: str = "ingestor") -> None:
    """Wait until the worker that woke up says that the job is no longer its own."""
    await until(
        lambda: any("lease_lost" in line and job_id in line for line in mesh.log(worker).read_text().splitlines())
    )


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_that_slept_over_its_lease_writes_nothing_more(mesh, model_server, point):
    nonce = f"n{secrets.randbelow(10**9)}"
    content = "\n\n".join(paragraphs(nonce)).encode()
    mesh.kill("ingestor")
    mesh.start("ingestor", failpoint=f"{point}:1:stop")
    async with client_of(mesh, new_id("tenant")) as client:
        with suppress_passing():  # it may be stopped before it answers
            await client.submit_once(content, "doc", "request")
    mesh.wait_stopped("ingestor")
    mesh.start("ingestor_2", service="ingestor")
    try:
        async with client_of(mesh, client.tenant, "ingestor_2") as client:
            job = await client.submit(content, "doc", "request")
            ended = await client.ended(job.id)
            assert (ended.state, ended.attempts, ended.unchanged) == (pb.JOB_STATE_READY, 2, False)
            document = await client.document("doc")
            assert ended.document_version == document.version
            await everything_is_there_once(client, nonce)

            mesh.resume("ingestor")
            await is_given_up(mesh, job.id)
            assert await client.job(job.id) == ended
            assert await client.document("doc") == document
            await everything_is_there_once(client, nonce)
            await nothing_is_left_of_the_work(mesh, client)
            counts = {text: count for text, count in model_server.counts().items() if nonce in text}
            assert set(counts.values()) == {1}
    finally:
        mesh.kill("ingestor_2")
    await it_works_again(mesh)


async def nothing_is_left_of_the_work(mesh: Mesh, client: Client) -> None:
    def uploads() -> list[Path]:
        return [path for path in (mesh.folder / "blobs").rglob("*") if path.is_file() and client.tenant in str(path)]

    await until(lambda: not uploads())


async def it_works_again(mesh: Mesh) -> None:
    """The worker that woke up takes the next job."""
    async with client_of(mesh, new_id("tenant")) as client:
        job = await client.submit(b"The ships come home by night.", "doc", "request")
        ended = await client.ended(job.id)
        assert (ended.state, ended.attempts) == (pb.JOB_STATE_READY, 1)


async def test_a_worker_that_slept_cannot_commit_before_the_one_that_follows_it(mesh, model_server):
    nonce = f"n{secrets.randbelow(10**9)}"
    mesh.kill("ingestor")
    mesh.start("ingestor", failpoint="version_committing:1:stop")
    async with client_of(mesh, new_id("tenant")) as client:
        job = await client.submit("\n\n".join(paragraphs(nonce)).encode(), "doc", "request")
        mesh.wait_stopped("ingestor")
        mesh.start("ingestor_2", service="ingestor", failpoint="version_committing:1:stop")
        try:
            mesh.wait_stopped("ingestor_2")
            assert await client.passages("doc") == []
            mesh.resume("ingestor")
            # Its first commit is refused; then the other one's lease runs out too, and it does the work anew.
            ended = await client.ended(job.id)
            assert (ended.state, ended.attempts, ended.document_version) == (pb.JOB_STATE_READY, 3, 3)
            await is_given_up(mesh, job.id)
            mesh.resume("ingestor_2")
            await is_given_up(mesh, job.id, "ingestor_2")
            assert await client.job(job.id) == ended
            assert (await client.document("doc")).version == 3
            await everything_is_there_once(client, nonce)
        finally:
            mesh.kill("ingestor_2")


async def test_two_workers_share_jobs_and_none_is_done_twice(mesh, model_server):
    names = [f"doc_{number}" for number in range(12)]
    nonce = f"n{secrets.randbelow(10**9)}"
    model_server.script(path="embeddings", first_delay_ms=200, times=None)
    mesh.start("ingestor_2", service="ingestor")
    try:
        async with client_of(mesh, new_id("tenant")) as client:
            contents = {name: "\n\n".join(paragraphs(f"{nonce}{name}")).encode() for name in names}
            jobs = [await client.submit(content, name, name) for name, content in contents.items()]
            ended = [await client.ended(job.id) for job in jobs]
            assert {(job.state, job.attempts, job.document_version) for job in ended} == {(pb.JOB_STATE_READY, 1, 1)}
            done = [ended_by(mesh, worker, jobs) for worker in ("ingestor", "ingestor_2")]
            assert all(done)
            assert sum(done) == len(jobs)
        counts = {text: count for text, count in model_server.counts().items() if nonce in text}
        assert set(counts.values()) == {1}
    finally:
        mesh.kill("ingestor_2")


def ended_by(mesh: Mesh, worker: str, jobs: list[pb.Job]) -> int:
    """How many of the jobs a worker says it ended."""
    lines = [line for line in mesh.log(worker).read_text().splitlines() if "job_ended" in line]
    return sum(any(job.id in line for line in lines) for job in jobs)
