"""What became of documents: for those who keep something that was made from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.catalogue_state import run_of
from rag.ids import check_id
from rag.runtime.errors import InvalidInput
from services.retriever.opening import Index
from services.retriever.retrieval.ranking import VERSION

MAX_VERSIONS = 100
MOST_COMMITTED = 100

Version = tuple[str, int]
"""A document's id and its version."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the catalogue says, all of one moment."""

    state: str
    """Another one after each commit and each deletion, and in each run of the store; see `rag.catalogue_state`."""
    commits: int
    gone: Sequence[Version]
    committed: Sequence[str]
    """Live documents, newest first, at most as many as were asked for."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The state of a tenant's documents, and what became of some."""

    index: str
    """Another one when passages are found in another way, or when nothing from before can be compared."""
    state: str
    commits: int
    gone: Sequence[Version]
    committed: Sequence[str]
    has_more: bool


class Documents(Protocol):
    """The catalogue."""

    async def check(self, tenant: str, versions: Collection[Version], since: int | None, limit: int) -> Reading:
        """Return the state, those of the versions that are not live, and the documents committed after `since` commits.

        All of it is read in one step. Without `since` no documents are told.
        """


class Checking:
    """Tells what became of documents.

    Args:
        documents: The catalogue.
        index: Returns the index in use.
        reranker: What ranks passages again, empty for nothing.
    """

    def __init__(self, documents: Documents, index: Callable[[], Index], reranker: str) -> None:
        self._documents = documents
        self._index = index
        self._reranker = reranker

    async def check(self, tenant: str, versions: Collection[Version], since: int | None) -> Checked:
        """Return the state of a tenant's documents and what became of these versions.

        Raises:
            InvalidInput: BAD_ID, TOO_MANY_VERSIONS.
            Unavailable: the catalogue is away, or the index is not open yet.
        """
        if len(versions) > MAX_VERSIONS:
            message = f"{len(versions)} versions are asked for; at most {MAX_VERSIONS} are allowed."
            raise InvalidInput(message, "TOO_MANY_VERSIONS", limit=str(MAX_VERSIONS))
        for document_id, _ in versions:
            check_id(document_id, "document_id")
        index = self._index()
        read = await self._documents.check(tenant, versions, since, MOST_COMMITTED + 1)
        return Checked(
            self._name(index, run_of(read.state)),
            read.state,
            read.commits,
            read.gone,
            read.committed[:MOST_COMMITTED],
            len(read.committed) > MOST_COMMITTED,
        )

    def _name(self, index: Index, run: str) -> str:
        # Versions and counts are compared within one run only: a store that lost its last writes counts the same numbers again.
        parts = [VERSION, index.collection, index.analyzer, self._reranker, run]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
