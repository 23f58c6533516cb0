"""Where vectors are kept, and of whose texts they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from rag.vectors import Vectors


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a tenant. Vectors of its texts can be forgotten; those of other texts only expire."""

    tenant: str
    document_id: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Says that a document has the texts with these keys."""

    document: Document
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Computed:
    """A vector that the model gave."""

    key: str
    vector: Vectors
    """Shape (dimension,)."""
    asked_by: Collection[Document | None]
    """The documents that the text was asked for; None among them when it was asked for something else too."""


class MemoryVectors(Protocol):
    """Vectors in this process, for a short while. No method waits, so nothing happens between two of them."""

    def get(self, keys: Sequence[str], dimension: int) -> Sequence[Vectors | None]:
        """Return the vector of each key, shape (dimension,), or None; one of another length is None too."""

    def put(self, vectors: Mapping[str, Vectors]) -> None:
        """Keep the vectors."""

    def forget(self, keys: Sequence[str]) -> None:
        """Drop the vectors of these keys."""


class SharedVectors(Protocol):
    """Vectors that all embedders share.

    Reading and writing never raise: what cannot be read is a miss, what cannot be written now is written later, and lost
    only when too much waits to be written.
    """

    async def get(self, keys: Sequence[str], dimension: int, claim: Claim | None) -> Sequence[Vectors | None]:
        """Note the claim; return the vector of each key, shape (dimension,), or None."""

    async def put(self, computed: Sequence[Computed]) -> None:
        """Keep the vectors, but none of documents only that have been forgotten since they claimed it."""

    def forget(self, document: Document) -> AsyncGenerator[Sequence[str]]:
        """Drop the vectors that the document claimed, some at a time; yield their keys when they are gone.

        Raises:
            Unavailable: some may be left; repeating it drops them.
        """


@dataclass(frozen=True, slots=True)
class Found:
    """What was known."""

    vectors: dict[str, Vectors]
    from_shared: int
    """How many of them were not in memory."""


class Caches:
    """Memory first, then what all embedders share.

    Args:
        memory: Of this process.
        shared: Of all.
    """

    def __init__(self, memory: MemoryVectors, shared: SharedVectors) -> None:
        self._memory = memory
        self._shared = shared

    async def look_up(self, keys: Sequence[str], dimension: int, document: Document | None) -> Found:
        """Return the vectors that are known, and note that they are the document's before anybody hears of them."""
        found = self.remembered(keys, dimension)
        missing = [key for key in keys if key not in found]
        if not missing and not document:
            return Found(found, 0)
        claim = Claim(document, keys) if document else None
        answers = zip(missing, await self._shared.get(missing, dimension, claim), strict=True)
        new = {key: vector for key, vector in answers if vector is not None}
        self._memory.put(new)
        return Found(found | new, len(new))

    def remembered(self, keys: Sequence[str], dimension: int) -> dict[str, Vectors]:
        """Return the vectors that are in memory at this moment."""
        answers = zip(keys, self._memory.get(keys, dimension), strict=True)
        return {key: vector for key, vector in answers if vector is not None}

    async def keep(self, computed: Sequence[Computed]) -> None:
        """Keep vectors in both; in memory before anything else happens."""
        self._memory.put({one.key: one.vector for one in computed})
        await self._shared.put(computed)

    async def forget(self, document: Document) -> int:
        """Drop the vectors of a document's texts; return how many texts there were.

        Raises:
            Unavailable: some may be left; repeating it drops them.
        """
        forgotten = 0
        async with aclosing(self._shared.forget(document)) as chunks:
            async for keys in chunks:
                self._memory.forget(keys)
                forgotten += len(keys)
        return forgotten
