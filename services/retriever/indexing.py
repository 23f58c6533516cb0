"""Indexing: one version of a document, written passage by passage, visible in one step or never."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rag.ids import check_id
from rag.passage import Passage
from rag.runtime.errors import InvalidInput
from rag.runtime.logs import get_logger
from rag.vectors import Vectors, unpack
from services.retriever.catalogue import Document, Wake
from services.retriever.passages import Model, Scalar, check_model

MAX_BATCH = 500
MAX_TEXT_BYTES = 16 * 1024
MAX_HEADING_BYTES = 4 * 1024
MAX_NAME = 4_096
_INT64 = 2**63
_SHA256 = re.compile(r"[0-9a-f]{64}")

log = get_logger(__name__)


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


@dataclass(frozen=True, slots=True)
class Passages:
    """Some passages as they were sent, and their vectors as bytes."""

    passages: Sequence[Passage]
    vectors: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Some checked passages and their vectors, shape (len(passages), dimension)."""

    passages: Sequence[Passage]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Commit:
    """Make the version live. `passage_count` is how many passages were sent."""

    passage_count: int
    page_count: int
    title: str


@dataclass(frozen=True, slots=True)
class Written:
    """How many passages were written so far."""

    passages: int


Part = Header | Passages | Commit


class Versions(Protocol):
    """The versions of documents. They only grow, also over a deletion."""

    async def open(self, tenant: str, document_id: str) -> int:
        """Return the number of a new version. One that is neither committed nor abandoned is erased after a while."""

    async def commit(self, tenant: str, header: Header, version: int, commit: Commit) -> Document:
        """Make a version live in one step and queue the erasure of those before it.

        Raises Conflict (VERSION_SUPERSEDED) when a later version is live already, the document was deleted since the version
        was opened, or the version was given up.
        """

    async def abandon(self, tenant: str, document_id: str, version: int) -> None:
        """Queue the erasure of exactly this version, unless it was committed."""


class PassageWriter(Protocol):
    """Writes passages. What it has acknowledged survives a crash of the index."""

    async def model(self) -> Model:
        """Return the model whose vectors the index holds; Unavailable while the index is not open."""

    async def write(self, tenant: str, batch: Batch, metadata: Mapping[str, Scalar]) -> None:
        """Write a batch; doing it twice has the effect of doing it once."""


class Indexing:
    """Writes versions of documents."""

    def __init__(self, versions: Versions, index: PassageWriter, erasure: Wake) -> None:
        self._versions = versions
        self._index = index
        self._erasure = erasure

    async def index(self, tenant: str, parts: AsyncIterator[Part]) -> AsyncGenerator[Written | Document, None]:
        """Take a header, batches and a commit; yield progress after each batch, then the committed document.

        Raises:
            InvalidInput: for anything wrong with a part or with the order of the parts.
            FailedPrecondition: MODEL_MISMATCH.
            Unavailable: INDEX_NOT_OPEN, or the index or the catalogue is away.
            Conflict: VERSION_SUPERSEDED.
        """
        header = check_header(await _first(parts))
        check_model(header.model, await self._index.model())
        version = await self._versions.open(tenant, header.document_id)
        committed = False
        written = 0
        try:
            async for part in parts:
                match part:
                    case Passages():
                        batch = check_passages(part, header, version, written)
                        await self._index.write(tenant, batch, header.metadata)
                        written += len(batch.passages)
                        yield Written(written)
                    case Commit():
                        document = await self._versions.commit(tenant, header, version, check_commit(part, written))
                        committed = True
                        self._erasure.wake()
                        yield document
                        return
                    case Header():
                        raise InvalidInput("The stream has a second header.", "SECOND_HEADER")
            raise InvalidInput("The stream ended without a commit.", "NO_COMMIT")
        finally:
            if not committed:
                await asyncio.shield(self._abandon(tenant, header.document_id, version))

    async def _abandon(self, tenant: str, document_id: str, version: int) -> None:
        try:
            await self._versions.abandon(tenant, document_id, version)
        except Exception as error:  # noqa: BLE001 - the first error is the one to tell; the version's lease ends by itself
            log.warning("abandon_failed", document_id=document_id, version=version, cause=repr(error))
        self._erasure.wake()


