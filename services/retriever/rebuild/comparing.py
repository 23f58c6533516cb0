"""Comparing: two indexes answer the same questions before one takes the place of the other."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rag.passage import Passage
from services.retriever.rebuild.standing import Comparison, Labelled, Wish
from services.retriever.upkeep.reconciling import Entry, Key

_SAMPLE = 100
_BEST = 5
_MOST_QUERY = 200
_LEAST_QUERY = 20

Refusal = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, and the reason and the sentence that refuse the switch; None when nothing does."""

    comparison: Comparison
    refusal: Refusal | None
    sentence: str


class Entries(Protocol):
    """The catalogue, of all tenants."""

    def entries(self) -> AsyncIterator[Sequence[Entry]]:
        """Yield all live versions, page by page."""


class Passages(Protocol):
    """Reads passages back."""

    async def passages(self, tenant: str, document_id: str, version: int, first: int, limit: int) -> list[Passage]:
        """Return up to `limit` passages of one version from the ordinal `first` on, in their order."""


class Respondent(Protocol):
    """An index that is asked."""

    async def best(self, tenant: str, query: str, limit: int) -> Sequence[Passage] | None:
        """Return the best passages that are live, best first; None when nobody can make a vector for this index."""


class Comparing:
    """Asks both indexes. No text of it is logged or kept.

    Args:
        entries: Whose passages are the questions.
        source: Where they are read.
        before: The live index.
        after: The new one.
    """

    def __init__(self, entries: Entries, source: Passages, before: Respondent, after: Respondent) -> None:
        self._entries = entries
        self._source = source
        self._before = before
        self._after = after

    async def compare(self, wish: Wish) -> Verdict:
        """Return what was found and whether the new index may go live.

        Raises:
            Unavailable: an index, the catalogue or the embedder is away.
        """
        found = await self._labelled(wish.tenant, wish.queries, await self._overlap())
        return Verdict(found, _refusal(wish, found), sentence(found))

    async def _overlap(self) -> Comparison:
        """Ask for what stored passages begin with, each within its tenant."""
        shares: list[float] = []
        for key, passages in await self._sample():
            query = await self._question(key, passages)
            if not query:
                continue
            before = await self._before.best(key.tenant, query, _BEST)
            after = await self._after.best(key.tenant, query, _BEST)
            if before is None or after is None:
                return Comparison()
            if before:
                shares.append(_share(before, after))
        return Comparison(len(shares), _mean(shares))

    async def _labelled(self, tenant: str, queries: Sequence[Labelled], found: Comparison) -> Comparison:
        before: list[float] = []
        after: list[float] = []
        for item in queries:
            for respondent, precisions in ((self._before, before), (self._after, after)):
                best = await respondent.best(tenant, item.query, _BEST)
                if best is not None:
                    precisions.append(sum(hit.document_id in item.document_ids for hit in best) / _BEST)
        return replace(found, labelled=len(queries), precision_before=_mean(before), precision_after=_mean(after))

    async def _sample(self) -> Sequence[tuple[Key, int]]:
        """Return some documents, the same ones each time, and how many passages each has."""
        chosen: list[tuple[int, Key, int]] = []
        async for page in self._entries.entries():
            ranked = [(-_number(entry.key), entry.key, entry.passages) for entry in page if entry.passages]
            chosen = heapq.nlargest(_SAMPLE, {*chosen, *ranked})
        return [(key, passages) for _, key, passages in chosen]

    async def _question(self, key: Key, passages: int) -> str:
        """Return the beginning of one of a version's passages; empty when it has gone, or says too little."""
        tenant, document_id, version = key
        read = await self._source.passages(tenant, document_id, version, _number(key) % passages, 1)
        text = " ".join(read[0].text.split()) if read else ""
        end = text.find(". ", _LEAST_QUERY, _MOST_QUERY)
        return text[: end + 1 if end > 0 else _MOST_QUERY]


def sentence(found: Comparison) -> str:
    """Say what was found."""
    if found.overlap_at_5 is None:
        told = "The indexes could not be compared: there were no questions that both could answer."
    else:
        told = f"The indexes have {found.overlap_at_5:.0%} of the five best hits in common, over {found.queries} questions."
    if found.precision_after is None:
        return told
    before = "unknown" if found.precision_before is None else f"{found.precision_before:.3f}"
    return (
        f"{told} precision@5 on {found.labelled} labelled queries: {before} before, {found.precision_after:.3f} after."
    )


def _refusal(wish: Wish, found: Comparison) -> Refusal | None:
    if found.overlap_at_5 is not None and found.overlap_at_5 < wish.min_overlap:
        wanted = f"At least {wish.min_overlap:.0%} of the five best hits had to stay the same."
        return "OVERLAP_TOO_LOW", f"{sentence(found)} {wanted}"
    before, after = found.precision_before, found.precision_after
    if before is not None and after is not None and before - after > wish.max_precision_loss:
        wanted = f"It may fall by {wish.max_precision_loss:g} at most."
        return "PRECISION_LOST", f"{sentence(found)} {wanted}"
    return None


def _share(before: Sequence[Passage], after: Sequence[Passage]) -> float:
    """Return the share of the hits of one answer that the other has too: the same text, however it is cut."""
    return sum(any(_is_same(one, other) for other in after) for one in before) / len(before)


def _is_same(one: Passage, other: Passage) -> bool:
    if one.document_id != other.document_id:
        return False
    common = min(one.char_end, other.char_end) - max(one.char_start, other.char_start)
    # Neighbours overlap a little.
    return 2 * common >= min(one.char_end - one.char_start, other.char_end - other.char_start)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _number(key: Key) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:6], "big")
