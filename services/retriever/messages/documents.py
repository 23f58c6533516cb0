"""Documents: as they are listed, written and exported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from rag.metadata import to_proto, to_python
from rag.passage_proto import from_proto as passage_from_proto
from rag.passage_proto import to_proto as passage_to_proto
from rag.runtime.errors import InvalidInput
from rag.v1 import retriever_pb2 as pb
from rag.vectors import pack
from services.retriever.catalogue import Document
from services.retriever.exporting import Exported, ExportedDocument, ExportedIndex, ExportedRows
from services.retriever.messages.index import from_index
from services.retriever.parts import Commit, Header, Part, Passages
from services.retriever.passages import Model, Row


def from_document(document: Document) -> pb.Document:
    """Return an entry of the catalogue as a message."""
    message = pb.Document(
        id=document.id,
        version=document.version,
        name=document.name,
        title=document.title,
        media_type=document.media_type,
        content_hash=document.content_hash,
        size_bytes=document.size_bytes,
        page_count=document.page_count,
        passage_count=document.passage_count,
        fingerprint=document.fingerprint,
    )
    to_proto(document.metadata, message.metadata)
    message.created_at.FromMilliseconds(document.created_ms)
    message.updated_at.FromMilliseconds(document.updated_ms)
    return message


def from_exported(part: Exported) -> pb.ExportIndexResponse:
    """Return a part of an export as a message."""
    match part:
        case ExportedIndex(index, documents):
            return pb.ExportIndexResponse(index=pb.ExportedIndex(index=from_index(index), documents=documents))
        case ExportedDocument(document, accepted_us, title):
            message = pb.ExportedDocument(document=from_document(document), accepted_us=accepted_us, title=title)
            return pb.ExportIndexResponse(document=message)
        case ExportedRows(rows):
            return pb.ExportIndexResponse(passages=_with_vectors(rows))


def _with_vectors(rows: Sequence[Row]) -> pb.IndexPassages:
    vectors = b"".join(pack(row.vector) for row in rows if row.vector is not None)
    return pb.IndexPassages(passages=[passage_to_proto(row.passage) for row in rows], vectors=vectors)


async def to_parts(requests: AsyncIterator[pb.IndexRequest]) -> AsyncIterator[Part]:
    """Yield the parts of an indexing stream; InvalidInput for a message without one."""
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                yield _header(request.header)
            case "passages":
                passages = [passage_from_proto(passage) for passage in request.passages.passages]
                yield Passages(passages, request.passages.vectors)
            case "commit":
                yield Commit(request.commit.passage_count, request.commit.page_count, request.commit.title)
            case _:
                raise InvalidInput("A message of the stream carries no part.", "EMPTY_PART")


def _header(header: pb.IndexHeader) -> Header:
    return Header(
        document_id=header.document_id,
        name=header.name,
        media_type=header.media_type,
        content_hash=header.content_hash,
        size_bytes=header.size_bytes,
        metadata=to_python(header.metadata),
        model=Model(header.model, header.revision, header.dimension),
        accepted_us=header.accepted_us,
        fence=header.fence,
        fingerprint=header.fingerprint,
        title=header.title,
    )
