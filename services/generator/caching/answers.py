"""The cache of answers: what was answered before, as long as it is what would be answered now.

An entry carries the state that the catalogue had before anything was searched for it. While that is still the state, the entry
holds. Otherwise its documents are looked up: one that is gone ends it, and so does a document committed since that would now be
among its sources; else the entry goes on with the state of now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rag.catalogue_state import run_of
from rag.runtime.errors import RagError, Unavailable
from rag.runtime.logs import get_logger
from services.generator import metrics
from services.generator.caching.entries import Entry, Kept, Looked, Stamp, versions_of
from services.generator.caching.freshness import Catalogue, Check, Freshness
from services.generator.caching.key import look
from services.generator.events import CacheLayer, Source
from services.generator.question import Question

log = get_logger(__name__)

Find = Callable[[Question], Awaitable[Sequence[Source] | None]]
"""Returns the sources that a question has now; None when something was left out of the search."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is kept under a key, and the state of the tenant's catalogue at that moment."""

    state: str
    commits: int
    kept: Kept | None
    epoch: str = ""
    """Another one since all answers were forgotten."""


class Answers(Protocol):
    """Keeps entries for a while, each tenant's apart. Every method is one step and raises Unavailable when it cannot be done."""

    async def read(self, tenant: str, key: str) -> Reading:
        """Return the state of the catalogue and what is kept under `key`: nothing, when it cannot be understood any more."""

    async def keep(self, tenant: str, key: str, entry: Entry, ttl_s: int, epoch: str = "") -> bool:
        """Keep an entry; return False when it is too large, made before one of its documents was forgotten, or in another epoch."""

    async def settle(self, tenant: str, key: str, kept: Kept, stamp: Stamp | None) -> None:
        """Give the entry that was read another stamp, or with None remove it; do nothing when it is another one by now."""

    async def forget(self, tenant: str, document_id: str, stamp: Stamp) -> int:
        """Erase the entries made from a document; keep none made from it before `stamp` either, however late it comes.

        Return how many were erased.
        """

    async def forget_all(self, tenant: str) -> int:
        """Begin another epoch and erase all entries, some at a time; return how many were erased."""


class Alike(Protocol):
    """Finds questions of the same meaning."""

    async def nearest(self, tenant: str, bucket: str, question_text: str) -> str | None:
        """Return the key of the kept answer to a question of the same meaning, None for none."""

    async def note(self, tenant: str, bucket: str, key: str, question_text: str) -> None:
        """Take note of a question whose answer is kept under `key`."""

    async def forget(self, tenant: str) -> None:
        """Erase the questions of a tenant. Raises Unavailable."""


