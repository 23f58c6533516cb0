"""Drops near copies from a ranking, so that the same text under two names takes one place.

Two passages are near copies when they share nine tenths of their runs of three words (Broder, "On the resemblance and
containment of documents", 1997).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from services.retriever.analysis.words import is_unspaced, one_form, words

T = TypeVar("T")

RESEMBLANCE = 0.9
"""Shared runs by all runs of both. Neighbours of one document overlap far less."""
_RUN = 3
_MAX_CHARS = 8_192


def without_near_copies(ranked: Iterable[T], text: Callable[[T], str]) -> Iterator[T]:
    """Yield the items of a ranking, without those whose text is nearly that of one before. Lazy: take what is needed."""
    seen: list[frozenset[int]] = []
    holders: dict[int, list[int]] = defaultdict(list)
    for item in ranked:
        runs = _runs(text(item))
        rarest = _rarest(runs)
        near = {number for run in rarest for number in holders.get(run, ())}
        if any(_resemblance(runs, seen[number]) >= RESEMBLANCE for number in near):
            continue
        for run in rarest:
            holders[run].append(len(seen))
        seen.append(runs)
        yield item


def _runs(text: str) -> frozenset[int]:
    found = words(one_form(text[:_MAX_CHARS]))
    if not text.isascii() and any(map(is_unspaced, found)):
        found = [part for word in found for part in (word if is_unspaced(word) else (word,))]
    if not found:  # nothing but signs: only the very same is a copy
        return frozenset((hash(text),))
    if len(found) < _RUN:
        return frozenset((hash(tuple(found)),))
    return frozenset(map(hash, zip(*(found[at:] for at in range(_RUN)), strict=False)))


def _rarest(runs: frozenset[int]) -> list[int]:
    """The first runs in an order that all texts share: of two near copies at least one is the same (Bayardo et al., 2007)."""
    return sorted(runs)[: len(runs) - int(RESEMBLANCE * len(runs)) + 1]


def _resemblance(one: frozenset[int], other: frozenset[int]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
