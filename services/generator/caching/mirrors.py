"""What a process knows of the questions that were answered: a bounded copy, brought up to date with what is new."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rag.vectors import Vectors

MAX_QUESTIONS = 1_000
"""Of one space: the newest are kept."""
_MAX_BYTES = 48 << 20
"""Of all spaces together: 20,000 questions with vectors of the local model."""
_TEXT_BYTES = 1_000
"""Taken for what a question takes beside its vector."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A question that was answered."""

    id: str
    """Given by the store: milliseconds since 1970, a hyphen, a number. They grow."""
    key: str
    """Where its answer is kept."""
    question: str
    vector: Vectors
    """Shape (dimension,), of length 1."""


@dataclass(frozen=True, slots=True)
class Update:
    """What is new in the store."""

    after: str
    """The id of the last question that was known, empty for none."""
    oldest: str
    """The id of the oldest question that is kept, empty when there is none at all."""
    noted: Sequence[Noted]


@dataclass(frozen=True, slots=True)
class Mirror:
    """The questions of one space, oldest first."""

    noted: tuple[Noted, ...] = ()
    matrix: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """Shape (len(noted), dimension): the vectors of `noted`, which are its rows."""

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return self.matrix.nbytes + _TEXT_BYTES * len(self.noted)

    def nearest(self, vector: Vectors, least: float, count: int) -> Iterator[Noted]:
        """Return the questions at least so similar, the nearest first, at most `count` of them.

        Args:
            vector: Shape (dimension,), of length 1.
            least: The least cosine similarity.
            count: The most that are returned.
        """
        if not self.noted or self.matrix.shape[1] != vector.shape[0]:
            return
        similarities = self.matrix @ vector
        near = np.flatnonzero(similarities >= least)
        for at in near[np.argsort(-similarities[near], kind="stable")][:count]:
            yield self.noted[at]


class Mirrors:
    """The mirrors of all tenants and spaces; those used longest ago go when there is no room.

    Args:
        max_bytes: The most that they take together.
        clock: Seconds since 1970.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._mirrors: OrderedDict[tuple[str, str], Mirror] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return self._bytes

    def last(self, tenant: str, space: str) -> str:
        """Return the id of the newest question known, empty for none."""
        mirror = self._mirrors.get((tenant, space))
        return mirror.noted[-1].id if mirror and mirror.noted else ""

    def updated(self, tenant: str, space: str, update: Update, ttl_s: int) -> Mirror:
        """Return the questions of a space with what is new, without what the store has no more or is older than `ttl_s` seconds.

        Two look-ups at once may bring the same: each question is taken once, and of those with one key the newest.
        """
        before = self._mirrors.pop((tenant, space), Mirror())
        self._bytes -= before.bytes
        after = self._merged(before, update, ttl_s)
        # A mirror dropped since `update` was asked for lacks what came before it, and must be fetched whole the next time.
        has_all = not update.after or (before.noted and place(before.noted[-1].id) >= place(update.after))
        if after.noted and has_all:
            self._mirrors[tenant, space] = after
            self._bytes += after.bytes
        while self._bytes > self._max_bytes:
            _, dropped = self._mirrors.popitem(last=False)
            self._bytes -= dropped.bytes
        return after

    def _merged(self, before: Mirror, update: Update, ttl_s: int) -> Mirror:
        oldest = max(place(update.oldest), (int((self._clock() - ttl_s) * 1_000), 0)) if update.oldest else None
        last = place(before.noted[-1].id) if before.noted else (0, 0)
        new = [noted for noted in update.noted if place(noted.id) > last]
        if not new and oldest is not None and before.noted and place(before.noted[0].id) >= oldest:
            return before
        by_key: dict[str, Noted] = {}
        for noted in (*before.noted, *new):
            if oldest is not None and place(noted.id) >= oldest:
                by_key.pop(noted.key, None)
                by_key[noted.key] = noted
        return _mirror(list(by_key.values())[-MAX_QUESTIONS:])


def _mirror(kept: Sequence[Noted]) -> Mirror:
    if not kept:
        return Mirror()
    # What has another shape was not noted by a service like this one.
    kept = [noted for noted in kept if noted.vector.shape == kept[-1].vector.shape]
    matrix = np.stack([noted.vector for noted in kept])
    return Mirror(tuple(replace(noted, vector=row) for noted, row in zip(kept, matrix, strict=True)), matrix)


def place(noted_id: str) -> tuple[int, int]:
    """Return what ids are ordered by."""
    milliseconds, _, number = noted_id.partition("-")
    return int(milliseconds), int(number)
