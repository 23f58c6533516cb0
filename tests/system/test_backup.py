"""A backup taken under load, restored elsewhere: all of one moment is there, whole, and unfinished work goes on."""

from __future__ import annotations

import asyncio
import random
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import redis as sync_redis

from rag.ids import new_id
from rag.runtime.settings import child_environment
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import retriever_pb2
from tests.chaos.client import Client, client_of
from tests.chaos.mesh import SMALL_BATCHES, Mesh, embedded_by, running_mesh
from tests.chaos.workload import Workload, text_of
from tests.doubles.fixtures import ModelServer
from tests.redis_server import running_redis
from tests.waiting import until

QUERIES = ("lighthouse", "light to the ships", "part 3 generation 1", "doc_2")
STILL = 4
QUEUED, PARTS = 5, 24
MOVING = 5
MARK = re.compile(r"(doc_\d+) generation (\d+) part \d+ of (\d+)")

Hit = tuple[str, int, str]


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class State:
    """What a Redis says: live documents with version and passages, and unfinished jobs, both by `tenant/id`."""

    documents: Mapping[str, tuple[int, int]]
    unfinished: frozenset[str]


def state_of(folder: Path) -> State:
    """Start only the Redis of a data folder, and look."""
    with running_redis(folder / "redis") as url, sync_redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.info("persistence")["aof_enabled"]
        assert not client.exists("rag:pause:removals")
        documents = {}
        for key in client.scan_iter("rag:*:document:*"):
            _, tenant, _, document_id = key.split(":")
            version, passages = client.hmget(key, "version", "passage_count")
            documents[f"{tenant}/{document_id}"] = (int(version), int(passages))
        return State(documents, frozenset(client.zrange("rag:ingest:unfinished", 0, -1)))


