"""Which index is in use."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from rag.runtime.errors import RagError, Unavailable
from services.retriever.opening import Index


class Collection(Protocol):
    """What is known of every collection."""

    @property
    def index(self) -> Index:
        """Which one it is."""


C = TypeVar("C", bound=Collection)


class Indexes(Generic[C]):
    """Hands out the collection that searches and writes use now. Ask for it once per look, and stay with it."""

    def __init__(self) -> None:
        self._live: C | None = None
        self._refusal: RagError | None = None

    def live(self) -> C:
        """Return the live collection.

        Raises:
            Unavailable: INDEX_NOT_OPEN.
            FailedPrecondition: INDEX_FORMAT, when it was made by a release that wrote other rows.
        """
        if self._live is None:
            message = "The index is not open yet: it waits for the embedder or for Milvus."
            raise self._refusal or Unavailable(message, "INDEX_NOT_OPEN")
        return self._live

    def name(self) -> str:
        """Return the name of the live collection, empty while there is none."""
        return self._live.index.collection if self._live else ""

    def use(self, collection: C) -> None:
        """Use this collection from now on."""
        self._live = collection

    def report(self, error: RagError) -> None:
        """Take note of why there is none; what a retry does not heal is told to callers."""
        self._refusal = None if isinstance(error, Unavailable) else error