async def _first(parts: AsyncIterator[Part]) -> Header:
    async for part in parts:
        if isinstance(part, Header):
            return part
        break
    raise InvalidInput("The stream must begin with a header.", "NO_HEADER")


def check_header(header: Header) -> Header:
    """Return `header` when it is well formed.

    Raises:
        InvalidInput: BAD_ID, BAD_NAME, BAD_MEDIA_TYPE, BAD_CONTENT_HASH, BAD_SIZE.
    """
    check_id(header.document_id, "document_id")
    _require(len(header.name) <= MAX_NAME, "BAD_NAME", f"The name must be at most {MAX_NAME} characters.")
    _require(len(header.media_type) <= 255, "BAD_MEDIA_TYPE", "The media type must be at most 255 characters.")
    well_formed = _SHA256.fullmatch(header.content_hash) is not None
    _require(well_formed, "BAD_CONTENT_HASH", "The content hash must be a SHA-256 in lower-case hex.")
    _require(header.size_bytes < _INT64, "BAD_SIZE", "The size is out of range.")
    return header


def check_passages(sent: Passages, header: Header, version: int, written: int) -> Batch:
    """Return the passages with document and version filled in, when they continue the `written` ones before them.

    Raises:
        InvalidInput: BAD_BATCH_SIZE, BAD_VECTORS, VECTOR_COUNT, VECTOR_NOT_FINITE, VECTOR_ZERO, or as _check_passage.
    """
    count = len(sent.passages)
    _require(1 <= count <= MAX_BATCH, "BAD_BATCH_SIZE", f"A message carries 1 to {MAX_BATCH} passages, not {count}.")
    vectors = unpack(sent.vectors, header.model.dimension)
    _require(len(vectors) == count, "VECTOR_COUNT", f"{count} passages came with {len(vectors)} vectors.")
    _require(bool(np.isfinite(vectors).all()), "VECTOR_NOT_FINITE", "A vector holds a number that is not finite.")
    _require(bool(vectors.any(axis=1).all()), "VECTOR_ZERO", "A vector is all zeros: it has no direction.")
    for ordinal, passage in enumerate(sent.passages, start=written):
        _check_passage(passage, ordinal)
    document_id = header.document_id
    return Batch([replace(passage, document_id=document_id, version=version) for passage in sent.passages], vectors)


def check_commit(commit: Commit, written: int) -> Commit:
    """Return `commit` when it fits what was written.

    Raises:
        InvalidInput: PASSAGE_COUNT, NO_PASSAGES, BAD_TITLE.
    """
    message = f"The commit counts {commit.passage_count} passages, {written} were written."
    _require(commit.passage_count == written, "PASSAGE_COUNT", message)
    _require(written > 0, "NO_PASSAGES", "A document needs at least one passage.")
    _require(len(commit.title) <= MAX_NAME, "BAD_TITLE", f"The title must be at most {MAX_NAME} characters.")
    return commit


def _check_passage(passage: Passage, ordinal: int) -> None:
    at = f"Passage {ordinal}"
    check_id(passage.id, "passage.id")
    message = f"{at} has the ordinal {passage.ordinal}: they must count up from 0 without a gap."
    _require(passage.ordinal == ordinal, "BAD_ORDINAL", message)
    _require(bool(passage.text.strip()), "EMPTY_PASSAGE", f"{at} has no text.")
    fits = len(passage.text.encode()) <= MAX_TEXT_BYTES
    _require(fits, "PASSAGE_TOO_LONG", f"{at} has more than {MAX_TEXT_BYTES} bytes of text.")
    fits = len(passage.heading.encode()) <= MAX_HEADING_BYTES
    _require(fits, "HEADING_TOO_LONG", f"{at} has a heading of more than {MAX_HEADING_BYTES} bytes.")
    _require(passage.char_start <= passage.char_end < _INT64, "BAD_SPAN", f"{at} ends before it starts.")


def _require(holds: bool, reason: str, message: str) -> None:  # noqa: FBT001 - reads as a sentence at every call
    if not holds:
        raise InvalidInput(message, reason)
