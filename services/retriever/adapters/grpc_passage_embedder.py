"""The embedder over gRPC, for the passages of an index that is built anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing

import numpy as np

from rag.ids import new_id
from rag.runtime.context import CallContext, bound
from rag.runtime.errors import Internal
from rag.runtime.peers import Peer
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from rag.vectors import Vectors, unpack
from services.retriever.adapters.grpc_embedder import GrpcEmbedder
from services.retriever.passages import Model, check_model

_BATCH_S = 120.0


class GrpcPassageEmbedder(GrpcEmbedder):
    """Asks the embedder, for queries and for passages."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self._passages = EmbedderServiceStub(peer.channel)

    async def embed_passages(self, tenant: str, document_id: str, texts: Sequence[str], wanted: Model) -> Vectors:
        """Return the vectors, shape (len(texts), dimension), of texts of a tenant's document."""
        vectors: list[Vectors] = []
        # For no caller, but on behalf of the tenant whose text it is: the cached vectors are theirs.
        with bound(CallContext(new_id("req"), tenant, time.monotonic() + _BATCH_S)):
            request = pb.EmbedRequest(texts=texts, document_id=document_id)
            async with aclosing(self._peer.stream(self._passages.Embed, request)) as batches:
                async for batch in batches:
                    check_model(Model(batch.model, batch.revision, batch.dimension), wanted)
                    vectors.append(unpack(batch.values, batch.dimension))
        if sum(map(len, vectors)) != len(texts) or not all(np.isfinite(block).all() for block in vectors):
            raise Internal("The embedder did not answer one vector per text.", "BAD_EMBEDDING")
        return np.concatenate(vectors)
