"""What the ingestor and its parser children say to each other: a request, then JSON behind a length of four bytes."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from typing import Any

from services.ingestor.pages import Opening, Page

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A part of a page takes far less, even if each character needs six bytes and an escape."""

OUT_OF_MEMORY = 70
"""Exit status of a child that ran into its memory limit."""
NO_READER = 71
"""Exit status told for a child that could not be started, since its reader does not load."""
NO_CHILD = 72
"""Exit status told for a child that could not be started, since the machine has no room for it."""

SLOW_DOWN = b"n"
"""Asks the server to let everybody else go before the child."""

Frame = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What one document may cost.

    Its child may take `memory_bytes` of address space beside what it begins with, and `cpu_s` seconds of CPU time; each item
    that it sends grants it `cpu_page_s` more, up to `cpu_most_s` in all. `wait_s` is the longest that it may keep us waiting
    for one item, `life_s` the longest that it may live, both by a clock on the wall.
    """

    memory_bytes: int
    cpu_s: float
    cpu_page_s: float
    cpu_most_s: int
    wait_s: float
    life_s: int


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One document to read."""

    media_type: str
    path: str
    limits: ReaderLimits
    password: str = field(default="", repr=False)

    def encode(self) -> bytes:
        """The request as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> ReadRequest:
        """The request in a line."""
        fields = json.loads(line)
        return cls(**{**fields, "limits": ReaderLimits(**fields["limits"])})


def encode(kind: str, **fields: object) -> bytes:
    """A frame of one kind: `opening`, `page`s, then `end` or `error`."""
    body = json.dumps({"kind": kind, **fields}, ensure_ascii=False, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def encode_item(item: Opening | Page) -> bytes:
    """The frame of an item."""
    if isinstance(item, Opening):
        about = {"title": item.title, "metadata": dict(item.metadata), "media_type": item.media_type}
        return encode("opening", pages_total=item.pages_total, **about)
    return encode("page", number=item.number, text=item.text, continues=item.continues, skipped=item.skipped)


def checked(size: int) -> int:
    """The size of a frame. Raises ValueError for one that is too long to be one."""
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"frame of {size} bytes")
    return size


def decode(body: bytes) -> Frame:
    """The fields of a frame. Raises ValueError for what is not one."""
    frame = json.loads(body)
    if not isinstance(frame, dict) or frame.get("kind") not in {"opening", "page", "end", "error"}:
        raise ValueError("not a frame")
    return frame


def item_of(frame: Frame) -> Opening | Page | None:
    """The item in a frame; None when it holds none. Raises ValueError for one that lacks something."""
    try:
        if frame["kind"] == "opening":
            metadata = {str(key): str(value) for key, value in dict(frame["metadata"]).items()}
            return Opening(int(frame["pages_total"]), str(frame["title"]), metadata, str(frame["media_type"]))
        if frame["kind"] == "page":
            return Page(int(frame["number"]), str(frame["text"]), bool(frame["continues"]), bool(frame["skipped"]))
    except (KeyError, TypeError) as error:
        raise ValueError("not an item") from error
    return None