async def ragmesh(*words: str, **environment: str) -> tuple[int, str]:
    """Run the command; return its exit code and all that it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rag.cli", *words,
        env=child_environment(REDIS_URL="", **environment),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def answers(client: Client) -> dict[str, list[Hit]]:
    """The best ten by vectors, in their order, and all that a keyword search finds: its order depends on other tenants too."""
    found = {}
    for query in QUERIES:
        request = retriever_pb2.RetrieveRequest(query=query, top_k=10, mode=retriever_pb2.RETRIEVAL_MODE_DENSE)
        call = client.retriever.Retrieve(request, metadata=client.metadata, timeout=30)
        hits = [event.hit.passage async for event in call if event.HasField("hit")]
        found[query] = [(hit.document_id, hit.ordinal, hit.text) for hit in hits]
        found[f"words: {query}"] = sorted(hit[:1] + hit[2:] for hit in await client.search(query))
    return found


@asynccontextmanager
async def under_load(load: Workload) -> AsyncIterator[None]:
    """Keep users busy for the length of a block."""
    done = asyncio.Event()

    async def users(act) -> None:
        while not done.is_set():
            await act()

    tasks = [asyncio.create_task(users(act)) for act in (load.operate, load.operate, load.look, load.look)]
    try:
        yield
    finally:
        done.set()
        await asyncio.gather(*tasks)


async def prepared(client: Client) -> None:
    jobs = [await client.submit(text_of(f"doc_{n}", 1, 5), f"doc_{n}", f"doc_{n}") for n in range(STILL)]
    for job in jobs:
        assert (await client.ended(job.id)).state == pb.JOB_STATE_READY


async def backed_up(mesh: Mesh, target: Path) -> str:
    code, said = await ragmesh(
        "backup", str(target), RAG_DATA_DIR=str(mesh.folder), RETRIEVER_ADDRESS=mesh.address("retriever")
    )
    assert code == 0, said
    return said


async def test_a_backup_under_load_is_the_state_of_one_moment(short: Path, model_server: ModelServer) -> None:
    settings = {**embedded_by(model_server), **SMALL_BATCHES, "INGESTOR_CONCURRENCY": "1"}
    source, backup, target = short / "a", short / "backup", short / "b"
    still, moving, queued = new_id("still"), new_id("moving"), new_id("queued")
    source.mkdir()
    with running_mesh(source, **settings) as mesh:
        async with client_of(mesh, still) as quiet, client_of(mesh, moving) as busy, client_of(mesh, queued) as waiting:
            await prepared(quiet)
            before = await answers(quiet)
            load = Workload(busy, random.Random(7), MOVING)
            async with under_load(load):
                await until(lambda: load.operations > 10)
                jobs = [
                    await waiting.submit(text_of(f"doc_{n}", 1, PARTS), f"doc_{n}", f"doc_{n}") for n in range(QUEUED)
                ]
                await backed_up(mesh, backup)
                await until(lambda: load.operations > 30)
            await load.settle()
            assert not any(load.findings.counts().values()), load.findings
            await mesh_is_tidy(mesh, backup)

    code, said = await ragmesh("restore", str(backup), RAG_DATA_DIR=str(target))
    assert code == 0, said
    state = state_of(target)
    assert {f"{still}/doc_{n}" for n in range(STILL)} <= state.documents.keys()
    for n, job in enumerate(jobs):
        assert f"{queued}/doc_{n}" in state.documents or f"{queued}/{job.id}" in state.unfinished
    assert state.unfinished, "the backup was to be taken while jobs were waiting"

    with running_mesh(target, **settings) as mesh:
        async with client_of(mesh, still) as quiet, client_of(mesh, moving) as busy, client_of(mesh, queued) as waiting:
            assert await answers(quiet) == before
            clients = {still: quiet, moving: busy, queued: waiting}
            for name in sorted(state.unfinished):
                tenant, job_id = name.split("/")
                job = await end_of(clients[tenant], job_id)
                if job is None:
                    assert tenant == moving  # its document was deleted just before the backup's moment
                    continue
                assert job.state == pb.JOB_STATE_READY or job.error.reason == "VERSION_SUPERSEDED", job
            for n in range(QUEUED):
                assert len(await waiting.passages(f"doc_{n}")) == PARTS
            for name in state.documents:
                tenant, document_id = name.split("/")
                await is_whole(clients[tenant], document_id)
            await only_live_rows(mesh)
            for n in range(MOVING):  # numbers of versions that the index may know already are not given out again
                job = await busy.submit(text_of(f"doc_{n}", 1_000, 2), f"doc_{n}", f"again_{n}")
                assert (await busy.ended(job.id)).state == pb.JOB_STATE_READY
                assert await is_whole(busy, f"doc_{n}") == 2


async def end_of(client: Client, job_id: str) -> pb.Job | None:
    """The job at its end, None when it was erased."""
    try:
        return await client.ended(job_id)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None


async def is_whole(client: Client, document_id: str) -> int:
    """Make sure that listing and search show all of one generation of a document; return how many passages."""
    listed = [text for _, _, text in await client.passages(document_id)]
    found = [text for _, _, _, text in await client.search("lighthouse", document_id=document_id)]
    for texts in (listed, found):
        marks = [match.groups() for text in texts for match in MARK.finditer(text)]
        assert len({(name, generation) for name, generation, _ in marks}) == 1, marks
        assert {int(parts) for _, _, parts in marks} == {len(marks)}, marks
    assert sorted(listed) == sorted(found)
    return len(listed)


async def mesh_is_tidy(mesh: Mesh, backup: Path) -> None:
    """Nothing of a backup is left in the data folder, and removals go on."""
    assert not (mesh.folder / "redis" / "dump.rdb").exists()
    assert not list((mesh.folder / "snapshots").iterdir())
    assert not backup.with_name("backup.partial").exists()
    with sync_redis.Redis.from_url(mesh.redis_url) as client:
        assert not client.exists("rag:pause:removals")
        await until(lambda: not client.zcard("rag:erasures") and not client.zcard("rag:deletions"), 60)


async def only_live_rows(mesh: Mesh) -> None:
    """Rows of versions that were made after the backup's moment are erased at the start."""
    from pymilvus import AsyncMilvusClient

    address = next(part for part in mesh.engine().cmdline() if part.startswith("unix:"))
    client = AsyncMilvusClient(address, dedicated=True, timeout=5)
    with sync_redis.Redis.from_url(mesh.redis_url) as store:

        async def same() -> bool:
            [name] = await client.list_collections(timeout=5)
            rows = await client.query(name, filter="", output_fields=["count(*)"], timeout=5)
            counts = [int(store.hget(key, "passage_count")) for key in store.scan_iter("rag:*:document:*")]
            return int(rows[0]["count(*)"]) == sum(counts)

        await until(same, 60)
    await client.close()
