"""A real Redis for the tests: append-only file on, on a unix socket, in a folder of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis as sync_redis

from services.embedded_redis import command, find_binary
from tests.waiting import until_sync


@contextmanager
def running_redis(folder: Path, *extra: str) -> Iterator[str]:
    """Run a Redis for the length of a block; yields its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen([*command(find_binary(), folder), *extra], stdout=subprocess.DEVNULL)
    url = f"unix://{folder}/redis.sock"
    try:
        until_sync(lambda: answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def answers(url: str) -> bool:
    """Tell whether the Redis at `url` answers."""
    client = sync_redis.Redis.from_url(url)
    try:
        return bool(client.ping())
    except (sync_redis.ConnectionError, sync_redis.BusyLoadingError):
        return False
    finally:
        client.close()
