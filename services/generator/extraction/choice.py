"""Which candidates make an answer together: each must add something to those that are chosen already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.generator.extraction.scoring import Weighed

MOST = 5
WORTH_SAYING = 0.4
"""A further one must be worth this share of the best one."""
SAME = 0.6
"""Two that share more than this share of their words say the same."""
NEW_TERMS = 1.0


def choose(weighed: Sequence[Weighed], weights: Mapping[str, float]) -> list[int]:
    """Return the places of at most 5 that answer a question, best first.

    Each time the one is taken that is worth most: by its score, less what it repeats, more for terms of the question that
    none of those chosen holds.
    """
    chosen: list[int] = []
    alike = [0.0] * len(weighed)
    missing = dict(weights)
    if not weights:  # no word matches: the retriever's first passage may be shown, and nothing is known of the others
        return [max(range(len(weighed)), key=lambda place: weighed[place].score)] if weighed else []
    while len(chosen) < MOST:
        best, worth = _best(weighed, alike, missing, chosen)
        if best is None or (chosen and worth < WORTH_SAYING * weighed[chosen[0]].score):
            break
        chosen.append(best)
        stems = weighed[best].stems
        missing = {term: weight for term, weight in missing.items() if term not in stems}
        for place, one in enumerate(weighed):
            alike[place] = max(alike[place], _alike(one.stems, stems))
    return chosen


def _best(
    weighed: Sequence[Weighed], alike: Sequence[float], missing: Mapping[str, float], chosen: Sequence[int]
) -> tuple[int | None, float]:
    share = sum(missing.values()) if chosen else 0.0
    best, most = None, 0.0
    for place, one in enumerate(weighed):
        if place in chosen or alike[place] > SAME:
            continue
        new = sum(weight for term, weight in missing.items() if term in one.stems) / share if share else 0.0
        worth = one.score * (1 - alike[place]) * (1 + NEW_TERMS * new)
        if worth > most:
            best, most = place, worth
    return best, most


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 0.0
