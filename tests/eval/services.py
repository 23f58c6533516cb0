"""A retriever and an ingestor behind real gRPC: they keep what they are sent and find by common words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from rag.eval.mesh import Mesh, open_mesh
from rag.runtime.context import current
from rag.runtime.errors import NotFound
from rag.runtime.server import Mount, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1 import ingestor_pb2, passage_pb2
from rag.v1 import retriever_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceServicer, add_IngestorServiceServicer_to_server
from rag.v1.retriever_pb2_grpc import RetrieverServiceServicer, add_RetrieverServiceServicer_to_server


@dataclass
class Shelf:
    """What both services know."""

    documents: dict[tuple[str, str], tuple[str, str, str]] = field(default_factory=dict)
    """By tenant and id: name, title, text."""
    jobs: dict[str, ingestor_pb2.Job] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Texts whose jobs fail."""
    asked: list[pb.RetrieveRequest] = field(default_factory=list)
    reported: list[pb.ReportEvaluationRequest] = field(default_factory=list)
    notices: list[passage_pb2.Notice] = field(default_factory=list)
    passages_per_document: int = 1


@dataclass
class Ingestor(IngestorServiceServicer):
    shelf: Shelf

    async def SubmitDocument(self, request_iterator, context):
        parts = [request async for request in request_iterator]
        header, text = parts[0].header, b"".join(part.chunk for part in parts[1:]).decode()
        key, value = (current().tenant, header.document_id), (header.name, header.title, text)
        job = ingestor_pb2.Job(id=f"job_{len(self.shelf.jobs)}", document_id=header.document_id)
        if text in self.shelf.refused:
            job.state = ingestor_pb2.JOB_STATE_FAILED
            job.error.reason = "NO_TEXT"
        else:
            job.state, job.unchanged = ingestor_pb2.JOB_STATE_READY, self.shelf.documents.get(key) == value
            self.shelf.documents[key] = value
        self.shelf.jobs[job.id] = job
        queued = ingestor_pb2.Job(id=job.id, state=ingestor_pb2.JOB_STATE_QUEUED)
        return ingestor_pb2.SubmitDocumentResponse(job=queued)

    async def WatchJob(self, request, context):
        yield ingestor_pb2.WatchJobResponse(sequence=1, job=ingestor_pb2.Job(id=request.job_id))
        yield ingestor_pb2.WatchJobResponse(sequence=2, job=self.shelf.jobs[request.job_id])


@dataclass
class Retriever(RetrieverServiceServicer):
    shelf: Shelf

    async def ListDocuments(self, request, context):
        # Two to a page, whatever is asked for, so that there are several pages.
        names = sorted(name for tenant, name in self.shelf.documents if tenant == current().tenant)
        at = int(request.page_token or 0)
        listed = [self._document(name) for name in names[at : at + 2]]
        following = str(at + 2) if at + 2 < len(names) else ""
        return pb.ListDocumentsResponse(documents=listed, next_page_token=following)

    def _document(self, name):
        text = self.shelf.documents[current().tenant, name][2]
        digest = hashlib.sha256(text.encode()).hexdigest()
        return pb.Document(id=name, passage_count=self.shelf.passages_per_document, content_hash=digest)

    async def DeleteDocument(self, request, context):
        if self.shelf.documents.pop((current().tenant, request.document_id), None) is None:
            raise NotFound("There is no such document.", "DOCUMENT_NOT_FOUND")
        return pb.DeleteDocumentResponse(version=1)

    async def Retrieve(self, request, context):
        self.shelf.asked.append(request)
        wanted = words(request.query)
        mine = {name: value[2] for (tenant, name), value in self.shelf.documents.items() if tenant == current().tenant}
        best = sorted(mine, key=lambda name: (-len(wanted & words(mine[name])), name))
        places = [name for name in best if wanted & words(mine[name]) for _ in range(self.shelf.passages_per_document)]
        for rank, name in enumerate(places[: request.top_k], 1):
            passage = passage_pb2.Passage(document_id=name, text=mine[name], char_start=0, char_end=len(mine[name]))
            yield pb.RetrieveResponse(hit=pb.Hit(rank=rank, passage=passage))
        yield pb.RetrieveResponse(
            summary=pb.RetrieveSummary(embedding_ms=2.0, search_ms=3.0, notices=self.shelf.notices)
        )

    async def GetIndex(self, request, context):
        return pb.GetIndexResponse(live=pb.IndexVersion(collection="c", model="m", revision="r", analyzer="a"))

    async def ReportEvaluation(self, request, context):
        self.shelf.reported.append(request)
        return pb.ReportEvaluationResponse()


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


@asynccontextmanager
async def addresses(shelf: Shelf) -> AsyncIterator[tuple[str, str]]:
    """Run both; yields their addresses, the retriever's first."""

    async def ready() -> bool:
        return True

    mounts = (
        Mount(
            "rag.v1.RetrieverService", lambda server: add_RetrieverServiceServicer_to_server(Retriever(shelf), server)
        ),
        Mount("rag.v1.IngestorService", lambda server: add_IngestorServiceServicer_to_server(Ingestor(shelf), server)),
    )
    async with AsyncExitStack() as stack:
        settings = ServiceSettings(port=0, lame_duck_ms=0)
        ports = [await stack.enter_async_context(serving(settings, Room("room", [mount], ready))) for mount in mounts]
        yield f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"


@asynccontextmanager
async def mesh_of(shelf: Shelf, tenant: str) -> AsyncIterator[Mesh]:
    async with addresses(shelf) as (retriever, ingestor), open_mesh(retriever, ingestor, tenant) as mesh:
        yield mesh
