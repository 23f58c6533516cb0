"""The four services behind the gateway, as small real gRPC servicers that tests can steer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from rag.runtime.errors import NotFound
from rag.runtime.server import Mount, Room
from rag.v1 import (
    embedder_pb2,
    embedder_pb2_grpc,
    generator_pb2,
    generator_pb2_grpc,
    ingestor_pb2_grpc,
    passage_pb2,
    retriever_pb2,
    retriever_pb2_grpc,
)
from tests.gateway.ingestor_backend import Ingestor
from tests.gateway.messages import answer, document, hits
from tests.gateway.stage import HOLD, Stage


class Generator(generator_pb2_grpc.GeneratorServiceServicer):
    def __init__(self) -> None:
        self.stage = Stage(answer("Hello", " world"))

    async def Generate(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            yield event

    async def ForgetAnswers(self, request, context_):
        self.stage.enter(request, context_)
        return generator_pb2.ForgetAnswersResponse(forgotten=5)


class Embedder(embedder_pb2_grpc.EmbedderServiceServicer):
    def __init__(self) -> None:
        self.model = "m"
        self.stage = Stage([embedder_pb2.EmbedResponse(count=1, dimension=1, values=b"\x00\x00\x80\x3f", model="m")])

    async def Embed(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            yield event

    async def GetModel(self, request, context_):
        self.stage.enter(request, context_)
        return embedder_pb2.GetModelResponse(model=self.model, revision="r", dimension=1)

    async def ForgetVectors(self, request, context_):
        self.stage.enter(request, context_)
        return embedder_pb2.ForgetVectorsResponse(forgotten=1)


class Retriever(retriever_pb2_grpc.RetrieverServiceServicer):
    def __init__(self) -> None:
        self.stage = Stage(hits())
        self.documents = {"doc-1": document("doc-1")}
        self.only_jobs = {"doc-queued"}
        self.stored = retriever_pb2.GetStoredResponse()

    async def Retrieve(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            yield event

    async def ListDocuments(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.ListDocumentsResponse(documents=self.documents.values(), next_page_token="next")

    async def GetDocument(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.GetDocumentResponse(document=self._found(request.document_id))

    async def ListPassages(self, request, context_):
        self.stage.enter(request, context_)
        self._found(request.document_id)
        return retriever_pb2.ListPassagesResponse(passages=[passage_pb2.Passage(id="p-1", text="text", page=3)])

    async def DeleteDocument(self, request, context_):
        self.stage.enter(request, context_)
        if request.document_id in self.only_jobs:
            return retriever_pb2.DeleteDocumentResponse(version=0)
        self._found(request.document_id)
        async for _ in self.stage.play() if self.stage.script and self.stage.script[0] is HOLD else _nothing():
            pass
        return retriever_pb2.DeleteDocumentResponse(version=1)

    async def RevokeIndex(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.RevokeIndexResponse(version=0)

    async def GetIndex(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.GetIndexResponse()

    async def RebuildIndex(self, request, context_):
        self.stage.enter(request, context_)
        yield retriever_pb2.RebuildIndexResponse(progress=retriever_pb2.RebuildProgress(documents_total=1))
        yield retriever_pb2.RebuildIndexResponse(result=retriever_pb2.RebuildResult(switched=True))

    async def ExportIndex(self, request, context_):
        self.stage.enter(request, context_)
        yield retriever_pb2.ExportIndexResponse()

    async def SnapshotIndex(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.SnapshotIndexResponse()

    async def GetStored(self, request, context_):
        self.stage.enter(request, context_)
        return self.stored

    async def ListTenants(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.ListTenantsResponse()

    async def ForgetRankings(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.ForgetRankingsResponse(forgotten=7)

    async def ReportEvaluation(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.ReportEvaluationResponse()

    def _found(self, document_id: str) -> retriever_pb2.Document:
        if document_id not in self.documents:
            raise NotFound("There is no such document.", "DOCUMENT_NOT_FOUND", document_id=document_id)
        return self.documents[document_id]


@dataclass
class Backends:
    """All four, for one server."""

    embedder: Embedder = field(default_factory=Embedder)
    retriever: Retriever = field(default_factory=Retriever)
    generator: Generator = field(default_factory=Generator)
    ingestor: Ingestor = field(default_factory=Ingestor)

    def room(self) -> Room:
        def mount(name, servicer, add):
            return Mount(f"rag.v1.{name}", lambda server: add(servicer, server), is_ready=servicer.stage.is_serving)

        async def ready() -> bool:
            return True

        return Room(
            "backends",
            [
                mount("EmbedderService", self.embedder, embedder_pb2_grpc.add_EmbedderServiceServicer_to_server),
                mount("RetrieverService", self.retriever, retriever_pb2_grpc.add_RetrieverServiceServicer_to_server),
                mount("GeneratorService", self.generator, generator_pb2_grpc.add_GeneratorServiceServicer_to_server),
                mount("IngestorService", self.ingestor, ingestor_pb2_grpc.add_IngestorServiceServicer_to_server),
            ],
            is_ready=ready,
        )


async def _nothing() -> AsyncIterator[object]:
    for never in ():
        yield never
