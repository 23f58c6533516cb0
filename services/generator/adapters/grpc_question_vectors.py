"""Vectors of questions, from the embedder over gRPC."""

from __future__ import annotations

from contextlib import aclosing

from rag.runtime.peers import Peer
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from rag.vectors import joined, unpack
from services.generator.caching.alike import Embedded


class GrpcQuestionVectors:
    """Asks the embedder."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = EmbedderServiceStub(peer.channel)

    async def embed(self, text: str) -> Embedded:
        """Return a text's vector, on behalf of the current call; the embedder's errors when it cannot."""
        request = pb.EmbedRequest(texts=[text])
        async with aclosing(self._peer.stream(self._stub.Embed, request)) as answers:
            found = [answer async for answer in answers]
        [vector] = joined([unpack(answer.values, answer.dimension) for answer in found], 1)
        return Embedded(f"{found[0].model}@{found[0].revision}", vector)
