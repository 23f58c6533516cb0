"""Documents in a shard: each message of the export behind its length, as a varint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from rag.v1 import retriever_pb2 as pb

_MOST_MESSAGE = 64 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a whole document lies in a shard, and how many passages it has."""

    document_id: str
    start: int
    end: int
    passages: int


def places(path: Path) -> Iterator[Place]:
    """Yield the whole documents of a shard, in their order; stop at the first byte that makes no sense."""
    with path.open("rb") as file:
        begun: Place | None = None
        left = 0
        for part, start, end in _messages(file):
            kind = part.WhichOneof("part")
            if kind == "document":
                document = part.document.document
                left = document.passage_count
                begun = Place(document.id, start, end, left)
            elif kind == "passages" and begun is not None:
                left -= len(part.passages.passages)
                begun = replace(begun, end=end)
            else:
                return
            if begun is not None and left == 0:
                yield begun
                begun = None


def parts(path: Path, place: Place) -> Iterator[pb.ExportIndexResponse]:
    """Yield the messages of one document."""
    with path.open("rb") as file:
        file.seek(place.start)
        for part, _, end in _messages(file):
            yield part
            if end >= place.end:
                return


def frame(part: pb.ExportIndexResponse) -> bytes:
    """Return a message with its length before it."""
    data = part.SerializeToString()
    size, head = len(data), bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    head.append(size)
    return bytes(head) + data


def _messages(file: BinaryIO) -> Iterator[tuple[pb.ExportIndexResponse, int, int]]:
    """Yield messages with where each starts and ends, up to the end or the first that is not whole."""
    at = file.tell()
    while (size := _length(file)) is not None:
        data = file.read(size)
        if len(data) < size or not size:
            return
        try:
            part = pb.ExportIndexResponse.FromString(data)
        except DecodeError:
            return
        yield part, at, file.tell()
        at = file.tell()


def _length(file: BinaryIO) -> int | None:
    size = 0
    for shift in range(0, 35, 7):
        byte = file.read(1)
        if not byte:
            return None
        size |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return size if size <= _MOST_MESSAGE else None
    return None
