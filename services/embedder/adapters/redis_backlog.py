"""What could not be written to Redis yet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from services.embedder import metrics
from services.embedder.caching import Claim, Document

_ENTRY_BYTES = 600
_CLAIM_BYTES = 250
"""What an entry takes besides its numbers, and what a claimed key takes. Measured, rounded up."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A vector as it is written."""

    key: str
    value: bytes
    asked_by: frozenset[Document | None]


class Backlog:
    """Vectors and claims in memory, bounded in bytes: the oldest vectors are dropped, then the oldest claims.

    Args:
        limit_bytes: How much memory it may take.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._claims: OrderedDict[Document, set[str]] = OrderedDict()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries or self._claims)

    def value(self, key: str) -> bytes | None:
        """Return the bytes of a vector that waits here."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def add(self, entries: Iterable[Entry]) -> None:
        """Keep vectors for later."""
        for entry in entries:
            self._remove(entry.key)
            self._entries[entry.key] = entry
            self.size_bytes += len(entry.value) + _ENTRY_BYTES
        self._shrink()

    def claim(self, claim: Claim) -> None:
        """Keep a claim for later."""
        known = self._claims.setdefault(claim.document, set())
        before = len(known)
        known.update(claim.keys)
        self.size_bytes += _CLAIM_BYTES * (len(known) - before)
        self._shrink()

    def claims(self) -> Sequence[Claim]:
        """Return the claims that wait, as they are now."""
        return [Claim(document, tuple(keys)) for document, keys in self._claims.items()]

    def oldest(self, count: int) -> Sequence[Entry]:
        """Return the vectors that are next."""
        return list(islice(self._entries.values(), count))

    def written(self, entries: Iterable[Entry]) -> None:
        """Let go of vectors that are in Redis now."""
        for entry in entries:
            if self._entries.get(entry.key) is entry:
                self._remove(entry.key)

    def noted(self, claims: Iterable[Claim]) -> None:
        """Let go of claims that are in Redis now."""
        for claim in claims:
            keys = self._claims.get(claim.document, set())
            self.size_bytes -= _CLAIM_BYTES * len(keys.intersection(claim.keys))
            keys.difference_update(claim.keys)
            if not keys:
                self._claims.pop(claim.document, None)

    def put_last(self, entries: Iterable[Entry]) -> None:
        """Let others go first."""
        for entry in entries:
            if entry.key in self._entries:
                self._entries.move_to_end(entry.key)

    def drop(self, document: Document) -> None:
        """Forget what only this document asked for, and its claims."""
        keys = self._claims.pop(document, set())
        self.size_bytes -= _CLAIM_BYTES * len(keys)
        for entry in list(self._entries.values()):
            if entry.asked_by == {document}:
                self._remove(entry.key)

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= len(entry.value) + _ENTRY_BYTES

    def _shrink(self) -> None:
        while self.size_bytes > self._limit_bytes and self._entries:
            self._remove(next(iter(self._entries)))
            metrics.UNWRITTEN.inc()
        while self.size_bytes > self._limit_bytes:
            _, keys = self._claims.popitem(last=False)
            self.size_bytes -= _CLAIM_BYTES * len(keys)
            metrics.UNWRITTEN.inc(len(keys))
