"""The parts of an indexing stream, and what makes each of them well formed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rag.ids import check_id
from rag.passage import Passage
from rag.runtime.errors import InvalidInput
from rag.vectors import Vectors, unpack
from services.retriever.passages import Model, Scalar

MAX_BATCH = 500
MAX_TEXT_BYTES = 16 * 1024
MAX_HEADING_BYTES = 4 * 1024
MAX_NAME = 4_096
MAX_FINGERPRINT = 128
MAX_ORDER = 2**53
"""Scripts of Redis count in doubles."""
_INT64 = 2**63
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Header:
    """What will be indexed, and the model that made the vectors."""

    document_id: str
    name: str
    media_type: str
    content_hash: str
    size_bytes: int
    metadata: Mapping[str, Scalar]
    model: Model
    accepted_us: int = 0
    """When the content was accepted, in microseconds since 1970; 0 for now."""
    fence: int = 0
    """Grows with every writer that takes up the same work."""
    fingerprint: str = ""
    title: str = ""
    """The title known before the first passage; the vectors were made with it."""


@dataclass(frozen=True, slots=True)
class Passages:
    """Some passages as they were sent, and their vectors as bytes."""

    passages: Sequence[Passage]
    vectors: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Some checked passages, their vectors of shape (len(passages), dimension), and the title they stand under."""

    passages: Sequence[Passage]
    vectors: Vectors
    title: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """Make the version live. `passage_count` is how many passages were sent."""

    passage_count: int
    page_count: int
    title: str


Part = Header | Passages | Commit


def check_header(header: Header) -> Header:
    """Return `header` when it is well formed.

    Raises:
        InvalidInput: BAD_ID, BAD_NAME, BAD_TITLE, BAD_MEDIA_TYPE, BAD_CONTENT_HASH, BAD_SIZE, BAD_FINGERPRINT, BAD_ORDER.
    """
    check_id(header.document_id, "document_id")
    require(len(header.name) <= MAX_NAME, "BAD_NAME", f"The name must be at most {MAX_NAME} characters.")
    require(len(header.title) <= MAX_NAME, "BAD_TITLE", f"The title must be at most {MAX_NAME} characters.")
    require(len(header.media_type) <= 255, "BAD_MEDIA_TYPE", "The media type must be at most 255 characters.")
    well_formed = _SHA256.fullmatch(header.content_hash) is not None
    require(well_formed, "BAD_CONTENT_HASH", "The content hash must be a SHA-256 in lower-case hex.")
    require(header.size_bytes < _INT64, "BAD_SIZE", "The size is out of range.")
    message = f"The fingerprint must be at most {MAX_FINGERPRINT} characters."
    require(len(header.fingerprint) <= MAX_FINGERPRINT, "BAD_FINGERPRINT", message)
    require(max(header.accepted_us, header.fence) < MAX_ORDER, "BAD_ORDER", "accepted_us or fence is out of range.")
    return header


def check_passages(sent: Passages, header: Header, version: int, written: int) -> Batch:
    """Return the passages with document and version filled in, when they continue the `written` ones before them.

    Raises:
        InvalidInput: BAD_BATCH_SIZE, BAD_VECTORS, VECTOR_COUNT, VECTOR_NOT_FINITE, VECTOR_ZERO, or as _check_passage.
    """
    count = len(sent.passages)
    require(1 <= count <= MAX_BATCH, "BAD_BATCH_SIZE", f"A message carries 1 to {MAX_BATCH} passages, not {count}.")
    vectors = unpack(sent.vectors, header.model.dimension)
    require(len(vectors) == count, "VECTOR_COUNT", f"{count} passages came with {len(vectors)} vectors.")
    require(bool(np.isfinite(vectors).all()), "VECTOR_NOT_FINITE", "A vector holds a number that is not finite.")
    require(bool(vectors.any(axis=1).all()), "VECTOR_ZERO", "A vector is all zeros: it has no direction.")
    for ordinal, passage in enumerate(sent.passages, start=written):
        _check_passage(passage, ordinal)
    document_id = header.document_id
    passages = [replace(passage, document_id=document_id, version=version) for passage in sent.passages]
    return Batch(passages, vectors, header.title)


def check_commit(commit: Commit, written: int) -> Commit:
    """Return `commit` when it fits what was written.

    Raises:
        InvalidInput: PASSAGE_COUNT, NO_PASSAGES, BAD_TITLE.
    """
    message = f"The commit counts {commit.passage_count} passages, {written} were written."
    require(commit.passage_count == written, "PASSAGE_COUNT", message)
    require(written > 0, "NO_PASSAGES", "A document needs at least one passage.")
    require(len(commit.title) <= MAX_NAME, "BAD_TITLE", f"The title must be at most {MAX_NAME} characters.")
    return commit


def _check_passage(passage: Passage, ordinal: int) -> None:
    at = f"Passage {ordinal}"
    check_id(passage.id, "passage.id")
    message = f"{at} has the ordinal {passage.ordinal}: they must count up from 0 without a gap."
    require(passage.ordinal == ordinal, "BAD_ORDINAL", message)
    require(bool(passage.text.strip()), "EMPTY_PASSAGE", f"{at} has no text.")
    fits = len(passage.text.encode()) <= MAX_TEXT_BYTES
    require(fits, "PASSAGE_TOO_LONG", f"{at} has more than {MAX_TEXT_BYTES} bytes of text.")
    fits = len(passage.heading.encode()) <= MAX_HEADING_BYTES
    require(fits, "HEADING_TOO_LONG", f"{at} has a heading of more than {MAX_HEADING_BYTES} bytes.")
    require(passage.char_start <= passage.char_end < _INT64, "BAD_SPAN", f"{at} ends before it starts.")


def require(holds: bool, reason: str, message: str) -> None:  # noqa: FBT001 - reads as a sentence at every call
    """Raise InvalidInput with `reason` unless it holds."""
    if not holds:
        raise InvalidInput(message, reason)
