"""The embedder over gRPC: the model it serves, and the vectors of queries."""

from __future__ import annotations

import time
from contextlib import aclosing

import numpy as np

from rag.ids import new_id
from rag.runtime.context import CallContext, bound
from rag.runtime.errors import Internal
from rag.runtime.peers import Peer
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from rag.vectors import Vectors, unpack
from services.retriever.passages import Model, check_model

_MODEL_S = 5.0


class GrpcEmbedder:
    """Asks the embedder."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = EmbedderServiceStub(peer.channel)

    async def model(self) -> Model:
        """Return the model that the embedder serves; Unavailable while it is away."""
        # Asked at the start, on behalf of no caller.
        with bound(CallContext(new_id("req"), "retriever", time.monotonic() + _MODEL_S)):
            answer = await self._peer.unary(self._stub.GetModel, pb.GetModelRequest())
        return Model(answer.model, answer.revision, answer.dimension)

    async def embed(self, text: str, wanted: Model) -> Vectors:
        """Return the vector, shape (dimension,), of the model wanted; FailedPrecondition when the embedder has another."""
        vectors: list[Vectors] = []
        async with aclosing(self._peer.stream(self._stub.Embed, pb.EmbedRequest(texts=[text]))) as batches:
            async for batch in batches:
                check_model(Model(batch.model, batch.revision, batch.dimension), wanted)
                vectors.extend(unpack(batch.values, batch.dimension))
        if len(vectors) != 1 or not np.isfinite(vectors[0]).all():
            raise Internal("The embedder did not answer with one vector.", "BAD_EMBEDDING")
        return vectors[0]
