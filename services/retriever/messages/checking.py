"""What became of documents, as messages."""

from __future__ import annotations

from collections.abc import Sequence

from rag.v1 import retriever_pb2 as pb
from services.retriever.checking import Checked, Version


def to_versions(request: pb.CheckDocumentsRequest) -> Sequence[Version]:
    """Return the versions that a request asks about."""
    return [(one.document_id, one.version) for one in request.versions]


def from_checked(checked: Checked) -> pb.CheckDocumentsResponse:
    """Return what became of documents as a message."""
    gone = [pb.DocumentVersion(document_id=document_id, version=version) for document_id, version in checked.gone]
    return pb.CheckDocumentsResponse(
        index=checked.index,
        state=checked.state,
        commits=checked.commits,
        gone=gone,
        committed=checked.committed,
        has_more=checked.has_more,
    )