class AnswerCache:
    """Finds and keeps answers; none of its failures fails a question.

    Args:
        catalogue: Knows what is live.
        answers: Where they are kept.
        find: Finds the sources of a question once more.
        ground: Tells what every answer depends on: the version of the prompt, who writes.
        ttl_s: Tells how long a tenant's answers are kept, in seconds; 0 for not at all.
        alike: Finds questions of the same meaning; None to compare words only.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        answers: Answers,
        find: Find,
        *,
        ground: Callable[[], Sequence[str]],
        ttl_s: Callable[[str], int],
        alike: Alike | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._freshness = Freshness(catalogue)
        self._answers = answers
        self._find = find
        self._ground = ground
        self._ttl_s = ttl_s
        self._alike = alike

    async def begin(self, tenant: str, question: Question) -> Looked | None:
        """Return where the answer is kept and the state of the documents now; None when the cache must be left aside."""
        try:
            looked = await self._look(tenant, question, "")
            if run_of(looked.stamp.state) != self._freshness.run:  # the index that is known is one of before
                looked = await self._look(tenant, question, run_of(looked.stamp.state))
            if run_of(looked.stamp.state) != self._freshness.run:
                raise Unavailable("The catalogue begins anew.", "CATALOGUE_BEGINS")
        except RagError as error:
            _bypassed(CacheLayer.EXACT, "begin", error)
            return None
        return looked

    async def _look(self, tenant: str, question: Question, run: str) -> Looked:
        index = await self._freshness.index(tenant, run)
        looked = look(question, self._ground(), Stamp(index, "", 0))
        reading = await self._answers.read(tenant, looked.key)
        stamp = Stamp(index, reading.state, reading.commits)
        return replace(looked, stamp=stamp, kept=reading.kept, epoch=reading.epoch)

    async def recall(self, tenant: str, looked: Looked, question: Question) -> Entry | None:
        """Return the answer that was given to this question, if it is still true."""
        if not self._ttl_s(tenant):
            return None
        return await self._recall(CacheLayer.EXACT, tenant, looked, looked.key, question)

    async def recall_alike(self, tenant: str, looked: Looked, question: Question) -> Entry | None:
        """Return the answer that was given to a question of the same meaning, if it is still true."""
        if self._alike is None or question.history or not self._ttl_s(tenant):
            return None
        try:
            key = await self._alike.nearest(tenant, looked.bucket, question.text)
        except RagError as error:
            _bypassed(CacheLayer.SEMANTIC, "nearest", error)
            return None
        if key is None or key == looked.key:  # the question itself was looked for already
            metrics.ANSWER_CACHE.labels(CacheLayer.SEMANTIC.value, "miss").inc()
            return None
        return await self._recall(CacheLayer.SEMANTIC, tenant, looked, key, question)

    async def keep(self, tenant: str, looked: Looked, question: Question, entry: Entry) -> None:
        """Keep an answer that was made after `looked`."""
        ttl_s = self._ttl_s(tenant)
        if not ttl_s:
            return
        step = "answer_not_kept"
        try:
            made = replace(entry, stamp=looked.stamp)
            is_kept = await self._answers.keep(tenant, looked.key, made, ttl_s, looked.epoch)
            step = "question_not_noted"
            if is_kept and self._alike and not question.history:
                await self._alike.note(tenant, looked.bucket, looked.key, question.text)
        except RagError as error:
            log.warning(step, reason=error.reason, cause=repr(error.__cause__))

    async def forget(self, tenant: str, document_id: str) -> int:
        """Erase the answers made from a document that is gone; return how many there were.

        Raises:
            Unavailable: it could not be done; do it again.
        """
        # The state as it is with the document gone: what was looked up before this may still be on its way into the cache.
        stamp = (await self._catalogue.check(tenant, (), None)).stamp
        forgotten = await self._answers.forget(tenant, document_id, stamp)
        metrics.ANSWERS_FORGOTTEN.inc(forgotten)
        return forgotten

    async def forget_all(self, tenant: str) -> int:
        """Erase all answers of a tenant, and keep none that are in the making; return how many there were.

        Raises:
            Unavailable: it could not be done; do it again.
        """
        if self._alike:
            await self._alike.forget(tenant)
        forgotten = await self._answers.forget_all(tenant)
        metrics.ANSWERS_FORGOTTEN.inc(forgotten)
        return forgotten

    async def _recall(
        self, layer: CacheLayer, tenant: str, looked: Looked, key: str, question: Question
    ) -> Entry | None:
        try:
            kept = looked.kept if key == looked.key else (await self._answers.read(tenant, key)).kept
            result = await self._result(tenant, looked, key, question, kept) if kept else "miss"
        except RagError as error:
            _bypassed(layer, "recall", error)
            return None
        metrics.ANSWER_CACHE.labels(layer.value, result).inc()
        return kept.entry if kept and result == "hit" else None

    async def _result(self, tenant: str, looked: Looked, key: str, question: Question, kept: Kept) -> str:
        """Tell whether an entry is a hit, is stale, or cannot be judged and so is a miss."""
        entry = kept.entry
        if entry.stamp == looked.stamp:
            return "hit"
        check = await self._freshness.check(tenant, entry.versions(), entry.stamp.commits)
        if check.stamp.index != entry.stamp.index:
            return "miss"
        is_stale = bool(check.gone)
        if not is_stale and (check.committed or check.has_more):
            found = await self._find(replace(question, text=entry.searched_for, history=()))
            if found is None:
                return "miss"
            is_stale = _is_outdone(entry, found, check)
        await self._answers.settle(tenant, key, kept, None if is_stale else check.stamp)
        return "stale" if is_stale else "hit"


def _is_outdone(entry: Entry, found: Collection[Source], check: Check) -> bool:
    """Tell whether a document committed since is among what would be the sources now.

    Others that are new there are no reason: they were known when the answer was made.
    """
    new = versions_of(found) - entry.versions()
    return any(check.has_more or document_id in check.committed for document_id, _ in new)


def _bypassed(layer: CacheLayer, step: str, error: RagError) -> None:
    metrics.ANSWER_CACHE.labels(layer.value, "bypass").inc()
    log.warning("answer_cache_bypassed", step=step, reason=error.reason, cause=repr(error.__cause__))
