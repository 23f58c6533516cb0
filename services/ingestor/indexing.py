"""What is said to the index, and what it promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.passage import Passage
from rag.vectors import Vectors
from services.ingestor.jobs import Upload


@dataclass(frozen=True, slots=True)
class Target:
    """The version that is written, who writes it, and the model whose vectors it holds."""

    upload: Upload
    fence: int
    """The lease's: of two writers of the same upload, the one with the older fence is refused."""
    fingerprint: str
    media_type: str
    """What the document is, as its reader knows it."""
    found: Mapping[str, str]
    """What the document says about itself. The client's own metadata goes before it."""
    title: str
    """The title that the vectors were made with."""
    model: str
    revision: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages with one vector each, in the document's order."""

    passages: Sequence[Passage]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a version: it becomes live."""

    passage_count: int
    page_count: int
    title: str


@dataclass(frozen=True, slots=True)
class Written:
    """How many passages are written; `version` is 0 until they are live."""

    passages: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Live:
    """The version of a document that readers see."""

    version: int
    fingerprint: str
    """What it was made from; empty when nobody said."""


class PassageIndex(Protocol):
    """Writes versions of documents. Nothing is visible before the commit, and without one nothing stays.

    Raises `Unavailable` and its like when it is away.
    """

    def write(self, target: Target, parts: AsyncIterator[Batch | Commit]) -> AsyncGenerator[Written, None]:
        """Write the parts as they come; the last one is a `Commit`, the last answer holds the version.

        Raises `Conflict` when later content is live, the document was deleted since, or a newer fence has opened.
        """
        ...

    async def live(self, document_id: str) -> Live | None:
        """The live version of a document; None when it has none."""
        ...

    async def revoke(self, document_id: str, accepted_us: int) -> int:
        """Refuse every version of one upload from now on; the version when it is live already, else 0."""
        ...
