"""What the parser child says to its parent: JSON behind a length of four bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

from services.ingestor.pages import Opening, Page

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A part of a page takes far less, even if each character needs six bytes and an escape."""

Frame = dict[str, Any]


def encode(kind: str, **fields: object) -> bytes:
    """A frame of one kind: `item`s, then `end` or `error`."""
    body = json.dumps({"kind": kind, **fields}, ensure_ascii=False, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def encode_item(item: Opening | Page) -> bytes:
    """The frame of an item."""
    if isinstance(item, Opening):
        return encode("opening", pages_total=item.pages_total, title=item.title)
    return encode("page", number=item.number, text=item.text, continues=item.continues, skipped=item.skipped)


def checked(size: int) -> int:
    """The size of a frame. Raises ValueError for one that is too long to be one."""
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"frame of {size} bytes")
    return size


def decode(body: bytes) -> Frame:
    """The fields of a frame. Raises ValueError for what is not one."""
    frame = json.loads(body)
    if not isinstance(frame, dict) or "kind" not in frame:
        raise ValueError("not a frame")
    return frame


def item_of(frame: Frame) -> Opening | Page | None:
    """The item in a frame; None when it holds none."""
    if frame["kind"] == "opening":
        return Opening(int(frame["pages_total"]), str(frame["title"]))
    if frame["kind"] == "page":
        return Page(int(frame["number"]), str(frame["text"]), bool(frame["continues"]), bool(frame["skipped"]))
    return None
