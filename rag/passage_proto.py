"""Passages on the wire: protobuf <-> plain Python."""

from __future__ import annotations

from rag.passage import Passage
from rag.v1 import passage_pb2 as pb


def to_proto(passage: Passage) -> pb.Passage:
    """Return a passage as a message."""
    return pb.Passage(
        id=passage.id,
        document_id=passage.document_id,
        version=passage.version,
        ordinal=passage.ordinal,
        text=passage.text,
        heading=passage.heading,
        page=passage.page,
        char_start=passage.char_start,
        char_end=passage.char_end,
        token_count=passage.token_count,
    )


def from_proto(message: pb.Passage) -> Passage:
    """Return a message as a passage."""
    return Passage(
        id=message.id,
        document_id=message.document_id,
        version=message.version,
        ordinal=message.ordinal,
        text=message.text,
        heading=message.heading,
        page=message.page,
        char_start=message.char_start,
        char_end=message.char_end,
        token_count=message.token_count,
    )
