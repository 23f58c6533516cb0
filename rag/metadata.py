"""Metadata of documents: protobuf values <-> plain Python scalars, checked once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, MutableMapping

from rag.runtime.errors import InvalidInput
from rag.v1 import passage_pb2 as pb

Scalar = str | float | bool
MAX_KEYS = 64
MAX_TEXT = 1_000
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def check_key(key: str) -> str:
    """Return `key` when it is a well-formed metadata key.

    Raises:
        InvalidInput: BAD_METADATA.
    """
    if not _KEY.fullmatch(key):
        message = "A metadata key is a letter, then letters, digits or underscores, 64 at most."
        raise InvalidInput(message, "BAD_METADATA")
    return key


def check_scalar(key: str, value: Scalar) -> Scalar:
    """Return `value` when it can be stored: a finite number, a truth value, or a text that is not too long.

    Raises:
        InvalidInput: BAD_METADATA, naming the key.
    """
    if isinstance(value, str) and (len(value) > MAX_TEXT or "\x00" in value):
        message = f"The metadata value of {key} must be at most {MAX_TEXT} characters, without NUL."
        raise InvalidInput(message, "BAD_METADATA", key=key)
    if isinstance(value, float) and not math.isfinite(value):
        message = f"The metadata value of {key} must be a finite number."
        raise InvalidInput(message, "BAD_METADATA", key=key)
    return value


def from_value(key: str, value: pb.MetadataValue) -> Scalar:
    """Return the scalar a protobuf value holds.

    Raises:
        InvalidInput: BAD_METADATA when it holds none, or one that cannot be stored.
    """
    kind = value.WhichOneof("value")
    if kind is None:
        message = f"The metadata value of {key} is not set."
        raise InvalidInput(message, "BAD_METADATA", key=key)
    scalar: Scalar = getattr(value, kind)
    return check_scalar(key, scalar)


def to_value(value: Scalar) -> pb.MetadataValue:
    """Return a scalar as a protobuf value."""
    if isinstance(value, bool):
        return pb.MetadataValue(flag=value)
    if isinstance(value, int | float):
        return pb.MetadataValue(number=value)
    return pb.MetadataValue(text=value)


def to_python(metadata: Mapping[str, pb.MetadataValue]) -> dict[str, Scalar]:
    """Return a protobuf map as a plain dictionary.

    Raises:
        InvalidInput: BAD_METADATA for a bad key or value, or more than 64 keys.
    """
    if len(metadata) > MAX_KEYS:
        message = f"A document has at most {MAX_KEYS} metadata keys."
        raise InvalidInput(message, "BAD_METADATA")
    return {check_key(key): from_value(key, value) for key, value in metadata.items()}


def to_proto(metadata: Mapping[str, Scalar], field: MutableMapping[str, pb.MetadataValue]) -> None:
    """Fill a protobuf map field from a plain dictionary."""
    for key, value in metadata.items():
        field[key].CopyFrom(to_value(value))
