"""What all tests share: one real Redis, one model double, a tenant each."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import structlog
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from rag.ids import new_id
from rag.runtime.redis import open_redis
from tests.redis_server import running_redis

pytest_plugins = ["tests.clock", "tests.doubles.fixtures"]

settings.register_profile("untimed", deadline=None)  # the machine may be busy: no test depends on time
settings.load_profile("untimed")
# A shell starts what it runs in the background deaf to Ctrl-C, and children inherit that; some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = ("chaos", "system", "web", "retriever", "ingestor")
"""Folders whose files take minutes, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Else one worker is busy with the last long file while the others are done.
    tests, rank = Path(__file__).parent, {folder: number for number, folder in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(tests).parts[0], len(rank)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return OneTree(config, log) if config.getvalue("dist") == "loadfile" else None


class OneTree(LoadFileScheduling):
    """Each worker takes a file at a time, but all that use the one tree of services together: else each starts a tree of its own."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/system" if file.startswith("tests/system/") or file == "tests/web/test_real.py" else file


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    # The rich ones print every local variable, which takes seconds and shows what logs must not hold.
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.stdlib.add_log_level, renderer])


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    # Not pytest's own folder: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="rag") as folder, running_redis(Path(folder)) as url:
        yield url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def tenant() -> str:
    return new_id("tenant")
