"""One collection of Milvus: the rows of one index."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pymilvus import AsyncMilvusClient, MilvusException

from rag.passage import Passage, in_context
from rag.runtime.errors import Internal, Unavailable
from rag.vectors import Vectors
from services.retriever.adapters.milvus_connection import SPARSE_RACE, Operation
from services.retriever.adapters.milvus_filter import at_places, in_scope, in_turn, in_versions, stored
from services.retriever.adapters.milvus_reads import Nearest, find, read
from services.retriever.adapters.milvus_rows import to_place, to_row, to_stored, unit
from services.retriever.adapters.milvus_schema import METRICS
from services.retriever.analysis import Analyzer
from services.retriever.metrics import ROWS_WRITTEN, SEARCH_SECONDS
from services.retriever.opening import Index
from services.retriever.parts import Batch
from services.retriever.passages import Candidate, Place, Row, Scalar
from services.retriever.retrieval.legs import Scope

T = TypeVar("T")
_ROWS_AT_ONCE = 100
"""Packing rows holds the event loop: this many take a few ms."""
_MOST = 16_384
_IN_TURN = {"iterator": "True", "reduce_stop_for_best": "True"}
"""Makes a server give the first of the rows by their keys, as pymilvus's own iterators do."""
_DROPPED = "INDEX_DROPPED"


