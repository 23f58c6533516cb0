from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.retriever.room import Retriever, embedder, fresh_database, retriever
from tests.waiting import until


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Retriever]:
    """One retriever for a module; each test has a tenant of its own."""
    folder = tmp_path_factory.mktemp("data")
    async with embedder() as port, retriever(folder, await fresh_database(redis_url), port) as running:
        await until(running.room.is_ready)
        yield running
