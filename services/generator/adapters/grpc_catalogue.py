"""The retriever over gRPC: what became of documents."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from rag.runtime.context import bound, current
from rag.runtime.peers import Peer
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.generator.caching.entries import Stamp, Version
from services.generator.caching.freshness import Check


class GrpcCatalogue:
    """Asks the retriever, on behalf of the tenant whose documents they are."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = RetrieverServiceStub(peer.channel)

    async def check(self, tenant: str, versions: Collection[Version], since: int | None) -> Check:
        """Return the state now, which of these versions are gone, and what was committed after `since` commits."""
        asked = [pb.DocumentVersion(document_id=document_id, version=version) for document_id, version in versions]
        request = pb.CheckDocumentsRequest(versions=asked, since_commit=since)
        with bound(replace(current(), tenant=tenant)):
            told = await self._peer.unary(self._stub.CheckDocuments, request)
        return Check(
            Stamp(told.index, told.state, told.commits),
            frozenset((gone.document_id, gone.version) for gone in told.gone),
            frozenset(told.committed),
            told.has_more,
        )
