"""The ingestor with real neighbours over real gRPC, a real Redis and a real folder."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import redis.asyncio

from rag.ids import new_id
from rag.local_model import tokenizer_path
from rag.runtime.early_status import with_early_status
from rag.runtime.redis import open_redis
from rag.runtime.server import serving
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from services.ingestor.adapters.redis_jobs import RedisJobs
from services.ingestor.adapters.redis_queue import QueueRules, RedisQueue
from services.ingestor.adapters.wordpiece_tokens import WordpieceTokens
from services.ingestor.settings import IngestorSettings
from services.ingestor.wiring import wire
from tests.ingestor.neighbours import Embedder, Retriever, served_embedder, served_retriever
from tests.redis_server import running_redis


@pytest.fixture(scope="session")
def counter() -> WordpieceTokens:
    return WordpieceTokens(tokenizer_path())


@pytest.fixture
async def empty_queue(redis: redis.asyncio.Redis) -> redis.asyncio.Redis:
    """The session's Redis without the jobs of other tests."""
    await redis.flushall()
    return redis


@pytest.fixture
def rules() -> QueueRules:
    """A lease that runs out while a test waits."""
    return QueueRules(lease_ms=300)


@pytest.fixture
async def queues(
    redis_url: str, empty_queue: redis.asyncio.Redis, rules: QueueRules
) -> AsyncIterator[list[RedisQueue]]:
    """The queue as two workers have it."""
    async with open_redis(redis_url, block_s=2) as blocking:
        yield [RedisQueue(empty_queue, blocking, new_id("worker"), rules) for _ in range(2)]


@pytest.fixture
def jobs(empty_queue: redis.asyncio.Redis) -> RedisJobs:
    return RedisJobs(empty_queue, require_aof=True)


@dataclass
class Client:
    """An ingestor's user."""

    stub: IngestorServiceStub
    tenant: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-rag-tenant", self.tenant),)

    async def submit(self, content: bytes, name: str, *, chunk: int = 65_536, **header: object) -> pb.Job:
        async def requests() -> AsyncIterator[pb.SubmitDocumentRequest]:
            yield pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name=name, **header))
            for at in range(0, len(content), chunk):
                yield pb.SubmitDocumentRequest(chunk=content[at : at + chunk])
            yield pb.SubmitDocumentRequest(commit=pb.SubmitDocumentCommit(size_bytes=len(content)))

        answer = await with_early_status(self.stub.SubmitDocument(requests(), metadata=self.metadata, timeout=30))
        return answer.job

    async def watch(self, job_id: str, after: int = 0) -> list[pb.WatchJobResponse]:
        return [event async for event in self.follow(job_id, after)]

    def follow(self, job_id: str, after: int = 0) -> grpc.aio.UnaryStreamCall:
        request = pb.WatchJobRequest(job_id=job_id, after_sequence=after)
        return self.stub.WatchJob(request, metadata=self.metadata, timeout=60)

    async def get(self, job_id: str) -> pb.Job:
        return (await self.stub.GetJob(pb.GetJobRequest(job_id=job_id), metadata=self.metadata, timeout=10)).job

    async def jobs(self, **request: object) -> list[pb.Job]:
        return list((await self.stub.ListJobs(pb.ListJobsRequest(**request), metadata=self.metadata, timeout=10)).jobs)

    async def cancel(self, job_id: str) -> pb.Job:
        request = pb.CancelJobRequest(job_id=job_id)
        return (await self.stub.CancelJob(request, metadata=self.metadata, timeout=20)).job

    async def retry(self, job_id: str, password: str = "") -> pb.Job:
        request = pb.RetryJobRequest(job_id=job_id, password=password)
        return (await self.stub.RetryJob(request, metadata=self.metadata, timeout=10)).job

    async def erase(self, document_id: str, until_us: int = 2**53) -> int:
        request = pb.EraseJobsRequest(document_id=document_id, accepted_until_us=until_us)
        return (await self.stub.EraseJobs(request, metadata=self.metadata, timeout=20)).jobs

    async def index(self, content: bytes, name: str, **header: object) -> pb.Job:
        """Submit and wait for the end."""
        job = await self.submit(content, name, **header)
        return (await self.watch(job.id))[-1].job


@dataclass
class Mesh:
    """A running ingestor with its neighbours."""

    data_dir: Path
    redis_url: str
    tenant: str
    embedder: Embedder = field(default_factory=Embedder)
    retriever: Retriever = field(default_factory=Retriever)
    embedder_address: str = ""
    retriever_address: str = ""

    @asynccontextmanager
    async def ingestor(self, **settings: object) -> AsyncIterator[Client]:
        """One more ingestor process of this mesh, in this loop."""
        changed = IngestorSettings(
            data_dir=self.data_dir,
            redis_url=self.redis_url,
            embedder_address=self.embedder_address,
            retriever_address=self.retriever_address,
            port=0,
            metrics_port=0,
            **{"lame_duck_ms": 0, "drain_grace_ms": 0, "progress_ms": 20, **settings},
        )
        async with wire(changed) as room, serving(changed, room) as port:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Client(IngestorServiceStub(channel), self.tenant)

    async def running(self, job: pb.Job, client: Client) -> bool:
        """Whether a worker has the job in hand."""
        return (await client.get(job.id)).state == pb.JOB_STATE_RUNNING

    @property
    def files(self) -> list[Path]:
        """What lies in the folder of uploads."""
        return [path for path in self.data_dir.rglob("*") if path.is_file()]


@pytest.fixture
async def mesh(tmp_path: Path, redis_url: str, empty_queue: redis.asyncio.Redis, tenant: str) -> AsyncIterator[Mesh]:
    mesh = Mesh(tmp_path / "data", redis_url, tenant)
    async with served_embedder(mesh.embedder) as embedder, served_retriever(mesh.retriever) as retriever:
        mesh.embedder_address, mesh.retriever_address = embedder, retriever
        yield mesh


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    async with mesh.ingestor() as client:
        yield client


@pytest.fixture(scope="session")
def volatile_redis_url() -> Iterator[str]:
    """A Redis without an append-only file."""

    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        with running_redis(Path(folder), "--appendonly", "no") as url:
            yield url
