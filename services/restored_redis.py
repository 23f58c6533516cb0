"""`python -m services.restored_redis DUMP FOLDER`: make the data of an embedded Redis from a saved state.

A Redis with its append-only file on loads nothing else. So one without it loads the dump, and is then told to begin such a
file, in the form that its version has.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from rag.backup.pause import KEY as PAUSE
from rag.runtime.errors import FailedPrecondition, RagError, Unavailable
from services.embedded_redis import find_binary

_POLL_S = 0.05
_LIMIT_S = 600.0
_VERSIONS_AHEAD = 2**30
"""More than a document can have got between the two halves of a backup."""
_CACHES = {b"retrieval", b"answer", b"answers_of", b"answers_forgotten", b"questions"}
"""What a key of a tenant's caches of rankings and answers has behind the tenant."""


def restore(dump: Path, folder: Path) -> Mapping[str, int]:
    """Fill `folder` from `dump`; return how many documents each tenant has.

    Raises:
        FailedPrecondition: NO_REDIS, DUMP_NOT_LOADED.
        Unavailable: REDIS_TIMEOUT, LOG_NOT_WRITTEN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "restored.rdb"
    shutil.copyfile(dump, copy)
    with _loaded(folder, copy.name) as client:
        documents = _adjust(client)
        client.config_set("appendonly", "yes")
        _until(lambda: _is_written(client))
    copy.unlink()
    return documents


@contextmanager
def _loaded(folder: Path, name: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="rag") as short:  # a socket's path must be short
        socket = f"{short}/redis.sock"
        options = {
            "port": "0",
            "unixsocket": socket,
            "dir": str(folder),
            "dbfilename": name,
            "appendonly": "no",
            "save": "",
            "loglevel": "warning",
        }
        arguments = [find_binary(), *(part for key, value in options.items() for part in (f"--{key}", value))]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603 - our own arguments
        try:
            with redis.Redis(unix_socket_path=socket) as client:
                _until(lambda: _answers(client, process))
                yield client
        finally:
            process.terminate()  # it writes the rest of its append-only file
            process.communicate()


def _answers(client: Any, process: subprocess.Popen[str]) -> bool:
    if process.poll() is not None:
        last = (process.stdout.read() if process.stdout else "").strip().splitlines()[-1:]
        message = f"The saved state of Redis cannot be loaded by this Redis: {' '.join(last)}"
        raise FailedPrecondition(message, "DUMP_NOT_LOADED")
    try:
        return bool(client.ping())
    except redis.RedisError:  # not listening yet, or still loading
        return False


def _adjust(client: Any) -> Mapping[str, int]:
    """Lift the backup's pause, and make sure that nothing made after it can be taken for something that is made from now on."""
    client.delete(PAUSE)
    client.incrby("rag:version_floor", _VERSIONS_AHEAD)
    for key in client.scan_iter("rag:*:*:*", 1_000):
        if key.split(b":")[2] in _CACHES:
            client.unlink(key)
    names = sorted(
        {key.split(b":")[1].decode() for key in client.scan_iter("rag:*:documents", 1_000) if key.count(b":") == 2}
    )
    return {name: int(client.zcard(f"rag:{name}:documents")) for name in names}


def _is_written(client: Any) -> bool:
    state = client.info("persistence")
    if not state["aof_enabled"] or state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]:
        return False
    if state["aof_last_bgrewrite_status"] != "ok":
        raise Unavailable("Redis could not write its append-only file: is the disk full?", "LOG_NOT_WRITTEN")
    return True


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise Unavailable(f"The Redis of the restore was not done within {_LIMIT_S:.0f} s.", "REDIS_TIMEOUT")
        time.sleep(_POLL_S)


def main() -> None:
    """Restore; print the counts as JSON, or say why not and exit 1."""
    dump, folder = map(Path, sys.argv[1:])
    try:
        sys.stdout.write(json.dumps(restore(dump, folder)))
    except RagError as error:
        sys.exit(f"{error.reason} {error.message}")
    except (redis.RedisError, OSError) as error:
        sys.exit(f"REDIS_FAILED {error}")


if __name__ == "__main__":
    main()
