"""Questions of the same meaning: near by their vectors, and with nothing in one that the other lacks."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rag.vectors import Vectors
from services.generator import metrics
from services.generator.caching.aside import in_time
from services.generator.caching.guards.objections import objection
from services.generator.caching.guards.synonyms import synonyms
from services.generator.caching.mirrors import Mirrors, Noted, Update

MAX_CHARS = 500
"""A longer question has no other of the same meaning, and takes room that many others could have."""
_LATE = ("Questions of the same meaning were not found in time.", "ALIKE_LATE")
_LOOKED_AT = 50
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Embedded:
    """A question's vector and what it can be compared with."""

    model: str
    """Names model and revision: vectors of two of them never meet."""
    vector: Vectors
    """Shape (dimension,), of length 1."""


class QuestionVectors(Protocol):
    """Makes vectors of questions."""

    async def embed(self, text: str) -> Embedded:
        """Return a text's vector, on behalf of the current call. Raises a RagError when it cannot."""


class Questions(Protocol):
    """Keeps the questions that were answered, each tenant's apart, and drops the oldest of too many."""

    async def since(self, tenant: str, space: str, last: str) -> Update:
        """Return what was noted after the one with the id `last`, oldest first; with an empty one all of it. Raises Unavailable."""

    async def note(self, tenant: str, space: str, noted: Noted, ttl_s: int) -> None:
        """Keep a question; those of its space are gone when none is noted for `ttl_s` seconds. Raises Unavailable."""

    async def forget(self, tenant: str) -> None:
        """Erase all questions of a tenant, some spaces at a time. Raises Unavailable."""


class Alike:
    """Finds the kept answer to a question of the same meaning.

    A bucket holds the questions that may share an answer at all. With the model that made the vectors it is a space.

    Args:
        vectors: Makes vectors of questions.
        questions: Keeps them.
        threshold: The least cosine similarity of two questions that share an answer.
        ttl_s: Tells how long a tenant's answers are kept, in seconds.
        mirrors: What is kept here of the questions, so that each look-up fetches only what is new.
    """

    def __init__(
        self,
        vectors: QuestionVectors,
        questions: Questions,
        threshold: float,
        ttl_s: Callable[[str], int],
        mirrors: Mirrors | None = None,
    ) -> None:
        self._vectors = vectors
        self._questions = questions
        self._threshold = threshold
        self._ttl_s = ttl_s
        self._mirrors = mirrors or Mirrors()
        self._embedded: OrderedDict[tuple[str, str], Embedded] = OrderedDict()
        synonyms()  # read now, and not while the first question waits

    async def nearest(self, tenant: str, bucket: str, question_text: str) -> str | None:
        """Return the key of the kept answer to a question of the same meaning, the nearest first; None for none.

        Raises:
            RagError: the embedder or the store is away, or late. The question can be answered all the same.
        """
        if len(question_text) > MAX_CHARS:
            return None
        async with in_time(*_LATE):
            embedded = await self._embed(tenant, question_text)
            space = _space(bucket, embedded.model)
            update = await self._questions.since(tenant, space, self._mirrors.last(tenant, space))
        mirror = self._mirrors.updated(tenant, space, update, self._ttl_s(tenant))
        near = mirror.nearest(embedded.vector, self._threshold, _LOOKED_AT)
        return next((noted.key for noted in near if _may_share(question_text, noted.question)), None)

    async def note(self, tenant: str, bucket: str, key: str, question_text: str) -> None:
        """Take note of a question whose answer is kept under `key`.

        Raises:
            RagError: as for `nearest`.
        """
        ttl_s = self._ttl_s(tenant)
        if len(question_text) > MAX_CHARS or not ttl_s:
            return
        async with in_time(*_LATE):
            embedded = await self._embed(tenant, question_text)
            noted = Noted("", key, question_text, embedded.vector)
            await self._questions.note(tenant, _space(bucket, embedded.model), noted, ttl_s)

    async def forget(self, tenant: str) -> None:
        """Erase the questions of a tenant; what other processes have copies of leads to no answer any more.

        Raises:
            Unavailable: the store is away.
        """
        await self._questions.forget(tenant)

    async def _embed(self, tenant: str, text: str) -> Embedded:
        """Return the vector of a text, the one made a moment ago if there is one: who looks up in vain takes note next."""
        known = self._embedded.pop((tenant, text), None) or await self._vectors.embed(text)
        self._embedded[tenant, text] = known
        if len(self._embedded) > _REMEMBERED:
            self._embedded.popitem(last=False)
        return known


def _may_share(question: str, other: str) -> bool:
    objects = objection(question, other)
    if objects is not None:
        metrics.ALIKE_OBJECTIONS.labels(objects.value).inc()
    return objects is None


def _space(bucket: str, model: str) -> str:
    return hashlib.sha256(f"{bucket}\n{model}".encode()).hexdigest()[:32]
