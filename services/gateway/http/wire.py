"""Protobuf messages as bytes of JSON, in the shape of `rag.json_shape`."""

from __future__ import annotations

import orjson
from google.protobuf.message import Message

from rag.json_shape import enum_names, to_json

__all__ = ["dump", "enum_names", "to_json"]


def dump(message: Message) -> bytes:
    """Return a message as one line of JSON (UTF-8)."""
    return orjson.dumps(to_json(message))
