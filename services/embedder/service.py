"""EmbedderService: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from rag.ids import check_id
from rag.runtime.context import current
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceServicer
from rag.vectors import pack
from services.embedder.caching import Document
from services.embedder.embedding import Batch, Embedding

Context = grpc.aio.ServicerContext[Any, Any]


class EmbedderServicer(EmbedderServiceServicer):
    """Serves an Embedding."""

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> AsyncIterator[pb.EmbedResponse]:
        """Stream the vectors of the texts, batch by batch."""
        document = _document(request.document_id) if request.document_id else None
        async with aclosing(self._embedding.embed(tuple(request.texts), document, current().tenant)) as batches:
            async for batch in batches:
                yield _response(batch)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Tell which model serves."""
        info = await self._embedding.describe()
        return pb.GetModelResponse(
            model=info.name,
            revision=info.revision,
            dimension=info.dimension,
            max_input_tokens=info.max_input_tokens,
            provider=info.provider,
        )

    async def ForgetVectors(self, request: pb.ForgetVectorsRequest, context: Context) -> pb.ForgetVectorsResponse:
        """Drop the cached vectors of a document's texts."""
        forgotten = await self._embedding.forget(_document(request.document_id))
        return pb.ForgetVectorsResponse(forgotten=forgotten)


def _document(document_id: str) -> Document:
    return Document(current().tenant, check_id(document_id, "document_id"))


def _response(batch: Batch) -> pb.EmbedResponse:
    usage = batch.usage
    return pb.EmbedResponse(
        offset=batch.offset,
        count=len(batch.vectors),
        dimension=batch.model.dimension,
        values=pack(batch.vectors),
        model=batch.model.name,
        revision=batch.model.revision,
        usage=pb.EmbedUsage(
            tokens=usage.tokens,
            from_memory=usage.from_memory,
            from_redis=usage.from_redis,
            computed=usage.computed,
            truncated=usage.truncated,
        ),
    )
