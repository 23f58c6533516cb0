"""Writes passages through the retriever service, which owns the index."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from rag.metadata import MAX_KEYS, Scalar, check_key, check_scalar, to_proto
from rag.passage_proto import to_proto as passage_to_proto
from rag.runtime.errors import InvalidInput, NotFound
from rag.runtime.peers import Peer
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from rag.vectors import pack
from services.ingestor.indexing import Batch, Commit, Live, Target, Written


class GrpcIndex:
    """A `PassageIndex` over the retriever service."""

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

    async def live(self, document_id: str) -> Live | None:
        """The live version of a document; None when it has none."""
        try:
            answer = await self._peer.unary(self._stub.GetDocument, pb.GetDocumentRequest(document_id=document_id))
        except NotFound:
            return None
        return Live(answer.document.version, answer.document.fingerprint)

    async def revoke(self, document_id: str, accepted_us: int) -> int:
        """Refuse every version of one upload from now on; the version when it is live already, else 0."""
        request = pb.RevokeIndexRequest(document_id=document_id, accepted_us=accepted_us)
        answer = await self._peer.unary(self._stub.RevokeIndex, request)
        return answer.version


async def _requests(target: Target, parts: AsyncIterator[Batch | Commit]) -> AsyncIterator[pb.IndexRequest]:
    yield pb.IndexRequest(header=_header(target))
    async for part in parts:
        yield _commit(part) if isinstance(part, Commit) else _passages(part)


def _header(target: Target) -> pb.IndexHeader:
    upload = target.upload
    header = pb.IndexHeader(
        document_id=upload.document_id,
        name=upload.name,
        media_type=target.media_type,
        content_hash=upload.content_hash,
        size_bytes=upload.size_bytes,
        model=target.model,
        revision=target.revision,
        dimension=target.dimension,
        accepted_us=upload.accepted_us,
        fence=target.fence,
        fingerprint=target.fingerprint,
        title=target.title,
    )
    to_proto(_merged(upload.metadata, target.found), header.metadata)
    return header


def _merged(own: Mapping[str, Scalar], found: Mapping[str, str]) -> dict[str, Scalar]:
    """The client's own metadata, and what the document says about itself as far as there is room for it."""
    merged = dict(own)
    for key, value in found.items():
        if len(merged) < MAX_KEYS and key not in merged and _can_be_kept(key, value):
            merged[key] = value
    return merged


def _can_be_kept(key: str, value: str) -> bool:
    # A document with an odd author is still a document.
    try:
        check_scalar(check_key(key), value)
    except InvalidInput:
        return False
    return True


def _passages(batch: Batch) -> pb.IndexRequest:
    passages = [passage_to_proto(passage) for passage in batch.passages]
    return pb.IndexRequest(passages=pb.IndexPassages(passages=passages, vectors=pack(batch.vectors)))


def _commit(commit: Commit) -> pb.IndexRequest:
    end = pb.IndexCommit(passage_count=commit.passage_count, page_count=commit.page_count, title=commit.title)
    return pb.IndexRequest(commit=end)
