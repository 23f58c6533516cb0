"""A real retriever for the tests: real Milvus engine, real Redis, and an embedder that counts letters over real gRPC."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import psutil

from rag.runtime.context import current
from rag.runtime.early_status import with_early_status
from rag.runtime.errors import RagError
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1 import embedder_pb2, generator_pb2, ingestor_pb2, passage_pb2
from rag.v1 import retriever_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceServicer, add_EmbedderServiceServicer_to_server
from rag.v1.generator_pb2_grpc import GeneratorServiceServicer, add_GeneratorServiceServicer_to_server
from rag.v1.ingestor_pb2_grpc import IngestorServiceServicer, add_IngestorServiceServicer_to_server
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from rag.vectors import pack
from services.retriever.settings import RetrieverSettings
from services.retriever.wiring import wire
from tests.waiting import until

DIMENSION = 32
HASH = "0" * 64
_DATABASES = itertools.count(1)


def vector(text: str) -> np.ndarray:
    """A text's words, each in a place of its own (nearly), of length 1."""
    values = np.full(DIMENSION, 0.01, dtype=np.float32)
    for word in re.findall(r"\w+", text.lower()):
        values[hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1
    return values / np.linalg.norm(values)


@dataclass
class LetterEmbedder(EmbedderServiceServicer):
    model: str = "words"
    revision: str = "r1"
    asked: list[str] = field(default_factory=list)

    async def Embed(self, request, context):
        self.asked.extend(request.texts)
        values = pack(np.stack([vector(text) for text in request.texts]))
        yield embedder_pb2.EmbedResponse(
            count=len(request.texts), dimension=DIMENSION, values=values, model=self.model, revision=self.revision
        )

    async def GetModel(self, request, context):
        return embedder_pb2.GetModelResponse(model=self.model, revision=self.revision, dimension=DIMENSION)


@asynccontextmanager
async def embedder(servicer: LetterEmbedder | None = None, port: int = 0) -> AsyncIterator[int]:
    servicer = servicer or LetterEmbedder()

    async def ready() -> bool:
        return True

    mount = Mount("rag.v1.EmbedderService", lambda server: add_EmbedderServiceServicer_to_server(servicer, server))
    async with serving(ServiceSettings(port=port, lame_duck_ms=0), Room("embedder", [mount], ready)) as bound:
        yield bound


@dataclass
class JobEraser(IngestorServiceServicer):
    """The ingestor as a deletion meets it. `failures` are raised one per call."""

    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    failures: list[RagError] = field(default_factory=list)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    async def EraseJobs(self, request, context):
        tenant = current().tenant
        self.asked.append((tenant, request.document_id, request.accepted_until_us))
        if self.failures:
            raise self.failures.pop(0)
        return ingestor_pb2.EraseJobsResponse(jobs=self.jobs.pop((tenant, request.document_id), 0))


@asynccontextmanager
async def ingestor(servicer: JobEraser | None = None, port: int = 0) -> AsyncIterator[str]:
    servicer = servicer or JobEraser()

    async def ready() -> bool:
        return True

    mount = Mount("rag.v1.IngestorService", lambda server: add_IngestorServiceServicer_to_server(servicer, server))
    async with serving(ServiceSettings(port=port, lame_duck_ms=0), Room("ingestor", [mount], ready)) as bound:
        yield f"127.0.0.1:{bound}"


@dataclass
class AnswerForgetter(GeneratorServiceServicer):
    """The generator as a deletion meets it."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    async def ForgetAnswers(self, request, context):
        self.asked.append((current().tenant, request.document_id))
        return generator_pb2.ForgetAnswersResponse()


@asynccontextmanager
async def generator(servicer: AnswerForgetter | None = None, port: int = 0) -> AsyncIterator[str]:
    servicer = servicer or AnswerForgetter()

    async def ready() -> bool:
        return True

    mount = Mount("rag.v1.GeneratorService", lambda server: add_GeneratorServiceServicer_to_server(servicer, server))
    async with serving(ServiceSettings(port=port, lame_duck_ms=0), Room("generator", [mount], ready)) as bound:
        yield f"127.0.0.1:{bound}"


async def fresh_database(redis_url: str) -> str:
    """The index belongs to a whole Redis database, so each retriever gets one of its own."""
    url = f"{redis_url}?db={next(_DATABASES) % 15 + 1}"
    async with open_redis(url) as client:
        await client.flushdb()
    return url


@dataclass
class Retriever:
    stub: RetrieverServiceStub
    room: Room
    redis_url: str
    folder: Path
    address: str = ""

    def engine(self) -> psutil.Process:
        """The process of the embedded Milvus."""
        database = str(self.folder / "milvus" / "ragmesh.db")
        return next(child for child in psutil.Process().children(recursive=True) if runs(child, database))

    async def retrieve(self, tenant: str, query: str, **fields) -> list[pb.RetrieveResponse]:
        call = self.stub.Retrieve(pb.RetrieveRequest(query=query, **fields), metadata=of(tenant), timeout=30)
        return [event async for event in call]

    async def hits(self, tenant: str, query: str, **fields) -> list[pb.Hit]:
        return [event.hit for event in await self.retrieve(tenant, query, **fields) if event.HasField("hit")]

    async def found(self, tenant: str, query: str, **fields) -> list[str]:
        return [hit.passage.text for hit in await self.hits(tenant, query, **fields)]

    async def index(self, tenant: str, document_id: str, texts: Sequence[str], **fields) -> pb.Document:
        events = await self.send(tenant, document(document_id, texts, **fields))
        return events[-1].document

    async def send(self, tenant: str, parts: Iterable[pb.IndexRequest]) -> list[pb.IndexResponse]:
        call = self.stub.Index(iter(parts), metadata=of(tenant), timeout=60)
        return [event async for event in with_early_status(call)]

    async def get(self, tenant: str, document_id: str) -> pb.Document:
        request = pb.GetDocumentRequest(document_id=document_id)
        return (await self.stub.GetDocument(request, metadata=of(tenant))).document

    async def delete(self, tenant: str, document_id: str) -> int:
        request = pb.DeleteDocumentRequest(document_id=document_id)
        return (await self.stub.DeleteDocument(request, metadata=of(tenant))).version

    async def revoke(self, tenant: str, document_id: str, accepted_us: int) -> int:
        request = pb.RevokeIndexRequest(document_id=document_id, accepted_us=accepted_us)
        return (await self.stub.RevokeIndex(request, metadata=of(tenant))).version

    async def swept(self) -> None:
        """Wait until no deletion is left to finish."""
        async with open_redis(self.redis_url) as client:

            async def none_left() -> bool:
                return not await client.zcard("rag:deletions")

            await until(none_left, 60)

    async def erased(self) -> None:
        """Wait until no erasure is left to do."""
        async with open_redis(self.redis_url) as client:

            async def none_left() -> bool:
                return not await client.zcard("rag:erasures") and not await client.zcard("rag:open_versions")

            await until(none_left)

    async def erased_versions(self) -> None:
        """Wait until no erasure is due; versions may still be open."""
        async with open_redis(self.redis_url) as client:

            async def none_due() -> bool:
                return not await client.zcard("rag:erasures")

            await until(none_due)

    async def row_count(self, tenant: str) -> int:
        """Count a tenant's rows in the index, dead ones included, past the retriever."""
        from pymilvus import AsyncMilvusClient

        address = next(part for part in self.engine().cmdline() if part.startswith("unix:"))
        client = AsyncMilvusClient(address, dedicated=True, timeout=5)
        try:
            [name] = await client.list_collections(timeout=5)
            rows = await client.query(name, filter=f'tenant == "{tenant}"', output_fields=["count(*)"], timeout=5)
            return int(rows[0]["count(*)"])
        finally:
            await client.close()


@asynccontextmanager
async def retriever(
    folder: Path, redis_url: str, embedder_port: int, erasers: JobEraser | None = None, **settings
) -> AsyncIterator[Retriever]:
    """Run a retriever, beside an ingestor and a generator of its own unless their addresses are given."""
    async with AsyncExitStack() as stack:
        if "generator_address" not in settings:
            settings["generator_address"] = await stack.enter_async_context(generator())
        if "ingestor_address" not in settings:
            settings["ingestor_address"] = await stack.enter_async_context(ingestor(erasers))
        yield await stack.enter_async_context(_retriever(folder, redis_url, embedder_port, **settings))


@asynccontextmanager
async def _retriever(folder: Path, redis_url: str, embedder_port: int, **settings) -> AsyncIterator[Retriever]:
    settings.setdefault("sweep_pause_s", 0.2)
    settings.setdefault("engine_linger_s", 0)
    chosen = RetrieverSettings(
        data_dir=folder,
        redis_url=redis_url,
        embedder_address=f"127.0.0.1:{embedder_port}",
        port=0,
        metrics_port=0,
        lame_duck_ms=0,
        **settings,
    )
    async with wire(chosen) as room, serving(chosen, room) as port:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Retriever(RetrieverServiceStub(channel), room, redis_url, folder, f"127.0.0.1:{port}")


def runs(process: psutil.Process, database: str) -> bool:
    """Whether a process is the engine of a database."""
    try:
        return process.name().startswith("milvus") and database in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def of(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("x-rag-tenant", tenant),)


def header(document_id: str, **fields) -> pb.IndexRequest:
    defaults = {
        "name": f"{document_id}.txt",
        "media_type": "text/plain",
        "content_hash": HASH,
        "size_bytes": 10,
        "model": "words",
        "revision": "r1",
        "dimension": DIMENSION,
    }
    return pb.IndexRequest(header=pb.IndexHeader(document_id=document_id, **{**defaults, **fields}))


def passage(ordinal: int, text: str, **fields) -> passage_pb2.Passage:
    end = 100 * ordinal + len(text)
    defaults = {"id": f"p-{ordinal}", "page": 1, "char_start": 100 * ordinal, "char_end": end, "token_count": 5}
    return passage_pb2.Passage(ordinal=ordinal, text=text, **{**defaults, **fields})


def batch(texts: Sequence[str], first: int = 0) -> pb.IndexRequest:
    passages = [passage(first + number, text) for number, text in enumerate(texts)]
    vectors = pack(np.stack([vector(text) for text in texts]))
    return pb.IndexRequest(passages=pb.IndexPassages(passages=passages, vectors=vectors))


def commit(count: int, **fields) -> pb.IndexRequest:
    return pb.IndexRequest(commit=pb.IndexCommit(passage_count=count, **fields))


def document(document_id: str, texts: Sequence[str], title: str = "", **fields) -> list[pb.IndexRequest]:
    return [header(document_id, **fields), batch(texts), commit(len(texts), title=title, page_count=1)]


def value(scalar: str | float | bool) -> passage_pb2.MetadataValue:
    if isinstance(scalar, bool):
        return passage_pb2.MetadataValue(flag=scalar)
    if isinstance(scalar, str):
        return passage_pb2.MetadataValue(text=scalar)
    return passage_pb2.MetadataValue(number=scalar)


def reason(error: grpc.aio.AioRpcError) -> str:
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None, error
    next(detail for detail in status.details if detail.Is(info.DESCRIPTOR)).Unpack(info)
    return info.reason
