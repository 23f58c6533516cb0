"""The vector of a query, or why there is none."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

from rag.runtime.context import remaining_s
from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, Internal, Overloaded, RagError, Unavailable
from rag.runtime.logs import get_logger
from rag.vectors import Vectors
from services.retriever.passages import Model
from services.retriever.retrieval.query import Mode, Notice, Query

KEYWORD_ONLY = Notice(
    "KEYWORD_ONLY",
    "The embedder is away or too slow: the passages were found by their words only, without a least score.",
)
MODEL_MISMATCH = Notice(
    "MODEL_MISMATCH",
    "The embedder serves another model than the index was made with: the passages were found by their words only.",
)
_SHARE = 0.5

log = get_logger(__name__)


class QueryEmbedder(Protocol):
    """Turns a query into a vector."""

    async def embed(self, text: str, wanted: Model) -> Vectors:
        """Return the vector, shape (dimension,), of the model wanted; FailedPrecondition when the embedder has another."""


class QueryVectors:
    """Asks the embedder, and lets a hybrid search go on by words alone when that fails.

    Args:
        embedder: Who is asked.
        timeout_s: How long a hybrid search waits for it; never longer than half of the time that its caller has.
    """

    def __init__(self, embedder: QueryEmbedder, timeout_s: float) -> None:
        self._embedder = embedder
        self._timeout_s = timeout_s

    async def of(self, query: Query, model: Model) -> Vectors | Notice | None:
        """Return the query's vector, a notice when there should be one but is not, None when the query needs none.

        Raises:
            RagError: a dense search cannot go on without its vector.
        """
        if query.mode is Mode.KEYWORD:
            return None
        if query.mode is Mode.DENSE:
            return await self._embedder.embed(query.text, model)
        try:
            return await self._in_time(query.text, model)
        except (Unavailable, Overloaded, DeadlineExceeded, Internal, TimeoutError) as error:
            reason = error.reason if isinstance(error, RagError) else "TOO_SLOW"
            log.warning("query_not_embedded", reason=reason)
            return KEYWORD_ONLY
        except FailedPrecondition as error:
            if error.reason != MODEL_MISMATCH.code:
                raise
            return MODEL_MISMATCH

    async def _in_time(self, text: str, model: Model) -> Vectors:
        async with asyncio.timeout(min(self._timeout_s, remaining_s(math.inf) * _SHARE)):
            return await self._embedder.embed(text, model)
