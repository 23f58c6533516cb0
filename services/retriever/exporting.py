"""Exporting: a tenant's documents with their passages and vectors, in the order of their ids."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.ids import check_id
from rag.runtime.errors import Conflict, Unavailable
from services.retriever.catalogue import Document
from services.retriever.opening import Index
from services.retriever.passages import Row

_ROWS_AT_ONCE = 100
"""With passages of the most bytes this stays below what one message of gRPC may hold."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class ExportedIndex:
    """What the vectors are of, and how many documents the tenant has."""

    index: Index
    documents: int


@dataclass(frozen=True, slots=True)
class ExportedDocument:
    """A live version, when its content was accepted, in microseconds since 1970, and the title its vectors were made with.

    Its rows follow.
    """

    document: Document
    accepted_us: int
    title: str


@dataclass(frozen=True, slots=True)
class ExportedRows:
    """Some rows of the document before, in their order, with vectors."""

    rows: Sequence[Row]


Exported = ExportedIndex | ExportedDocument | ExportedRows


class Accepted(Protocol):
    """The catalogue of one tenant."""

    async def ids(self, tenant: str) -> Sequence[str]:
        """Return the ids of all documents, sorted."""

    async def accepted(self, tenant: str, document_id: str) -> tuple[Document, int] | None:
        """Return the live version and when its content was accepted, None when there is none."""


class Stored(Protocol):
    """An index."""

    @property
    def index(self) -> Index:
        """What it is."""

    async def pages(
        self, tenant: str, document_id: str, version: int, first: int, limit: int, *, with_vectors: bool
    ) -> list[Row]:
        """Return up to `limit` rows of one version from the ordinal `first` on, in their order."""


class Exporting:
    """Exports what readers see. The rows of a version never change, so all of them together are always a whole version."""

    def __init__(self, catalogue: Accepted, live: Callable[[], Stored]) -> None:
        self._catalogue = catalogue
        self._live = live

    async def export(self, tenant: str, after: str) -> AsyncGenerator[Exported, None]:
        """Yield the index, then each document behind the id `after`, followed by its rows.

        A version that is replaced or deleted while it is read breaks off: the document is then sent again, in its new version,
        or the next one comes. A document counts when all its passages have followed.

        Raises:
            InvalidInput: BAD_ID.
            Conflict: INDEX_SWITCHED, DOCUMENT_RESTLESS.
            Unavailable: the index or the catalogue is away; DOCUMENT_DAMAGED when rows of a live version are missing.
        """
        if after:
            check_id(after, "after_document_id")
        live = self._live()
        ids = await self._catalogue.ids(tenant)
        yield ExportedIndex(live.index, len(ids))
        for document_id in ids[bisect_right(ids, after) :]:
            async for part in self._document(live, tenant, document_id):
                yield part

    async def _document(self, live: Stored, tenant: str, document_id: str) -> AsyncGenerator[Exported, None]:
        seen = 0
        for _ in range(_TRIES):
            found = await self._catalogue.accepted(tenant, document_id)
            if found is None:
                return
            document, accepted_us = found
            if document.version == seen:
                self._check_live(live)
                raise Unavailable("Passages of a document are missing in the index.", "DOCUMENT_DAMAGED")
            seen = document.version
            read = 0
            while rows := await self._rows(live, tenant, document, read):
                if not read:
                    yield ExportedDocument(document, accepted_us, rows[0].title)
                yield ExportedRows(rows)
                read += len(rows)
            if read == document.passage_count:
                return
        raise Conflict("A document changes all the time; export it again later.", "DOCUMENT_RESTLESS")

    async def _rows(self, live: Stored, tenant: str, document: Document, first: int) -> Sequence[Row]:
        """Return the next rows of a version; none at its end, or when it was replaced or deleted since."""
        whole = min(_ROWS_AT_ONCE, document.passage_count - first)
        if not whole:
            return []
        rows = await live.pages(tenant, document.id, document.version, first, _ROWS_AT_ONCE, with_vectors=True)
        return rows if [row.passage.ordinal for row in rows] == list(range(first, first + whole)) else []

    def _check_live(self, live: Stored) -> None:
        if self._live() is not live:
            message = "Another index went live during the export; begin a new one."
            raise Conflict(message, "INDEX_SWITCHED")
