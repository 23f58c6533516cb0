"""The ingestor over gRPC: it cuts stored text anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from rag.passage import Passage
from rag.passage_proto import from_proto
from rag.runtime.context import new_call, use
from rag.runtime.peers import Peer
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from services.retriever.rebuild.resplitting import Page, Text

_DOCUMENT_S = 3_600.0


class GrpcSplitter:
    """Asks the ingestor, on behalf of the tenant whose text it is."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = IngestorServiceStub(peer.channel)

    async def cut(self, text: Text, pages: AsyncIterator[Page]) -> AsyncGenerator[list[Passage], None]:
        """Yield the passages of a text as its pages come, some at a time."""
        # Not bound to a block: a generator may be closed by another task.
        use(new_call(text.tenant, _DOCUMENT_S))
        async with aclosing(self._peer.exchange(self._stub.SplitPages, _requests(text, pages))) as answers:
            async for answer in answers:
                yield [from_proto(passage) for passage in answer.passages]


async def _requests(text: Text, pages: AsyncIterator[Page]) -> AsyncIterator[pb.SplitPagesRequest]:
    header = pb.SplitPagesHeader(document_id=text.document_id, content_hash=text.content_hash, title=text.title)
    yield pb.SplitPagesRequest(header=header)
    async for page in pages:
        yield pb.SplitPagesRequest(page=pb.SplitPage(number=page.number, text=page.text))
