"""The catalogue: which documents exist, and which version of each is live. What it does not name does not exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.ids import check_id
from rag.paging import decode_token, encode_token, page_size
from rag.passage import Passage
from rag.runtime.errors import Conflict, InvalidInput, NotFound
from services.retriever.passages import Scalar

_INT64 = 2**63
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Document:
    """The live version of a document; times are milliseconds since 1970."""

    id: str
    version: int
    name: str
    title: str
    media_type: str
    content_hash: str
    size_bytes: int
    page_count: int
    passage_count: int
    metadata: Mapping[str, Scalar]
    created_ms: int
    updated_ms: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some documents, newest first, and the token of those after them (empty at the end)."""

    documents: Sequence[Document]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class PassagePage:
    """Some passages in their order, and the token of those after them (empty at the end)."""

    passages: Sequence[Passage]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Stored:
    """How many documents are live, and how many bytes were uploaded for them."""

    documents: int
    bytes: int


class Documents(Protocol):
    """The entries of the catalogue. A tenant never sees another one's."""

    async def get(self, tenant: str, document_id: str) -> Document | None:
        """Return the live version, None when there is none."""

    async def newest(self, tenant: str, before: int | None, limit: int) -> Sequence[tuple[int, Document]]:
        """Return documents with the number of their commit, newest first, only those committed before `before`."""

    async def stored(self, tenant: str) -> Stored:
        """Return how much a tenant stores."""


class Passages(Protocol):
    """Reads passages back."""

    async def passages(self, tenant: str, document_id: str, version: int, first: int, limit: int) -> list[Passage]:
        """Return up to `limit` passages of one version from the ordinal `first` on, in their order."""


class Catalogue:
    """Lists and shows documents."""

    def __init__(self, documents: Documents, live: Callable[[], Passages]) -> None:
        self._documents = documents
        self._live = live

    async def list(self, tenant: str, requested: int, page_token: str) -> DocumentPage:
        """Return one page of a tenant's documents, newest first.

        Raises:
            InvalidInput: BAD_PAGE_SIZE, BAD_PAGE_TOKEN.
        """
        size = page_size(requested)
        before = int(decode_token(page_token, int)[0]) if page_token else None
        found = await self._documents.newest(tenant, before, size + 1)
        token = encode_token(found[size - 1][0]) if len(found) > size else ""
        return DocumentPage([document for _, document in found[:size]], token)

    async def get(self, tenant: str, document_id: str) -> Document:
        """Return one document.

        Raises:
            InvalidInput: BAD_ID.
            NotFound: DOCUMENT_NOT_FOUND, for another tenant's document too.
        """
        document = await self._documents.get(tenant, check_id(document_id, "document_id"))
        if document is None:
            raise not_found(document_id)
        return document

    async def stored(self, tenant: str) -> Stored:
        """Return how much a tenant stores."""
        return await self._documents.stored(tenant)

    async def passages(self, tenant: str, document_id: str, requested: int, page_token: str) -> PassagePage:
        """Return one page of the passages of a document's live version.

        Raises:
            InvalidInput: BAD_ID, BAD_PAGE_SIZE, BAD_PAGE_TOKEN.
            NotFound: DOCUMENT_NOT_FOUND.
            Conflict: DOCUMENT_CHANGED when the pages before were of another version.
        """
        size = page_size(requested)
        wanted = _position(page_token) if page_token else None
        for _ in range(_TRIES):
            document = await self.get(tenant, document_id)
            version, first = wanted or (document.version, 0)
            last = min(first + size, document.passage_count)
            count = max(last - first, 0)
            passages = await self._live().passages(tenant, document_id, version, first, count) if count else []
            # Read after the passages: a version that is live now was whole while they were read.
            if version == (await self.get(tenant, document_id)).version:
                return PassagePage(passages, encode_token(version, last) if last < document.passage_count else "")
            if wanted:
                break
        raise Conflict("The document changed while its passages were listed; start again.", "DOCUMENT_CHANGED")


def _position(page_token: str) -> tuple[int, int]:
    version, first = map(int, decode_token(page_token, int, int))
    if not (0 < version < _INT64 and 0 <= first < _INT64):
        raise InvalidInput("page_token is not one that this server gave out.", "BAD_PAGE_TOKEN")
    return version, first


def not_found(document_id: str) -> NotFound:
    """Return the error for a document that is not there, or is another tenant's: both read the same."""
    return NotFound("There is no such document.", "DOCUMENT_NOT_FOUND", document_id=document_id)
