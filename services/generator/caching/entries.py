"""What is kept of an answer, and the state of the catalogue that it goes with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.generator.events import Checks, Citation, FinishReason, Source, Token

Version = tuple[str, int]
"""A document's id and its version."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The state of a tenant's catalogue at one moment."""

    index: str
    """Names the index in use, and the run of its store: versions and counts of two indexes are not compared."""
    state: str
    """The same for as long as nothing is committed or deleted."""
    commits: int
    """How many commits there had been."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Where the answer to a question is kept, what is there, and the state of the catalogue before anything was searched."""

    key: str
    """Stands for all that the answer depends on, beside tenant and documents."""
    bucket: str
    """As the key, without the words of the question."""
    stamp: Stamp
    kept: Kept | None = None
    epoch: str = ""
    """Another one since all answers of the tenant were forgotten."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as it was given."""

    searched_for: str
    """The text that the sources were found with."""
    sources: tuple[Source, ...]
    pieces: tuple[Token | Citation, ...]
    model: str
    provider: str
    reason: FinishReason
    checks: Checks
    stamp: Stamp
    """The state in which nothing that was found since has made another answer of it."""

    def versions(self) -> frozenset[Version]:
        """Return the versions of the documents that it was made from."""
        return versions_of(self.sources)


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry as it was read; `mark` tells it from others under the same key."""

    entry: Entry
    mark: str


def versions_of(sources: Iterable[Source]) -> frozenset[Version]:
    """Return the versions of the documents that passages are of."""
    return frozenset((source.passage.document_id, source.passage.version) for source in sources)
