"""Asks the embedder service for vectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from rag.runtime import context
from rag.runtime.errors import Internal
from rag.runtime.peers import Peer
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from rag.vectors import Vectors, unpack
from services.ingestor.embedding import Embedded


class GrpcEmbedder:
    """An `Embedder` over the embedder service. One batch may take `timeout_s` seconds."""

    def __init__(self, peer: Peer, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._peer = peer
        self._stub = EmbedderServiceStub(peer.channel)
        self._timeout_s = timeout_s
        self._clock = clock

    async def embed(self, document_id: str, texts: Sequence[str]) -> Embedded:
        """One vector per text, in order. Raises what the embedder answers; `Internal` for an answer that is short."""
        call = context.current()
        latest = self._clock() + self._timeout_s
        with context.bound(replace(call, deadline=min(call.deadline or latest, latest))):
            responses = await self._responses(pb.EmbedRequest(texts=texts, document_id=document_id))
        vectors = _joined(responses, len(texts))
        return Embedded(
            vectors=vectors,
            model=responses[0].model,
            revision=responses[0].revision,
            cached=sum(answer.usage.from_memory + answer.usage.from_redis for answer in responses),
            computed=sum(answer.usage.computed for answer in responses),
        )

    async def forget(self, document_id: str) -> None:
        """Drop the cached vectors of a document's texts."""
        await self._peer.unary(self._stub.ForgetVectors, pb.ForgetVectorsRequest(document_id=document_id))

    async def _responses(self, request: pb.EmbedRequest) -> list[pb.EmbedResponse]:
        async with aclosing(self._peer.stream(self._stub.Embed, request)) as stream:
            return [response async for response in stream]


def _joined(responses: list[pb.EmbedResponse], count: int) -> Vectors:
    blocks = [unpack(response.values, response.dimension) for response in responses]
    models = {(response.model, response.revision, response.dimension) for response in responses}
    if len(models) != 1 or sum(len(block) for block in blocks) != count:
        raise Internal("The embedder did not answer one vector per text.", "BAD_VECTORS")
    return np.concatenate(blocks)
