"""The index in Milvus, embedded or a server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pymilvus import AsyncMilvusClient, MilvusException

from rag.passage import Passage
from rag.runtime.errors import Unavailable
from rag.runtime.tasks import unbroken
from rag.vectors import Vectors
from services.retriever.adapters.milvus_connection import SPARSE_RACE, Address, MilvusConnection
from services.retriever.adapters.milvus_filter import in_order, in_scope, in_turn, in_versions, stored
from services.retriever.adapters.milvus_rows import FIELDS, to_found, to_passage, to_row
from services.retriever.adapters.milvus_schema import METRICS, ensure_collection
from services.retriever.adapters.sqlite_scrub import scrub
from services.retriever.metrics import ROWS_WRITTEN, SEARCH_SECONDS
from services.retriever.opening import Index
from services.retriever.parts import Batch
from services.retriever.passages import Model, Scalar
from services.retriever.search import Found, Scope

T = TypeVar("T")
_ROWS_AT_ONCE = 100
"""Packing rows holds the event loop: this many take a few ms."""
_MOST = 16_384


class MilvusIndex:
    """Rows of passages. Reads run side by side; writes one after the other, because the embedded engine is one file.

    Args:
        address: Says where Milvus is now.
        token: For a server that asks for one.
        timeout_s: The longest that one operation may take.
        database: The file of an embedded engine; None for a server.
    """

    def __init__(
        self, address: Address, *, token: str = "", timeout_s: float = 10.0, database: Path | None = None
    ) -> None:
        self._database = database
        self._timeout_s = timeout_s
        self._connection = MilvusConnection(address, token, timeout_s, self._ensure)
        self._index: Index | None = None
        self._writing = asyncio.Lock()

    async def open(self, index: Index) -> None:
        """Make the collection when it is missing, and make it ready for searches."""
        self._index = index
        try:
            await self.ping()
        except BaseException:
            self._index = None
            raise

    async def close(self) -> None:
        """Close the connection, after the write that is under way."""
        async with self._writing:
            await self._connection.close()

    async def ping(self) -> bool:
        """Return True when Milvus answers for our collection; bring an engine that died back to life."""
        name = self._opened().collection
        return bool(await self._connection.run(lambda client, limit: client.has_collection(name, timeout=limit)))

    async def model(self) -> Model:
        """Return the model whose vectors the index holds; Unavailable while the index is not open."""
        return self._opened().model

    async def nearest(self, vector: Vectors, scope: Scope, limit: int) -> list[Found]:
        """Return the passages nearest to `vector` by cosine similarity, which is their score."""
        return await self._search("dense", vector, scope, limit, FIELDS)

    async def matching(self, words: str, scope: Scope, limit: int, *, with_vectors: bool) -> list[Found]:
        """Return the passages that match words best, by BM25; `with_vectors` fills in their vectors."""
        fields = [*FIELDS, "dense"] if with_vectors else FIELDS
        found = await self._search("sparse", words, scope, limit, fields)
        return [replace(hit, score=abs(hit.score)) for hit in found]

    async def passages(self, tenant: str, document_id: str, version: int, first: int, limit: int) -> list[Passage]:
        """Return up to `limit` passages of one version from the ordinal `first` on, in their order."""
        rows = await self._query(in_order(tenant, document_id, version, first, limit), FIELDS, limit)
        return sorted((to_passage(row) for row in rows), key=lambda passage: passage.ordinal)

    async def write(self, tenant: str, batch: Batch, metadata: Mapping[str, Scalar]) -> None:
        """Write a batch; doing it twice has the effect of doing it once."""
        values = stored(metadata)
        pairs = list(zip(batch.passages, batch.vectors, strict=True))
        for start in range(0, len(pairs), _ROWS_AT_ONCE):
            chunk = pairs[start : start + _ROWS_AT_ONCE]
            rows = [to_row(tenant, passage, vector, values) for passage, vector in chunk]
            await self._upsert(rows)
            ROWS_WRITTEN.inc(len(rows))

    async def erase(self, tenant: str, document_id: str, first: int, last: int) -> int:
        """Remove the rows of these versions; return how many are left."""
        name = self._opened().collection
        where = in_versions(tenant, document_id, first, last)
        await self._finish(self._connection.run(lambda client, limit: client.delete(name, filter=where, timeout=limit)))
        return await self._count(where)

    async def scrub(self) -> None:
        """Overwrite what erased rows left in the embedded engine's file; ask a server to compact.

        Raises:
            Unavailable: SCRUB_FAILED, or as the index.
        """
        name = self._opened().collection
        if self._database is None:
            await self._connection.run(lambda client, limit: client.compact(name, timeout=limit))
            return
        try:
            await self._finish(asyncio.to_thread(scrub, self._database))
        except (sqlite3.Error, OSError) as error:
            raise Unavailable("The index's file could not be scrubbed.", "SCRUB_FAILED") from error

    async def count(self, tenant: str = "", document_id: str = "", version: int = 0) -> int:
        """Return how many rows there are, of one version or of all."""
        where = in_versions(tenant, document_id, version, version) if tenant else ""
        return await self._count(where)

    async def row_ids(self, after: str, limit: int) -> list[str]:
        """Return the ids of up to `limit` rows in their order, those after the id `after`."""
        return sorted(row["id"] for row in await self._query(in_turn(after), ["id"], limit))

    async def _upsert(self, rows: list[dict[str, Any]]) -> None:
        name = self._opened().collection
        await self._finish(self._connection.run(lambda client, limit: client.upsert(name, rows, timeout=limit)))

    async def _finish(self, write: Awaitable[T]) -> T:
        """Run a write to its end even when its caller leaves: what comes after it must not be overtaken by it."""

        async def alone() -> T:
            async with self._writing:
                return await write

        return await unbroken(alone())

    async def _search(self, field: str, data: Any, scope: Scope, limit: int, fields: list[str]) -> list[Found]:
        name, where = self._opened().collection, in_scope(scope)

        async def search(client: AsyncMilvusClient, timeout_s: float) -> Any:
            try:
                return await client.search(
                    name,
                    data=[data],
                    anns_field=field,
                    filter=where,
                    limit=limit,
                    output_fields=fields,
                    search_params={"metric_type": METRICS[field]},
                    timeout=timeout_s,
                )
            except MilvusException as error:
                # BM25 divides by the average length of the rows, and an empty index has none.
                if SPARSE_RACE in str(error.message) and await self._is_empty(client, timeout_s):
                    return [[]]
                raise

        with SEARCH_SECONDS.labels(field).time():
            found = await self._connection.run(search)
        return [to_found(hit) for hit in found[0]]

    async def _query(self, where: str, fields: list[str], limit: int | None) -> list[dict[str, Any]]:
        name = self._opened().collection
        most = {} if limit is None else {"limit": min(limit, _MOST)}
        return await self._connection.run(
            lambda client, timeout_s: client.query(name, filter=where, output_fields=fields, timeout=timeout_s, **most)
        )

    async def _count(self, where: str) -> int:
        return int((await self._query(where, ["count(*)"], None))[0]["count(*)"])

    async def _is_empty(self, client: AsyncMilvusClient, timeout_s: float) -> bool:
        name = self._opened().collection
        rows = await client.query(name, filter="", output_fields=["count(*)"], timeout=timeout_s)
        return not rows[0]["count(*)"]

    async def _ensure(self, client: AsyncMilvusClient) -> None:
        await ensure_collection(client, self._opened(), self._timeout_s, embedded=self._database is not None)

    def _opened(self) -> Index:
        if self._index is None:
            message = "The index is not open yet: it waits for the embedder or for Milvus."
            raise Unavailable(message, "INDEX_NOT_OPEN")
        return self._index
