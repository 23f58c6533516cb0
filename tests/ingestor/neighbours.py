"""The services next to the ingestor, as small real gRPC servers that can be told to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np

from rag.runtime.errors import Conflict, NotFound, RagError, Unavailable
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
    """Vectors from hashes. `failures` are raised one per call; a cleared `open` holds every call, a cleared `forgetting` those to forget."""

    failures: list[RagError] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    forgetting: asyncio.Event = field(default_factory=asyncio.Event)
    texts: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    away: bool = False
    calls: int = 0

    def __post_init__(self) -> None:
        self.open.set()
        self.forgetting.set()

    async def ForgetVectors(self, request, context):
        await self.forgetting.wait()
        if self.away:
            message = "The embedder is away."
            raise Unavailable(message, "AWAY")
        self.forgotten.append(request.document_id)
        return embedder_pb2.ForgetVectorsResponse()

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
    """Keeps what is committed, in order, by the rules of the real one.

    `failures` are raised one per stream, after the first passages; a cleared `open` holds every stream before its first
    passages, a cleared `committing` before its commit, a cleared `answering` after it, a cleared `revoking` the calls about
    whole documents; while it is `away` every call fails. `revoked` and `fences` are kept by document and accepted_us.
    """

    failures: list[RagError] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    committing: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    revoking: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False
    streams: int = 0
    commits: int = 0
    opened: list[retriever_pb2.IndexHeader] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    revoked: set[tuple[str, int]] = field(default_factory=set)
    fences: dict[tuple[str, int], int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open.set()
        self.committing.set()
        self.answering.set()
        self.revoking.set()

    async def Index(self, request_iterator, context):
        self._check_here()
        self.streams += 1
        header, passages, vectors = None, [], []
        async for request in request_iterator:
            if request.HasField("header"):
                header = request.header
                header.accepted_us = header.accepted_us or time.time_ns() // 1000
                self._admit(header)
                self.fences[header.document_id, header.accepted_us] = header.fence
                self.opened.append(header)
            elif request.HasField("passages"):
                await self.open.wait()
                passages += request.passages.passages
                vectors.append(request.passages.vectors)
                if self.failures:
                    raise self.failures.pop(0)
                yield retriever_pb2.IndexResponse(progress=retriever_pb2.IndexProgress(passages_written=len(passages)))
            else:
                self.commits += 1
                await self.committing.wait()
                self._admit(header)
                self.versions.append(Version(header, passages, vectors, request.commit))
                self.live[header.document_id] = len(self.versions)
                await self.answering.wait()
                yield retriever_pb2.IndexResponse(document=self._document(header.document_id))

    async def GetDocument(self, request, context):
        await self.revoking.wait()
        self._check_here()
        if request.document_id not in self.live:
            message = "There is no such document."
            raise NotFound(message, "DOCUMENT_NOT_FOUND")
        return retriever_pb2.GetDocumentResponse(document=self._document(request.document_id))

    async def RevokeIndex(self, request, context):
        await self.revoking.wait()
        self._check_here()
        version = self.live.get(request.document_id, 0)
        if version and self.versions[version - 1].header.accepted_us == request.accepted_us:
            return retriever_pb2.RevokeIndexResponse(version=version)
        self.revoked.add((request.document_id, request.accepted_us))
        return retriever_pb2.RevokeIndexResponse()

    async def DeleteDocument(self, request, context):
        self._check_here()
        self.deleted[request.document_id] = time.time_ns() // 1000
        return retriever_pb2.DeleteDocumentResponse(version=self.live.pop(request.document_id, 0))

    def _check_here(self) -> None:
        if self.away:
            message = "The retriever is away."
            raise Unavailable(message, "AWAY")

    def _admit(self, header: retriever_pb2.IndexHeader) -> None:
        work = header.document_id, header.accepted_us
        version = self.live.get(header.document_id, 0)
        newest = self.versions[version - 1].header.accepted_us if version else 0
        if header.accepted_us < newest or header.accepted_us <= self.deleted.get(header.document_id, 0):
            raise self._refusal("A later version is live, or the document was deleted.", "VERSION_SUPERSEDED")
        if work in self.revoked:
            raise self._refusal("This version was revoked.", "VERSION_REVOKED")
        if header.fence < self.fences.get(work, 0):
            raise self._refusal("A newer writer took this work up.", "STALE_WRITER")

    def _refusal(self, message: str, reason: str) -> Conflict:
        self.refused.append(reason)
        return Conflict(message, reason)

    def _document(self, document_id: str) -> retriever_pb2.Document:
        version = self.live[document_id]
        kept = self.versions[version - 1]
        return retriever_pb2.Document(
            id=document_id,
            version=version,
            passage_count=len(kept.passages),
            content_hash=kept.header.content_hash,
            fingerprint=kept.header.fingerprint,
        )


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
