"""Writes passages through the retriever service, which owns the index."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from rag.metadata import to_proto
from rag.passage_proto import to_proto as passage_to_proto
from rag.runtime.peers import Peer
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from rag.vectors import pack
from services.ingestor.pipeline import Batch, Commit, Target, Written


class GrpcIndex:
    """A `PassageIndex` over the Index stream."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = RetrieverServiceStub(peer.channel)

    async def write(self, target: Target, parts: AsyncIterator[Batch | Commit]) -> AsyncGenerator[Written, None]:
        """Send header, batches and commit as they come; yield what the retriever says is written."""
        async with aclosing(self._peer.exchange(self._stub.Index, _requests(target, parts))) as answers:
            async for answer in answers:
                if answer.HasField("document"):
                    yield Written(answer.document.passage_count, answer.document.version)
                else:
                    yield Written(answer.progress.passages_written)


async def _requests(target: Target, parts: AsyncIterator[Batch | Commit]) -> AsyncIterator[pb.IndexRequest]:
    yield pb.IndexRequest(header=_header(target))
    async for part in parts:
        yield _commit(part) if isinstance(part, Commit) else _passages(part)


def _header(target: Target) -> pb.IndexHeader:
    upload = target.upload
    header = pb.IndexHeader(
        document_id=upload.document_id,
        name=upload.name,
        media_type=upload.media_type,
        content_hash=upload.content_hash,
        size_bytes=upload.size_bytes,
        model=target.model,
        revision=target.revision,
        dimension=target.dimension,
    )
    to_proto(upload.metadata, header.metadata)
    return header


def _passages(batch: Batch) -> pb.IndexRequest:
    passages = [passage_to_proto(passage) for passage in batch.passages]
    return pb.IndexRequest(passages=pb.IndexPassages(passages=passages, vectors=pack(batch.vectors)))


def _commit(commit: Commit) -> pb.IndexRequest:
    end = pb.IndexCommit(passage_count=commit.passage_count, page_count=commit.page_count, title=commit.title)
    return pb.IndexRequest(commit=end)