class Engine(Protocol):
    """Where the collection is."""

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation that may be repeated without harm."""

    async def finish(self, write: Awaitable[T]) -> T:
        """Run a write to its end, after the one before it, even when its caller leaves."""


class MilvusCollection:
    """Rows of passages. Reads run side by side; writes one after the other.

    Args:
        engine: Where it is.
        index: Its name and what its rows depend on.
        analyzer: Makes terms of texts, as the index says.
    """

    def __init__(self, engine: Engine, index: Index, analyzer: Analyzer) -> None:
        self._engine = engine
        self._analyzer = analyzer
        self.index = index

    async def nearest(self, vector: Vectors, scope: Scope, limit: int) -> list[Candidate]:
        """Return the places of the passages nearest to `vector` by cosine similarity, which is their score."""
        return await self._search("dense", unit(vector), scope, limit)

    async def matching(self, query: str, scope: Scope, limit: int) -> list[Candidate]:
        """Return the places of the passages that match a query's words best, by BM25; none when it has no words."""
        terms = self._analyzer.query_terms(query)
        return await self._search("sparse", " ".join(terms), scope, limit) if terms else []

    async def fetch(self, tenant: str, places: Sequence[Place], *, with_vectors: bool = False) -> dict[Place, Row]:
        """Return the rows at these places, at most 16,384; those that are not there are left out."""
        if not places:
            return {}
        name, where = self.index.collection, at_places(tenant, places)
        fields = ["id", "body", "dense"] if with_vectors else ["id", "body"]
        rows = await self._run(lambda client, timeout_s: read(client, name, where, fields, timeout_s))
        return {to_place(row["id"]): to_stored(row) for row in rows}

    async def pages(
        self, tenant: str, document_id: str, version: int, first: int, limit: int, *, with_vectors: bool
    ) -> list[Row]:
        """Return up to `limit` rows of one version from the ordinal `first` on, in their order."""
        places = [Place(document_id, version, ordinal) for ordinal in range(first, first + limit)]
        found = await self.fetch(tenant, places, with_vectors=with_vectors)
        return [found[place] for place in places if place in found]

    async def passages(self, tenant: str, document_id: str, version: int, first: int, limit: int) -> list[Passage]:
        """Return up to `limit` passages of one version from the ordinal `first` on, in their order."""
        rows = await self.pages(tenant, document_id, version, first, limit, with_vectors=False)
        return [row.passage for row in rows]

    async def write(self, tenant: str, batch: Batch, metadata: Mapping[str, Scalar]) -> None:
        """Write a batch; doing it twice has the effect of doing it once."""
        values = stored(metadata)
        pairs = list(zip(batch.passages, batch.vectors, strict=True))
        for start in range(0, len(pairs), _ROWS_AT_ONCE):
            chunk = pairs[start : start + _ROWS_AT_ONCE]
            rows = await asyncio.to_thread(self._rows, tenant, batch.title, chunk, values)
            await self._engine.finish(self._upsert(rows))
            ROWS_WRITTEN.inc(len(rows))

    async def erase(self, tenant: str, document_id: str, first: int, last: int) -> int:
        """Remove the rows of these versions; return how many are left."""
        name = self.index.collection
        where = in_versions(tenant, document_id, first, last)
        delete = self._run(lambda client, limit: client.delete(name, filter=where, timeout=limit))
        try:
            await self._engine.finish(delete)
            return await self._count(where)
        except Unavailable as error:
            if error.reason == _DROPPED:
                return 0
            raise

    async def count(self, tenant: str = "", document_id: str = "", version: int = 0) -> int:
        """Return how many rows there are, of one version or of all."""
        where = in_versions(tenant, document_id, version, version) if tenant else ""
        return await self._count(where)

    async def row_ids(self, after: str, limit: int) -> list[str]:
        """Return the ids of up to `limit` rows in their order, those after the id `after`."""
        rows = await self._query(in_turn(after), ["id"], limit, **_IN_TURN)
        return sorted(row["id"] for row in rows)

    async def _upsert(self, rows: list[dict[str, Any]]) -> None:
        name = self.index.collection
        await self._run(lambda client, limit: client.upsert(name, rows, timeout=limit))

    async def _search(self, field: str, data: Any, scope: Scope, limit: int) -> list[Candidate]:
        name = self.index.collection
        wanted = Nearest(field, METRICS[field], data, in_scope(scope), limit)

        async def search(client: AsyncMilvusClient, timeout_s: float) -> list[tuple[str, float]]:
            try:
                return await find(client, name, wanted, timeout_s)
            except MilvusException as error:
                # BM25 divides by the average length of the rows, and an empty index has none.
                if SPARSE_RACE in str(error.message) and await self._is_empty(client, timeout_s):
                    return []
                raise

        with SEARCH_SECONDS.labels(field).time():
            found = await self._run(search)
        # BM25 scores come negative from some engines.
        scores = abs if field == "sparse" else float
        return [Candidate(to_place(key), scores(score)) for key, score in found]

    async def _query(self, where: str, fields: list[str], limit: int | None, **more: str) -> list[dict[str, Any]]:
        name = self.index.collection
        most = more if limit is None else {"limit": min(limit, _MOST), **more}
        return await self._run(
            lambda client, timeout_s: client.query(name, filter=where, output_fields=fields, timeout=timeout_s, **most)
        )

    async def _count(self, where: str) -> int:
        return int((await self._query(where, ["count(*)"], None))[0]["count(*)"])

    async def _is_empty(self, client: AsyncMilvusClient, timeout_s: float) -> bool:
        name = self.index.collection
        rows = await client.query(name, filter="", output_fields=["count(*)"], timeout=timeout_s)
        return not rows[0]["count(*)"]

    async def _run(self, operation: Operation[T]) -> T:
        try:
            return await self._engine.run(operation)
        except Internal as error:
            if await self._is_there():
                raise
            message = "The index that this was meant for is not there any more."
            raise Unavailable(message, _DROPPED) from error

    async def _is_there(self) -> bool:
        name = self.index.collection
        return bool(await self._engine.run(lambda client, limit: client.has_collection(name, timeout=limit)))

    def _rows(
        self, tenant: str, title: str, pairs: Sequence[tuple[Passage, Vectors]], metadata: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        return [
            to_row(tenant, title, passage, vector, words=self._words(title, passage), metadata=metadata)
            for passage, vector in pairs
        ]

    def _words(self, title: str, passage: Passage) -> str:
        return " ".join(self._analyzer.terms(in_context(title, passage.heading, passage.text)))
