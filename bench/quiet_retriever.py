"""A retriever that finds the same passages at once: `python -m bench.quiet_retriever PORT`. What is measured lies elsewhere."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from rag.runtime.server import Mount, Room, run
from rag.runtime.settings import ServiceSettings
from rag.v1 import embedder_pb2, ingestor_pb2  # noqa: F401 - their names are served
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import add_RetrieverServiceServicer_to_server
from tests.generator.making import FakeRetriever, found

_TEXTS = [f"Passage {number} of the handbook says what to do when a part fails. " * 12 for number in range(8)]


class _Quiet(FakeRetriever):
    async def GetDocument(self, request: pb.GetDocumentRequest, _context: object) -> pb.GetDocumentResponse:  # noqa: N802
        """Know every document."""
        return pb.GetDocumentResponse(document=pb.Document(id=request.document_id, version=1, name="handbook.pdf"))


@asynccontextmanager
async def _wire(settings: ServiceSettings) -> AsyncIterator[Room]:
    fake = _Quiet()
    fake.responses = found(*_TEXTS)
    fake.requests = _Forgetful()
    await fake.believe(settings.redis_url)
    mount = Mount("rag.v1.RetrieverService", partial(add_RetrieverServiceServicer_to_server, fake))
    # The gateway asks again and again whether these are there.
    idle = [Mount(f"rag.v1.{name}Service", lambda _server: None) for name in ("Embedder", "Ingestor")]
    yield Room("retriever", [mount, *idle], _ready)


class _Forgetful(list[pb.RetrieveRequest]):
    def append(self, _request: pb.RetrieveRequest) -> None:
        """Keep nothing: a measurement asks many thousand times."""


async def _ready() -> bool:
    return True


class _Settings(ServiceSettings):
    port: int = int(sys.argv[1]) if len(sys.argv) > 1 else 0


if __name__ == "__main__":
    run(_Settings, _wire)
