"""Protobuf messages as JSON, decided once.

Fields keep the names of the contract. Numbers are numbers, also those of 64 bits; enums are lower-case short names, and
null while not set; timestamps are RFC 3339; metadata values are plain scalars; what is not set is null.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from rag.v1 import passage_pb2

Encode = Callable[[Any], Any]


def to_json(message: Message) -> Any:
    """Return a message as what `json.dumps` takes."""
    return _encoder(message.DESCRIPTOR)(message)


@cache
def _encoder(descriptor: Descriptor) -> Encode:
    if descriptor.full_name == Timestamp.DESCRIPTOR.full_name:
        return _timestamp
    if descriptor.full_name == passage_pb2.MetadataValue.DESCRIPTOR.full_name:
        return _scalar
    fields = [(field.name, _reader(field)) for field in descriptor.fields]
    return lambda message: {name: read(message) for name, read in fields}


def _reader(field: FieldDescriptor) -> Encode:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        encode = _value(field.message_type.fields_by_name["value"])
        return lambda message: {str(key): encode(value) for key, value in sorted(getattr(message, name).items())}
    encode = _value(field)
    if field.is_repeated:
        return lambda message: [encode(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda message: encode(getattr(message, name)) if message.HasField(name) else None
    return lambda message: encode(getattr(message, name))


def _value(field: FieldDescriptor) -> Encode:
    if field.enum_type is not None:
        return enum_names(field.enum_type).get
    if field.message_type is not None:
        return partial(_submessage, field.message_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: b64encode(value).decode()
    return lambda value: value


def _submessage(kind: Descriptor, message: Message) -> Any:
    return _encoder(kind)(message)  # looked up late: messages may hold themselves


@cache
def enum_names(enum: EnumDescriptor) -> dict[int, str | None]:
    """Return the JSON name of each value of an enum: the part after the prefix in lower case; null for "not set"."""
    start = len(enum.values_by_number[0].name.removesuffix("UNSPECIFIED"))
    return {number: value.name[start:].lower() if number else None for number, value in enum.values_by_number.items()}


def _timestamp(value: Timestamp) -> str:
    return value.ToJsonString()


def _scalar(value: passage_pb2.MetadataValue) -> str | float | bool | None:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
