"""Milvus, embedded or a server: what its collections share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Container
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

import grpc
from pymilvus import AsyncMilvusClient, MilvusException

from rag.runtime.errors import Unavailable
from rag.runtime.tasks import unbroken
from services.retriever.adapters.milvus_collection import MilvusCollection
from services.retriever.adapters.milvus_connection import Address, MilvusConnection, Operation
from services.retriever.adapters.milvus_schema import create_collection, create_indexes, load_collection
from services.retriever.adapters.sqlite_keys import find_by_key
from services.retriever.adapters.sqlite_scrub import scrub
from services.retriever.adapters.sqlite_snapshot import check_database, copy_database
from services.retriever.analysis import Analyzer
from services.retriever.opening import COLLECTIONS, Index

T = TypeVar("T")
ALIAS = "ragmesh"
"""Names the live collection on a server."""


class MilvusStore:
    """Opens collections. Writes go one after the other, because the embedded engine is one file.

    Args:
        address: Says where Milvus is now.
        analyzer: Returns what makes terms of texts, by the analyzer's name.
        token: For a server that asks for one.
        timeout_s: The longest that one operation may take.
        database: The file of an embedded engine; None for a server.
        writing: Entered around each write.
    """

    def __init__(
        self,
        address: Address,
        analyzer: Callable[[str], Analyzer],
        *,
        token: str = "",
        timeout_s: float = 10.0,
        database: Path | None = None,
        writing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._analyzer = analyzer
        self._database = database
        self._timeout_s = timeout_s
        self._connection = MilvusConnection(address, token, timeout_s, self._ensure_all)
        self._opened: dict[str, MilvusCollection] = {}
        self._half_made: set[str] = set()
        """Begun by this process and not finished: nothing was ever written to these."""
        self._writing = asyncio.Lock()
        self._marked = writing
        self._loading = asyncio.Lock()

    async def open(self, index: Index) -> MilvusCollection:
        """Make the collection when it is missing, and make it ready for searches."""
        await self.finish(self.run(lambda client, _: self._make(client, index)))
        await self.run(lambda client, _: self._load(client, index))
        if self._database is not None:
            await self.finish(self._find_by_key(self._database, index.collection))
        if index.collection not in self._opened:
            self._opened[index.collection] = MilvusCollection(self, index, self._analyzer(index.analyzer))
        return self._opened[index.collection]

    async def names(self) -> list[str]:
        """Return the names of all collections that hold passages."""
        found = await self.run(lambda client, limit: client.list_collections(timeout=limit))
        return [name for name in found if name.startswith(COLLECTIONS)]

    def opened(self, name: str) -> MilvusCollection | None:
        """Return a collection when it is open."""
        return self._opened.get(name)

    def forget(self, kept: Container[str]) -> None:
        """Close the collections that are not `kept`: another process dropped them."""
        self._opened = {name: collection for name, collection in self._opened.items() if name in kept}

    async def drop(self, name: str) -> None:
        """Remove a collection with all its rows; repeating it does no harm."""
        self._opened.pop(name, None)
        await self.finish(self.run(lambda client, limit: client.drop_collection(name, timeout=limit)))

    async def close(self) -> None:
        """Close the connection, after the write that is under way."""
        async with self._writing:
            await self._connection.close()

    async def ping(self) -> bool:
        """Return True when Milvus answers; bring an engine that died back to life."""
        await self.run(lambda client, limit: client.list_collections(timeout=limit))
        return True

    async def erase(self, tenant: str, document_id: str, first: int, last: int) -> int:
        """Remove the rows of these versions from every collection that is open; return how many are left."""
        opened = list(self._opened.values())
        if not opened:  # nothing to erase from is not the same as nothing to erase
            raise Unavailable("No index is open.", "INDEX_NOT_OPEN")
        return sum([await collection.erase(tenant, document_id, first, last) for collection in opened])

    async def scrub(self) -> None:
        """Overwrite what erased rows left in the embedded engine's file; ask a server to compact.

        Raises:
            Unavailable: SCRUB_FAILED, or as the index.
        """
        if self._database is None:
            for name in list(self._opened):
                await self.run(_compact(name))
            return
        try:
            await self.finish(asyncio.to_thread(scrub, self._database))
        except (sqlite3.Error, OSError) as error:
            raise Unavailable("The index's file could not be scrubbed.", "SCRUB_FAILED") from error

    async def snapshot(self, target: Path) -> None:
        """Make a whole, checked copy of the embedded engine's file; writes wait while it is copied, searches go on.

        Raises:
            Unavailable: SNAPSHOT_FAILED, also for a server.
        """
        try:
            if self._database is None:
                raise FileNotFoundError("a server's index is in no file of ours")
            await self.finish(asyncio.to_thread(copy_database, self._database, target))
            await asyncio.to_thread(check_database, target)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable("The index's file could not be copied.", "SNAPSHOT_FAILED") from error

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation that may be repeated without harm; see MilvusConnection."""
        return await self._connection.run(operation)

    async def finish(self, write: Awaitable[T]) -> T:
        """Run a write to its end even when its caller leaves: what comes after it must not be overtaken by it."""

        async def alone() -> T:
            async with self._writing:
                with self._marked():
                    return await write

        return await unbroken(alone())

    async def point_alias(self, index: Index) -> None:
        """Let the alias `ragmesh` name this collection, for other readers of a server; the embedded engine has no aliases."""
        if self._database is None:
            await self.finish(self.run(partial(_point_alias, index.collection)))

    async def _ensure_all(self, client: AsyncMilvusClient) -> None:
        for name, collection in list(self._opened.items()):
            if name in self._opened:  # nobody dropped it meanwhile
                await self._make(client, collection.index)
                await self._load(client, collection.index)

    async def _make(self, client: AsyncMilvusClient, index: Index) -> None:
        name, limit, embedded = index.collection, self._timeout_s, self._database is not None
        async with self._loading:
            if name in self._half_made:
                # The embedded engine lists an index that it could not write down, and then fails every search.
                await client.drop_collection(name, timeout=limit)
            if not await client.has_collection(name, timeout=limit):
                if embedded:  # on a server others may be making it too, and have written to it
                    self._half_made.add(name)
                await create_collection(client, index, limit, embedded=embedded)
            await create_indexes(client, name, limit, embedded=embedded)
            self._half_made.discard(name)

    async def _load(self, client: AsyncMilvusClient, index: Index) -> None:
        async with self._loading:
            await load_collection(client, index.collection)

    async def _find_by_key(self, database: Path, collection: str) -> None:
        async with self._loading:  # an engine that is locked out while it reads its file takes it for empty
            try:
                await asyncio.to_thread(find_by_key, database, collection)
            except sqlite3.Error as error:
                raise Unavailable("The index's file is in use.", "INDEX_UNAVAILABLE") from error


def _compact(name: str) -> Operation[object]:
    return lambda client, limit: client.compact(name, timeout=limit)


async def _point_alias(collection: str, client: AsyncMilvusClient, timeout_s: float) -> None:
    try:
        await client.alter_alias(collection, ALIAS, timeout=timeout_s)
    except MilvusException:  # there is none yet
        await client.create_alias(collection, ALIAS, timeout=timeout_s)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
