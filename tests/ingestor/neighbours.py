"""The services next to the ingestor, as small real gRPC servers that can be told to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np

from rag.runtime.errors import RagError
from rag.runtime.server import Mount, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1 import embedder_pb2, passage_pb2, retriever_pb2
from rag.v1.embedder_pb2_grpc import EmbedderServiceServicer, add_EmbedderServiceServicer_to_server
from rag.v1.retriever_pb2_grpc import RetrieverServiceServicer, add_RetrieverServiceServicer_to_server

DIMENSION = 8


def vector_of(text: str) -> np.ndarray:
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest()[:DIMENSION], dtype=np.uint8).astype(np.float32)
    return digest / np.linalg.norm(digest)


@dataclass
class Embedder(EmbedderServiceServicer):
    """Vectors from hashes. `failures` are raised one per call; a cleared `open` holds every call."""

    failures: list[RagError] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    texts: list[str] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    async def Embed(self, request, context):
        self.calls += 1
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.texts += request.texts
        for offset in range(0, len(request.texts), 10):
            block = request.texts[offset : offset + 10]
            yield embedder_pb2.EmbedResponse(
                offset=offset,
                count=len(block),
                dimension=DIMENSION,
                values=np.stack([vector_of(text) for text in block]).astype("<f4").tobytes(),
                model="hash",
                revision="1",
                usage=embedder_pb2.EmbedUsage(computed=len(block)),
            )


@dataclass
class Version:
    header: retriever_pb2.IndexHeader
    passages: list[passage_pb2.Passage]
    vectors: list[bytes]
    commit: retriever_pb2.IndexCommit


@dataclass
class Retriever(RetrieverServiceServicer):
    """Keeps what is committed. `failures` are raised one per call, after the first passages."""

    failures: list[RagError] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)

    async def Index(self, request_iterator, context):
        header, passages, vectors = None, [], []
        async for request in request_iterator:
            if request.HasField("header"):
                header = request.header
            elif request.HasField("passages"):
                passages += request.passages.passages
                vectors.append(request.passages.vectors)
                if self.failures:
                    raise self.failures.pop(0)
                yield retriever_pb2.IndexResponse(progress=retriever_pb2.IndexProgress(passages_written=len(passages)))
            else:
                self.versions.append(Version(header, passages, vectors, request.commit))
                document = retriever_pb2.Document(
                    id=header.document_id, version=len(self.versions), passage_count=len(passages)
                )
                yield retriever_pb2.IndexResponse(document=document)


@asynccontextmanager
async def served(name: str, servicer: grpc.Service, add) -> AsyncIterator[str]:
    """Serve one servicer as the real services are served; yields its address."""

    async def is_ready() -> bool:
        return True

    settings = ServiceSettings(lame_duck_ms=0, drain_grace_ms=0)
    room = Room(name, [Mount(f"rag.v1.{name}Service", lambda server: add(servicer, server))], is_ready)
    async with serving(settings, room) as port:
        yield f"127.0.0.1:{port}"


def served_embedder(servicer: Embedder):
    return served("Embedder", servicer, add_EmbedderServiceServicer_to_server)


def served_retriever(servicer: Retriever):
    return served("Retriever", servicer, add_RetrieverServiceServicer_to_server)
