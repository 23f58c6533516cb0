"""The embedder over gRPC: the model it serves, and the vectors of queries and of passages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from rag.runtime.context import bound, new_call
from rag.runtime.peers import Peer
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from rag.vectors import Vectors, joined, unpack
from services.retriever.passages import Model, check_model

_MODEL_S = 5.0
_BATCH_S = 120.0


class GrpcEmbedder:
    """Asks the embedder."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = EmbedderServiceStub(peer.channel)

    async def model(self) -> Model:
        """Return the model that the embedder serves; Unavailable while it is away."""
        # Asked at the start, on behalf of no caller.
        with bound(new_call("retriever", _MODEL_S)):
            answer = await self._peer.unary(self._stub.GetModel, pb.GetModelRequest())
        return Model(answer.model, answer.revision, answer.dimension)

    async def embed(self, text: str, wanted: Model) -> Vectors:
        """Return the vector, shape (dimension,), of the model wanted; FailedPrecondition when the embedder has another."""
        vector: Vectors = (await self._vectors(pb.EmbedRequest(texts=[text]), wanted))[0]
        return vector

    async def embed_passages(self, tenant: str, document_id: str, texts: Sequence[str], wanted: Model) -> Vectors:
        """Return the vectors, shape (len(texts), dimension), of texts of a tenant's document; as `embed` otherwise."""
        # For no caller, but on behalf of the tenant whose text it is: the cached vectors are theirs.
        with bound(new_call(tenant, _BATCH_S)):
            return await self._vectors(pb.EmbedRequest(texts=texts, document_id=document_id), wanted)

    async def _vectors(self, request: pb.EmbedRequest, wanted: Model) -> Vectors:
        batches: list[Vectors] = []
        async with aclosing(self._peer.stream(self._stub.Embed, request)) as answers:
            async for answer in answers:
                check_model(Model(answer.model, answer.revision, answer.dimension), wanted)
                batches.append(unpack(answer.values, answer.dimension))
        return joined(batches, len(request.texts))
