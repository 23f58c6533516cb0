"""What a gate reads in the messages of a call: as objects, or as bytes that pass through and are parsed only when they are worth it."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message

from rag.v1 import generator_pb2, ingestor_pb2
from rag.v1.generator_pb2 import GenerateRequest, GenerateResponse
from services.gateway.limits.limiter import Kind

_GENERATE = "/rag.v1.GeneratorService/Generate"
_SUBMIT, _SUBMIT_URL = "/rag.v1.IngestorService/SubmitDocument", "/rag.v1.IngestorService/SubmitUrl"
_WORTH = frozenset({"accepted", "progress", "sources", "citation", "usage"})
_LENGTH_DELIMITED = 2
_IDLE_TAGS = frozenset(
    {
        field.number << 3 | _LENGTH_DELIMITED
        for field in GenerateResponse.DESCRIPTOR.oneofs_by_name["event"].fields
        if field.name not in _WORTH
    }
)
"""The bytes with which the events begin that nobody has to read."""
_SEQUENCE_TAG = GenerateResponse.SEQUENCE_FIELD_NUMBER << 3
_CHUNK = ingestor_pb2.SubmitDocumentRequest.CHUNK_FIELD_NUMBER
_PARTS = frozenset({field.number for field in ingestor_pb2.SubmitDocumentRequest.DESCRIPTOR.fields})


@cache
def kind_of(method: str) -> Kind:
    """Return what a method such as `/rag.v1.GeneratorService/Generate` takes of the limits."""
    service, _, name = method.strip("/").partition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    return Kind(found.server_streaming, method == _GENERATE, method in {_SUBMIT, _SUBMIT_URL}, method == _SUBMIT_URL)


def question_of(request: bytes | GenerateRequest) -> str:
    """Return what is asked; empty for bytes that are no question, which the generator will refuse."""
    if isinstance(request, bytes):
        try:
            return generator_pb2.GenerateRequest.FromString(request).question
        except DecodeError:
            return ""
    return request.question


def worth_reading(response: bytes | GenerateResponse) -> GenerateResponse | None:
    """Return an event that is more than a piece of text; None for most."""
    if not isinstance(response, bytes):
        return response if response.WhichOneof("event") in _WORTH else None
    if _event_tag(response) in _IDLE_TAGS:
        return None
    try:
        return GenerateResponse.FromString(response)
    except DecodeError:
        return None


def asks_model(event: GenerateResponse) -> bool:
    """Tell whether an event of progress says that a language model is asked from now on."""
    return event.progress.stage in {generator_pb2.STAGE_REWRITING, generator_pb2.STAGE_GENERATION}


def size_of(message: bytes | Message) -> int:
    """Return the bytes that a message has on the wire."""
    return len(message) if isinstance(message, bytes) else message.ByteSize()


def _event_tag(event: bytes) -> int:
    """Return the byte behind the sequence, where our services write the event; 0 when there is none. It is on every token's path."""
    try:
        if event[0] != _SEQUENCE_TAG:
            return event[0]
        at = 1
        while event[at] > 127:
            at += 1
        return event[at + 1]
    except IndexError:
        return 0


def document_of(request: bytes | Message, *, is_fetched: bool) -> str:
    """Return the document's id that the request says which opens an upload; empty when it says none."""
    kind = ingestor_pb2.SubmitUrlRequest if is_fetched else ingestor_pb2.SubmitDocumentRequest
    try:
        opening: Any = kind.FromString(request) if isinstance(request, bytes) else request
    except DecodeError:
        return ""
    return str(opening.header.document_id)


def bytes_of(part: bytes | ingestor_pb2.SubmitDocumentRequest) -> int:
    """Return how many bytes of a document a part of its upload carries; of a strange message at most how many that may be."""
    if not isinstance(part, bytes):
        return len(part.chunk)
    if not part:
        return 0
    length, at = _varint(part, 1)
    field, kind = part[0] >> 3, part[0] & 7
    if kind != 2 or field not in _PARTS or at + length != len(part):
        return len(part)
    return length if field == _CHUNK else 0


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place behind it."""
    value = shift = 0
    while at < len(message) and shift < 64:
        value |= (message[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not message[at - 1] & 0x80:
            break
    return value, at
