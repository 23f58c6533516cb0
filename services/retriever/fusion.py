"""Reciprocal rank fusion: one ranking from several, by ranks alone (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
CONSTANT = 60


def fuse(rankings: Sequence[Sequence[K]], constant: int = CONSTANT) -> list[tuple[K, float]]:
    """Return every item once with its fused score, best first.

    An item's score is the sum over the rankings that hold it of 1 / (constant + rank), ranks counted from 1. Scores
    of different legs are never compared, so it does not matter how far apart they lie. Of two items with equal scores the
    one that an earlier ranking placed first comes first, so the order is the same each time.

    Args:
        rankings: Each without repetition, best first.
        constant: The larger, the less the first places count over the next ones.
    """
    scores: dict[K, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (constant + rank)
    return sorted(scores.items(), key=lambda entry: -entry[1])
