"""Milvus for the length of a block: the server that was named, or else an engine of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from services.retriever.adapters.milvus_connection import Address
from services.retriever.adapters.milvus_lite_child import MilvusLiteChild
from services.retriever.adapters.milvus_store import MilvusStore
from services.retriever.analysis import Analyzer


@asynccontextmanager
async def open_milvus(
    uri: str, folder: Path, analyzer: Callable[[str], Analyzer], *, token: str, timeout_s: float, linger_s: float = 0.0
) -> AsyncIterator[MilvusStore]:
    """Yield the store on the server at `uri`; without one, on an engine whose file is in `folder`.

    Args:
        uri: A Milvus server, or empty.
        folder: Where an engine of our own keeps its file.
        analyzer: Returns what makes terms of texts, by the analyzer's name.
        token: For a server that asks for one.
        timeout_s: The longest that one operation may take.
        linger_s: How long an engine of our own outlives this process.
    """
    async with AsyncExitStack() as stack:
        if uri:
            store = MilvusStore(_always(uri), analyzer, token=token, timeout_s=timeout_s)
        else:
            child = MilvusLiteChild(folder, linger_s)
            await child.open()
            stack.push_async_callback(child.close)
            store = MilvusStore(
                child.address, analyzer, timeout_s=timeout_s, database=child.database, writing=child.writing
            )
        stack.push_async_callback(store.close)
        yield store


def _always(uri: str) -> Address:
    async def address() -> str:
        return uri

    return address
